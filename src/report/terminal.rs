//! Plain text for people, in the form of Ansible's default output.

use super::diff::DiffOptions;
use super::grouped::Grouped;
use super::{Mask, Masked, Reporter};
use crate::engine::event::{Event, GateState, HostResult, TaskInfo, TaskStatus};
use crate::source::Diag;
use std::io::Write;
use std::sync::Arc;

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// No colours.
    pub fn plain() -> Self {
        Style { colour: false }
    }

    /// Colours when `colour` is set.
    pub fn new(colour: bool) -> Self {
        Style { colour }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Good.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Changed.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Bad.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Skipped, positions.
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// Unknown.
    pub fn magenta(self, text: &str) -> String {
        self.paint("35", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// The words of a line that changed.
    pub fn emphasis(self, text: &str) -> String {
        self.paint("7", text)
    }
}

/// What the terminal is to show.
pub struct Terminal<W: Write> {
    out: Masked<W>,
    style: Style,
    /// `-v` count: from 1 on, results are shown whole.
    verbosity: u8,
    /// A line that is overwritten may be shown (a real terminal).
    live: bool,
    header: Option<Arc<TaskInfo>>,
    /// The mistake that was drawn last under this header: other hosts that meet it say its place alone.
    drawn: Option<Arc<Diag>>,
    status_shown: bool,
    width: usize,
    diffs: Grouped,
    options: DiffOptions,
    /// Hosts of the play, or of the turn.
    hosts: usize,
}

impl<W: Write> Terminal<W> {
    /// Writes to `out`; `live` says that it is a terminal on which a line may be overwritten.
    pub fn new(out: W, mask: Mask, style: Style, verbosity: u8, live: bool) -> Self {
        Terminal {
            out: Masked::new(out, mask),
            style,
            verbosity,
            live,
            header: None,
            drawn: None,
            status_shown: false,
            width: 79,
            diffs: Grouped::default(),
            options: DiffOptions::default(),
            hosts: 0,
        }
    }

    /// How diffs are drawn.
    pub fn with_diffs(self, options: DiffOptions) -> Self {
        Terminal { options, ..self }
    }

    fn heading(&self, text: &str) -> String {
        let stars = "*".repeat(self.width.saturating_sub(text.chars().count() + 1).max(3));
        format!("\n{text} {stars}\n")
    }

    fn task_heading(&mut self, task: &Arc<TaskInfo>) -> String {
        if self.header.as_ref().is_some_and(|shown| shown == task) {
            return String::new();
        }
        self.header = Some(task.clone());
        self.drawn = None;
        self.diffs.forget();
        let kind = if task.handler { "RUNNING HANDLER" } else { "TASK" };
        self.heading(&format!("{kind} [{}]", task.name))
    }

    fn result(&mut self, result: &HostResult) -> String {
        let style = self.style;
        let mut text = self.task_heading(&result.task);
        let host = match &result.delegated_to {
            Some(other) => format!("[{} -> {other}]", result.host),
            None => format!("[{}]", result.host),
        };
        let item = result.item.as_ref().map(|item| format!(" => (item={item})")).unwrap_or_default();
        let problem = result.problem.as_ref().filter(|problem| self.drawn.as_ref() != Some(*problem)).cloned();
        let msg = match &problem {
            Some(problem) => problem.message.as_str(),
            None => result.msg.as_deref().unwrap_or(""),
        };
        let debug = matches!(result.task.action.rsplit('.').next(), Some("debug")) && result.status == TaskStatus::Ok;
        let mut shown =
            if self.verbosity > 0 { Some(result.result.clone()) } else { debug.then(|| debug_value(&result.result)) };
        // Diffs are shown as diffs, but for what a module of the user's own says of changes that nobody else saw.
        let seen = !result.changes.is_empty() || result.status != TaskStatus::Changed;
        if let Some(serde_json::Value::Object(fields)) = shown.as_mut().filter(|_| seen && !debug && self.verbosity < 3)
        {
            fields.remove("diff");
        }
        let shown = shown.and_then(|value| serde_json::to_string_pretty(&value).ok()).filter(|json| json != "{}");
        let item = match shown.filter(|_| !result.sums_up_a_loop()) {
            Some(json) => format!("{item} => {json}"),
            None => item,
        };
        if result.sums_up_a_loop() && !matches!(result.status, TaskStatus::Failed | TaskStatus::Unreachable) {
            return text; // its items were shown
        }
        // What a node's restart costs is what a check of it is asked for.
        let tells = matches!(result.task.action.rsplit('.').next(), Some("galera_restart")) && !msg.is_empty();
        let said = if tells { format!(" => {msg}") } else { String::new() };
        text += &match result.status {
            TaskStatus::Ok => style.green(&format!("ok: {host}{item}{said}")),
            TaskStatus::Changed => style.yellow(&format!("changed: {host}{item}{said}")),
            TaskStatus::Skipped => style.cyan(&format!("skipping: {host}{item}")),
            TaskStatus::Unknown => style.magenta(&format!("unknown: {host}{item} => {msg}")),
            TaskStatus::Failed => style.red(&format!("failed: {host}{item} => {msg}")),
            TaskStatus::Unreachable => style.red(&format!("unreachable: {host}{item} => {msg}")),
        };
        text.push('\n');
        if let Some(problem) = problem {
            text += problem.render_places(style.colour).trim_end();
            text.push('\n');
            self.drawn = Some(problem);
        }
        if let Some(details) = failure_details(result) {
            text += &details;
        }
        if result.diff && !result.sums_up_a_loop() && !matches!(result.status, TaskStatus::Ok | TaskStatus::Skipped) {
            self.diffs.take(result);
            if self.hosts < 2 {
                text += &self.released();
            }
        }
        if result.ignored {
            text += &style.cyan("...ignoring\n");
        }
        text
    }

    /// Diffs that waited for others of their kind.
    fn released(&mut self) -> String {
        self.diffs.release(self.hosts, self.out.mask(), self.style, self.options)
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        if self.status_shown {
            self.status_shown = false;
            self.out.text("\r\x1b[2K")?;
        }
        self.out.text(text)
    }
}

/// What helps after a failure: the end of the command's own words.
fn failure_details(result: &HostResult) -> Option<String> {
    if !matches!(result.status, TaskStatus::Failed) {
        return None;
    }
    let mut text = String::new();
    for stream in ["stderr", "stdout"] {
        let lines: Vec<&str> = result.result.get(stream)?.as_str()?.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(20)) {
            text += &format!("    {stream}: {line}\n");
        }
    }
    Some(text)
}

/// What `debug` is asked to show, without the bookkeeping.
fn debug_value(result: &serde_json::Value) -> serde_json::Value {
    let mut shown = result.clone();
    if let Some(map) = shown.as_object_mut() {
        map.retain(|key, _| !matches!(key.as_str(), "changed" | "failed" | "skipped" | "unknown"));
    }
    shown
}

impl<W: Write + Send> Reporter for Terminal<W> {
    fn report(&mut self, event: &Event) -> std::io::Result<()> {
        let style = self.style;
        let of_same_task = match event {
            Event::ItemDone(result) | Event::TaskDone(result) => self.header.as_ref() == Some(&result.task),
            _ => false,
        };
        let waited = if of_same_task { String::new() } else { self.released() };
        if !waited.is_empty() {
            self.say(&waited)?;
        }
        match event {
            Event::RunStarted { check, .. } => {
                if *check {
                    self.say(&style.dim("CHECK: nothing will be changed on any host.\n"))?;
                }
            }
            Event::PlayStarted { name, hosts } => {
                self.header = None;
                self.hosts = hosts.len();
                let mut text = self.heading(&format!("PLAY [{name}]"));
                if hosts.is_empty() {
                    text += &style.cyan("skipping: no hosts matched\n");
                }
                self.say(&text)?;
            }
            // Its tasks are shown anew, so diffs of the batch before are not theirs.
            Event::BatchStarted { hosts, .. } => {
                self.header = None;
                self.hosts = hosts.len();
            }
            Event::TaskStarted { task } => {
                let heading = self.task_heading(task);
                self.say(&heading)?;
            }
            Event::ItemDone(result) | Event::TaskDone(result) => {
                let text = self.result(result);
                self.say(&text)?;
            }
            Event::Retrying { host, task, left } => {
                let text = format!("FAILED - RETRYING: [{host}]: {} ({left} retries left).\n", task.name);
                self.say(&style.yellow(&text))?;
            }
            Event::Rescued { .. } => {}
            Event::StillRunning { task, hosts, seconds, progress } => {
                let names: Vec<&str> = hosts.iter().take(4).map(|h| &**h).collect();
                let more = if hosts.len() > 4 { format!(" and {} more", hosts.len() - 4) } else { String::new() };
                let progress = progress.as_ref().map(|p| format!(": {p}")).unwrap_or_default();
                let line = format!("  … {} on {}{more} ({seconds} s){progress}", task.name, names.join(", "));
                if self.live {
                    let line: String = line.chars().take(self.width).collect();
                    self.out.text(&format!("\r\x1b[2K{}", style.dim(&line)))?;
                    self.status_shown = true;
                } else {
                    self.say(&format!("{line}\n"))?;
                }
            }
            Event::Warning { message } => self.say(&style.magenta(&format!("[WARNING]: {message}\n")))?,
            Event::Diagnostic { text, .. } => self.say(&format!("{}\n", text.trim_end()))?,
            Event::RollingOrder { turns, left_out, finished, max_unavailable, gate, members, window } => {
                let turns: Vec<String> = turns.iter().map(|turn| turn.join(" + ")).collect();
                let turns = if turns.is_empty() { "nobody has a turn".to_string() } else { turns.join(", then ") };
                let mut text = format!("order: {turns}\n");
                if !left_out.is_empty() {
                    text += &format!("no turn for: {}\n", left_out.join(", "));
                }
                if !finished.is_empty() {
                    text += &format!("done by the resumed run: {}\n", finished.join(", "));
                }
                let gate = match gate {
                    Some(gate) if members.is_empty() => format!("gate: {gate}"),
                    Some(gate) => format!("gate: {gate} (all of {})", members.join(", ")),
                    None => "no gate".to_string(),
                };
                text += &format!("at most {max_unavailable} out at a time; {gate}\n");
                if let Some((window, open)) = window {
                    text += &format!("window: {window} ({})\n", if *open { "open now" } else { "closed now" });
                }
                self.say(&style.cyan(&text))?;
            }
            Event::TurnStarted { turn, of, hosts } => {
                self.header = None;
                self.hosts = hosts.len();
                let text = self.heading(&format!("TURN {turn} of {of} [{}]", hosts.join(", ")));
                self.say(&text)?;
            }
            Event::TurnDone { turn, hosts, ok, seconds } => {
                let hosts = hosts.join(", ");
                let text = if *ok {
                    style.green(&format!("turn {turn}: {hosts} done in {seconds:.1} s\n"))
                } else {
                    style.red(&format!("turn {turn}: {hosts} failed after {seconds:.1} s\n"))
                };
                self.say(&text)?;
            }
            Event::RolledBack { turn, host, changes, not_undone, sentence } => {
                let mut text = self.heading(&format!("ROLLBACK of turn {turn} [{host}]"));
                for change in changes {
                    text += &style.yellow(&format!("put back: {}\n", change.subject.name));
                }
                for what in not_undone {
                    text += &style.red(&format!("not put back: {what}\n"));
                }
                text += &format!("{sentence}\n");
                self.say(&text)?;
            }
            Event::Gate { name, state, sentence, seconds } => {
                let line = match state {
                    GateState::Open if *seconds == 0 => style.green(&format!("gate {name}: open: {sentence}\n")),
                    GateState::Open => style.green(&format!("gate {name}: open after {seconds} s: {sentence}\n")),
                    GateState::Closed => style.red(&format!("gate {name}: closed: {sentence}\n")),
                    GateState::Waiting => style.yellow(&format!("gate {name}: waiting ({seconds} s): {sentence}\n")),
                    GateState::Unknown => style.magenta(&format!("gate {name}: not known in a check: {sentence}\n")),
                };
                self.say(&line)?;
            }
            Event::Waiting { reason, seconds } => self.say(&style.dim(&format!("waiting {seconds} s: {reason}\n")))?,
            Event::PlayStopped { reason } => self.say(&style.red(&format!("\n{reason}\n")))?,
            Event::Unknowns { tasks } => {
                let mut text = self.heading("NOT KNOWN BEFORE IT IS RUN");
                for line in tasks.iter().flat_map(|task| task.lines()) {
                    text += &style.magenta(&line);
                    text.push('\n');
                }
                self.say(&text)?;
            }
            Event::Recap { hosts, owed, stats, show_stats } => {
                let mut text = self.heading("PLAY RECAP");
                let width = hosts.iter().map(|(host, _)| host.chars().count()).max().unwrap_or(0).max(10);
                for (host, c) in hosts {
                    let paint = |name: &str, count: u32, bad: fn(Style, &str) -> String| {
                        let cell = format!("{name}={count:<4}");
                        if count > 0 { bad(style, &cell) } else { cell }
                    };
                    let colour: fn(Style, &str) -> String = if c.failed + c.unreachable > 0 {
                        |s, t| s.red(t)
                    } else if c.changed > 0 {
                        |s, t| s.yellow(t)
                    } else {
                        |s, t| s.green(t)
                    };
                    let cells = [
                        paint("ok", c.ok, |s, t| s.green(t)),
                        paint("changed", c.changed, |s, t| s.yellow(t)),
                        paint("unreachable", c.unreachable, |s, t| s.red(t)),
                        paint("failed", c.failed, |s, t| s.red(t)),
                        paint("skipped", c.skipped, |s, t| s.cyan(t)),
                        paint("rescued", c.rescued, |s, t| s.yellow(t)),
                        paint("ignored", c.ignored, |s, t| s.yellow(t)),
                        paint("unknown", c.unknown, |s, t| s.magenta(t)),
                    ];
                    text +=
                        &format!("{} : {}\n", colour(style, &format!("{host:<width$}")), cells.join(" ").trim_end());
                }
                for (host, handlers) in owed {
                    text += &style.yellow(&format!("{host}: notified and not run: {}\n", handlers.join(", ")));
                }
                if *show_stats && !stats.is_empty() {
                    text += &self.heading("CUSTOM STATS:");
                    let (runs, hosts): (Vec<_>, Vec<_>) = stats.iter().partition(|(name, _)| *name == "_run");
                    hosts.iter().for_each(|(host, values)| text += &format!("\t{host}: {values}\n"));
                    runs.iter().for_each(|(_, values)| text += &format!("\n\tRUN: {values}\n"));
                }
                self.say(&text)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Counters;

    fn shown(events: &[Event]) -> String {
        let mut bytes = Vec::new();
        let mask: Mask = Arc::new(|text: &str| text.replace("hunter2", "********"));
        let mut terminal = Terminal::new(&mut bytes, mask, Style::plain(), 0, false);
        events.iter().for_each(|event| terminal.report(event).unwrap());
        String::from_utf8(bytes).unwrap()
    }

    fn task(name: &str) -> Arc<TaskInfo> {
        Arc::new(TaskInfo {
            position: Default::default(),
            name: name.into(),
            action: "command".into(),
            place: "site.yml:3:7".into(),
            handler: false,
            role: None,
        })
    }

    fn result(host: &str, status: TaskStatus, msg: Option<&str>) -> HostResult {
        HostResult {
            task: task("Install"),
            host: host.into(),
            delegated_to: None,
            status,
            ignored: false,
            item: None,
            msg: msg.map(Into::into),
            problem: None,
            because: None,
            result: serde_json::json!({"stderr": "no hunter2 here", "stdout": ""}),
            changes: vec![],
            notified: vec![],
            diff: false,
            seconds: 0.1,
            beneath: Default::default(),
        }
    }

    #[test]
    fn hosts_with_the_same_changes_share_a_diff() {
        use crate::machine::{Change, Domain, Facet, Subject};
        let changed = |host: &str, after: &str| {
            let facet = |text: &str| Facet::Text(text.into());
            let change = Change::set(Subject::new(Domain::File, "/x"), "content", facet("a\n"), facet(after));
            let result = HostResult { changes: vec![change], diff: true, ..result(host, TaskStatus::Changed, None) };
            Event::TaskDone(result)
        };
        let hosts = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>();
        let still = Event::StillRunning { task: task("Install"), hosts: hosts(&["db4"]), seconds: 2, progress: None };
        let next = HostResult { task: task("Next"), ..result("db1", TaskStatus::Ok, None) };
        insta::assert_snapshot!(shown(&[
            Event::PlayStarted { name: "all".into(), hosts: hosts(&["db1", "db2", "db3", "db4"]) },
            changed("db1", "b\n"),
            changed("db2", "c hunter2\n"),
            changed("db3", "b\n"),
            still,
            changed("db4", "b\n"),
            Event::TaskDone(next),
            // A play of one host waits for nobody.
            Event::PlayStarted { name: "one".into(), hosts: hosts(&["db1"]) },
            changed("db1", "b\n"),
            changed("db1", "b\n"),
        ]), @r"
        PLAY [all] ********************************************************************

        TASK [Install] ****************************************************************
        changed: [db1]
        changed: [db2]
        changed: [db3]
          on db1, db3:
          ~ file /x (content)
            @@ -1,1 +1,1 @@
            -a
            +b
          on db2:
          ~ file /x (content)
            @@ -1,1 +1,1 @@
            -a
            +c ********
          … Install on db4 (2 s)
        changed: [db4]
          db4: the same as on db1

        TASK [Next] *******************************************************************
        ok: [db1]

        PLAY [one] ********************************************************************

        TASK [Install] ****************************************************************
        changed: [db1]
          ~ file /x (content)
            @@ -1,1 +1,1 @@
            -a
            +b
        changed: [db1]
          ~ file /x (content)
            @@ -1,1 +1,1 @@
            -a
            +b
        ");
    }

    #[test]
    fn a_run_reads_like_ansible() {
        let counters = Counters { ok: 1, changed: 1, failed: 1, ..Default::default() };
        let text = shown(&[
            Event::PlayStarted { name: "all".into(), hosts: vec!["db1".into()] },
            Event::TaskStarted { task: task("Install") },
            Event::TaskDone(result("db1", TaskStatus::Changed, None)),
            Event::TaskDone(result("db2", TaskStatus::Failed, Some("it broke"))),
            Event::Recap {
                hosts: vec![("db1".into(), counters)],
                owed: vec![("db1".into(), vec!["restart".into()])],
                stats: serde_json::Map::from_iter([("_run".to_string(), serde_json::json!({"n": 1}))]),
                show_stats: true,
            },
        ]);
        insta::assert_snapshot!(text.replace('\t', ""), @r#"
        PLAY [all] ********************************************************************

        TASK [Install] ****************************************************************
        changed: [db1]
        failed: [db2] => it broke
            stderr: no ******** here

        PLAY RECAP ********************************************************************
        db1        : ok=1    changed=1    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0    unknown=0
        db1: notified and not run: restart

        CUSTOM STATS: *****************************************************************

        RUN: {"n":1}
        "#);
    }
}
