//! Questions to the person who runs it: `vars_prompt`, `pause`, `--step`.

use super::call::{Call, Trouble};
use super::event::TaskInfo;
use super::play::Batch;
use super::run::Run;
use crate::ask::ask as ask_now;
use crate::modules::Outcome;
use crate::modules::control::Pause;
use crate::source::Diag;
use crate::source::Node;
use crate::template::{Layer, Raw, Scope, Value};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Asks the questions of `vars_prompt`; those that `--extra-vars` answer are not asked.
pub fn ask(run: &Arc<Run>, prompts: &[Node], scope: &Scope) -> Result<Arc<Layer>, Diag> {
    let mut layer = Layer::new();
    for prompt in prompts {
        let field = |key: &str| prompt.as_map().and_then(|map| map.get(key));
        let flag = |key: &str, otherwise: bool| field(key).and_then(Node::as_bool).unwrap_or(otherwise);
        let (private, confirm) = (flag("private", true), flag("confirm", false));
        let Some(name) = field("name").and_then(Node::scalar_text) else {
            return Err(Diag::error("an entry of vars_prompt needs `name`").at(&prompt.span));
        };
        if run.extra.contains_key(name.as_str()) {
            continue;
        }
        let default = field("default").map(|node| super::play::text(scope, node)).transpose()?;
        let question = match field("prompt") {
            Some(node) => super::play::text(scope, node)?,
            None => name.clone(),
        };
        let answer = if std::io::stdin().is_terminal() {
            let shown = default.as_ref().filter(|_| !private).map(|d| format!(" [{d}]")).unwrap_or_default();
            let read = |question: &str| ask_now(question, private).map_err(|e| unreadable(run, prompt, e));
            let mut typed = read(&format!("{question}{shown}: "))?;
            while confirm && read(&format!("confirm {question}: "))? != typed {
                typed = read(&format!("they differ; again, {question}: "))?;
            }
            if typed.is_empty() { default.unwrap_or_default() } else { typed }
        } else {
            run.warn(format!("not asking for `{name}`: there is no terminal; its default is used"));
            default.unwrap_or_default()
        };
        if private {
            run.redactor.add(&answer);
        }
        layer.insert(name.as_str().into(), Raw::Value(Value::from(answer)));
    }
    Ok(Arc::new(layer))
}

fn unreadable(run: &Run, prompt: &Node, error: std::io::Error) -> Diag {
    if error.kind() == std::io::ErrorKind::Interrupted {
        run.stop();
    }
    Diag::error(format!("cannot read the answer: {error}")).at(&prompt.span)
}

/// Asks while a run is under way; Ctrl-C ends the run.
async fn read(run: &Arc<Run>, question: String, hidden: bool) -> std::io::Result<String> {
    let answer = tokio::task::spawn_blocking(move || crate::ask::ask(&question, hidden)).await;
    let answer = answer.map_err(std::io::Error::other).flatten();
    if matches!(&answer, Err(error) if error.kind() == std::io::ErrorKind::Interrupted) {
        run.interrupt();
    }
    answer
}

/// `pause`
pub async fn pause(call: &Call, arguments: Pause) -> Result<Outcome, Trouble> {
    let number = |value: &Option<serde_json::Value>| -> Result<Option<f64>, Trouble> {
        match value {
            None => Ok(None),
            Some(value) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                let number = text.trim().parse::<f64>();
                number.map(Some).map_err(|_| Trouble::Failed(format!("pause: `{text}` is no number")))
            }
        }
    };
    let seconds = match (number(&arguments.seconds)?, number(&arguments.minutes)?) {
        (Some(seconds), _) => Some(seconds),
        (None, Some(minutes)) => Some(minutes * 60.0),
        (None, None) => None,
    };
    let began = std::time::Instant::now();
    let mut typed = String::new();
    if call.checks().await? {
        // Nobody waits in a check; what a task may read of it is there.
        return Ok(paused("not paused in a check".into(), 0, arguments.echo.0, typed));
    }
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 31_536_000.0))).await,
        None if std::io::stdin().is_terminal() => {
            let question = arguments.prompt.map(|p| p.0).unwrap_or_else(|| "Press enter to continue".into());
            let hidden = !arguments.echo.0;
            match read(&call.on.play.run, format!("{question}: "), hidden).await {
                Ok(answer) => typed = answer,
                Err(error) => return Err(Trouble::Failed(format!("cannot read the answer: {error}"))),
            }
        }
        None => {
            let message = "Not waiting for response to prompt as stdin is not interactive";
            call.on.play.run.warn(message);
        }
    }
    let delta = began.elapsed().as_secs();
    Ok(paused(format!("Paused for {delta} seconds"), delta, arguments.echo.0, typed))
}

fn paused(stdout: String, delta: u64, echo: bool, typed: String) -> Outcome {
    let outcome = Outcome::ok().with("stdout", stdout).with("stderr", "").with("rc", 0).with("delta", delta);
    outcome.with("echo", echo).with("user_input", typed)
}

static CONTINUE: AtomicBool = AtomicBool::new(false);

/// `--step`: asks once for each task of a batch whether to run it.
pub async fn step(run: &Arc<Run>, batch: &Arc<Batch>, task: &TaskInfo) -> bool {
    if CONTINUE.load(Ordering::SeqCst) {
        return true;
    }
    batch.board.meet(&task.position).await;
    let mut answers = batch.steps.lock().await;
    if let Some(answer) = answers.get(&task.position) {
        return *answer;
    }
    let question = format!("Perform task: {} (N)o/(y)es/(c)ontinue: ", task.name);
    let typed = read(run, question, false).await.unwrap_or_default().to_ascii_lowercase();
    if matches!(typed.as_str(), "c" | "continue") {
        CONTINUE.store(true, Ordering::SeqCst);
    }
    let yes = matches!(typed.as_str(), "y" | "yes" | "c" | "continue");
    answers.insert(task.position.clone(), yes);
    yes
}
