//! How a play's hosts are cut into batches (`serial`), and when failures stop it.

/// One entry of `serial`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Portion {
    /// So many hosts.
    Count(usize),
    /// So many percent of the play's hosts, rounded down, at least one.
    Percent(f64),
}

impl Portion {
    /// Reads `2`, `"2"` or `"30%"`.
    pub fn parse(text: &str) -> Result<Portion, String> {
        let text = text.trim();
        let bad = || format!("`{text}` is no batch size: write a number of hosts or a percentage such as 30%");
        match text.strip_suffix('%') {
            Some(number) => match number.trim().parse::<f64>() {
                Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(Portion::Percent(percent)),
                _ => Err(bad()),
            },
            None => text.parse().map(Portion::Count).map_err(|_| bad()),
        }
    }

    /// Hosts of a batch out of `total`; 0 stands for all.
    fn hosts(self, total: usize) -> usize {
        match self {
            Portion::Count(count) => count,
            // As Ansible: int(percent / 100 * total), and never none.
            Portion::Percent(percent) => ((percent / 100.0 * total as f64) as usize).max(1),
        }
    }
}

/// Cuts `hosts` into batches; the last portion is repeated, and no portion at all means one batch.
pub fn cut<T>(mut hosts: Vec<T>, portions: &[Portion]) -> Vec<Vec<T>> {
    let total = hosts.len();
    let mut sizes = portions.iter().map(|portion| portion.hosts(total));
    let mut last = 0;
    let mut batches = Vec::new();
    while !hosts.is_empty() {
        last = sizes.next().unwrap_or(last);
        let rest = if last == 0 || last >= hosts.len() { Vec::new() } else { hosts.split_off(last) };
        batches.push(std::mem::replace(&mut hosts, rest));
    }
    batches
}

/// Whether a play ends after a batch: every host of it failed, or more than `max_fail_percentage` of them.
pub fn play_ends(batch: usize, failed: usize, max_fail_percentage: Option<f64>) -> bool {
    if batch == 0 || failed == 0 {
        return false;
    }
    failed >= batch || max_fail_percentage.is_some_and(|limit| failed as f64 / batch as f64 * 100.0 > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_as_ansible_cuts_them() {
        for (hosts, serial, expected) in [
            (5, vec![], vec![5]),
            (5, vec!["2"], vec![2, 2, 1]),
            (3, vec!["49%"], vec![1, 1, 1]),
            (3, vec!["10%"], vec![1, 1, 1]),
            (10, vec!["30%"], vec![3, 3, 3, 1]),
            (10, vec!["1", "5", "100%"], vec![1, 5, 4]),
            (4, vec!["0"], vec![4]),
            (0, vec!["2"], vec![]),
        ] {
            let portions: Vec<_> = serial.iter().map(|s| Portion::parse(s).unwrap()).collect();
            let sizes: Vec<_> = cut((0..hosts).collect(), &portions).iter().map(Vec::len).collect();
            assert_eq!(sizes, expected, "{hosts} hosts, serial {serial:?}");
        }
        assert!(Portion::parse("a few").is_err() && Portion::parse("-1").is_err());
    }

    #[test]
    fn a_play_ends_when_its_batch_failed() {
        for (batch, failed, limit, expected) in [
            (1, 1, None, true),
            (2, 1, None, false),
            (2, 2, None, true),
            (2, 1, Some(0.0), true),
            (4, 1, Some(25.0), false), // strictly more, as in Ansible
            (4, 2, Some(25.0), true),
            (4, 0, Some(0.0), false),
        ] {
            assert_eq!(play_ends(batch, failed, limit), expected, "{failed} of {batch}, limit {limit:?}");
        }
    }
}
