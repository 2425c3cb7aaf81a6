//! Where a task stands in a play: a path of indices whose order is the order of execution.

use std::fmt;

/// A path of indices: section, task, file of an include, task in it, part of a block …
///
/// Positions compare lexicographically, and that is the order in which `strategy: linear` would run tasks; dynamic
/// includes only append indices, so hosts with different includes still have comparable positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(Vec<u32>);

impl Position {
    /// Before every task of a play.
    pub fn start() -> Self {
        Position(Vec::new())
    }

    /// After every task of a play.
    pub fn end() -> Self {
        Position(vec![u32::MAX])
    }

    /// The position `index` inside this one.
    pub fn child(&self, index: usize) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1);
        path.extend_from_slice(&self.0);
        path.push(u32::try_from(index).unwrap_or(u32::MAX));
        Position(path)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut dot = "";
        for index in &self.0 {
            write!(f, "{dot}{index}")?;
            dot = ".";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn an_include_runs_between_its_task_and_the_next() {
        let include = Position::start().child(3).child(7);
        let next = Position::start().child(3).child(8);
        let inside = include.child(0).child(99);
        assert!(Position::start() < include && include < inside && inside < next);
    }
}
