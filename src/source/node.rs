//! A YAML value that knows where it was written.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::file::Span;

/// A value with its place. Cloning shares it.
#[derive(Clone)]
pub struct Node(Arc<NodeData>);

/// What a [`Node`] holds; reached through it by field access.
pub struct NodeData {
    /// Where it was written.
    pub span: Span,
    /// Its tag, `!vault` and `!unsafe` only: others have been applied.
    pub tag: Option<Arc<str>>,
    /// The value itself.
    pub value: NodeValue,
    /// How a scalar was written.
    pub style: ScalarStyle,
}

/// How a scalar was written. Only plain ones are subject to YAML's type rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarStyle {
    /// Without quotes, or not a scalar.
    Plain,
    /// In quotes.
    Quoted,
    /// `|` or `>`.
    Block,
}

/// The value of a [`Node`].
#[derive(Clone)]
pub enum NodeValue {
    /// Nothing.
    Null,
    /// `yes`, `false`, `On` …
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A text.
    Str(Arc<str>),
    /// A list.
    Seq(Arc<[Node]>),
    /// A dictionary.
    Map(Arc<Mapping>),
}

/// A dictionary in the order in which it was written.
#[derive(Default)]
pub struct Mapping {
    entries: Vec<(Node, Node)>,
    /// Only for large mappings; small ones are searched.
    index: Option<HashMap<KeyId, usize>>,
}

/// What makes two keys the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyId {
    /// `~`
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float, by its bits.
    Float(u64),
    /// A text.
    Str(Arc<str>),
}

impl Deref for Node {
    type Target = NodeData;
    fn deref(&self) -> &NodeData {
        &self.0
    }
}

impl Node {
    /// A plain, untagged node.
    pub fn new(span: Span, value: NodeValue) -> Self {
        Node(Arc::new(NodeData { span, tag: None, value, style: ScalarStyle::Plain }))
    }

    /// A node of these parts.
    pub fn from_data(data: NodeData) -> Self {
        Node(Arc::new(data))
    }

    /// A text at a place, as if it had been quoted.
    pub fn string(span: Span, text: impl Into<Arc<str>>) -> Self {
        Node(Arc::new(NodeData { span, tag: None, value: NodeValue::Str(text.into()), style: ScalarStyle::Quoted }))
    }

    /// A list at a place.
    pub fn seq(span: Span, items: Vec<Node>) -> Self {
        Node::new(span, NodeValue::Seq(items.into()))
    }

    /// A dictionary at a place.
    pub fn map(span: Span, entries: Vec<(Node, Node)>) -> Self {
        Node::new(span, NodeValue::Map(Arc::new(Mapping::new(entries))))
    }

    /// A value of JSON, all of it at one place. It is a value already: what a host has said, or a template has given, is
    /// none once more, so its texts are `!unsafe`.
    pub fn from_json(span: &Span, value: &serde_json::Value) -> Self {
        use serde_json::Value;
        let value = match value {
            Value::Null => NodeValue::Null,
            Value::Bool(b) => NodeValue::Bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(int), _) => NodeValue::Int(int),
                // As it would have been read: a plain scalar of digits is a number of any size.
                (None, Some(large)) => NodeValue::Str(large.to_string().into()),
                (None, None) => NodeValue::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => {
                return Node::from_data(NodeData {
                    span: span.clone(),
                    tag: Some("!unsafe".into()),
                    value: NodeValue::Str(text.as_str().into()),
                    style: ScalarStyle::Quoted,
                });
            }
            Value::Array(items) => NodeValue::Seq(items.iter().map(|item| Node::from_json(span, item)).collect()),
            Value::Object(map) => NodeValue::Map(Arc::new(Mapping::new(
                map.iter()
                    .map(|(key, value)| (Node::string(span.clone(), key.as_str()), Node::from_json(span, value)))
                    .collect(),
            ))),
        };
        Node::new(span.clone(), value)
    }

    /// This dictionary with what another adds and replaces; dictionaries inside are merged, too. Of anything else the other is it.
    pub fn merged(&self, higher: &Node) -> Node {
        let (Some(own), Some(above)) = (self.as_map(), higher.as_map()) else { return higher.clone() };
        let mut entries: Vec<(Node, Node)> = own.entries.clone();
        for (key, value) in &above.entries {
            let id = key.key_id();
            match entries.iter_mut().find(|(known, _)| id.is_some() && known.key_id() == id) {
                Some((_, known)) => *known = known.merged(value),
                None => entries.push((key.clone(), value.clone())),
            }
        }
        Node::map(higher.span.clone(), entries)
    }

    /// The same value at another place.
    pub fn at(&self, span: Span) -> Self {
        Node(Arc::new(NodeData { span, tag: self.tag.clone(), value: self.value.clone(), style: self.style }))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The shared text, if it is one.
    pub fn as_arc_str(&self) -> Option<Arc<str>> {
        match &self.value {
            NodeValue::Str(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            NodeValue::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The dictionary, if it is one.
    pub fn as_map(&self) -> Option<&Mapping> {
        match &self.value {
            NodeValue::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            NodeValue::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            NodeValue::Int(i) => Some(i),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, NodeValue::Null)
    }

    /// Whether it is neither a list nor a dictionary.
    pub fn is_scalar(&self) -> bool {
        !matches!(self.value, NodeValue::Seq(_) | NodeValue::Map(_))
    }

    /// Whether its tag is `tag`, written with its `!`.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tag.as_deref() == Some(tag)
    }

    /// A value that stays encrypted until it is used.
    pub fn is_vault(&self) -> bool {
        self.has_tag("!vault")
    }

    /// A value whose braces are not a template.
    pub fn is_unsafe(&self) -> bool {
        self.has_tag("!unsafe")
    }

    /// Whether the text holds a template: `{{`, `{%` or `{#`, not tagged `!unsafe` or `!vault`.
    pub fn is_template(&self) -> bool {
        self.tag.is_none()
            && self.as_str().is_some_and(|text| text.contains("{{") || text.contains("{%") || text.contains("{#"))
    }

    /// Whether a template occurs anywhere in it.
    pub fn has_template(&self) -> bool {
        match &self.value {
            NodeValue::Seq(items) => items.iter().any(Node::has_template),
            NodeValue::Map(map) => map.iter().any(|(k, v)| k.has_template() || v.has_template()),
            _ => self.is_template(),
        }
    }

    /// A scalar exactly as it was written (`0644`, not 420). Empty where no file holds it.
    pub fn raw(&self) -> &str {
        self.span.text()
    }

    /// The text of a scalar as Python's `str()` prints it; `None` for lists and dictionaries.
    pub fn scalar_text(&self) -> Option<String> {
        Some(match &self.value {
            NodeValue::Null => String::new(),
            NodeValue::Bool(true) => "True".to_owned(),
            NodeValue::Bool(false) => "False".to_owned(),
            NodeValue::Int(int) => int.to_string(),
            NodeValue::Float(float) => python_float(*float),
            NodeValue::Str(text) => text.to_string(),
            NodeValue::Seq(_) | NodeValue::Map(_) => return None,
        })
    }

    /// What it is, as a user would say: `a list`, `a number` …
    pub fn kind(&self) -> &'static str {
        match self.value {
            NodeValue::Null => "nothing",
            NodeValue::Bool(_) => "a boolean",
            NodeValue::Int(_) | NodeValue::Float(_) => "a number",
            NodeValue::Str(_) => "a string",
            NodeValue::Seq(_) => "a list",
            NodeValue::Map(_) => "a dictionary",
        }
    }

    /// Its identity as a key; lists and dictionaries have none.
    pub fn key_id(&self) -> Option<KeyId> {
        Some(match &self.value {
            NodeValue::Null => KeyId::Null,
            NodeValue::Bool(b) => KeyId::Bool(*b),
            NodeValue::Int(i) => KeyId::Int(*i),
            NodeValue::Float(f) => KeyId::Float(f.to_bits()),
            NodeValue::Str(text) => KeyId::Str(text.clone()),
            NodeValue::Seq(_) | NodeValue::Map(_) => return None,
        })
    }

    /// As JSON. Keys become strings; infinities and NaN, which JSON lacks, become strings too.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(b) => Value::Bool(*b),
            NodeValue::Int(i) => Value::from(*i),
            NodeValue::Float(f) => match serde_json::Number::from_f64(*f) {
                Some(number) => Value::Number(number),
                None => Value::String(python_float(*f)),
            },
            NodeValue::Str(text) => Value::String(text.to_string()),
            NodeValue::Seq(items) => items.iter().map(Node::to_json).collect(),
            NodeValue::Map(map) => {
                map.iter().map(|(key, value)| (key.scalar_text().unwrap_or_default(), value.to_json())).collect()
            }
        }
    }
}

impl Mapping {
    /// From entries whose keys differ.
    pub fn new(entries: Vec<(Node, Node)>) -> Self {
        let index = (entries.len() > 16)
            .then(|| entries.iter().enumerate().filter_map(|(at, (key, _))| Some((key.key_id()?, at))).collect());
        Mapping { entries, index }
    }

    /// The value under a text key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.get_entry(key).map(|(_, value)| value)
    }

    /// Key and value under a text key.
    pub fn get_entry(&self, key: &str) -> Option<(&Node, &Node)> {
        let entry = match &self.index {
            Some(index) => self.entries.get(*index.get(&KeyId::Str(Arc::from(key)))?),
            None => self.entries.iter().find(|(k, _)| k.as_str() == Some(key)),
        };
        entry.map(|(key, value)| (key, value))
    }

    /// Entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Node, &Node)> + DoubleEndedIterator {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// Values in order.
    pub fn values(&self) -> impl Iterator<Item = &Node> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Node> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A float as Python prints it.
pub(super) fn python_float(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Python writes the exponent with a sign and at least two digits.
        let text = format!("{float:e}");
        if let Some((mantissa, exponent)) = text.split_once('e') {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            return format!("{mantissa}e{sign}{digits:0>2}");
        }
        return text;
    }
    let text = float.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// Equality of values; places, tags and styles do not count.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for NodeValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (NodeValue::Null, NodeValue::Null) => true,
            (NodeValue::Bool(a), NodeValue::Bool(b)) => a == b,
            (NodeValue::Int(a), NodeValue::Int(b)) => a == b,
            (NodeValue::Float(a), NodeValue::Float(b)) => a == b,
            (NodeValue::Str(a), NodeValue::Str(b)) => a == b,
            (NodeValue::Seq(a), NodeValue::Seq(b)) => a == b,
            (NodeValue::Map(a), NodeValue::Map(b)) => a.entries == b.entries,
            _ => false,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.tag {
            write!(f, "{tag} ")?;
        }
        match &self.value {
            NodeValue::Null => f.write_str("null"),
            NodeValue::Bool(b) => write!(f, "{b}"),
            NodeValue::Int(i) => write!(f, "{i}"),
            NodeValue::Float(x) => write!(f, "{x:?}"),
            NodeValue::Str(text) if self.span.file.sensitive => {
                write!(f, "\"********\"({})", text.len())
            }
            NodeValue::Str(text) => write!(f, "{text:?}"),
            NodeValue::Seq(items) => f.debug_list().entries(items.iter()).finish(),
            NodeValue::Map(map) => f.debug_map().entries(map.iter()).finish(),
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            NodeValue::Null => serializer.serialize_unit(),
            NodeValue::Bool(b) => serializer.serialize_bool(*b),
            NodeValue::Int(i) => serializer.serialize_i64(*i),
            NodeValue::Float(f) => serializer.serialize_f64(*f),
            NodeValue::Str(text) => serializer.serialize_str(text),
            NodeValue::Seq(items) => serializer.collect_seq(items.iter()),
            NodeValue::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map.iter() {
                    out.serialize_entry(&key.scalar_text().unwrap_or_default(), value)?;
                }
                out.end()
            }
        }
    }
}
