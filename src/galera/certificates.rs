//! A node's certificates, as it serves them and as they lie in its files.

use serde::{Deserialize, Serialize};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// For peers: 4567, 4568, 4444.
    #[default]
    Cluster,
    /// For clients: 3306.
    Server,
}

impl Purpose {
    /// The port where it is served.
    pub fn port(self) -> u16 {
        match self {
            Purpose::Cluster => 4567,
            Purpose::Server => 3306,
        }
    }
}

/// A certificate's serial number and dates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leaf {
    /// Lower-case hex; empty where only the dates are known.
    pub serial: String,
    /// First moment, in seconds since 1970.
    pub not_before: i64,
    /// Last moment.
    pub not_after: i64,
}

/// One certificate of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// What it is for.
    pub purpose: Purpose,
    /// Its file.
    pub path: String,
    /// What a connection is shown now; nothing where that could not be seen.
    pub served: Option<Leaf>,
    /// What lies in the file, and is served after a start or a reload.
    pub file: Option<Leaf>,
    /// The served chain, leaf first, PEM; the file's where the served one could not be read. Public.
    pub chain: String,
    /// The authorities that the node trusts, PEM, of its file. Public.
    pub trust: String,
}

/// How much longer a certificate must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Margin {
    /// It may be at its end, or past it.
    MayBeOver,
    /// Seven days, or a third of its life where that is less: by then it is due to be renewed, so one that lives shorter would
    /// never do.
    Usual,
    /// So many seconds.
    Seconds(i64),
}

impl Margin {
    /// In seconds, for this certificate.
    fn of(self, leaf: &Leaf) -> Option<i64> {
        const USUAL: i64 = 7 * 86_400;
        match self {
            Margin::MayBeOver => None,
            Margin::Seconds(seconds) => Some(seconds),
            Margin::Usual => {
                // It begins earlier than it was issued, by an hour or a tenth of its life, and that is no part of it.
                let span = (leaf.not_after - leaf.not_before).max(0);
                Some(USUAL.min((span - (span / 11).min(3600)) / 3))
            }
        }
    }
}

impl Certificate {
    /// Whether a reload would serve something else.
    pub fn reload_due(&self) -> bool {
        match (&self.served, &self.file) {
            (Some(served), Some(file)) => {
                served.not_after != file.not_after
                    || !served.serial.is_empty() && !file.serial.is_empty() && served.serial != file.serial
            }
            _ => false,
        }
    }

    /// What is wrong with its dates at the moment `now`, when it must hold for `margin` more.
    pub fn fault(&self, now: i64, margin: Margin) -> Option<String> {
        let port = self.purpose.port();
        for (leaf, what) in [(&self.served, "served"), (&self.file, "in its file")] {
            let Some(leaf) = leaf else { continue };
            let margin = margin.of(leaf);
            if leaf.not_after <= now && margin.is_some() {
                return Some(format!("its certificate for {port} ({what}) expired {} ago", span(now - leaf.not_after)));
            }
            if leaf.not_before > now {
                return Some(format!(
                    "its certificate for {port} ({what}) becomes valid only in {}: is a clock wrong?",
                    span(leaf.not_before - now)
                ));
            }
            if let Some(margin) = margin
                && leaf.not_after - now < margin
            {
                return Some(format!(
                    "its certificate for {port} ({what}) expires in {}: renew it first (less than {} are left)",
                    span(leaf.not_after - now),
                    span(margin)
                ));
            }
        }
        (self.served.is_none() && self.file.is_none())
            .then(|| format!("its certificate for {port} could be read neither from the port nor from {}", self.path))
    }
}

/// A time span in the largest unit that says enough.
fn span(seconds: i64) -> String {
    match seconds {
        s if s >= 2 * 86_400 => format!("{} days", s / 86_400),
        s if s >= 2 * 3600 => format!("{} hours", s / 3600),
        s if s >= 120 => format!("{} minutes", s / 60),
        s => format!("{s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let leaf = |from, to| Some(Leaf { serial: "01".into(), not_before: from, not_after: to });
        let (day, now) = (86_400, 1_000_000);
        // The last column: whether it is wrong as well where certificates may be past their end.
        for (served, file, expected, always) in [
            (leaf(0, now + 30 * day), leaf(0, now + 30 * day), None, false),
            (leaf(0, now - 3 * day), leaf(0, now + 30 * day), Some("(served) expired 3 days ago"), false),
            (leaf(0, now + 30 * day), leaf(0, now - 60), Some("(in its file) expired 60 s ago"), false),
            (None, leaf(0, now + 3 * day), Some("expires in 3 days"), false),
            (None, leaf(now + 300, now + 30 * day), Some("only in 5 minutes"), true),
            (leaf(now + 300, now + day), None, Some("only in 5 minutes"), true),
            (None, None, Some("neither"), true),
        ] {
            let certificate = Certificate { served, file, ..Certificate::default() };
            let fault = certificate.fault(now, Margin::Usual);
            match (&fault, expected) {
                (None, None) => {}
                (Some(text), Some(part)) if text.contains(part) && text.contains("4567") => {}
                _ => panic!("{fault:?} / {expected:?}"),
            }
            assert_eq!(
                certificate.fault(now, Margin::MayBeOver),
                fault.filter(|_| always),
                "past their end: {expected:?}"
            );
        }
        // The end of one does not hide what is wrong with the other.
        let both =
            Certificate { served: leaf(0, now - 60), file: leaf(now + 300, now + 30 * day), ..Certificate::default() };
        assert!(
            both.fault(now, Margin::MayBeOver).is_some_and(|text| text.contains("(in its file) becomes valid only"))
        );
    }

    #[test]
    fn the_margin_is_no_more_than_a_third_of_a_life() {
        let (day, now) = (86_400, 1_000_000);
        // The life, how much of it is left, and whether the gate lets it pass: as usual, and with seven days asked for.
        for (life, left, usual, literal) in [
            (90 * day, 8 * day, true, true),
            (90 * day, 6 * day, false, false),
            (7 * day, 7 * day - 60, true, false),
            (7 * day, 3 * day, true, false),
            (7 * day, 2 * day, false, false),
            (600, 300, true, false),
            (600, 201, true, false),
            (600, 190, false, false),
        ] {
            let backdated = (life / 10).min(3600);
            let leaf = Leaf { serial: "01".into(), not_before: now + left - life - backdated, not_after: now + left };
            let certificate = Certificate { served: Some(leaf), ..Certificate::default() };
            for (margin, passes) in [(Margin::Usual, usual), (Margin::Seconds(7 * day), literal)] {
                assert_eq!(certificate.fault(now, margin).is_none(), passes, "{life} {left} {margin:?}");
            }
        }
    }

    #[test]
    fn another_file_than_served_is_due_for_a_reload() {
        let leaf = |serial: &str, to| Some(Leaf { serial: serial.into(), not_before: 0, not_after: to });
        for (served, file, due) in [
            (leaf("01", 5), leaf("01", 5), false),
            (leaf("01", 5), leaf("02", 5), true),
            (leaf("", 5), leaf("02", 5), false),
            (leaf("", 5), leaf("02", 6), true),
            (None, leaf("02", 6), false),
        ] {
            assert_eq!(Certificate { served, file, ..Certificate::default() }.reload_due(), due);
        }
    }
}
