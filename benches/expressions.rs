//! Part of `language.py`: renders so many expressions on one thread and says how long it took, in seconds.
//!
//! Usage: expressions NUMBER

use deploy::template::{Layer, Raw, Scope, Templar, from_json};
use std::collections::BTreeMap;
use std::time::Instant;

/// What roles ask: plain values, values of values, filters, conditions, lists built up, texts around them.
const ASKED: &[&str] = &[
    "{{ port }}",
    "{{ address }}:{{ port }}",
    "{{ users | map(attribute='name') | join(',') }}",
    "{{ mode | default('0644') }}",
    "{{ (number | int) * 2 + 1 }}",
    "{{ nodes | selectattr('dc', 'equalto', 'a') | list | length }}",
    "{% for node in nodes %}{{ node.name }}={{ node.dc }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{{ name | regex_replace('^host([0-9]+)$', 'node-\\1') }}",
    "{{ 'primary' if number == 3 else 'replica' }}",
    "{{ settings | combine({'c': number}) | to_json }}",
];

const VARIABLES: &str = r#"{"port": 3306, "address": "{{ name }}.{{ domain }}", "domain": "example.net", "name": "host17",
    "users": [{"name": "anna"}, {"name": "bert"}, {"name": "carl"}], "settings": {"a": 1, "b": [1, 2]},
    "nodes": [{"name": "n1", "dc": "a"}, {"name": "n2", "dc": "b"}, {"name": "n3", "dc": "a"}]}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number: usize = std::env::args().nth(1).as_deref().unwrap_or("100000").parse()?;
    let values: BTreeMap<String, serde_json::Value> = serde_json::from_str(VARIABLES)?;
    let layer: Layer =
        values.iter().map(|(name, value)| (name.as_str().into(), Raw::Value(from_json(value)))).collect();
    let templar = Templar::default();
    let scope = Scope::new(&templar).with(layer);
    let began = Instant::now();
    let mut length = 0;
    for (place, text) in ASKED.iter().cycle().take(number).enumerate() {
        // Each its own item, as in a loop: nothing of the one before serves the next.
        let scope = scope.with_var("number", Raw::Value(from_json(&(place % 7).into())));
        length += deploy::template::display(&templar.template_str(text, &scope)?.value).len();
    }
    println!("{:.3} {length}", began.elapsed().as_secs_f64());
    Ok(())
}
