//! From a task to a request: conditions, arguments, become, the controller half, and off it goes.

use super::action::{ActionEnd, TaskAction};
use super::call::{Arguments, Call, Known, Trouble};
use super::completion::Sent;
use super::control;
use super::finish::{self, Answer};
use super::run::Probes;
use super::task::{self, Finished};
use super::unknown::depends;
use super::validate;
use super::walker::{Flow, Walker};
use crate::machine::Mode;
use crate::modules::{self, FreeForm, Outcome, Reach};
use crate::playbook::wrong_value;
use crate::secret::Secret;
use crate::source::{Diag, Node};
use crate::template::{Value, display, from_json, is_omit, to_json};
use crate::wire::{Become, BecomeMethod, Detach, OnFailure, TaskRequest};
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What became of a task before any answer.
pub enum Prepared {
    /// It needs no host.
    Done(Outcome),
    /// It is over already, result and all.
    Finished(Box<Finished>),
    /// The host goes another way.
    Flow(Flow),
    /// It was sent.
    Sent(Sent),
}

/// Prepares and sends one task (or one item of it).
pub async fn prepare(walker: &Walker, call: &Call) -> Result<Prepared, Trouble> {
    let module = call.module.ok_or_else(|| Trouble::Failed("the module is not known".into()))?;
    let mut mode = if call.checks().await? { Mode::Predicted } else { Mode::Live };
    let mut doubt = None;
    // As its arguments, `when` holds for all attempts of a task that is tried again (but of `debug` and `assert`).
    let again = call.first.as_ref().is_some_and(|first| first.get().is_some());
    match if again { Ok(()) } else { task::condition(call).await? } {
        Ok(()) => {}
        Err(outcome) if outcome.status == modules::Status::Unknown && mode != Mode::Live => {
            doubt = Some(outcome);
            mode = Mode::Tainted;
        }
        Err(outcome) => return Ok(Prepared::Done(outcome)),
    }
    let doubtful = doubt.clone();
    match (submit(walker, call, module, mode, doubt).await, doubtful) {
        // What is wrong with a task is no fault where it may be skipped.
        (Err(trouble), Some(why)) if !matches!(trouble, Trouble::Flow(_)) => Ok(Prepared::Done(why)),
        (Ok(Prepared::Done(outcome)), Some(why)) if outcome.status == modules::Status::Failed => {
            Ok(Prepared::Done(why))
        }
        (Ok(Prepared::Finished(finished)), Some(why)) if finished.delegated_to.is_some() => Ok(Prepared::Done(why)),
        (other, _) => other,
    }
}

/// The same behind its conditions; `doubt` is why a check does not know whether they hold.
async fn submit(
    walker: &Walker,
    call: &Call,
    module: &'static modules::Module,
    mode: Mode,
    doubt: Option<Outcome>,
) -> Result<Prepared, Trouble> {
    // What `meta` does is not a task of the host's.
    if module.name != "ansible.builtin.meta" {
        validate::keywords(call).await?;
    }
    let timeout = call.limit(|k| k.timeout.as_ref(), "timeout").await?.unwrap_or(0.0) as u64;
    let (timeout, detach) = left_running(call, module, timeout).await?;
    if module.reach == Reach::Control {
        if let Some(why) = doubt {
            return Ok(Prepared::Done(why));
        }
        if module.action.is_none() {
            let work = control::run(walker, call, module);
            if timeout == 0 {
                return work.await;
            }
            let limit = std::time::Duration::from_secs(timeout);
            return tokio::time::timeout(limit, work)
                .await
                .unwrap_or_else(|_| Ok(Prepared::Done(Outcome::timed_out(timeout, "the task on the controller"))));
        }
    }
    let arguments = match arguments(call, module).await? {
        Known::Value(arguments) => arguments,
        Known::Unknown(touches) => {
            return Ok(Prepared::Done(depends("its arguments depend on", &touches)));
        }
    };
    // The epoch before the state: a failure of a task in flight is remembered before its new epoch begins. Who has read
    // the new one sees the failure here, and what is sent in the old one is not run.
    let epoch = call.on.epoch.load(Ordering::SeqCst);
    let state = call.on.state();
    if state != Flow::GoOn {
        return Ok(Prepared::Flow(state));
    }
    let target = target(call).await?;
    let request = TaskRequest {
        module: module.name.to_string(),
        arguments,
        become_user: become_user(call, target.as_deref()).await?,
        mode,
        diff: finish::shows_diff(call).await?,
        no_log: call.flag(|k| k.no_log.as_ref()).await?.unwrap_or(false),
        environment: match environment(call).await? {
            Known::Value(environment) => {
                let _ = call.given.environment.set(environment.clone()); // that of its first attempt
                environment
            }
            Known::Unknown(touches) => {
                return Ok(Prepared::Done(depends("its environment depends on", &touches)));
            }
        },
        epoch,
        // What may be skipped in the run stops nothing in a check.
        on_failure: if doubt.is_some() || goes_on(call).await? { OnFailure::Continue } else { OnFailure::Stop },
        group: call.group,
        timeout,
        detach,
        // It is written down on the host.
        label: call.on.play.run.redactor.mask(&call.info.name).into_owned(),
        run: String::new(), // the link knows it
        turn: call.on.batch.turn,
        unlocked: false,
        no_fetch: call.on.play.run.options.no_fetch,
        within_check: mode == Mode::Live && call.on.play.run.options.check,
    };
    let link = if module.reach == Reach::Control { Ok(None) } else { link(call, target.as_deref()).await.map(Some) };
    let link = match link {
        Ok(link) => link,
        Err(none) => {
            let answer = match none.unreachable {
                true => Answer::Unreachable(none.why),
                false => Answer::Outcome(Outcome::failed(none.why)),
            };
            let finished = finish::finish(call, answer, None, 0.0).await;
            return Ok(Prepared::Finished(Box::new(Finished { delegated_to: target, ..finished })));
        }
    };
    let action = TaskAction::new(call.clone(), link, request, target.clone());
    let mut sent = match action.start(module).await? {
        ActionEnd::Sent(sent) => *sent,
        ActionEnd::Done(outcome) => return Ok(Prepared::Done(outcome)),
        ActionEnd::Unreachable(why) => {
            let finished = finish::finish(call, Answer::Unreachable(why), None, 0.0).await;
            return Ok(Prepared::Finished(Box::new(Finished { delegated_to: target, ..finished })));
        }
    };
    sent.doubt = doubt;
    Ok(Prepared::Sent(sent))
}

/// `async`: with a poll interval the task is waited for, up to its limit; with `poll: 0` it is left running.
async fn left_running(call: &Call, module: &modules::Module, timeout: u64) -> Result<(u64, Option<Detach>), Trouble> {
    let limit = call.number(call.task.async_.as_ref(), "async").await?.unwrap_or(0.0) as u64;
    let poll = call.number(call.task.poll.as_ref(), "poll").await?.unwrap_or(15.0);
    match limit {
        0 => Ok((timeout, None)),
        _ if poll > 0.0 => Ok((if timeout == 0 { limit } else { limit.min(timeout) }, None)),
        _ if module.run.is_none() => {
            let wrong = Diag::error(format!("`{}` cannot be left running (async)", module.name));
            Err(call.task.async_.iter().fold(wrong, |wrong, node| wrong.at(&node.span)).into())
        }
        _ => {
            let number: u32 = rand::random();
            Ok((timeout, Some(Detach { job: format!("j{number:010}"), limit })))
        }
    }
}

/// The connection to the host, or to the one it is delegated to.
pub async fn link(call: &Call, target: Option<&str>) -> Result<Arc<super::fleet::Link>, super::fleet::NoLink> {
    link_within(call, target, None).await
}

/// The same; a new connection is to be made within `limit`, where one is given.
pub async fn link_within(
    call: &Call,
    target: Option<&str>,
    limit: Option<std::time::Duration>,
) -> Result<Arc<super::fleet::Link>, super::fleet::NoLink> {
    let run = &call.on.play.run;
    match target {
        None => {
            let scope = call.scope();
            let keywords = super::fleet::ConnectionKeywords { limit, ..connection_keywords(call).await };
            run.fleet.link(run, &call.on.host.name, &scope, keywords).await
        }
        Some(host) => {
            let scope = call.scope();
            let other = scope.hostvars().and_then(|hostvars| hostvars.scope(host));
            // A host that is in no inventory has the variables of nobody. The controller is reached without a connection.
            let keywords = match other.is_none() && crate::inventory::LOCALHOST.contains(&host) {
                true => {
                    super::fleet::ConnectionKeywords { connection: Some("local".into()), limit, ..Default::default() }
                }
                false => super::fleet::ConnectionKeywords { limit, ..Default::default() },
            };
            let other =
                other.unwrap_or_else(|| crate::template::Scope::from_layers(&run.templar, vec![run.extra.clone()]));
            run.fleet.link(run, host, &other, keywords).await
        }
    }
}

/// `connection`, `remote_user` and `port` as keywords.
async fn connection_keywords(call: &Call) -> super::fleet::ConnectionKeywords {
    super::fleet::ConnectionKeywords {
        connection: call.text(|k| k.connection.as_ref()).await.ok().flatten(),
        remote_user: call.text(|k| k.remote_user.as_ref()).await.ok().flatten(),
        port: call.text(|k| k.port.as_ref()).await.ok().flatten(),
        limit: None,
    }
}

/// A `delegate_to` that comes out empty.
pub fn no_host() -> Trouble {
    Trouble::Failed("delegate_to names no host: it is empty".into())
}

/// `delegate_to`.
pub async fn target(call: &Call) -> Result<Option<Arc<str>>, Trouble> {
    match call.text(|k| k.delegate_to.as_ref()).await? {
        Some(host) if host.is_empty() => Err(no_host()),
        host => Ok(host.filter(|host| **host != *call.on.host.name).map(Into::into)),
    }
}

/// Whether a failure lets what follows go on: `ignore_errors`, `failed_when: false`.
async fn goes_on(call: &Call) -> Result<bool, Trouble> {
    let never_fails = call.task.failed_when.iter().flatten().any(|node| node.as_bool() == Some(false));
    let alone = call.task.loop_.is_some() && call.group == 0;
    let again = !call.task.until.is_empty() || call.task.retries.is_some();
    let looked_at = call.task.failed_when.is_some() || again || alone;
    Ok(never_fails || looked_at || call.flag(|k| k.ignore_errors.as_ref()).await?.unwrap_or(false))
}

/// The templated arguments of a module; of a task that is tried again, those of its first attempt.
pub async fn arguments(call: &Call, module: &modules::Module) -> Result<Known<Arguments>, Trouble> {
    if let Some(arguments) = call.first.as_ref().and_then(|first| first.get()) {
        return Ok(Known::Value(arguments.clone()));
    }
    let found = templated_arguments(call, module).await?;
    if let Known::Value(arguments) = &found {
        let _ = call.given.arguments.set(arguments.clone()); // a task that is tried again has been given them before
    }
    if let (Some(first), Known::Value(arguments)) = (&call.first, &found) {
        let _ = first.set(arguments.clone()); // nobody else sets it: attempts follow one another
    }
    Ok(found)
}

async fn templated_arguments(call: &Call, module: &modules::Module) -> Result<Known<Arguments>, Trouble> {
    let action = &call.task.action;
    let mut entries: Vec<(Node, Node)> = Vec::new();
    // What stands nearest to the task takes the place of all that stands further out for the same module.
    let defaults = call.frame.gathered(&call.task.keywords, |k| &k.module_defaults);
    let of_module = defaults.iter().rev().find_map(|defaults| {
        let map = defaults.as_map()?;
        std::iter::once(&module.name).chain(module.aliases).find_map(|name| map.get(name)).and_then(Node::as_map)
    });
    let of_group = module.action_group().and_then(|group| {
        defaults.iter().rev().find_map(|defaults| defaults.as_map()?.get(group).and_then(Node::as_map))
    });
    let each = of_group.into_iter().chain(of_module);
    entries.extend(each.flat_map(|map| map.iter().map(|(k, v)| (k.clone(), v.clone()))));
    let by_default = entries.len();
    entries.extend(action.args.iter().cloned());
    let mut all = Map::new();
    let templar = &call.on.play.run.templar;
    if let Some(node) = &action.args_template {
        match call.evaluate(|scope| templar.template_node(node, scope)).await? {
            Known::Value(value) => {
                if let serde_json::Value::Object(map) = to_json(&value) {
                    all.extend(map);
                } else {
                    return Err(Diag::error("`args` is not a mapping").at(&node.span).into());
                }
            }
            Known::Unknown(touches) => return Ok(Known::Unknown(touches)),
        }
    }
    // What the task says, also as one expression (`module: "{{ item }}"`), comes before what is usual for the module.
    let said: std::collections::HashSet<String> = all.keys().cloned().collect();
    // A mistake in one argument is shown with its line, on which a password may stand as well.
    for (key, node) in &entries {
        if let (Some(name), Some(text)) = (key.as_str(), node.as_str().filter(|_| !node.has_template())) {
            conceal(call, name, &Value::from(text));
        }
    }
    for (number, (key, node)) in entries.iter().enumerate() {
        let name = key.scalar_text().unwrap_or_default();
        if number < by_default && said.contains(&name) {
            continue;
        }
        let value = match call.value(node).await? {
            Known::Value(value) => value,
            Known::Unknown(touches) => return Ok(Known::Unknown(touches)),
        };
        if is_omit(&value) {
            all.remove(&name);
            continue;
        }
        conceal(call, &name, &value);
        let value = to_json(&value);
        // What is written out in the task was looked at when it was read.
        let overridden = || entries.iter().skip(number + 1).any(|(later, _)| later.key_id() == key.key_id());
        let unread = node.has_template() || number < by_default && !overridden();
        if unread && let Err(wrong) = module.arguments.check(&name, &value) {
            return Err(wrong_value(&wrong, node).into());
        }
        all.insert(name, value);
    }
    if let Some(free) = &action.free_form {
        let value = match call.value(free).await? {
            Known::Value(value) => value,
            Known::Unknown(touches) => return Ok(Known::Unknown(touches)),
        };
        let text = to_json(&value);
        match module.free_form {
            FreeForm::Raw => {
                let text = match text {
                    serde_json::Value::String(_) => text,
                    _ => serde_json::Value::String(display(&value)),
                };
                all.insert("_raw_params".into(), text);
            }
            FreeForm::KeyValue => {
                let wrong = Diag::error(format!("`{}` takes arguments by name, not plain text", action.name));
                return Err(wrong.at(&free.span).into());
            }
        }
    }
    if matches!(module.name.rsplit('.').next(), Some("command" | "shell" | "raw" | "script")) {
        let probes = call.on.play.run.options.probes;
        if probes != Probes::None && is_probe(call) {
            all.insert("_probe".into(), true.into());
        } else if probes == Probes::All && only_reads(module, &all) {
            all.insert("_reads".into(), true.into());
        }
    }
    Ok(Known::Value(all))
}

/// A command whose words show that it can only read.
fn only_reads(module: &modules::Module, arguments: &Map<String, serde_json::Value>) -> bool {
    use modules::commands::{reads, shell_reads, split};
    let text = ["_raw_params", "cmd"].iter().find_map(|name| arguments.get(*name)?.as_str());
    match module.name.rsplit('.').next() {
        Some("command") => match (text, arguments.get("argv").and_then(serde_json::Value::as_array)) {
            (Some(line), None) => split(line).is_ok_and(|argv| reads(&argv)),
            (None, Some(words)) => {
                let argv: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_string)).collect();
                argv.is_some_and(|argv| reads(&argv))
            }
            _ => false,
        },
        Some("shell") => text.is_some_and(shell_reads) && !arguments.contains_key("executable"),
        _ => false,
    }
}

/// A command that says it changes nothing: it is run in a check too.
fn is_probe(call: &Call) -> bool {
    let unchanging = call.task.changed_when.iter().flatten().any(|node| node.as_bool() == Some(false));
    let wanted =
        call.frame.keyword(&call.task.keywords, |k| k.check_mode.as_ref()).and_then(Node::as_bool) == Some(false);
    unchanging || wanted
}

/// Arguments whose names say so, and private keys under any name, are masked from now on.
fn conceal(call: &Call, name: &str, value: &Value) {
    if crate::redact::is_secret_name(name) || value.as_str().is_some_and(|text| text.contains("PRIVATE KEY-----")) {
        call.on.play.run.redactor.learn(Some(name), &to_json(value));
    }
}

/// `environment`, outermost first.
pub async fn environment(call: &Call) -> Result<Known<BTreeMap<String, String>>, Trouble> {
    let mut all = BTreeMap::new();
    for node in call.frame.gathered(&call.task.keywords, |k| &k.environment) {
        // Each variable for itself where they are written out: one of them may be omitted, or wait for facts.
        let entries: Vec<(Option<&Node>, &Node)> = match node.as_map() {
            Some(map) => map.iter().map(|(key, value)| (Some(key), value)).collect(),
            None => vec![(None, node)],
        };
        for (key, node) in entries {
            let value = match call.value(node).await {
                Ok(Known::Value(value)) if is_omit(&value) => continue,
                Ok(Known::Value(value)) => value,
                Ok(Known::Unknown(touches)) => return Ok(Known::Unknown(touches)),
                Err(Trouble::Template(error)) if awaits_facts(call, node, &error) => continue,
                Err(other) => return Err(other),
            };
            if let Some(key) = key {
                all.insert(key.scalar_text().unwrap_or_default(), display(&value));
                continue;
            }
            let maps = match to_json(&value) {
                serde_json::Value::Array(items) => items,
                serde_json::Value::Null => Vec::new(),
                other => vec![other],
            };
            for map in maps {
                let serde_json::Value::Object(map) = map else {
                    return Err(Diag::error("`environment` is not a mapping").at(&node.span).into());
                };
                all.extend(map.into_iter().map(|(name, value)| (name, display(&from_json(&value)))));
            }
        }
    }
    Ok(Known::Value(all))
}

/// Whether a variable is given what only facts can tell (`PATH: "{{ ansible_env.PATH }}:/opt/bin"`) where they are not there
/// yet: as in Ansible it is left out then, above all of the gathering itself.
fn awaits_facts(call: &Call, node: &Node, error: &crate::template::TemplateError) -> bool {
    let gathers = call.module.is_some_and(|module| module.name == "ansible.builtin.setup");
    let of_facts = || node.as_str().is_some_and(|text| text.contains("ansible_facts"));
    error.is_undefined() && (error.innermost().contains("ansible_env") || gathers && of_facts())
}

/// Whom to become: variables before keywords before the command line, as in Ansible. The variables are those of the host
/// where it happens: the one to which the task is delegated.
pub async fn become_user(call: &Call, target: Option<&str>) -> Result<Option<Become>, Trouble> {
    let run = &call.on.play.run;
    let options = &run.options.become_;
    let host = target.map_or_else(|| call.on.host.clone(), |name| run.host(name));
    let text = async |name: &str| -> Result<Option<String>, Trouble> {
        Ok(call.variable_of(&host, name).await?.map(|value| display(&value)))
    };
    let wanted = match call.variable_of(&host, "ansible_become").await? {
        Some(value) => crate::modules::scalars::Flag::parse(&to_json(&value)),
        None => call.flag(|k| k.become_.as_ref()).await?,
    };
    if !wanted.unwrap_or(options.become_) {
        return Ok(None);
    }
    let user = match text("ansible_become_user").await? {
        Some(user) => Some(user),
        None => {
            let said = call.text(|k| k.become_user.as_ref()).await?;
            said.filter(|user| !user.is_empty()).or_else(|| options.user.clone())
        }
    };
    let method = match text("ansible_become_method").await? {
        Some(method) => Some(method),
        None => call.text(|k| k.become_method.as_ref()).await?.or_else(|| options.method.clone()),
    };
    let method = match method.as_deref().map(|m| m.rsplit('.').next().unwrap_or(m)) {
        None | Some("sudo") => BecomeMethod::Sudo,
        Some("su") => BecomeMethod::Su,
        Some("doas") => BecomeMethod::Doas,
        Some(other) => {
            return Err(Trouble::Failed(format!("become_method `{other}` is not known: use sudo, su or doas")));
        }
    };
    let mut password = None;
    for name in ["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"] {
        if let Some(value) = text(name).await? {
            run.redactor.add(&value);
            password = Some(Secret::new(value));
            break;
        }
    }
    let flags = match text("ansible_become_flags").await? {
        Some(flags) => Some(flags),
        None => call.text(|k| k.become_flags.as_ref()).await?,
    };
    let exe = match text("ansible_become_exe").await? {
        Some(exe) => Some(exe),
        None => call.text(|k| k.become_exe.as_ref()).await?,
    };
    Ok(Some(Become {
        method,
        user: user.unwrap_or_else(|| "root".into()),
        password: password.or_else(|| options.password.clone()),
        flags: flags.map(|flags| flags.split_whitespace().map(str::to_string).collect()).unwrap_or_default(),
        exe,
    }))
}

/// The failure that a trouble is, with its place.
pub fn failed(call: &Call, trouble: Trouble) -> Outcome {
    let Some(diag) = diagnose(call, &trouble) else {
        return Outcome::failed(match trouble {
            Trouble::Failed(text) => text,
            Trouble::Flow(flow) => format!("{flow:?}"),
            Trouble::Template(error) => error.to_string(),
            Trouble::Wrong(diag) => diag.message,
        });
    };
    let mut places = diag.labels.iter().map(|(span, _)| span);
    let mut text = diag.message.clone();
    if let Some(first) = places.next() {
        text += &format!(" ({first}");
        places.next().iter().for_each(|place| text += &format!(", used at {place}"));
        text.push(')');
    }
    Outcome { problem: Some(Box::new(diag)), ..Outcome::failed(text) }
}

/// A trouble in words, with its place.
pub fn explain(call: &Call, trouble: Trouble) -> String {
    failed(call, trouble).msg.unwrap_or_default()
}

/// The mistake in a file that a trouble is; nothing where it is none.
pub fn diagnose(call: &Call, trouble: &Trouble) -> Option<Diag> {
    let task = &call.task.span;
    Some(match trouble {
        Trouble::Template(error) => {
            let diag = (**error).clone().into_diag();
            match (diag.span(), &error.file) {
                (Some(_), Some(_)) if error.span.is_none() => diag.label(task, "used by this task"),
                (Some(_), _) => diag,
                (None, _) => diag.at(task),
            }
        }
        Trouble::Wrong(diag) if diag.span().is_none() => (**diag).clone().at(task),
        Trouble::Wrong(diag) => (**diag).clone(),
        Trouble::Failed(_) | Trouble::Flow(_) => return None,
    })
}
