//! Two checks of the same playbooks, compared: which hosts have moved in between, and how.

use super::Recording;
use super::mark::{Mark, Place, changes_something};
use crate::engine::event::{HostResult, TaskStatus};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One result that is not what it was.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// What the plan says; nothing where it says nothing of this task.
    pub planned: Option<HostResult>,
    /// What is seen now; nothing where the task is not run any more.
    pub now: Option<HostResult>,
}

impl Difference {
    /// In one line: `the plan says changed, now it is ok`.
    pub fn sentence(&self) -> String {
        let status = |result: &HostResult| result.status.word();
        match (&self.planned, &self.now) {
            (Some(planned), Some(now)) if planned.delegated_to != now.delegated_to => {
                let on = |result: &HostResult| result.delegated_to.as_ref().unwrap_or(&result.host).to_string();
                format!("the plan has it done on {}, now it would be done on {}", on(planned), on(now))
            }
            (Some(planned), Some(now)) if planned.status == now.status && !changes_something(now) => {
                format!("{}, but what it looks at is not what it was", status(now))
            }
            (Some(planned), Some(now)) if planned.status == now.status => match planned.notified == now.notified {
                true => format!("{}, but in another way than the plan says", status(now)),
                false => "other handlers are notified than the plan says".into(),
            },
            (Some(planned), Some(now)) => format!("the plan says {}, now it is {}", status(planned), status(now)),
            (Some(planned), None) => format!("the plan says {}, now it is not run", status(planned)),
            (None, Some(now)) => format!("the plan does not have it, now it is {}", status(now)),
            (None, None) => "nothing".into(),
        }
    }
}

/// Hosts that are not as the plan saw them, each with what differs, in the order of the plan.
pub type Moved = BTreeMap<String, Vec<Difference>>;

/// Compares a check that was made now with the plan's.
pub fn compare(plan: &Recording, now: &Recording) -> Moved {
    let mut moved = Moved::new();
    let mut seen: HashMap<Place, (&HostResult, &Mark)> =
        now.results().into_iter().map(|(place, result, mark)| (place, (result, mark))).collect();
    let mut note = |place: Place, planned: Option<&HostResult>, now: Option<&HostResult>| {
        // It is a host that has moved on which it is done, and the plan does not hold for the one it is done for, either.
        let on = [planned, now].into_iter().flatten().filter_map(|result| result.delegated_to.as_ref());
        let hosts: BTreeSet<String> = on.map(|on| on.to_string()).chain([place.host.clone()]).collect();
        let difference = Difference { place, planned: planned.cloned(), now: now.cloned() };
        for host in hosts {
            moved.entry(host).or_default().push(difference.clone());
        }
    };
    for (place, planned, mark) in plan.results() {
        match seen.remove(&place) {
            Some((_, found)) if found.whole == mark.whole => {}
            Some((result, _)) => note(place, Some(planned), Some(result)),
            None => note(place, Some(planned), None),
        }
    }
    for (place, result, _) in now.results() {
        if seen.contains_key(&place) {
            note(place, None, Some(result));
        }
    }
    moved
}

/// The hosts on which nothing may be done: those that have moved, and those that would change something on one of them.
pub fn refused(plan: &Recording, moved: &Moved) -> BTreeSet<String> {
    let mut hosts: BTreeSet<String> = moved.keys().cloned().collect();
    let delegated: Vec<(String, String)> = plan
        .results()
        .into_iter()
        .filter(|(_, result, _)| matches!(result.status, TaskStatus::Changed | TaskStatus::Unknown))
        .filter_map(|(place, ..)| Some((place.host, place.on?)))
        .collect();
    loop {
        let before = hosts.len();
        let drawn: Vec<String> =
            delegated.iter().filter(|(_, on)| hosts.contains(on)).map(|(host, _)| host.clone()).collect();
        hosts.extend(drawn);
        if hosts.len() == before {
            return hosts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::{Event, TaskInfo};
    use crate::machine::{Change, Domain, Facet, Subject};
    use crate::plan::{Key, Recorder};
    use crate::report::Reporter;
    use std::sync::Arc;

    fn result(host: &str, task: &str, content: Option<Facet>) -> Event {
        let task = TaskInfo {
            position: Default::default(),
            name: task.into(),
            action: "copy".into(),
            place: "site.yml:3:7".into(),
            handler: false,
            role: None,
        };
        let set = |after| Change::set(Subject::new(Domain::File, "/etc/x"), "content", Facet::Absent, after);
        Event::TaskDone(HostResult {
            task: Arc::new(task),
            host: host.into(),
            delegated_to: None,
            status: if content.is_some() { TaskStatus::Changed } else { TaskStatus::Ok },
            ignored: false,
            item: None,
            msg: None,
            problem: None,
            because: None,
            result: serde_json::json!({"secret": "hunter2"}),
            changes: content.map(set).into_iter().collect(),
            notified: Vec::new(),
            diff: true,
            seconds: 0.1,
            beneath: Default::default(),
        })
    }

    fn recording(events: Vec<Event>) -> Recording {
        let mask = |text: &str| text.replace("hunter2", "********");
        let mut recorder = Recorder::new(Key::of(1), Arc::new(mask));
        for event in [Event::PlayStarted { name: "p".into(), hosts: Vec::new() }].iter().chain(&events) {
            recorder.report(event).unwrap();
        }
        recorder.take()
    }

    fn text(text: &str) -> Option<Facet> {
        Some(Facet::Text(text.into()))
    }

    #[test]
    fn what_differs_is_told_by_host() {
        let cases: Vec<(Vec<Event>, Vec<Event>, Vec<(&str, &str)>)> = vec![
            (vec![result("a", "t", None)], vec![result("a", "t", None)], vec![]),
            // The order in which hosts answer does not matter.
            (
                vec![result("a", "t", text("1")), result("b", "t", None)],
                vec![result("b", "t", None), result("a", "t", text("1"))],
                vec![],
            ),
            (
                vec![result("a", "t", text("1")), result("b", "t", None)],
                vec![result("a", "t", None), result("b", "t", None)],
                vec![("a", "the plan says changed, now it is ok")],
            ),
            (
                vec![result("a", "t", text("1"))],
                vec![result("a", "t", text("2"))],
                vec![("a", "changed, but in another way than the plan says")],
            ),
            // Masked they look the same.
            (
                vec![result("a", "t", text("hunter2"))],
                vec![result("a", "t", text("********"))],
                vec![("a", "changed, but in another way than the plan says")],
            ),
            (
                vec![result("a", "t", None), result("a", "t", None)],
                vec![result("a", "t", None)],
                vec![("a", "the plan says ok, now it is not run")],
            ),
            (vec![], vec![result("a", "t", None)], vec![("a", "the plan does not have it, now it is ok")]),
            // What is made at apply is made anew each time.
            (
                vec![result("a", "t", Some(Facet::AtApply("until Monday".into())))],
                vec![result("a", "t", Some(Facet::AtApply("until Tuesday".into())))],
                vec![],
            ),
        ];
        for (plan, now, expected) in cases {
            let moved = compare(&recording(plan), &recording(now));
            let told: Vec<(String, String)> =
                moved.iter().flat_map(|(host, all)| all.iter().map(|d| (host.clone(), d.sentence()))).collect();
            let expected: Vec<(String, String)> =
                expected.iter().map(|(h, s)| (h.to_string(), s.to_string())).collect();
            assert_eq!(told, expected);
        }
    }

    fn with(event: Event, change: impl FnOnce(&mut HostResult)) -> Event {
        match event {
            Event::TaskDone(mut result) => {
                change(&mut result);
                Event::TaskDone(result)
            }
            other => other,
        }
    }

    #[test]
    fn what_is_delegated_belongs_to_both_hosts() {
        let on = |host: &str, on: &str, content| with(result(host, "t", content), |r| r.delegated_to = Some(on.into()));
        let plan = recording(vec![on("a", "db", text("1")), result("b", "t", text("1")), on("c", "a", text("1"))]);
        let cases: Vec<(Vec<Event>, &[&str], &[&str])> = vec![
            (vec![on("a", "db", text("1")), result("b", "t", text("1")), on("c", "a", text("1"))], &[], &[]),
            // What `a` has done on `db` is another thing now; `c` has something done on `a`.
            (
                vec![on("a", "db", text("2")), result("b", "t", text("1")), on("c", "a", text("1"))],
                &["a", "db"],
                &["a", "c", "db"],
            ),
            (
                vec![on("a", "b", text("1")), result("b", "t", text("1")), on("c", "a", text("1"))],
                &["a", "b", "db"],
                &["a", "b", "c", "db"],
            ),
            (vec![on("a", "db", text("1")), result("b", "t", text("2")), on("c", "a", text("1"))], &["b"], &["b"]),
        ];
        for (now, expected, expected_refused) in cases {
            let moved = compare(&plan, &recording(now));
            assert_eq!(moved.keys().collect::<Vec<_>>(), expected);
            assert_eq!(refused(&plan, &moved).iter().collect::<Vec<_>>(), expected_refused);
        }
    }

    #[test]
    fn what_is_not_shown_counts() {
        let change = |after| Change::set(Subject::new(Domain::File, "/etc/x"), "content", Facet::Absent, after);
        let print = |print: &str| Facet::Secret { fingerprint: print.into() };
        let hidden = |of: &str| {
            with(result("a", "t", None), |r| {
                (r.status, r.beneath.hidden) = (TaskStatus::Changed, vec![change(print(of))]);
            })
        };
        let looked = |at: &str| {
            let state = [("Database app".to_string(), at.to_string())];
            with(result("a", "t", None), |r| r.beneath.observed = state.into())
        };
        let item = |item: &str| with(result("a", "t", None), |r| r.item = Some(item.into()));
        for (plan, now, expected) in [
            (hidden("1"), hidden("1"), None),
            (hidden("1"), hidden("2"), Some("changed, but in another way than the plan says")),
            (hidden("1"), result("a", "t", None), Some("the plan says changed, now it is ok")),
            (looked("1"), looked("1"), None),
            (looked("1"), looked("2"), Some("ok, but what it looks at is not what it was")),
            // Masked they are the same item.
            (item("hunter2"), item("hunter2"), None),
            (item("hunter2"), item("********"), Some("the plan says ok, now it is not run")),
        ] {
            let moved = compare(&recording(vec![plan]), &recording(vec![now]));
            let told = moved.get("a").and_then(|all| all.first()).map(Difference::sentence);
            assert_eq!(told.as_deref(), expected);
        }
    }

    #[test]
    fn nothing_secret_is_kept() {
        let kept = recording(vec![
            result("a", "t", text("password=hunter2\n")),
            result("a", "u", Some(Facet::Secret { fingerprint: "5ebe2294ecd0".into() })),
        ]);
        let shown = format!("{kept:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("5ebe2294ecd0"), "{shown}");
    }
}
