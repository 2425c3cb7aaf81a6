//! A pattern as a program, and the machine that runs it: backtracking with a stack of its own, so that no subject is
//! too long for it.

use super::parse::{Greed, Node, Place, Set, fold, is_word, width};
use super::{Match, PatternError};

/// Steps for one search: far beyond any sensible pattern.
const STEPS: u64 = if cfg!(test) { 10_000_000 } else { 50_000_000 };

/// Instructions of one program.
const LENGTH: usize = 100_000;

#[derive(Clone, Debug)]
enum Step {
    /// One character.
    Set(Set),
    /// A position.
    At(Place),
    /// Go on there.
    Jump(usize),
    /// Try the first, then the second.
    Split(usize, usize),
    /// Remember the position.
    Save(usize),
    /// Go on only when the position is not the remembered one: else leave a loop that gets nowhere.
    Moved { slot: usize, otherwise: usize },
    /// The text of a group again.
    Back { group: usize, ignore_case: bool },
    /// As many characters of a set as there are, at least and at most so many.
    Run { set: Set, least: usize, most: usize, how: Greed },
    /// A program of its own that must, or must not, match here or `behind` characters before; with `take` the position
    /// moves to its end.
    Sub { start: usize, behind: usize, wanted: bool, take: bool, next: usize },
    /// Go there when a group has not matched.
    Without { group: usize, otherwise: usize },
    /// It matches.
    Done,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    slots: usize,
    groups: usize,
}

impl Program {
    pub fn new(node: &Node, groups: usize) -> Result<Program, PatternError> {
        let mut program = Program { steps: Vec::new(), slots: 2 * (groups + 1), groups };
        program.add(node)?;
        program.push(Step::Done)?;
        Ok(program)
    }

    fn push(&mut self, step: Step) -> Result<usize, PatternError> {
        if self.steps.len() >= LENGTH {
            return Err(PatternError::new("the pattern is too large"));
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn patch(&mut self, at: usize, step: Step) {
        if let Some(place) = self.steps.get_mut(at) {
            *place = step;
        }
    }

    fn add(&mut self, node: &Node) -> Result<(), PatternError> {
        match node {
            Node::Empty => {}
            Node::Set(set) => {
                self.push(Step::Set(set.clone()))?;
            }
            Node::At(place) => {
                self.push(Step::At(*place))?;
            }
            Node::Sequence(nodes) => {
                for node in nodes {
                    self.add(node)?;
                }
            }
            Node::Choice(nodes) => {
                let mut ends = Vec::new();
                let last = nodes.len().saturating_sub(1);
                for (index, node) in nodes.iter().enumerate() {
                    if index == last {
                        self.add(node)?;
                        continue;
                    }
                    let split = self.push(Step::Done)?;
                    self.add(node)?;
                    ends.push(self.push(Step::Done)?);
                    self.patch(split, Step::Split(split + 1, self.steps.len()));
                }
                for end in ends {
                    self.patch(end, Step::Jump(self.steps.len()));
                }
            }
            Node::Group(index, node) => {
                self.push(Step::Save(2 * index))?;
                self.add(node)?;
                self.push(Step::Save(2 * index + 1))?;
            }
            Node::Back { group, ignore_case } => {
                self.push(Step::Back { group: *group, ignore_case: *ignore_case })?;
            }
            Node::Repeat { node, least, most, how } => self.repeat(node, *least, *most, *how)?,
            Node::Look { ahead, wanted, node } => {
                let behind = if *ahead { 0 } else { width(node).unwrap_or_default() };
                self.sub(node, behind, *wanted, false)?;
            }
            Node::Atomic(node) => self.sub(node, 0, true, true)?,
            Node::Conditional { group, yes, no } => {
                let test = self.push(Step::Done)?;
                self.add(yes)?;
                let end = self.push(Step::Done)?;
                self.patch(test, Step::Without { group: *group, otherwise: self.steps.len() });
                self.add(no)?;
                self.patch(end, Step::Jump(self.steps.len()));
            }
        }
        Ok(())
    }

    fn sub(&mut self, node: &Node, behind: usize, wanted: bool, take: bool) -> Result<(), PatternError> {
        let at = self.push(Step::Done)?;
        self.add(node)?;
        self.push(Step::Done)?;
        self.patch(at, Step::Sub { start: at + 1, behind, wanted, take, next: self.steps.len() });
        Ok(())
    }

    fn repeat(&mut self, node: &Node, least: u32, most: Option<u32>, how: Greed) -> Result<(), PatternError> {
        if let Node::Set(set) = node {
            let most = most.map_or(usize::MAX, |m| m as usize);
            self.push(Step::Run { set: set.clone(), least: least as usize, most, how })?;
            return Ok(());
        }
        if how == Greed::Possessive {
            let greedy = Node::Repeat { node: Box::new(node.clone()), least, most, how: Greed::Greedy };
            return self.sub(&greedy, 0, true, true);
        }
        let split = |into: usize, out: usize| match how {
            Greed::Lazy => Step::Split(out, into),
            _ => Step::Split(into, out),
        };
        for _ in 0..least {
            self.add(node)?;
        }
        match most {
            Some(most) => {
                let mut splits = Vec::new();
                for _ in least..most {
                    splits.push(self.push(Step::Done)?);
                    self.add(node)?;
                }
                for at in splits {
                    let step = split(at + 1, self.steps.len());
                    self.patch(at, step);
                }
            }
            None => {
                let slot = self.slots;
                self.slots += 1;
                let at = self.push(Step::Done)?;
                self.push(Step::Save(slot))?;
                self.add(node)?;
                let moved = self.push(Step::Done)?;
                self.push(Step::Jump(at))?;
                let out = self.steps.len();
                self.patch(moved, Step::Moved { slot, otherwise: out });
                let step = split(at + 1, out);
                self.patch(at, step);
            }
        }
        Ok(())
    }

    pub fn search(&self, subject: &[char], from: usize, advance: bool) -> Result<Option<Match>, PatternError> {
        let mut machine = Machine::new(self, subject);
        for start in from..=subject.len() {
            machine.forbidden_end = (advance && start == from).then_some(start);
            if let Some(found) = machine.start_at(start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub fn match_at(&self, subject: &[char], start: usize) -> Result<Option<Match>, PatternError> {
        Machine::new(self, subject).start_at(start)
    }
}

/// What to do when the present way fails.
enum Undo {
    /// Go on there.
    Try { pc: usize, position: usize },
    /// Give back one character of a run, to no fewer than its least.
    GiveBack { pc: usize, position: usize, floor: usize },
    /// Take one character more of a run, to no more than its most.
    TakeMore { pc: usize, position: usize, ceiling: usize },
    /// A slot had another value.
    Slot { slot: usize, value: Option<usize> },
}

struct Machine<'a> {
    program: &'a Program,
    subject: &'a [char],
    slots: Vec<Option<usize>>,
    steps: u64,
    forbidden_end: Option<usize>,
}

impl<'a> Machine<'a> {
    fn new(program: &'a Program, subject: &'a [char]) -> Self {
        Machine { program, subject, slots: vec![None; program.slots], steps: 0, forbidden_end: None }
    }

    fn start_at(&mut self, start: usize) -> Result<Option<Match>, PatternError> {
        self.slots.iter_mut().for_each(|slot| *slot = None);
        let Some(end) = self.run(0, start, true)? else {
            return Ok(None);
        };
        let mut spans = vec![Some((start, end))];
        for group in 1..=self.program.groups {
            let (first, last) = (self.slot(2 * group), self.slot(2 * group + 1));
            spans.push(first.zip(last).filter(|(first, last)| first <= last));
        }
        Ok(Some(Match { spans }))
    }

    fn slot(&self, slot: usize) -> Option<usize> {
        self.slots.get(slot).copied().flatten()
    }

    fn set_slot(&mut self, slot: usize, value: Option<usize>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = value;
        }
    }

    fn char(&self, position: usize) -> Option<char> {
        self.subject.get(position).copied()
    }

    /// Runs from an instruction to `Done`. Answers where it ended; then the slots are those of the match.
    fn run(&mut self, pc: usize, position: usize, outermost: bool) -> Result<Option<usize>, PatternError> {
        let (mut pc, mut position) = (pc, position);
        let mut undo: Vec<Undo> = Vec::new();
        loop {
            self.steps += 1;
            if self.steps > STEPS {
                return Err(PatternError::new("the pattern takes too long on this text; make it simpler"));
            }
            let Some(step) = self.program.steps.get(pc) else {
                return Ok(None);
            };
            let mut good = true;
            match step {
                Step::Done => {
                    if !(outermost && self.forbidden_end == Some(position)) {
                        return Ok(Some(position));
                    }
                    good = false;
                }
                Step::Set(set) => match self.char(position) {
                    Some(c) if set.has(c) => (pc, position) = (pc + 1, position + 1),
                    _ => good = false,
                },
                Step::At(place) => {
                    good = self.is_at(*place, position);
                    pc += 1;
                }
                Step::Jump(to) => pc = *to,
                Step::Split(first, second) => {
                    undo.push(Undo::Try { pc: *second, position });
                    pc = *first;
                }
                Step::Save(slot) => {
                    undo.push(Undo::Slot { slot: *slot, value: self.slot(*slot) });
                    self.set_slot(*slot, Some(position));
                    pc += 1;
                }
                Step::Moved { slot, otherwise } => {
                    pc = if self.slot(*slot) == Some(position) { *otherwise } else { pc + 1 };
                }
                Step::Back { group, ignore_case } => match self.again(*group, *ignore_case, position) {
                    Some(end) => (pc, position) = (pc + 1, end),
                    None => good = false,
                },
                Step::Run { set, least, most, how } => {
                    let wanted = if *how == Greed::Lazy { *least } else { *most };
                    let rest = self.subject.get(position..).unwrap_or_default();
                    let count = rest.iter().take(wanted).take_while(|c| set.has(**c)).count();
                    self.steps += count as u64 / 8;
                    if count < *least {
                        good = false;
                    } else {
                        let (floor, end) = (position + least, position + count);
                        match how {
                            Greed::Greedy if end > floor => {
                                undo.push(Undo::GiveBack { pc: pc + 1, position: end, floor })
                            }
                            Greed::Lazy => {
                                undo.push(Undo::TakeMore { pc, position: end, ceiling: position.saturating_add(*most) })
                            }
                            _ => {}
                        }
                        (pc, position) = (pc + 1, end);
                    }
                }
                Step::Sub { start, behind, wanted, take, next } => {
                    let before = self.slots.clone();
                    let from = position.checked_sub(*behind);
                    let end = match from {
                        Some(from) => self.run(*start, from, false)?,
                        None => None,
                    };
                    good = end.is_some() == *wanted;
                    if good && *wanted {
                        let changed = before.iter().enumerate().filter(|(slot, old)| self.slot(*slot) != **old);
                        undo.extend(changed.map(|(slot, old)| Undo::Slot { slot, value: *old }));
                    } else {
                        self.slots = before;
                    }
                    if *take && let Some(end) = end {
                        position = end;
                    }
                    pc = *next;
                }
                Step::Without { group, otherwise } => {
                    pc = if self.slot(2 * group + 1).is_some() { pc + 1 } else { *otherwise };
                }
            }
            if !good && !self.back(&mut undo, &mut pc, &mut position) {
                return Ok(None);
            }
        }
    }

    /// Goes back to the last choice that has another way.
    fn back(&mut self, undo: &mut Vec<Undo>, pc: &mut usize, position: &mut usize) -> bool {
        while let Some(last) = undo.pop() {
            match last {
                Undo::Slot { slot, value } => self.set_slot(slot, value),
                Undo::Try { pc: to, position: at } => {
                    (*pc, *position) = (to, at);
                    return true;
                }
                Undo::GiveBack { pc: to, position: at, floor } => {
                    let at = at - 1;
                    if at > floor {
                        undo.push(Undo::GiveBack { pc: to, position: at, floor });
                    }
                    (*pc, *position) = (to, at);
                    return true;
                }
                Undo::TakeMore { pc: run, position: at, ceiling } => {
                    let Some(Step::Run { set, .. }) = self.program.steps.get(run) else {
                        continue;
                    };
                    if at < ceiling && self.char(at).is_some_and(|c| set.has(c)) {
                        undo.push(Undo::TakeMore { pc: run, position: at + 1, ceiling });
                        (*pc, *position) = (run + 1, at + 1);
                        return true;
                    }
                }
            }
        }
        false
    }

    fn again(&self, group: usize, ignore_case: bool, position: usize) -> Option<usize> {
        let (start, end) = self.slot(2 * group).zip(self.slot(2 * group + 1))?;
        let text = self.subject.get(start..end)?;
        let here = self.subject.get(position..position + text.len())?;
        let same = here.iter().zip(text).all(|(a, b)| a == b || ignore_case && fold(*a) == fold(*b));
        same.then_some(position + text.len())
    }

    fn is_at(&self, place: Place, position: usize) -> bool {
        let before = position.checked_sub(1).and_then(|p| self.char(p));
        let after = self.char(position);
        match place {
            Place::Start => position == 0,
            Place::LineStart => before.is_none_or(|c| c == '\n'),
            Place::End => after.is_none(),
            Place::TextEnd => after.is_none() || after == Some('\n') && position + 1 == self.subject.len(),
            Place::LineEnd => after.is_none_or(|c| c == '\n'),
            Place::Word { ascii, wanted } => {
                let word = |c: Option<char>| c.is_some_and(|c| is_word(c, ascii));
                // Python has no word boundary, and no place that is none, in an empty text.
                !self.subject.is_empty() && (word(before) != word(after)) == wanted
            }
        }
    }
}
