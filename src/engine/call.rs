//! A task about to be run on a host: what is known of it, and how its templates are evaluated.

use super::event::TaskInfo;
use super::frame::Frame;
use super::host::Host;
use super::notify::Named;
use super::position::Position;
use super::run::Probes;
use super::variables::{self, At, Awaited};
use super::walker::{Flow, HostRun};
use crate::modules::scalars::Flag;
use crate::modules::{self, Module};
use crate::playbook::{Keywords, Task};
use crate::source::{Diag, Node};
use crate::template::{Evaluated, Layer, Scope, TemplateError, UnknownTouch, Value, display, is_omit};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A task on its way to a host.
#[derive(Clone)]
pub struct Call {
    /// The host.
    pub on: Arc<HostRun>,
    /// The task.
    pub task: Arc<Task>,
    /// What surrounds it.
    pub frame: Frame,
    /// As shown.
    pub info: Arc<TaskInfo>,
    /// Its module; nothing when there is none of that name.
    pub module: Option<&'static Module>,
    /// Variables above all others: the loop's.
    pub locals: Option<Arc<Layer>>,
    /// The loop whose items are sent in a row: a failure stops what follows the loop, not the loop. 0 for none.
    pub group: u64,
    /// With `until`: the module's arguments as the first attempt has found them. They hold for all attempts, as in Ansible.
    /// (`debug` and `assert` look at what they are about each time.)
    pub first: Option<Arc<OnceLock<Arguments>>>,
    /// What its module was given, for what is told of it afterwards.
    pub given: Arc<Given>,
}

/// What a module was given: its templates are not evaluated a second time for what is told of the task, as they may do
/// something or come out otherwise (`lookup('pipe', ...)`, passwords, the time).
#[derive(Debug, Default)]
pub struct Given {
    /// Its arguments, those that are usual for the module among them; nothing where they never came to be.
    pub arguments: OnceLock<Arguments>,
    /// Its environment; nothing where none was made.
    pub environment: OnceLock<BTreeMap<String, String>>,
    /// The handlers that it names; nothing where they were never evaluated.
    pub handlers: OnceLock<Named>,
}

/// The templated arguments of a module.
pub type Arguments = serde_json::Map<String, serde_json::Value>;

/// Why an evaluation gave no value.
pub enum Trouble {
    /// The template is wrong, or uses something undefined.
    Template(Box<TemplateError>),
    /// Something in a file is wrong.
    Wrong(Box<Diag>),
    /// In words.
    Failed(String),
    /// The host goes another way meanwhile.
    Flow(Flow),
}

impl From<TemplateError> for Trouble {
    fn from(error: TemplateError) -> Self {
        Trouble::Template(Box::new(error))
    }
}

impl From<Diag> for Trouble {
    fn from(diag: Diag) -> Self {
        Trouble::Wrong(Box::new(diag))
    }
}

/// A value, or what it depends on that a check cannot tell.
pub enum Known<T> {
    /// The value.
    Value(T),
    /// What is unknown.
    Unknown(Vec<UnknownTouch>),
}

impl Call {
    /// A call of `task` at `position`.
    pub fn new(on: &Arc<HostRun>, task: &Arc<Task>, frame: &Frame, position: &Position) -> Call {
        let module = modules::find(task.action.canonical.unwrap_or(&task.action.name));
        let mut call = Call {
            on: on.clone(),
            task: task.clone(),
            frame: frame.clone(),
            info: Arc::new(TaskInfo {
                position: position.clone(),
                name: String::new(),
                action: task.action.name.to_string(),
                place: task.span.to_string(),
                handler: frame.handler,
                role: task.role.as_ref().or(frame.role.as_ref()).map(|role| role.name.clone()),
            }),
            module,
            locals: None,
            group: 0,
            first: None,
            given: Arc::default(),
        };
        let info = TaskInfo { name: call.display_name(), ..(*call.info).clone() };
        call.info = Arc::new(info);
        call
    }

    /// The name as shown: templated where that works, with the role before it.
    fn display_name(&self) -> String {
        let written = self.task.name.as_ref().map(|node| match node.has_template() {
            true => match self.on.play.run.templar.template_node(node, &self.scope()) {
                Ok(Evaluated { value, touched }) if touched.is_empty() => display(&value),
                // What cannot be evaluated is said where it stands.
                Err(_) => {
                    let text = node.scalar_text().unwrap_or_default();
                    self.on.play.run.templar.with_errors(&text, &self.scope()).unwrap_or(text)
                }
                Ok(_) => node.scalar_text().unwrap_or_default(),
            },
            false => node.scalar_text().unwrap_or_default(),
        });
        let name = match written.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => {
                let action = self.task.action.name.to_string();
                // A role that is included is named, whoever includes it.
                let role = self.module.filter(|module| super::control::is_role(module));
                let role = role.and_then(|_| ["name", "role"].iter().find_map(|key| self.task.action.arg(key)));
                if let Some(role) = role.and_then(Node::scalar_text) {
                    return format!("{action} : {role}");
                }
                action
            }
        };
        match &self.info.role {
            Some(role) => format!("{role} : {name}"),
            None => name,
        }
    }

    /// Where it stands.
    pub fn position(&self) -> &Position {
        &self.info.position
    }

    /// The same call with the variables of a loop's item.
    pub fn with_locals(&self, locals: Layer) -> Call {
        Call { locals: Some(Arc::new(locals)), given: Arc::default(), ..self.clone() }
    }

    /// The variables it sees now.
    pub fn scope(&self) -> Scope {
        self.scope_of(&self.on.host)
    }

    /// The same for another host, to which the task is delegated.
    fn scope_of(&self, host: &Arc<Host>) -> Scope {
        let stamp = self.on.stamp(self.position());
        let scope = variables::scope(At {
            play: &self.on.play,
            batch: Some(&self.on.batch),
            host,
            frame: &self.frame,
            task: Some(&self.task),
            stamp: &stamp,
        });
        match &self.locals {
            Some(layer) => scope.with(layer.clone()),
            None => scope,
        }
    }

    /// Evaluates, and waits for what is still under way as often as that is touched.
    pub async fn evaluate<T>(
        &self,
        work: impl Fn(&Scope) -> Result<Evaluated<T>, TemplateError>,
    ) -> Result<Known<T>, Trouble> {
        loop {
            let evaluated = {
                let scope = self.scope();
                work(&scope)?
            };
            if evaluated.touched.pending.is_empty() {
                return Ok(if evaluated.touched.unknown.is_empty() {
                    Known::Value(evaluated.value)
                } else {
                    Known::Unknown(evaluated.touched.unknown)
                });
            }
            for number in evaluated.touched.pending {
                self.wait_for(number).await?;
            }
        }
    }

    /// Waits for what a pending number stands for.
    pub async fn wait_for(&self, number: u64) -> Result<(), Trouble> {
        let board = &self.on.batch.board;
        match variables::awaited(number, self.on.batch.hosts.len()) {
            Awaited::HostLists => board.meet(self.position()).await,
            Awaited::Host(index) => board.wait_until(|| board.reached(index, self.position())).await,
            Awaited::Result => board.settle(self.on.index, self.position()).await,
        }
        match self.on.state() {
            Flow::GoOn => Ok(()),
            other => Err(Trouble::Flow(other)),
        }
    }

    /// Evaluates conditions one after the other; the first that is false ends it.
    pub async fn conditions(&self, conditions: &[&Node]) -> Result<Known<bool>, Trouble> {
        for condition in conditions {
            let templar = &self.on.play.run.templar;
            match self.evaluate(|scope| templar.condition(condition, scope)).await? {
                Known::Value(true) => {}
                other => return Ok(other),
            }
        }
        Ok(Known::Value(true))
    }

    /// Evaluates a value.
    pub async fn value(&self, node: &Node) -> Result<Known<Value>, Trouble> {
        let templar = &self.on.play.run.templar;
        self.evaluate(|scope| templar.template_node(node, scope)).await
    }

    /// Evaluates a value that must be known.
    pub async fn known(&self, node: &Node) -> Result<Value, Trouble> {
        match self.value(node).await? {
            Known::Value(value) => Ok(value),
            Known::Unknown(touches) => {
                Err(Diag::error(format!("{} cannot be predicted", touched(&touches))).at(&node.span).into())
            }
        }
    }

    /// A keyword's innermost value that is not `omit`, with where it is written.
    async fn keyword(&self, of: impl Fn(&Keywords) -> Option<&Node>) -> Result<Option<(&Node, Value)>, Trouble> {
        for node in self.frame.values(&self.task.keywords, of) {
            let value = self.known(node).await?;
            if !is_omit(&value) {
                return Ok(Some((node, value)));
            }
        }
        Ok(None)
    }

    /// The number that a keyword of the task alone is given; nothing where it is not said, or `omit`.
    pub async fn number(&self, node: Option<&Node>, keyword: &str) -> Result<Option<f64>, Trouble> {
        let Some(node) = node else { return Ok(None) };
        let value = self.known(node).await?;
        // Nothing is as if it were not written, where there is something that stands for it then.
        if is_omit(&value) || value.is_none() && matches!(keyword, "retries" | "poll") {
            return Ok(None);
        }
        number_of(node, &value, keyword).map(Some)
    }

    /// A keyword that is a number; nothing where nobody says it.
    pub async fn limit(&self, of: impl Fn(&Keywords) -> Option<&Node>, keyword: &str) -> Result<Option<f64>, Trouble> {
        match self.keyword(of).await? {
            Some((_, value)) if value.is_none() => Ok(None),
            Some((node, value)) => number_of(node, &value, keyword).map(Some),
            None => Ok(None),
        }
    }

    /// A keyword that is a boolean; nothing where nobody says it.
    pub async fn flag(&self, of: impl Fn(&Keywords) -> Option<&Node>) -> Result<Option<bool>, Trouble> {
        let Some((node, value)) = self.keyword(of).await? else { return Ok(None) };
        let json = crate::template::to_json(&value);
        match Flag::parse(&json) {
            Some(flag) => Ok(Some(flag)),
            None if json.is_null() => Ok(None),
            None => Err(Diag::error(format!("{json} is not a boolean")).at(&node.span).into()),
        }
    }

    /// A keyword that is text; nothing where nobody says it.
    pub async fn text(&self, of: impl Fn(&Keywords) -> Option<&Node>) -> Result<Option<String>, Trouble> {
        Ok(self.keyword(of).await?.map(|(_, value)| display(&value)))
    }

    /// A variable, templated; nothing where it is not defined.
    pub async fn variable(&self, name: &str) -> Result<Option<Value>, Trouble> {
        self.variable_of(&self.on.host, name).await
    }

    /// The same as another host sees it, to which the task is delegated.
    pub async fn variable_of(&self, host: &Arc<Host>, name: &str) -> Result<Option<Value>, Trouble> {
        if !self.scope_of(host).contains(name) {
            return Ok(None);
        }
        let templar = &self.on.play.run.templar;
        match self.evaluate(|_| templar.expression(name, &self.scope_of(host))).await? {
            Known::Value(value) if value.is_undefined() || value.is_none() => Ok(None),
            Known::Value(value) => Ok(Some(value)),
            Known::Unknown(touches) => Err(Trouble::Failed(format!("{} cannot be predicted", touched(&touches)))),
        }
    }

    /// Whether this task only predicts.
    pub async fn checks(&self) -> Result<bool, Trouble> {
        let options = &self.on.play.run.options;
        if options.check && options.probes == Probes::None {
            return Ok(true);
        }
        Ok(self.flag(|k| k.check_mode.as_ref()).await?.unwrap_or(options.check))
    }
}

/// What was touched, in words.
pub fn touched(touches: &[UnknownTouch]) -> String {
    touches.iter().map(|touch| format!("`{}` ({})", touch.path, touch.reason)).collect::<Vec<_>>().join(", ")
}

/// A number that is not negative.
fn number_of(node: &Node, value: &Value, keyword: &str) -> Result<f64, Trouble> {
    let written = display(value);
    let number = written.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| Diag::error(format!("{keyword}: `{written}` is no number")).at(&node.span).into())
}
