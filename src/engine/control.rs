//! Modules that are part of the play's logic, carried out here: debug, assert, set_fact, meta and their like.

use super::call::{Call, Known, Trouble};
use super::host::Kind;
use super::play::Ending;
use super::prepare::{self, Prepared};
use super::run::{Addition, Run};
use super::task::Finished;
use super::unknown::{self, depends};
use super::walker::{Flow, Walker};
use crate::modules::control::{Assert, Debug, Fail, GroupBy, MetaAction, Pause};
use crate::modules::scalars::Flag;
use crate::modules::{Module, Outcome, decode};
use crate::playbook::python_type;
use crate::source::{Node, Span, is_variable_name};
use crate::template::{Raw, display, from_json, to_json, to_shown};
use serde_json::{Map, Value, json};

/// The module's short name.
fn short(module: &Module) -> &'static str {
    module.name.rsplit('.').next().unwrap_or(module.name)
}

/// Whether the module brings further tasks into the play.
pub fn is_include(module: &Module) -> bool {
    matches!(short(module), "include_tasks" | "include_role" | "import_tasks" | "import_role")
        && module.name.starts_with("ansible.builtin.")
}

/// Whether it brings a role.
pub fn is_role(module: &Module) -> bool {
    matches!(module.name, "ansible.builtin.include_role" | "ansible.builtin.import_role")
}

/// Whether one host does it for all of a batch.
pub fn is_once(module: &Module) -> bool {
    matches!(module.name, "ansible.builtin.add_host" | "ansible.builtin.pause" | "deploy.builtin.galera_gate")
}

/// Whether its answer sets facts, so that a host must not run ahead of it: whatever reads a variable later may
/// read one of them.
pub fn sets_facts(module: &Module) -> bool {
    matches!(
        module.name,
        "ansible.builtin.setup"
            | "ansible.builtin.package_facts"
            | "ansible.builtin.service_facts"
            | "ansible.builtin.getent"
            | "ansible.builtin.hostname"
    )
}

/// Whether hosts must have met before it.
pub fn meets(module: &Module) -> bool {
    matches!(
        module.name,
        "ansible.builtin.add_host"
            | "ansible.builtin.group_by"
            | "ansible.builtin.pause"
            | "deploy.builtin.galera_gate"
    )
}

/// Whether hosts must meet behind it as well: what all of them made of it is what the next task sees.
pub fn meets_after(module: &Module) -> bool {
    module.name == "ansible.builtin.group_by"
}

/// Carries out a control module whose conditions hold.
pub async fn run(walker: &Walker, call: &Call, module: &'static Module) -> Result<Prepared, Trouble> {
    let name = short(module);
    if name == "assert" {
        return assert(call, module).await.map(Prepared::Done);
    }
    if name == "debug" {
        return debug(call).await.map(Prepared::Done);
    }
    if name == "set_fact" {
        return set_fact(call).await.map(Prepared::Done);
    }
    let arguments = match prepare::arguments(call, module).await? {
        Known::Value(arguments) => arguments,
        Known::Unknown(touches) => {
            return Ok(Prepared::Done(depends("its arguments depend on", &touches)));
        }
    };
    match name {
        "fail" => {
            let fail: Fail = typed(arguments)?;
            // A list or a mapping is returned as it is.
            Ok(Prepared::Done(match fail.msg.filter(|msg| !msg.is_null()) {
                None => Outcome::failed("Failed as requested from task"),
                Some(Value::String(text)) => Outcome::failed(text),
                Some(msg) => Outcome::failed(msg.to_string()).with("msg", msg),
            }))
        }
        "meta" => meta(walker, call, &arguments).await,
        "set_stats" => super::stats::set(call, typed(arguments)?).map(Prepared::Done),
        "pause" => super::prompts::pause(call, typed::<Pause>(arguments)?).await.map(Prepared::Done),
        "add_host" => add_host(call, arguments).map(Prepared::Done),
        "group_by" => group_by(call, typed(arguments)?).map(Prepared::Done),
        "galera_gate" => super::gate::task(call, arguments).await.map(Prepared::Done),
        "validate_argument_spec" => Ok(Prepared::Done(super::role_spec::task(call, typed(arguments)?).await)),
        "include_vars" => super::include::vars(call, typed(arguments)?).await.map(Prepared::Done),
        other => Err(Trouble::Failed(format!("the engine does not know how to carry out `{other}`"))),
    }
}

fn typed<T: serde::de::DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Trouble> {
    decode(arguments).map_err(|error| Trouble::Failed(error.to_string()))
}

fn argument<'a>(call: &'a Call, names: &[&str]) -> Option<&'a Node> {
    let mut arguments = call.task.action.args.iter();
    arguments.find(|(key, _)| key.as_str().is_some_and(|key| names.contains(&key))).map(|(_, node)| node)
}

async fn debug(call: &Call) -> Result<Outcome, Trouble> {
    let _: &dyn Fn(Map<String, Value>) -> Result<Debug, Trouble> = &typed; // the argument's documentation lives there
    let verbosity = match argument(call, &["verbosity"]) {
        Some(node) => display(&call.known(node).await?).trim().parse::<u8>().unwrap_or(0),
        None => 0,
    };
    if verbosity > call.on.play.run.options.verbosity {
        return Ok(Outcome::skipped("Verbosity threshold not met."));
    }
    if argument(call, &["var"]).is_some() && argument(call, &["msg"]).is_some() {
        return Err(Trouble::Failed("parameters are mutually exclusive: msg|var".into()));
    }
    if let Some(node) = argument(call, &["var"]) {
        let text = node.scalar_text().unwrap_or_default();
        let mut inner = text.trim().trim_start_matches("{{").trim_end_matches("}}").trim().to_string();
        let templar = &call.on.play.run.templar;
        let template = inner != text.trim();
        let mut found = match template {
            true => call.value(node).await,
            false => call.evaluate(|scope| templar.expression(&inner, scope)).await,
        };
        // A template that gives the name of a variable means that variable. Nothing but a name is evaluated: what a host has
        // said must not become an expression.
        if template
            && let Ok(Known::Value(value)) = &found
            && let Value::String(name) = to_json(value)
            && is_variable_name(&name)
            && let Ok(Known::Value(value)) = call.evaluate(|scope| templar.expression(&name, scope)).await
            && !value.is_undefined()
        {
            inner = name;
            found = Ok(Known::Value(value));
        }
        let shown = match found {
            Ok(Known::Value(value)) if value.is_undefined() => undefined(&inner, None),
            Ok(Known::Value(value)) => to_shown(&value),
            Ok(Known::Unknown(touches)) => return Ok(depends("it shows", &touches)),
            Err(Trouble::Template(error)) if error.is_undefined() => undefined(&inner, Some(&error)),
            Err(other) => return Err(other),
        };
        return Ok(Outcome::ok().with(&inner, shown));
    }
    let msg = match argument(call, &["msg"]) {
        Some(node) => match call.value(node).await? {
            // An omitted argument has its default.
            Known::Value(value) if crate::template::is_omit(&value) => json!("Hello world!"),
            Known::Value(value) => to_shown(&value),
            Known::Unknown(touches) => return Ok(depends("it shows", &touches)),
        },
        None => json!("Hello world!"),
    };
    Ok(Outcome::ok().with("msg", msg))
}

/// What `debug` shows where there is nothing to show, in Ansible's words.
fn undefined(expression: &str, error: Option<&crate::template::TemplateError>) -> Value {
    let why = match error {
        Some(error) => error.innermost(),
        None => format!("'{expression}' is undefined"),
    };
    json!(format!("<< error 1 - {why} >>"))
}

async fn assert(call: &Call, _: &Module) -> Result<Outcome, Trouble> {
    let _: &dyn Fn(Map<String, Value>) -> Result<Assert, Trouble> = &typed;
    let Some(that) = argument(call, &["that"]) else {
        return Err(Trouble::Failed("assert needs `that`: a condition or a list of them".into()));
    };
    let conditions: Vec<Node> = match that.as_seq() {
        Some(items) => items.to_vec(),
        None => vec![that.clone()],
    };
    let message = async |names: &[&str], fallback: &str| -> Result<Known<Value>, Trouble> {
        let Some(node) = argument(call, names) else { return Ok(Known::Value(json!(fallback))) };
        match call.value(node).await? {
            Known::Unknown(touches) => Ok(Known::Unknown(touches)),
            Known::Value(value) => match to_json(&value) {
                Value::Null => Ok(Known::Value(json!(fallback))),
                value if is_text(&value) => Ok(Known::Value(value)),
                value => Err(Trouble::Failed(format!(
                    "argument '{}' is of type {} and we were unable to convert to str_or_list_of_str: a string or list of strings is required",
                    names.first().unwrap_or(&"msg"),
                    python_type(&value),
                ))),
            },
        }
    };
    // As in Ansible they are looked at whatever becomes of the conditions.
    let success = message(&["success_msg"], "All assertions passed").await?;
    let failure = message(&["fail_msg", "msg"], "Assertion failed").await?;
    for condition in &conditions {
        match call.conditions(&[condition]).await? {
            Known::Value(true) => {}
            Known::Value(false) => {
                let (msg, unknown_fields) = match failure {
                    Known::Value(msg) => (msg, Vec::new()),
                    Known::Unknown(_) => (json!("Assertion failed"), vec!["msg".to_string()]),
                };
                let text = match &msg {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let written = condition.scalar_text().unwrap_or_default();
                let outcome = Outcome { unknown_fields, ..Outcome::failed(text) };
                return Ok(outcome.with("assertion", written).with("evaluated_to", false).with("msg", msg));
            }
            Known::Unknown(touches) => {
                return Ok(depends("the assertion depends on", &touches));
            }
        }
    }
    Ok(match success {
        Known::Value(success) => Outcome::ok().with("msg", success),
        // It holds all the same; only the words are not known.
        Known::Unknown(_) => Outcome { unknown_fields: vec!["msg".into()], ..Outcome::ok() },
    })
}

/// A text, or a list of texts: what `assert` says.
fn is_text(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(Value::is_string),
        other => other.is_string(),
    }
}

async fn set_fact(call: &Call) -> Result<Outcome, Trouble> {
    let mut facts: Vec<(String, Raw)> = Vec::new();
    let mut cacheable = false;
    let templar = &call.on.play.run.templar;
    if call.task.action.args.is_empty() && call.task.action.args_template.is_none() {
        return Err(Trouble::Failed("set_fact needs at least one variable, as `name: value`".into()));
    }
    // Tried again: what the first attempt has set is set.
    if let Some(shown) = call.first.as_ref().and_then(|first| first.get()) {
        return Ok(Outcome::ok().with("ansible_facts", Value::Object(shown.clone())));
    }
    let mut unknown: Option<Outcome> = None;
    for (key, node) in &call.task.action.args {
        let name = display(&call.known(key).await?);
        if name == "cacheable" {
            cacheable = Flag::parse(&to_json(&call.known(node).await?)).unwrap_or(false);
            continue;
        }
        if !is_variable_name(&name) {
            return Err(Trouble::Failed(format!(
                "The variable name '{name}' is not valid. Variables must start with a letter or underscore character, and contain only letters, numbers and underscores."
            )));
        }
        match call.evaluate(|scope| templar.template_node(node, scope)).await? {
            Known::Value(value) if crate::template::is_omit(&value) => {}
            Known::Value(value) => facts.push((name, Raw::Value(value))),
            Known::Unknown(touches) => {
                let outcome = depends("its value depends on", &touches);
                let because = unknown::because(call, &outcome);
                call.on.play.run.unknowns.left(&call.on.host.name, &name, Some((&call.info, &because)));
                facts.push((name, Raw::Unknown(because.reason)));
                unknown.get_or_insert(outcome);
            }
        }
    }
    if let Some(node) = &call.task.action.args_template {
        match call.evaluate(|scope| templar.template_node(node, scope)).await? {
            Known::Value(value) => {
                for key in value.try_iter().map_err(|e| Trouble::Failed(format!("set_fact: {e}")))? {
                    if let Ok(item) = value.get_item(&key) {
                        facts.push((display(&key), Raw::Value(item)));
                    }
                }
            }
            Known::Unknown(touches) => return Ok(depends("", &touches)),
        }
    }
    if facts.is_empty() && call.task.action.args_template.is_none() {
        return Err(Trouble::Failed("all that set_fact is given is omitted: it needs at least one variable".into()));
    }
    let stamp = call.on.stamp(call.position());
    let (mut shown, mut told) = (Map::new(), Map::new());
    // With `delegate_facts` they are the other host's.
    let other = match call.flag(|k| k.delegate_facts.as_ref()).await?.unwrap_or(false) {
        true => prepare::target(call).await?.map(|name| call.on.play.run.host(&name)),
        false => None,
    };
    let whose = other.as_ref().unwrap_or(&call.on.host);
    for (name, raw) in &facts {
        if let Raw::Value(value) = raw {
            let json = to_json(value);
            call.on.play.run.redactor.learn(Some(name), &json);
            shown.insert(name.clone(), json);
            told.insert(name.clone(), to_shown(value));
            call.on.play.run.unknowns.left(&whose.name, name, None);
        }
        let raw = match raw {
            // What a task has set is merged, and its result is not: only the one is as if it had been written.
            Raw::Value(value) if call.on.play.run.options.merge_hashes && super::merging::mergeable(value) => {
                Raw::Node(super::merging::written(value))
            }
            raw => raw.clone(),
        };
        whose.set(&stamp, Kind::Assigned, name, raw);
    }
    if cacheable {
        whose.set_facts(&stamp, &shown);
        if !call.flag(|k| k.no_log.as_ref()).await?.unwrap_or(false) {
            call.on.play.run.keep_facts(&whose.name, &shown);
        }
    }
    if let Some(outcome) = unknown {
        return Ok(outcome);
    }
    if let Some(first) = &call.first {
        let _ = first.set(told.clone()); // nobody else sets it: attempts follow one another
    }
    Ok(Outcome::ok().with("ansible_facts", Value::Object(told)))
}

async fn meta(walker: &Walker, call: &Call, arguments: &Map<String, Value>) -> Result<Prepared, Trouble> {
    let written = arguments.get("_raw_params").and_then(Value::as_str).unwrap_or_default();
    let Some(action) = MetaAction::parse(written) else {
        let known: Vec<&str> = MetaAction::ALL.iter().map(|(name, _)| *name).collect();
        return Err(Trouble::Failed(format!("meta has no action `{written}`; it has {}", known.join(", "))));
    };
    let on = &call.on;
    let silent = |flow: Flow| Ok(Prepared::Flow(flow));
    match action {
        MetaAction::Noop => silent(Flow::GoOn),
        MetaAction::FlushHandlers => {
            let role = call.task.role.as_ref().or(call.frame.role.as_ref());
            let pays = super::owed::Flush::Inside(role.map(|role| &*role.name));
            let flow = walker.flush_handlers(&call.position().child(0), Some(pays)).await;
            silent(flow)
        }
        MetaAction::ClearFacts => {
            on.batch.board.settle(on.index, call.position()).await;
            on.host.clear_facts();
            on.play.run.forget_facts(&on.host.name);
            silent(Flow::GoOn)
        }
        MetaAction::ClearHostErrors => {
            on.batch.board.meet(call.position()).await;
            let state = on.state();
            if state != Flow::GoOn {
                return silent(state);
            }
            // One that has failed may stand here as well: it is forgiven when it has left, or is at the handlers that are
            // forced at its end, not before.
            let failed: Vec<usize> = {
                let left = on.batch.left_at.lock().unwrap_or_else(|p| p.into_inner());
                left.keys().copied().filter(|index| *index != on.index).collect()
            };
            on.batch
                .board
                .wait_until(|| failed.iter().all(|index| on.batch.board.passed(*index, call.position())))
                .await;
            // Once: what fails behind it is not forgiven by those who come later.
            let first = on.batch.forgiven_at.lock().unwrap_or_else(|p| p.into_inner()).insert(call.position().clone());
            if first {
                // Also those that failed in an earlier play.
                on.play.all.iter().for_each(|name| on.play.run.host(name).forgive());
            }
            silent(Flow::GoOn)
        }
        MetaAction::EndHost => {
            on.batch.board.settle(on.index, call.position()).await;
            on.batch.send_away(on.index, call.position());
            silent(Flow::End)
        }
        MetaAction::EndRole => silent(Flow::EndRole),
        MetaAction::EndBatch | MetaAction::EndPlay => {
            on.batch.board.meet(call.position()).await;
            on.batch.end(if action == MetaAction::EndPlay { Ending::Play } else { Ending::Batch });
            silent(Flow::End)
        }
        MetaAction::ResetConnection => {
            on.batch.board.settle(on.index, call.position()).await;
            // A check keeps its agent: what earlier tasks would have done is known there alone.
            if !on.play.run.options.check {
                on.play.run.fleet.reset(&on.host.name).await;
            }
            silent(Flow::GoOn)
        }
        MetaAction::RefreshInventory => {
            on.batch.board.meet(call.position()).await;
            on.play.run.refresh_inventory(on.play.number, call.position()).map_err(Trouble::from)?;
            let mut inventory = on.play.run.inventory.write().unwrap_or_else(|p| p.into_inner());
            reload(call, &mut inventory)?;
            drop(inventory);
            on.play.forget_bases();
            silent(Flow::GoOn)
        }
    }
}

fn add_host(call: &Call, mut arguments: Map<String, Value>) -> Result<Outcome, Trouble> {
    let given = |names: &[&str]| names.iter().find_map(|name| arguments.get(*name)).cloned();
    let Some(Value::String(name)) = given(&["name", "host", "hostname"]) else {
        return Err(Trouble::Failed("add_host needs `name`: the host's name".into()));
    };
    let groups = given(&["groups", "group", "groupname"]);
    // As Ansible has it, the other names of these two are variables as well.
    ["name", "hostname", "groups", "groupname"].iter().for_each(|own| drop(arguments.remove(*own)));
    let (name, port) = split_port(&name);
    if let Some(port) = port {
        arguments.insert("ansible_ssh_port".into(), json!(port));
    }
    let name = name.to_string();
    let groups: Vec<String> = match groups {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_string)).collect(),
        Some(other) => {
            let text = other.as_str().map_or(other.to_string(), str::to_string);
            text.split(',').map(|group| group.trim().to_string()).filter(|group| !group.is_empty()).collect()
        }
    };
    let run = &call.on.play.run;
    let fresh = {
        let inventory = run.inventory.read().unwrap_or_else(|p| p.into_inner());
        let known = inventory.hosts.get(name.as_str());
        let member = |group: &String| known.is_some_and(|host| host.groups.contains(group.as_str()));
        let same = |(key, value): (&String, &Value)| {
            known
                .and_then(|host| host.vars.get(key.as_str()))
                .is_some_and(|node| node.to_json() == Node::from_json(&Span::generated(), value).to_json())
        };
        known.is_none() || !groups.iter().all(member) || !arguments.iter().all(same)
    };
    let (host, in_groups, vars) = (name.clone(), groups.clone(), arguments.clone());
    let addition: Addition = Box::new(move |inventory| {
        let span = Span::generated();
        let added = inventory.add_host(&host, in_groups.first().map(String::as_str), &span);
        let known = std::sync::Arc::make_mut(&mut added.vars);
        for (key, value) in &vars {
            known.insert(key.as_str().into(), Node::from_json(&span, value));
        }
        for group in in_groups.iter().skip(1) {
            inventory.add_host(&host, Some(group), &span);
        }
        Ok(())
    });
    add(call, run, addition)?;
    call.on.play.add(&name);
    let added = json!({"host_name": name, "groups": groups, "host_vars": arguments});
    Ok(Outcome::ok().with("add_host", added).with("changed", fresh))
}

/// A port behind a name or an address, as an inventory has it. What is no such thing is all name.
fn split_port(text: &str) -> (&str, Option<u16>) {
    crate::inventory::split_port(text).unwrap_or((text, None))
}

/// Adds something to the inventory, now and whenever it is read again.
fn add(call: &Call, run: &Run, addition: Addition) -> Result<(), Trouble> {
    {
        let mut inventory = run.inventory.write().unwrap_or_else(|p| p.into_inner());
        addition(&mut inventory).map_err(Trouble::from)?;
        inventory.reconcile();
        reload(call, &mut inventory)?;
    }
    run.additions.lock().unwrap_or_else(|p| p.into_inner()).push(addition);
    call.on.play.forget_bases();
    Ok(())
}

/// Reads the variables of hosts and groups that are new.
fn reload(call: &Call, inventory: &mut crate::inventory::Inventory) -> Result<(), Trouble> {
    let loaded = call.on.play.run.loader.load_inventory_vars(inventory, &call.on.play.play.directory);
    loaded.map(drop).map_err(Trouble::from)
}

fn group_by(call: &Call, arguments: GroupBy) -> Result<Outcome, Trouble> {
    let key = arguments.key.0.replace(' ', "-");
    let parents = arguments.parents.map(|parents| parents.0).unwrap_or_else(|| vec!["all".into()]);
    let parents: Vec<String> = parents.iter().map(|parent| parent.replace(' ', "-")).collect();
    let fresh = {
        let inventory = call.on.play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        let known = inventory.hosts.get(&*call.on.host.name);
        !known.is_some_and(|host| host.groups.contains(key.as_str()))
    };
    let (host, group, above) = (call.on.host.name.clone(), key.clone(), parents.clone());
    let addition: Addition = Box::new(move |inventory| {
        let span = Span::generated();
        inventory.add_host(&host, Some(&group), &span);
        for parent in above.iter().filter(|parent| *parent != "all") {
            inventory.add_group(parent, &span);
            inventory.add_child(parent, &group, &span)?;
        }
        Ok(())
    });
    add(call, &call.on.play.run, addition)?;
    Ok(Outcome::ok().with("add_group", key).with("parent_groups", json!(parents)).with("changed", fresh))
}

/// `run_once: true` on `set_fact`: every host of the batch gets the variables.
pub fn adopt_facts(call: &Call, finished: &Finished) {
    if call.module.is_none_or(|module| module.name != "ansible.builtin.set_fact") {
        return;
    }
    let stamp = call.on.stamp(call.position());
    let one = std::slice::from_ref(&finished.json);
    let items: Vec<&Map<String, Value>> = match finished.json.get("results").and_then(Value::as_array) {
        Some(results) => results.iter().filter_map(Value::as_object).collect(),
        None => one.iter().collect(),
    };
    for facts in items.into_iter().filter_map(|item| item.get("ansible_facts")).filter_map(Value::as_object) {
        for (name, value) in facts {
            // As set_fact itself has it, so that every host merges alike.
            let value = from_json(value);
            let raw = match call.on.play.run.options.merge_hashes && super::merging::mergeable(&value) {
                true => Raw::Node(super::merging::written(&value)),
                false => Raw::Value(value),
            };
            call.on.host.set(&stamp, Kind::Assigned, name, raw);
        }
    }
}
