//! Structured texts by key: what was added, removed or changed in YAML, JSON, option files and provider options.

use super::text::{Hunk, Tag, changed, hunks};
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A value that is longer is read better in its text.
const LONG: usize = 160;

/// A value before and after. One that is equal on both sides is shown for orientation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it stands: `[mysqld] port`, `users[name=bob].uid`.
    pub key: String,
    /// Its value before, if it was there.
    pub before: Option<String>,
    /// Its value after, if it is there.
    pub after: Option<String>,
}

/// How two texts differ by their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// What differs.
    pub rows: Vec<Row>,
    /// The lines need not be shown beside: nothing but this is in them, and this is shorter.
    pub enough: bool,
}

/// Compares two texts, if the file's name and both of them say that they are structured.
pub fn compare(name: &str, before: &str, after: &str) -> Option<Keys> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let end = file.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match end.as_str() {
        "json" => {
            let read = |text: &str| serde_json::from_str::<Value>(text).ok();
            let (old, new) = (read(before)?, read(after)?);
            let moved = moved(&old, &new);
            Some(judged(values(&old, &new), &hunks(before, after, 0), |_| !moved))
        }
        "yml" | "yaml" => {
            let read = |text: &str| {
                let value: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
                serde_json::to_value(value).ok()
            };
            let (old, new) = (read(before)?, read(after)?);
            let moved = moved(&old, &new);
            let told = |line: &str| !moved && !line.contains('#');
            Some(judged(values(&old, &new), &hunks(before, after, 0), told))
        }
        "ini" | "cnf" | "cfg" | "conf" | "service" | "timer" | "socket" | "mount" | "network" | "netdev" | "repo"
        | "desktop" => {
            let (old, new) = (options(before, end == "cnf")?, options(after, end == "cnf")?);
            let rows = split(entries(&old, &new));
            let names: BTreeSet<String> = old.keys().chain(new.keys()).map(|(_, name)| name.clone()).collect();
            let differs: BTreeSet<&str> = (old.keys().chain(new.keys()))
                .filter(|key| old.get(*key) != new.get(*key))
                .map(|(_, name)| name.as_str())
                .collect();
            let moved = !same_order(&places(before), &places(after));
            // Each line that changed must be one of a key that did; comments are none, and nothing tells of an order.
            let told = |line: &str| {
                let name = line.split('=').next().unwrap_or_default().trim();
                !moved && (!names.contains(name) && is_section(line) || differs.contains(name))
            };
            Some(judged(rows, &hunks(before, after, 0), told))
        }
        _ => None,
    }
}

/// Whether the rows are enough: every changed line is `told` by them, and they are fewer.
fn judged(rows: Vec<Row>, hunks: &[Hunk], told: impl Fn(&str) -> bool) -> Keys {
    let mut lines = hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag != Tag::Same);
    let all = lines.all(|line| {
        let text: String = line.parts.iter().map(|(_, part)| part.as_str()).collect();
        text.trim().is_empty() || told(text.trim())
    });
    let long = |side: &Option<String>| side.as_ref().is_some_and(|text| text.len() > LONG || text.contains('\n'));
    let readable = rows.iter().all(|row| !long(&row.before) && !long(&row.after));
    let enough = all && readable && !rows.is_empty() && rows.len() <= changed(hunks) + hunks.len();
    Keys { rows, enough }
}

/// How two values differ, by their keys.
pub fn values(before: &Value, after: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    walk("", Some(before), Some(after), &mut rows);
    split(rows)
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, rows: &mut Vec<Row>) {
    if before == after {
        return;
    }
    let inside = |key: &str| match path {
        "" => word(key),
        _ => format!("{path}.{}", word(key)),
    };
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (key, value) in old {
                walk(&inside(key), Some(value), new.get(key), rows);
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                walk(&inside(key), None, Some(value), rows);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(path, old, new, rows),
        _ => {
            let shown = |side: Option<&Value>| side.map(show);
            rows.push(Row { key: path.to_string(), before: shown(before), after: shown(after) });
        }
    }
}

/// Items that have names are compared by name, plain ones as a list of lines, others by their place.
fn lists(path: &str, old: &[Value], new: &[Value], rows: &mut Vec<Row>) {
    for label in LABELS {
        if let (Some(old), Some(new)) = (named(old, label), named(new, label)) {
            for (name, value) in &old {
                walk(&format!("{path}[{label}={name}]"), Some(value), new.get(name).copied(), rows);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                walk(&format!("{path}[{label}={name}]"), None, Some(value), rows);
            }
            let names = |named: &Items<'_>| named.keys().map(|name| name.to_string()).collect::<Vec<_>>();
            rows.extend(order(&format!("{path}[{label}]"), &names(&old), &names(&new)));
            return;
        }
    }
    let plain = |values: &[Value]| values.iter().all(|value| !value.is_object() && !value.is_array());
    if plain(old) && plain(new) {
        let count = |values: &[Value]| {
            values.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<String, usize>, value| {
                *counts.entry(show(value)).or_default() += 1;
                counts
            })
        };
        let (had, has) = (count(old), count(new));
        for item in had.keys().chain(has.keys()).collect::<BTreeSet<_>>() {
            let of = |counts: &BTreeMap<String, usize>| counts.get(item).copied().unwrap_or(0);
            for _ in of(&has)..of(&had) {
                rows.push(Row { key: format!("{path}[]"), before: Some(item.clone()), after: None });
            }
            for _ in of(&had)..of(&has) {
                rows.push(Row { key: format!("{path}[]"), before: None, after: Some(item.clone()) });
            }
        }
        let all = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>();
        rows.extend(order(&format!("{path}[]"), &all(old), &all(new)));
        return;
    }
    for index in 0..old.len().max(new.len()) {
        walk(&format!("{path}[{index}]"), old.get(index), new.get(index), rows);
    }
}

/// A row that says so, where what stands on both sides stands in another order.
fn order(path: &str, old: &[String], new: &[String]) -> Option<Row> {
    let all = |items: &[String]| Some(items.join(", "));
    (!same_order(old, new)).then(|| Row {
        key: format!("{path} (order)").trim().into(),
        before: all(old),
        after: all(new),
    })
}

/// Whether what stands on both sides equally often stands in the same order.
fn same_order<T: Ord>(old: &[T], new: &[T]) -> bool {
    let mut counts: BTreeMap<&T, (usize, usize)> = BTreeMap::new();
    old.iter().for_each(|item| counts.entry(item).or_default().0 += 1);
    new.iter().for_each(|item| counts.entry(item).or_default().1 += 1);
    let stays = |item: &&T| counts.get(item).is_some_and(|(had, has)| had == has);
    old.iter().filter(stays).eq(new.iter().filter(stays))
}

/// Whether keys that stand on both sides stand in another order, at any depth.
fn moved(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            let inside = |(key, value): (&String, &Value)| new.get(key).is_some_and(|other| moved(value, other));
            !same_order(&keys(old), &keys(new)) || old.iter().any(inside)
        }
        // Their own order is told by their rows.
        (Value::Array(old), Value::Array(new)) => {
            for label in LABELS {
                if let (Some(old), Some(new)) = (named(old, label), named(new, label)) {
                    return old.iter().any(|(name, value)| new.get(name).is_some_and(|other| moved(value, other)));
                }
            }
            old.iter().zip(new).any(|(old, new)| moved(old, new))
        }
        _ => false,
    }
}

/// What items of a list may call themselves by.
const LABELS: [&str; 5] = ["name", "id", "host", "path", "key"];

/// Items of a list by their names.
type Items<'v> = IndexMap<String, &'v Value>;

/// A list's items by what they call themselves, if each does and no two the same.
fn named<'v>(values: &'v [Value], label: &str) -> Option<Items<'v>> {
    let all: Option<Items<'_>> =
        values.iter().map(|value| Some((value.get(label)?.as_str()?.to_string(), value))).collect();
    all.filter(|all| all.len() == values.len())
}

fn word(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-/".contains(c));
    if plain { key.to_string() } else { format!("{key:?}") }
}

fn show(value: &Value) -> String {
    match value {
        // What would be read as something else stands in quotes: "1", "true", "".
        Value::String(text) if text.trim() == text && serde_json::from_str::<Value>(text).is_err() => {
            match text.as_str() {
                "" => value.to_string(),
                text if text.contains('\n') => value.to_string(),
                text => text.to_string(),
            }
        }
        value => value.to_string(),
    }
}

/// Sections and keys of an option file; each key with all its values, because some may be given several times.
type Options = BTreeMap<(String, String), Vec<String>>;

/// Reads an option file. `bare` keys without a value are those of database servers.
fn options(text: &str, bare: bool) -> Option<Options> {
    let mut found = Options::new();
    let mut section = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.ends_with('\\') {
            return None;
        }
        if is_section(line) {
            section = line.to_string();
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim(), value.trim().to_string()),
            None if bare => (line, String::new()),
            None => return None,
        };
        if key.is_empty() || !bare && key.contains(char::is_whitespace) {
            return None;
        }
        found.entry((section.clone(), key.to_string())).or_default().push(value);
    }
    Some(found)
}

/// Sections and keys of an option file in the order in which they stand.
fn places(text: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if is_section(line) {
            section = line.to_string();
        }
        let key = if is_section(line) { "" } else { line.split('=').next().unwrap_or_default().trim() };
        found.push((section.clone(), key.to_string()));
    }
    found
}

fn is_section(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

fn entries(old: &Options, new: &Options) -> Vec<Row> {
    let keys: BTreeSet<&(String, String)> = old.keys().chain(new.keys()).collect();
    let mut rows = Vec::new();
    for at in keys {
        let key =
            [at.0.as_str(), at.1.as_str()].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let (had, has) = (old.get(at).cloned().unwrap_or_default(), new.get(at).cloned().unwrap_or_default());
        if had == has {
            continue;
        }
        if had.len() < 2 && has.len() < 2 {
            rows.push(Row { key, before: had.into_iter().next(), after: has.into_iter().next() });
        } else {
            let side = |values: &[String]| (!values.is_empty()).then(|| values.join(" | "));
            rows.push(Row { key, before: side(&had), after: side(&has) });
        }
    }
    rows
}

/// Values that are lists of options themselves (`a=b; c=d`) are taken apart.
fn split(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().flat_map(|row| provider_options(&row).unwrap_or_else(|| vec![row])).collect()
}

/// The options of Galera's provider in a value before and after.
fn provider_options(row: &Row) -> Option<Vec<Row>> {
    let read = |text: &str| -> Option<IndexMap<String, String>> {
        let bare = text.trim().trim_matches(['"', '\'']);
        let parts = bare.split(';').map(str::trim).filter(|part| !part.is_empty());
        let options: Option<IndexMap<_, _>> = parts
            .map(|part| {
                let (key, value) = part.split_once('=')?;
                let key = key.trim();
                // `gcache.size`, `pc.weight`: without a dot it is some other value with an equals sign in it.
                let fits = key.contains('.') && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
                fits.then(|| (key.to_string(), value.trim().to_string()))
            })
            .collect();
        options.filter(|options| !options.is_empty())
    };
    let (old, new) = (read(row.before.as_ref()?)?, read(row.after.as_ref()?)?);
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let names = |options: &IndexMap<String, String>| options.keys().cloned().collect::<Vec<_>>();
    let order = order(&row.key, &names(&old), &names(&new));
    let rows: Vec<Row> = keys
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Row {
            key: format!("{} {key}", row.key).trim().to_string(),
            before: old.get(key).cloned(),
            after: new.get(key).cloned(),
        })
        .chain(order)
        .collect();
    (!rows.is_empty()).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(keys: &Keys) -> String {
        let mut text: String = keys
            .rows
            .iter()
            .map(|row| {
                let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
                format!("{}: {} > {}\n", row.key, side(&row.before), side(&row.after))
            })
            .collect();
        text += if keys.enough { "enough" } else { "not enough" };
        text
    }

    #[test]
    fn structured_texts_are_compared_by_key() {
        for (name, before, after, expected) in [
            (
                "/etc/mysql/galera.cnf",
                "# ours\n[mysqld]\nport = 3306\nskip-name-resolve\nwsrep_provider_options=\"gcache.size=128M; pc.weight=1\"\n",
                "# ours\n[mysqld]\nport = 3307\nskip-name-resolve\nwsrep_provider_options=\"gcache.size=1G; gcs.fc_limit=64; pc.weight=1\"\nbind = ::\n",
                "[mysqld] bind: - > ::\n[mysqld] port: 3306 > 3307\n[mysqld] wsrep_provider_options gcache.size: 128M > 1G\n\
                 [mysqld] wsrep_provider_options gcs.fc_limit: - > 64\nenough",
            ),
            // A comment, or a line that moved, is told by no key.
            ("a.ini", "[a]\nx=1\n# why\n", "[a]\nx=2\n# because\n", "[a] x: 1 > 2\nnot enough"),
            ("a.ini", "[a]\nx=1\ny=1\n", "[a]\ny=1\nx=2\n", "[a] x: 1 > 2\nnot enough"),
            ("a.ini", "[a]\nx=1\n[b]\nx=1\n", "[b]\nx=1\n[a]\nx=2\n", "[a] x: 1 > 2\nnot enough"),
            ("a.ini", "[a]\nx=1\n[b]\nx=1\n", "[b]\nx=1\n[a]\nx=1\n", "not enough"),
            (
                "a.ini",
                "[a]\nx=1\ny=1\n",
                "[a]\nw=1\nx=1\nz=1\ny=2\n",
                "[a] w: - > 1\n[a] y: 1 > 2\n[a] z: - > 1\nenough",
            ),
            ("x.service", "[S]\nE=a\nX=1\nE=b\nY=1\n", "[S]\nE=a\nE=b\nX=1\nY=2\n", "[S] Y: 1 > 2\nnot enough"),
            (
                "a.cnf",
                "[m]\np=a.b=1;c.d=2\nq=1\n",
                "[m]\np=c.d=2;a.b=1\nq=2\n",
                "[m] p (order): a.b, c.d > c.d, a.b\n[m] q: 1 > 2\nenough",
            ),
            (
                "a.ini",
                "[a]\nx=1\ny=1\n",
                "[b]\nx=1\ny=1\n",
                "[a] x: 1 > -\n[a] y: 1 > -\n[b] x: - > 1\n[b] y: - > 1\nnot enough",
            ),
            ("x.service", "[S]\nE=a\nE=b\n", "[S]\nE=a\nE=c\n", "[S] E: a | b > a | c\nenough"),
            (
                "x.json",
                r#"{"a": {"b c": 1}, "l": ["x", "y"], "u": [{"name": "bob", "id": 1}]}"#,
                r#"{"a": {"b c": "1"}, "l": ["y", "z"], "u": [{"name": "eve"}, {"name": "bob", "id": 2}]}"#,
                "a.\"b c\": 1 > \"1\"\nl[]: x > -\nl[]: - > z\nu[name=bob].id: 1 > 2\nu[name=eve]: - > {\"name\":\"eve\"}\nnot enough",
            ),
            ("x.json", "{\n\"a\": 1,\n\"b\": 2\n}", "{\n\"b\": 2,\n\"a\": 3\n}", "a: 1 > 3\nnot enough"),
            ("x.json", "{\n\"a\": 1,\n\"b\": 2\n}", "{\n\"a\": 3,\n\"b\": 2\n}", "a: 1 > 3\nenough"),
            ("x.yml", "l: [a, b]\n", "l: [b, c, a]\n", "l[]: - > c\nl[] (order): a, b > b, c, a\nenough"),
            ("x.yml", "l: [a, b, a]\n", "l: [a, a, b]\n", "l[] (order): a, b, a > a, a, b\nenough"),
            (
                "x.yml",
                "u:\n- {name: a, x: 1}\n- {name: b}\n",
                "u:\n- {name: b}\n- {name: a, x: 2}\n",
                "u[name=a].x: 1 > 2\nu[name] (order): a, b > b, a\nenough",
            ),
            ("x.yml", "u:\n- {id: p, x: 1, y: 1}\n", "u:\n- {id: p, y: 1, x: 2}\n", "u[id=p].x: 1 > 2\nnot enough"),
            ("x.yml", "a: 1\nb: [1, 2]\n", "a: 2\nb: [1, 2]\n", "a: 1 > 2\nenough"),
            ("x.yml", "a: 1 # one\n", "a: 2 # two\n", "a: 1 > 2\nnot enough"),
            ("x.yml", "a: 1\nb: 2\n", "b: 2\na: 1\n", "not enough"),
        ] {
            assert_eq!(shown(&compare(name, before, after).unwrap()), expected, "{name}: {after}");
        }
    }

    #[test]
    fn what_is_not_structured_is_none() {
        for (name, text) in [
            ("/etc/hosts", "a=b\n"),
            ("x.json", "{"),
            ("x.yml", "a: 1\n---\nb: 1\n"),
            ("nginx.conf", "server {\n  listen 80;\n}\n"),
            ("sshd.conf", "PermitRootLogin no\n"),
            ("x.service", "[S]\nE=a \\\n  b\n"),
        ] {
            assert_eq!(compare(name, text, &format!("{text}a=c\n")), None, "{name}");
        }
    }
}
