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
    let keyword = |of: fn(&Keywords) -> Option<&Node>| at.frame.keyword(own, of).cloned().map(Raw::Node);
    let usual = at.play.run.fleet.usual();
    let text = |text: &Option<String>| text.as_deref().map(|text| Raw::Value(Value::from(text)));
    let here = |node: &Node| node.as_str().is_some_and(|host| LOCALHOST.contains(&host));
    // Who is delegated to the controller is not reached by way of the network.
    let delegated = at.frame.keyword(own, |k| k.delegate_to.as_ref()).is_some_and(here);
    let delegated = delegated && !LOCALHOST.contains(&&*at.host.name);
    let connection = match delegated {
        true => Raw::Value(Value::from("local")),
        false => keyword(|k| k.connection.as_ref())
            .or_else(|| text(&usual.connection))
            .unwrap_or_else(|| Raw::Value(Value::from("ssh"))),
    };
    let user = keyword(|k| k.remote_user.as_ref()).or_else(|| text(&usual.user));
    let name = at.host.name.clone();
    LayerOfLastResort::new("ansible_", move |layers| {
        let given = |name: &str| layers.iter().rev().find_map(|layer| layer.get(name)).cloned();
        let mut layer = Layer::new();
        layer.insert("ansible_connection".into(), connection.clone());
        let address = Some(Raw::Value(Value::from(&*name)));
        for (one, other, otherwise) in [
            ("ansible_host", "ansible_ssh_host", &address),
            ("ansible_user", "ansible_ssh_user", &user),
            ("ansible_port", "ansible_ssh_port", &None),
            ("ansible_private_key_file", "ansible_ssh_private_key_file", &None),
        ] {
            let Some(raw) = given(one).or_else(|| given(other)).or_else(|| otherwise.clone()) else { continue };
            layer.insert(one.into(), raw.clone());
            layer.insert(other.into(), raw);
        }
        layer
    })
}
