//! One good look is not enough: a member whose peers were just killed still says for seconds that all is well.

use super::gate::{Expected, Member, Sample, Tolerances, Verdict, closer_fault, gate, narrow};
use super::status::Closer;
use std::collections::BTreeMap;
use std::time::Duration;

/// Looks at all members, one after the other, until enough of them were good. Whoever looks decides when.
#[derive(Clone, Debug)]
pub struct Stability {
    expected: Expected,
    tolerances: Tolerances,
    needed: u32,
    span: Duration,
    good: u32,
    good_since: Option<Duration>,
    previous: Vec<Sample>,
    close: BTreeMap<String, Closer>,
    rates: BTreeMap<String, f64>,
    look_closer: bool,
    fault: Option<String>,
}

/// Where it stands after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Enough good looks in a row, over enough time.
    Stable,
    /// The last look was good, more are needed.
    Good {
        /// Good looks so far.
        looks: u32,
        /// Of how many.
        needed: u32,
    },
    /// The last look was not good.
    Closed {
        /// The member that is not well, where it is one.
        host: String,
        /// Why.
        reason: String,
    },
}

impl Stability {
    /// `needed` good looks in a row (at least one), the last at least `span` after the first.
    pub fn new(expected: Expected, tolerances: Tolerances, needed: u32, span: Duration) -> Self {
        Stability {
            expected,
            tolerances,
            needed: needed.max(1),
            span,
            good: 0,
            good_since: None,
            previous: Vec::new(),
            close: BTreeMap::new(),
            rates: BTreeMap::new(),
            look_closer: true,
            fault: None,
        }
    }

    /// What `span` is usually, for so many looks of a second each: a cluster whose members were killed looks well for
    /// five seconds, so ten are waited unless somebody says less.
    pub const USUAL_SPAN: Duration = Duration::from_secs(10);

    /// Whether the next look shall be a closer one (`galera_status: close: true`), which costs more: certificates,
    /// option files, disk. It is wanted once, and again after something was wrong there.
    pub fn wants_closer_look(&self) -> bool {
        self.look_closer
    }

    /// Something that only the controller can see closes the gate, until it is told otherwise: a chain that does not
    /// verify, for example.
    pub fn set_fault(&mut self, fault: Option<String>) {
        self.fault = fault;
    }

    /// Takes in a look at all members at the moment `now` (of any steady clock).
    pub fn look(&mut self, members: &[Member], now: Duration) -> Progress {
        let mut members: Vec<Member> = members.to_vec();
        for member in &mut members {
            match &member.close {
                Some(close) => {
                    self.close.insert(member.host.clone(), close.clone());
                }
                None => member.close = self.close.get(&member.host).cloned(),
            }
        }
        let mut verdict = gate(&members, self.expected, &self.previous, &self.tolerances);
        if verdict.is_open()
            && let Some(reason) = &self.fault
        {
            verdict = Verdict::Closed { host: String::new(), reason: reason.clone() };
        }
        // What was wrong in a closer look is only seen to be right again by another one.
        let unseen = members.iter().any(|member| member.close.is_none());
        let bad =
            members.iter().any(|m| m.close.as_ref().is_some_and(|c| closer_fault(m, c, &self.tolerances).is_some()));
        self.look_closer = unseen || bad || self.fault.is_some() || narrow(&members, &self.tolerances).is_some();
        self.measure(&members);
        self.previous = members.iter().map(Sample::of).collect();
        match verdict {
            Verdict::Closed { host, reason } => {
                self.good = 0;
                self.good_since = None;
                Progress::Closed { host, reason }
            }
            Verdict::Open => {
                self.good += 1;
                let since = *self.good_since.get_or_insert(now);
                let long_enough = now.saturating_sub(since) >= self.span;
                if self.good >= self.needed && long_enough && !unseen {
                    return Progress::Stable;
                }
                Progress::Good { looks: self.good, needed: self.needed }
            }
        }
    }

    /// Bytes of write sets a second between two looks, by host.
    fn measure(&mut self, members: &[Member]) {
        for member in members {
            let now = Sample::of(member);
            let Some(before) = self.previous.iter().find(|sample| sample.host == member.host) else { continue };
            // Another run of the server counts from zero.
            let same_run = now.started_ms.abs_diff(before.started_ms) < 3000;
            if let Some(ms) = now.at_ms.checked_sub(before.at_ms).filter(|ms| *ms >= 200 && same_run) {
                let rate = now.bytes.saturating_sub(before.bytes) as f64 * 1000.0 / ms as f64;
                // The highest of what was seen: a pause between two writes is no promise.
                self.rates.entry(member.host.clone()).and_modify(|known| *known = known.max(rate)).or_insert(rate);
            }
        }
    }

    /// Bytes of write sets a second that the cluster was seen to write; nothing before two looks.
    pub fn write_rate(&self) -> Option<f64> {
        self.rates.values().copied().reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::synced;
    use super::*;

    fn three() -> Vec<Member> {
        ["a", "b", "c"]
            .map(|host| {
                let mut member = synced(host);
                member.close = Some(Closer::default());
                member.at_ms = 1000;
                let status = member.status.as_mut().unwrap();
                status.node_name = host.into();
                status.members = ["a", "b", "c"].map(String::from).to_vec();
                member
            })
            .to_vec()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn as_many_good_looks_in_a_row_and_as_long_as_asked() {
        let mut gate = Stability::new(Expected::all(3, 0), Tolerances::default(), 3, at(10));
        let good = three();
        let mut bad = good.clone();
        bad[2].status = None;
        assert_eq!(gate.look(&good, at(0)), Progress::Good { looks: 1, needed: 3 });
        assert!(matches!(gate.look(&bad, at(1)), Progress::Closed { host, .. } if host == "c"));
        assert_eq!(gate.look(&good, at(2)), Progress::Good { looks: 1, needed: 3 });
        assert_eq!(gate.look(&good, at(7)), Progress::Good { looks: 2, needed: 3 });
        // Three looks, but only nine seconds.
        assert_eq!(gate.look(&good, at(11)), Progress::Good { looks: 3, needed: 3 });
        assert_eq!(gate.look(&good, at(12)), Progress::Stable);
    }

    #[test]
    fn a_closer_look_is_needed_once_and_again_when_it_was_bad() {
        let mut gate = Stability::new(Expected::all(3, 0), Tolerances::default(), 1, at(0));
        let mut looks = three();
        assert!(gate.wants_closer_look());
        looks[1].close = None;
        assert!(matches!(gate.look(&looks, at(0)), Progress::Good { .. }), "not open without one look at every node");
        assert!(gate.wants_closer_look());
        looks[1].close = Some(Closer { configuration_error: Some("unknown variable".into()), ..Closer::default() });
        assert!(
            matches!(gate.look(&looks, at(1)), Progress::Closed { reason, .. } if reason.contains("unknown variable"))
        );
        // The next look is not closer: what was bad stays bad.
        looks[1].close = None;
        assert!(matches!(gate.look(&looks, at(2)), Progress::Closed { .. }));
        assert!(gate.wants_closer_look());
        looks[1].close = Some(Closer::default());
        assert_eq!(gate.look(&looks, at(3)), Progress::Stable);
        assert!(!gate.wants_closer_look());
        looks.iter_mut().for_each(|member| member.close = None);
        assert_eq!(gate.look(&looks, at(4)), Progress::Stable);
        gate.set_fault(Some("a chain".into()));
        assert!(matches!(gate.look(&looks, at(5)), Progress::Closed { .. }));
        assert!(gate.wants_closer_look(), "what only the controller sees must be looked at again, too");
        gate.set_fault(None);
        assert_eq!(gate.look(&looks, at(6)), Progress::Stable);
        looks[0].close = Some(Closer { data_bytes: 1, disk_free: 5, ..Closer::default() });
        assert!(matches!(gate.look(&looks, at(7)), Progress::Closed { reason, .. } if reason.contains("disk is full")));
        assert!(gate.wants_closer_look());
    }

    #[test]
    fn certificates_that_may_be_past_their_end_are_not_looked_at_again() {
        use super::super::{Certificate, Leaf};
        for (not_before, not_after, expired, again) in
            [(0, 900, false, true), (0, 900, true, false), (1100, 10_000_000, true, true)]
        {
            let tolerances = Tolerances { expired, ..Tolerances::default() };
            let mut gate = Stability::new(Expected::all(3, 0), tolerances, 1, at(0));
            let mut looks = three();
            let served = Some(Leaf { serial: "1".into(), not_before, not_after });
            looks.iter_mut().for_each(|member| member.clock = 1000);
            looks[1].close.as_mut().unwrap().certificates = vec![Certificate { served, ..Certificate::default() }];
            let progress = gate.look(&looks, at(0));
            assert_eq!(gate.wants_closer_look(), again, "{not_before} {not_after} {expired}: {progress:?}");
            assert_eq!(progress != Progress::Stable, again);
        }
    }

    #[test]
    fn the_write_rate_is_of_one_run_of_the_server() {
        let mut gate = Stability::new(Expected::all(3, 0), Tolerances::default(), 1, at(0));
        let mut looks = three();
        let set = |looks: &mut Vec<Member>, ms: u64, bytes: u64, uptime: u64| {
            for member in looks.iter_mut() {
                member.at_ms = ms;
                let status = member.status.as_mut().unwrap();
                (status.replicated_bytes, status.uptime) = (bytes, uptime);
            }
        };
        set(&mut looks, 100_000, 5_000_000, 100);
        gate.look(&looks, at(0));
        assert_eq!(gate.write_rate(), None);
        set(&mut looks, 102_000, 6_000_000, 102);
        gate.look(&looks, at(2));
        assert_eq!(gate.write_rate(), Some(500_000.0));
        set(&mut looks, 112_000, 100, 1);
        gate.look(&looks, at(12));
        assert_eq!(gate.write_rate(), Some(500_000.0));
    }
}
