//! Variables that say how a host is reached, where nobody has written them: `ansible_connection`, `ansible_host`,
//! `ansible_user` and their other names. Roles ask for them (`when: ansible_connection != 'local'`).

use super::variables::At;
use crate::inventory::LOCALHOST;
use crate::playbook::Keywords;
use crate::source::Node;
use crate::template::{Layer, LayerOfLastResort, Raw, Value};
use std::sync::Arc;

/// What they are for `at`, made when one of them is asked for that no layer has.
pub fn of(at: At<'_>) -> Arc<LayerOfLastResort> {
    let none = Keywords::default();
    let own = at.task.map_or(&none, |task| &*task.keywords);
    // One that is a template may ask for these variables itself (`remote_user: "{{ ansible_user | default('root') }}"`):
    // then they are what they would be without this.
    let keyword = |of: fn(&Keywords) -> Option<&Node>| at.frame.keyword(own, of);
    let written = |node: &Node| (!node.has_template()).then(|| Raw::Node(node.clone()));
    let usual = at.play.run.fleet.usual();
    let text = |text: &Option<String>| text.as_deref().map(|text| Raw::Value(Value::from(text)));
    let here = |node: &Node| node.as_str().is_some_and(|host| LOCALHOST.contains(&host));
    // Who is delegated to the controller is not reached by way of the network.
    let delegated = at.frame.keyword(own, |k| k.delegate_to.as_ref()).is_some_and(here);
    let delegated = delegated && !LOCALHOST.contains(&&*at.host.name);
    let connection = match (delegated, keyword(|k| k.connection.as_ref())) {
        (true, _) => text(&Some("local".into())),
        (false, Some(node)) => written(node),
        (false, None) => text(&usual.connection).or_else(|| text(&Some("ssh".into()))),
    };
    let user = match keyword(|k| k.remote_user.as_ref()) {
        Some(node) => written(node),
        None => text(&usual.user),
    };
    let name = at.host.name.clone();
    let delegated_vars = super::variables::delegated(at);
    LayerOfLastResort::new("ansible_", move |layers| {
        let given = |name: &str| layers.iter().rev().find_map(|layer| layer.get(name)).cloned();
        let mut layer = Layer::new();
        // There as soon as there is a host: roles look into it to know what is to be gathered.
        layer.insert("ansible_facts".into(), Raw::Value(Value::from_pairs([] as [(Value, Value); 0])));
        let delegated = delegated_vars.as_ref().map(|of| Raw::Value(of(layers)));
        layer.extend(delegated.map(|raw| ("ansible_delegated_vars".into(), raw)));
        layer.extend(connection.clone().map(|raw| ("ansible_connection".into(), raw)));
        let address = Some(Raw::Value(Value::from(&*name)));
        for (one, other, otherwise) in [
            ("ansible_host", "ansible_ssh_host", &address),
            ("ansible_user", "ansible_ssh_user", &user),
            ("ansible_port", "ansible_ssh_port", &None),
            ("ansible_private_key_file", "ansible_ssh_private_key_file", &None),
        ] {
            // What is written as a template may be written in words of its other name.
            let plain = |raw: &Raw| !matches!(raw, Raw::Node(node) if node.has_template());
            let known = given(one).or_else(|| given(other));
            let Some(raw) = known.or_else(|| otherwise.clone()).filter(plain) else { continue };
            layer.insert(one.into(), raw.clone());
            layer.insert(other.into(), raw);
        }
        layer
    })
}
