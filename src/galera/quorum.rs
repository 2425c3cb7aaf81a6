//! Votes: which part of a cluster may go on alone.

/// Votes of a component, by weight (`pc.weight`, 1 unless set).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// Of the last Primary component.
    pub before: u32,
    /// Of those that left it with a goodbye.
    pub left: u32,
    /// Of those that are still together.
    pub present: u32,
}

/// Whether the members that are present stay Primary: twice their weight must be more than that of the last Primary
/// component without those that said goodbye.
pub fn stays_primary(votes: Votes) -> bool {
    2 * votes.present > votes.before.saturating_sub(votes.left)
}

/// How many members of `size` (all of weight 1) may be lost suddenly while `leaving` of them are gracefully out.
pub fn sudden_losses_tolerated(size: u32, leaving: u32) -> u32 {
    let remaining = size.saturating_sub(leaving);
    (0..=remaining)
        .rev()
        .find(|lost| stays_primary(Votes { before: remaining, left: 0, present: remaining - lost }))
        .unwrap_or(0)
}

/// How many members of `size` (arbitrators included, all of weight 1) may be under change at the same time: as many as
/// may vanish without a goodbye and leave the rest Primary, because a stop that was meant to be graceful can end as a
/// crash. One is always allowed: with two members there is no such slack, and still no other way to restart them.
pub fn rolling_slack(size: u32) -> u32 {
    sudden_losses_tolerated(size, 0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        for (before, left, present, expected) in [
            (3, 0, 2, true),
            (3, 0, 1, false), // two killed
            (3, 2, 1, true),  // two left gracefully
            (2, 0, 1, false),
            (2, 1, 1, true),
            (4, 0, 2, false),
            (5, 0, 3, true),
        ] {
            assert_eq!(stays_primary(Votes { before, left, present }), expected, "{before} {left} {present}");
        }
    }

    #[test]
    fn slack() {
        for (size, expected) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
            assert_eq!(rolling_slack(size), expected, "{size}");
            // Whoever vanishes within the slack, the rest goes on.
            assert!(size < 3 || stays_primary(Votes { before: size, left: 0, present: size - expected }));
        }
    }

    #[test]
    fn losses() {
        for (size, leaving, expected) in
            [(1, 0, 0), (2, 0, 0), (2, 1, 0), (3, 0, 1), (3, 1, 0), (4, 0, 1), (4, 1, 1), (5, 0, 2), (5, 1, 1)]
        {
            assert_eq!(sudden_losses_tolerated(size, leaving), expected, "{size} {leaving}");
        }
    }
}
