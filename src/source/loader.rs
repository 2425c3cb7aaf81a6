//! YAML text to nodes: an own loader over saphyr-parser's events, with Ansible's rules.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle as Style, Tag};

use super::diag::{Diag, Diags};
use super::explain::{bad_key, explain_scan_error};
use super::file::{SourceFile, Span};
use super::layout::Layout;
use super::node::{KeyId, Mapping, Node, NodeData, NodeValue, ScalarStyle};
use super::scalar::{is_sexagesimal, resolve_plain};

/// How deep lists and dictionaries may be nested.
pub(super) const MAX_DEPTH: usize = 100;
/// How many nodes a document may have once its aliases are written out.
const MAX_EXPANDED: usize = 1_000_000;

/// Loads one YAML (or JSON) document. `None` after an error; an empty document is `null`.
pub fn load_yaml(file: &Arc<SourceFile>, diags: &mut Diags) -> Option<Node> {
    if let Some(at) = file.text.find('\0') {
        let place = Span::new(file, at, at + 1);
        diags.push(Diag::error("the file contains a NUL byte; it is not YAML").at(&place));
        return None;
    }
    let mut layout = Layout::new(&file.text);
    loop {
        let mut found = Diags::new();
        let failure = match Loader::new(file, &layout, &mut found).load() {
            Ok(node) => {
                diags.extend(found);
                return Some(node);
            }
            Err(failure) => failure,
        };
        let diag = match failure {
            Failure::Scan { character, info } if layout.repair(character, &info) => continue,
            Failure::Scan { character, info } => explain_scan_error(file, layout.byte(character), &info),
            Failure::Wrong(diag) => *diag,
        };
        diags.extend(found);
        diags.push(diag);
        return None;
    }
}

/// Loads a document from a text that no file holds, under a name such as `<extra vars>`.
pub fn load_yaml_str(name: &str, text: &str, diags: &mut Diags) -> Option<Node> {
    load_yaml(&SourceFile::new(name, text), diags)
}

/// Why a text could not be loaded.
enum Failure {
    /// The scanner stopped at a character.
    Scan { character: usize, info: String },
    /// It is YAML, but not what we take.
    Wrong(Box<Diag>),
}

impl From<Box<Diag>> for Failure {
    fn from(diag: Box<Diag>) -> Self {
        Failure::Wrong(diag)
    }
}

type Fallible<T> = Result<T, Box<Diag>>;

/// A list or dictionary that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    tag: Option<Arc<str>>,
    unsafe_inside: bool,
    body: Body,
    size: usize,
    height: usize,
}

enum Body {
    Seq(Vec<Node>),
    Map { key: Option<Node>, entries: Vec<(Node, Node)>, seen: HashMap<KeyId, usize>, merges: Vec<Node> },
}

/// A finished node and what an alias to it costs.
#[derive(Clone)]
struct Done {
    node: Node,
    size: usize,
    height: usize,
}

struct Loader<'a> {
    file: &'a Arc<SourceFile>,
    diags: &'a mut Diags,
    layout: &'a Layout<'a>,
    anchors: HashMap<usize, Done>,
    stack: Vec<Open>,
    total: usize,
}

impl<'a> Loader<'a> {
    fn new(file: &'a Arc<SourceFile>, layout: &'a Layout<'a>, diags: &'a mut Diags) -> Self {
        Loader { file, diags, layout, anchors: HashMap::new(), stack: Vec::new(), total: 0 }
    }

    fn byte(&self, marker: &Marker) -> usize {
        self.layout.byte(marker.index())
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn load(mut self) -> Result<Node, Failure> {
        let file = self.file.clone();
        let layout = self.layout;
        let mut root: Option<Node> = None;
        let mut documents = 0;
        for event in Parser::new_from_str(&layout.text) {
            let (event, span) = event
                .map_err(|error| Failure::Scan { character: error.marker().index(), info: error.info().to_owned() })?;
            let (start, end) = (self.byte(&span.start), self.byte(&span.end));
            let done = match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Failure::Wrong(Box::new(
                            Diag::error("a second YAML document begins here; a file holds one")
                                .at(&self.span(start, end))
                                .with_help("put it into a file of its own, or remove the `---`"),
                        )));
                    }
                    continue;
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {
                    continue;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(start, anchor, tag.as_deref(), Body::Seq(Vec::new()))?;
                    continue;
                }
                Event::MappingStart(anchor, tag) => {
                    let body = Body::Map { key: None, entries: Vec::new(), seen: HashMap::new(), merges: Vec::new() };
                    self.open(start, anchor, tag.as_deref(), body)?;
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match self.close(start, end)? {
                    Some(done) => done,
                    None => continue,
                },
                Event::Alias(id) => match self.anchors.get(&id) {
                    Some(done) => done.clone(),
                    None => {
                        return Err(Failure::Wrong(Box::new(
                            Diag::error("this alias stands inside the value that it names").at(&self.span(start, end)),
                        )));
                    }
                },
                Event::Scalar(text, style, anchor, tag) => {
                    let node = self.scalar(&text, style, tag.as_deref(), start, end)?;
                    let done = Done { node, size: 1, height: 0 };
                    if anchor != 0 {
                        self.anchors.insert(anchor, done.clone());
                    }
                    done
                }
            };
            if let Some(node) = self.add(done, start, end)? {
                root = Some(node);
            }
        }
        Ok(root.unwrap_or_else(|| Node::new(Span::start_of(&file), NodeValue::Null)))
    }

    fn open(&mut self, start: usize, anchor: usize, tag: Option<&Tag>, body: Body) -> Fallible<()> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Box::new(
                Diag::error(format!("nested deeper than {MAX_DEPTH} levels")).at(&self.span(start, start + 1)),
            ));
        }
        let is_map = matches!(body, Body::Map { .. });
        let tag = match tag.map(tag_text).as_deref() {
            None | Some("!") => None,
            Some("!unsafe") => Some(Arc::from("!unsafe")),
            Some("tag:yaml.org,2002:seq") if !is_map => None,
            Some("tag:yaml.org,2002:map" | "tag:yaml.org,2002:set" | "tag:yaml.org,2002:omap") if is_map => None,
            Some("tag:yaml.org,2002:omap" | "tag:yaml.org,2002:pairs") => None,
            Some(other) => return Err(self.unknown_tag(other, start)),
        };
        let unsafe_inside = tag.is_some() || self.stack.last().is_some_and(|open| open.unsafe_inside);
        self.stack.push(Open { start, anchor, tag, unsafe_inside, body, size: 1, height: 0 });
        Ok(())
    }

    fn close(&mut self, start: usize, end: usize) -> Fallible<Option<Done>> {
        let Some(open) = self.stack.pop() else {
            return Ok(None);
        };
        let (value, last) = match open.body {
            Body::Seq(items) => {
                let last = items.last().map_or(open.start, |item| item.span.end);
                (NodeValue::Seq(items.into()), last)
            }
            Body::Map { entries, merges, .. } => {
                let last = entries.last().map_or(open.start, |(_, value)| value.span.end);
                let entries = merge(entries, &merges);
                (NodeValue::Map(Arc::new(Mapping::new(entries))), last)
            }
        };
        // A flow collection ends with its bracket; a block's end is that of its last member.
        let end = if end > start { end } else { last };
        let tag = open.tag.or_else(|| open.unsafe_inside.then(|| Arc::from("!unsafe")));
        let node = Node::from_data(NodeData {
            span: self.span(open.start, end.max(open.start)),
            tag,
            value,
            style: ScalarStyle::Plain,
        });
        let done = Done { node, size: open.size, height: open.height + 1 };
        if open.anchor != 0 {
            self.anchors.insert(open.anchor, done.clone());
        }
        Ok(Some(done))
    }

    /// Puts a finished node where it belongs; the root is handed back.
    fn add(&mut self, done: Done, start: usize, end: usize) -> Fallible<Option<Node>> {
        self.total = self.total.saturating_add(done.size);
        if self.total > MAX_EXPANDED.max(self.file.text.len()) || done.height + self.stack.len() > MAX_DEPTH {
            return Err(Box::new(
                Diag::error("aliases blow this document up beyond reason")
                    .label(&self.span(start, end), "this one is too many"),
            ));
        }
        let file = self.file.clone();
        let Some(open) = self.stack.last_mut() else {
            return Ok(Some(done.node));
        };
        open.size = open.size.saturating_add(done.size);
        open.height = open.height.max(done.height);
        match &mut open.body {
            Body::Seq(items) => items.push(done.node),
            Body::Map { key: key @ None, .. } => {
                if !done.node.is_scalar() {
                    return Err(Box::new(bad_key(&file, &done.node)));
                }
                *key = Some(done.node);
            }
            Body::Map { key: slot @ Some(_), entries, seen, merges } => {
                let Some(key) = slot.take() else {
                    return Ok(None);
                };
                let is_merge = key.as_str() == Some("<<") && key.style == ScalarStyle::Plain;
                if is_merge {
                    check_merge(&done.node)?;
                    merges.push(done.node);
                    return Ok(None);
                }
                // Keys are scalars here, so they have an identity.
                let Some(id) = key.key_id() else { return Ok(None) };
                if let Some(earlier) = seen.get(&id) {
                    if let Some(entry) = entries.get_mut(*earlier) {
                        self.diags.push(
                            Diag::warning(format!("duplicate key `{}`; the last value is used", key.raw()))
                                .coded("duplicate-key")
                                .label(&key.span, "this one counts")
                                .label(&entry.0.span, "this one is ignored"),
                        );
                        *entry = (key, done.node);
                    }
                    return Ok(None);
                }
                seen.insert(id, entries.len());
                entries.push((key, done.node));
            }
        }
        Ok(None)
    }

    fn scalar(&mut self, text: &str, style: Style, tag: Option<&Tag>, start: usize, end: usize) -> Fallible<Node> {
        // The scanner's end can lie behind trailing blanks and comments.
        let end = match style {
            Style::Plain => {
                let raw = self.file.text.get(start..end).unwrap_or_default();
                start + raw.trim_end().len()
            }
            Style::Literal | Style::Folded => {
                let raw = self.file.text.get(start..end).unwrap_or_default();
                start + raw.trim_end_matches(['\n', '\r', ' ']).len()
            }
            _ => end,
        };
        let span = self.span(start, end);
        let node_style = match style {
            Style::Plain => ScalarStyle::Plain,
            Style::SingleQuoted | Style::DoubleQuoted => ScalarStyle::Quoted,
            Style::Literal | Style::Folded => ScalarStyle::Block,
        };
        let string = || NodeValue::Str(Arc::from(text));
        let inherited = self.stack.last().is_some_and(|open| open.unsafe_inside).then(|| Arc::from("!unsafe"));
        let (tag, value) = match tag.map(tag_text).as_deref() {
            None if style == Style::Plain => {
                if is_sexagesimal(text) {
                    self.diags.push(
                        Diag::warning(format!("`{text}` is read as a number in base 60"))
                            .coded("base-60")
                            .at(&span)
                            .with_help("put it in quotes if it is a time, a port pair or an address"),
                    );
                }
                (inherited, resolve_plain(text))
            }
            None => (inherited, string()),
            Some("!") | Some("tag:yaml.org,2002:str") => (inherited, string()),
            Some("!vault" | "!vault-encrypted") => (Some(Arc::from("!vault")), string()),
            Some("!unsafe") => (Some(Arc::from("!unsafe")), string()),
            Some(
                full @ ("tag:yaml.org,2002:int"
                | "tag:yaml.org,2002:float"
                | "tag:yaml.org,2002:bool"
                | "tag:yaml.org,2002:null"),
            ) => {
                let value = match (full.rsplit(':').next(), resolve_plain(text)) {
                    (Some("float"), NodeValue::Int(int)) => NodeValue::Float(int as f64),
                    (Some("int"), value @ NodeValue::Int(_))
                    | (Some("float"), value @ NodeValue::Float(_))
                    | (Some("bool"), value @ NodeValue::Bool(_))
                    | (Some("null"), value @ NodeValue::Null) => value,
                    (Some("float"), _) if text.parse::<f64>().is_ok() => {
                        NodeValue::Float(text.parse().unwrap_or_default())
                    }
                    (kind, _) => {
                        return Err(Box::new(
                            Diag::error(format!("`{text}` is no {}", kind.unwrap_or_default())).at(&span),
                        ));
                    }
                };
                (inherited, value)
            }
            Some("tag:yaml.org,2002:timestamp" | "tag:yaml.org,2002:binary") => (inherited, string()),
            Some(other) => return Err(self.unknown_tag(other, start)),
        };
        Ok(Node::from_data(NodeData { span, tag, value, style: node_style }))
    }

    fn unknown_tag(&self, tag: &str, start: usize) -> Box<Diag> {
        let diag = Diag::error(format!("unknown tag `{tag}`"))
            .at(&self.span(start, start))
            .with_note("tags known here are `!vault` and `!unsafe`");
        // A condition may begin with `!` in other languages, and a glob in this one.
        Box::new(diag.with_help("put the value in quotes if the `!` belongs to it"))
    }
}

fn tag_text(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

/// `<<` takes a dictionary or a list of dictionaries.
fn check_merge(value: &Node) -> Fallible<()> {
    let items = match &value.value {
        NodeValue::Seq(items) => items.as_ref(),
        _ => std::slice::from_ref(value),
    };
    match items.iter().find(|item| item.as_map().is_none()) {
        None => Ok(()),
        Some(item) => {
            Err(Box::new(Diag::error(format!("`<<` merges dictionaries, and this is {}", item.kind())).at(&item.span)))
        }
    }
}

/// What merges bring, first those of lower rank, overridden by the dictionary's own entries.
fn merge(own: Vec<(Node, Node)>, merges: &[Node]) -> Vec<(Node, Node)> {
    if merges.is_empty() {
        return own;
    }
    let mut entries: Vec<(Node, Node)> = Vec::new();
    let mut at: HashMap<KeyId, usize> = HashMap::new();
    let mut put = |key: &Node, value: &Node| {
        let Some(id) = key.key_id() else { return };
        match at.get(&id).and_then(|at| entries.get_mut(*at)) {
            Some(entry) => *entry = (key.clone(), value.clone()),
            None => {
                at.insert(id, entries.len());
                entries.push((key.clone(), value.clone()));
            }
        }
    };
    for merged in merges {
        let items = match &merged.value {
            NodeValue::Seq(items) => items.as_ref(),
            _ => std::slice::from_ref(merged),
        };
        // Of a list the earlier one wins.
        for map in items.iter().rev().filter_map(Node::as_map) {
            map.iter().for_each(|(key, value)| put(key, value));
        }
    }
    own.iter().for_each(|(key, value)| put(key, value));
    entries
}
