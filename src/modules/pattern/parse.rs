//! From a pattern's text to its tree.

use super::{Flags, PatternError, number};

/// One piece of a pattern.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Matches nothing, everywhere.
    Empty,
    /// One character of a set.
    Set(Set),
    /// A position.
    At(Place),
    /// One after the other.
    Sequence(Vec<Node>),
    /// The first that matches.
    Choice(Vec<Node>),
    /// Remembered as a group.
    Group(usize, Box<Node>),
    /// The text of a group again.
    Back { group: usize, ignore_case: bool },
    /// Again and again.
    Repeat { node: Box<Node>, least: u32, most: Option<u32>, how: Greed },
    /// What must, or must not, follow or precede.
    Look { ahead: bool, wanted: bool, node: Box<Node> },
    /// Once matched, never tried another way.
    Atomic(Box<Node>),
    /// One or the other, as a group has matched or not.
    Conditional { group: usize, yes: Box<Node>, no: Box<Node> },
}

/// How many repetitions are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

/// A position in the subject.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Start,
    LineStart,
    End,
    /// The end, or before a newline there.
    TextEnd,
    LineEnd,
    Word {
        ascii: bool,
        wanted: bool,
    },
}

/// A set of characters.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub items: Vec<Item>,
    pub negated: bool,
    pub ignore_case: bool,
}

/// One part of a set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Range(char, char),
    Digit { ascii: bool, wanted: bool },
    Word { ascii: bool, wanted: bool },
    Space { ascii: bool, wanted: bool },
}

pub(super) fn is_word(c: char, ascii: bool) -> bool {
    c == '_' || if ascii { c.is_ascii_alphanumeric() } else { c.is_alphanumeric() }
}

impl Item {
    fn has(self, c: char) -> bool {
        match self {
            Item::Range(first, last) => (first..=last).contains(&c),
            Item::Digit { ascii, wanted } => (if ascii { c.is_ascii_digit() } else { c.is_numeric() }) == wanted,
            Item::Word { ascii, wanted } => is_word(c, ascii) == wanted,
            Item::Space { ascii, wanted } => {
                let blank = matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
                    || !ascii && (c.is_whitespace() || ('\x1c'..='\x1f').contains(&c));
                blank == wanted
            }
        }
    }
}

pub(super) fn fold(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

impl Set {
    pub fn one(c: char, ignore_case: bool) -> Set {
        Set { items: vec![Item::Range(c, c)], negated: false, ignore_case }
    }

    pub fn has(&self, c: char) -> bool {
        let any = |c: char| self.items.iter().any(|item| item.has(c));
        let upper = || {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        };
        (any(c) || self.ignore_case && (any(fold(c)) || any(upper()))) != self.negated
    }
}

pub(super) struct Parsed {
    pub node: Node,
    pub names: Vec<(String, usize)>,
    pub groups: usize,
}

struct Parser<'a> {
    rest: &'a [char],
    flags: Flags,
    names: Vec<(String, usize)>,
    groups: usize,
    open: Vec<usize>,
    depth: usize,
}

/// Escapes that stand for one character.
pub(super) fn simple_escape(c: char) -> Option<char> {
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'f' => '\x0c',
        'v' => '\x0b',
        'a' => '\x07',
        _ => return None,
    })
}

pub(super) fn parse(pattern: &[char], flags: Flags) -> Result<Parsed, PatternError> {
    let mut parser = Parser { rest: pattern, flags, names: Vec::new(), groups: 0, open: Vec::new(), depth: 0 };
    let node = parser.choice()?;
    if !parser.rest.is_empty() {
        return Err(PatternError::new("unbalanced parenthesis"));
    }
    Ok(Parsed { node, names: parser.names, groups: parser.groups })
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<char> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        let same = self.rest.len() >= length && self.rest.iter().zip(text.chars()).all(|(a, b)| *a == b);
        if same {
            self.rest = self.rest.get(length..).unwrap_or_default();
        }
        same
    }

    fn choice(&mut self) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(PatternError::new("groups are nested too deeply"));
        }
        let mut branches = vec![self.sequence()?];
        while self.take("|") {
            branches.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Choice(branches) })
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            if self.flags.verbose {
                if c.is_whitespace() {
                    self.next();
                    continue;
                }
                if c == '#' {
                    while self.next().is_some_and(|c| c != '\n') {}
                    continue;
                }
            }
            let Some(node) = self.atom()? else {
                continue;
            };
            nodes.push(self.repeated(node)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Sequence(nodes) })
    }

    fn repeated(&mut self, node: Node) -> Result<Node, PatternError> {
        let mut node = node;
        let mut first = true;
        loop {
            let (least, most) = match () {
                () if self.take("*") => (0, None),
                () if self.take("+") => (1, None),
                () if self.take("?") => (0, Some(1)),
                () if self.peek() == Some('{') => match self.braces()? {
                    Some(bounds) => bounds,
                    None => return Ok(node),
                },
                () => return Ok(node),
            };
            if !first {
                return Err(PatternError::new("multiple repeat"));
            }
            if matches!(node, Node::At(_)) {
                return Err(PatternError::new("nothing to repeat"));
            }
            first = false;
            let how = match () {
                () if self.take("?") => Greed::Lazy,
                () if self.take("+") => Greed::Possessive,
                () => Greed::Greedy,
            };
            node = Node::Repeat { node: Box::new(node), least, most, how };
        }
    }

    /// `{m}`, `{m,}`, `{,n}`, `{m,n}`, read to after the brace; anything else is a plain `{`.
    fn braces(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let Some(end) = self.rest.iter().position(|c| *c == '}') else {
            return Ok(None);
        };
        let inside = self.rest.get(1..end).unwrap_or_default();
        let parts: Vec<&[char]> = inside.split(|c| *c == ',').collect();
        let digits = |part: &[char]| part.iter().all(char::is_ascii_digit);
        let (low, high) = match parts.as_slice() {
            [one] if !one.is_empty() && digits(one) => (*one, Some(*one)),
            [low, high] if digits(low) && digits(high) && inside.len() > 1 => (*low, Some(*high)),
            [[], []] => return Ok(None),
            _ => return Ok(None),
        };
        let value = |part: &[char]| number(part, 10).filter(|n| *n <= 1000);
        let too_many = || PatternError::new("more than 1000 repetitions are not supported");
        let least = if low.is_empty() { 0 } else { value(low).ok_or_else(too_many)? };
        let most = match high {
            Some([]) | None => None,
            Some(high) => Some(value(high).ok_or_else(too_many)?),
        };
        if most.is_some_and(|most| most < least) {
            return Err(PatternError::new("min repeat greater than max repeat"));
        }
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Ok(Some((least, most)))
    }

    /// One thing that can be repeated; nothing for comments and flags.
    fn atom(&mut self) -> Result<Option<Node>, PatternError> {
        let flags = self.flags;
        let set = |items| Node::Set(Set { items, negated: false, ignore_case: flags.ignore_case });
        let Some(c) = self.next() else {
            return Ok(None);
        };
        Ok(Some(match c {
            '.' if flags.dot_all => set(vec![Item::Range('\0', char::MAX)]),
            '.' => Node::Set(Set { items: vec![Item::Range('\n', '\n')], negated: true, ignore_case: false }),
            '^' => Node::At(if flags.multiline { Place::LineStart } else { Place::Start }),
            '$' => Node::At(if flags.multiline { Place::LineEnd } else { Place::TextEnd }),
            '*' | '+' | '?' => return Err(PatternError::new("nothing to repeat")),
            '[' => self.set()?,
            '(' => return self.group(),
            '\\' => self.escape()?,
            c => Node::Set(Set::one(c, flags.ignore_case)),
        }))
    }

    fn escape(&mut self) -> Result<Node, PatternError> {
        let flags = self.flags;
        let ascii = flags.ascii;
        let Some(c) = self.next() else {
            return Err(PatternError::new("bad escape (end of pattern)"));
        };
        Ok(match c {
            'A' => Node::At(Place::Start),
            'Z' => Node::At(Place::End),
            'b' => Node::At(Place::Word { ascii, wanted: true }),
            'B' => Node::At(Place::Word { ascii, wanted: false }),
            '1'..='9' => {
                let mut digits = vec![c];
                if let Some(d) = self.peek().filter(char::is_ascii_digit) {
                    self.next();
                    digits.push(d);
                }
                if digits.len() == 2
                    && c <= '3'
                    && digits.iter().all(|d| ('0'..='7').contains(d))
                    && let Some(third) = self.peek().filter(|d| ('0'..='7').contains(d))
                {
                    self.next();
                    digits.push(third);
                    let c = number(&digits, 8).and_then(char::from_u32).unwrap_or('\0');
                    return Ok(Node::Set(Set::one(c, flags.ignore_case)));
                }
                let group = number(&digits, 10).unwrap_or(u32::MAX) as usize;
                self.known(group)?;
                Node::Back { group, ignore_case: flags.ignore_case }
            }
            c => match self.class(c) {
                Some(item) => Node::Set(Set { items: vec![item], negated: false, ignore_case: false }),
                None => Node::Set(Set::one(self.plain(c)?, flags.ignore_case)),
            },
        })
    }

    fn known(&self, group: usize) -> Result<(), PatternError> {
        if group > self.groups {
            return Err(PatternError::new(format!("invalid group reference {group}")));
        }
        if self.open.contains(&group) {
            return Err(PatternError::new("cannot refer to an open group"));
        }
        Ok(())
    }

    fn class(&self, c: char) -> Option<Item> {
        let ascii = self.flags.ascii;
        Some(match c {
            'd' => Item::Digit { ascii, wanted: true },
            'D' => Item::Digit { ascii, wanted: false },
            'w' => Item::Word { ascii, wanted: true },
            'W' => Item::Word { ascii, wanted: false },
            's' => Item::Space { ascii, wanted: true },
            'S' => Item::Space { ascii, wanted: false },
            _ => return None,
        })
    }

    /// The character that an escape stands for.
    fn plain(&mut self, c: char) -> Result<char, PatternError> {
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0' => {
                let mut digits = vec!['0'];
                while let Some(d) = self.peek().filter(|d| ('0'..='7').contains(d) && digits.len() < 3) {
                    self.next();
                    digits.push(d);
                }
                return Ok(number(&digits, 8).and_then(char::from_u32).unwrap_or('\0'));
            }
            c => {
                return match simple_escape(c) {
                    Some(plain) => Ok(plain),
                    None if c.is_ascii_alphanumeric() => Err(PatternError::new(format!("bad escape \\{c}"))),
                    None => Ok(c),
                };
            }
        };
        let text = self.rest.get(..digits).unwrap_or_default();
        let bad = || PatternError::new(format!("incomplete escape \\{c}"));
        let value = number(text, 16).filter(|_| text.len() == digits).and_then(char::from_u32).ok_or_else(bad)?;
        self.rest = self.rest.get(digits..).unwrap_or_default();
        Ok(value)
    }

    fn set(&mut self) -> Result<Node, PatternError> {
        let negated = self.take("^");
        let mut items = Vec::new();
        let mut first = true;
        loop {
            let open = || PatternError::new("unterminated character set");
            let c = self.next().ok_or_else(open)?;
            if c == ']' && !first {
                break;
            }
            first = false;
            let low = match self.member(c)? {
                Ok(c) => c,
                Err(item) => {
                    items.push(item);
                    continue;
                }
            };
            if self.peek() != Some('-') || self.rest.get(1).is_none_or(|c| *c == ']') {
                items.push(Item::Range(low, low));
                continue;
            }
            self.next();
            let c = self.next().ok_or_else(open)?;
            match self.member(c)? {
                Ok(high) if high >= low => items.push(Item::Range(low, high)),
                _ => return Err(PatternError::new(format!("bad character range starting at {low}"))),
            }
        }
        Ok(Node::Set(Set { items, negated, ignore_case: self.flags.ignore_case }))
    }

    /// A character of a set, or a class.
    fn member(&mut self, c: char) -> Result<Result<char, Item>, PatternError> {
        if c != '\\' {
            return Ok(Ok(c));
        }
        let Some(c) = self.next() else {
            return Err(PatternError::new("unterminated character set"));
        };
        Ok(match self.class(c) {
            Some(item) => Err(item),
            None if c == 'b' => Ok('\x08'),
            None if ('0'..='7').contains(&c) => {
                let mut digits = vec![c];
                while let Some(d) = self.peek().filter(|d| ('0'..='7').contains(d) && digits.len() < 3) {
                    self.next();
                    digits.push(d);
                }
                Ok(number(&digits, 8).and_then(char::from_u32).unwrap_or('\0'))
            }
            None => Ok(self.plain(c)?),
        })
    }

    fn name(&mut self, end: char) -> Result<String, PatternError> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some(c) if c == end => break,
                Some(c) => name.push(c),
                None => return Err(PatternError::new(format!("missing {end}, unterminated name"))),
            }
        }
        let good = name.chars().all(|c| is_word(c, false)) && !name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !good {
            return Err(PatternError::new(format!("bad character in group name `{name}`")));
        }
        Ok(name)
    }

    /// What is after `(`.
    fn group(&mut self) -> Result<Option<Node>, PatternError> {
        if !self.take("?") {
            return self.capture(None).map(Some);
        }
        let node = match self.next() {
            Some('P') => match self.next() {
                Some('<') => {
                    let name = self.name('>')?;
                    return self.capture(Some(name)).map(Some);
                }
                Some('=') => {
                    let name = self.name(')')?;
                    let group = self.named(&name)?;
                    self.known(group)?;
                    return Ok(Some(Node::Back { group, ignore_case: self.flags.ignore_case }));
                }
                _ => return Err(PatternError::new("unknown extension ?P")),
            },
            Some(':') => self.scoped(self.flags)?,
            Some('>') => Node::Atomic(Box::new(self.scoped(self.flags)?)),
            Some('=') => self.look(true, true)?,
            Some('!') => self.look(true, false)?,
            Some('<') => match self.next() {
                Some('=') => self.look(false, true)?,
                Some('!') => self.look(false, false)?,
                _ => return Err(PatternError::new("unknown extension ?<")),
            },
            Some('#') => {
                while self.next().ok_or_else(|| PatternError::new("missing ), unterminated comment"))? != ')' {}
                return Ok(None);
            }
            Some('(') => self.conditional()?,
            Some(c) => return self.set_flags(c),
            None => return Err(PatternError::new("unexpected end of pattern")),
        };
        Ok(Some(node))
    }

    fn named(&self, name: &str) -> Result<usize, PatternError> {
        let found = self.names.iter().find(|(n, _)| n == name).map(|(_, index)| *index);
        found.ok_or_else(|| PatternError::new(format!("unknown group name `{name}`")))
    }

    fn capture(&mut self, name: Option<String>) -> Result<Node, PatternError> {
        self.groups += 1;
        let index = self.groups;
        if let Some(name) = name {
            if self.names.iter().any(|(n, _)| *n == name) {
                return Err(PatternError::new(format!("redefinition of group name `{name}`")));
            }
            self.names.push((name, index));
        }
        self.open.push(index);
        let node = self.scoped(self.flags)?;
        self.open.pop();
        Ok(Node::Group(index, Box::new(node)))
    }

    /// To the closing parenthesis, with flags of its own.
    fn scoped(&mut self, flags: Flags) -> Result<Node, PatternError> {
        let outside = std::mem::replace(&mut self.flags, flags);
        let node = self.choice()?;
        self.flags = outside;
        // A position may be repeated when it stands in brackets, though not alone.
        let node = if matches!(node, Node::At(_)) { Node::Sequence(vec![node]) } else { node };
        if self.take(")") { Ok(node) } else { Err(PatternError::new("missing ), unterminated subpattern")) }
    }

    fn look(&mut self, ahead: bool, wanted: bool) -> Result<Node, PatternError> {
        let node = self.scoped(self.flags)?;
        if !ahead && width(&node).is_none() {
            return Err(PatternError::new("look-behind requires fixed-width pattern"));
        }
        Ok(Node::Look { ahead, wanted, node: Box::new(node) })
    }

    fn conditional(&mut self) -> Result<Node, PatternError> {
        let digits: Vec<char> = self.rest.iter().copied().take_while(char::is_ascii_digit).collect();
        let group = if digits.is_empty() {
            let name = self.name(')')?;
            self.named(&name)?
        } else {
            self.rest = self.rest.get(digits.len()..).unwrap_or_default();
            if !self.take(")") {
                return Err(PatternError::new("missing ), unterminated name"));
            }
            number(&digits, 10).unwrap_or(u32::MAX) as usize
        };
        self.known(group)?;
        let yes = self.sequence()?;
        let no = if self.take("|") { self.sequence()? } else { Node::Empty };
        if self.take("|") {
            return Err(PatternError::new("conditional backref with more than two branches"));
        }
        if !self.take(")") {
            return Err(PatternError::new("missing ), unterminated subpattern"));
        }
        Ok(Node::Conditional { group, yes: Box::new(yes), no: Box::new(no) })
    }

    /// `(?ims)` for the rest, `(?ims-i:…)` for a group.
    fn set_flags(&mut self, first: char) -> Result<Option<Node>, PatternError> {
        let mut flags = self.flags;
        let mut on = true;
        let mut next = Some(first);
        loop {
            match next {
                Some('i') => flags.ignore_case = on,
                Some('m') => flags.multiline = on,
                Some('s') => flags.dot_all = on,
                Some('x') => flags.verbose = on,
                Some('a') => flags.ascii = on,
                Some('u' | 'L') => {}
                Some('-') if on => on = false,
                Some(')') if on => {
                    self.flags = flags;
                    return Ok(None);
                }
                Some(':') => return self.scoped(flags).map(Some),
                Some(c) => return Err(PatternError::new(format!("unknown extension ?{c}"))),
                None => return Err(PatternError::new("missing -, : or )")),
            }
            next = self.next();
        }
    }
}

/// How many characters a piece matches, where that is always the same number.
pub(super) fn width(node: &Node) -> Option<usize> {
    match node {
        Node::Empty | Node::At(_) | Node::Look { .. } => Some(0),
        Node::Set(_) => Some(1),
        Node::Sequence(nodes) => nodes.iter().try_fold(0, |sum, n| Some(sum + width(n)?)),
        Node::Choice(nodes) => {
            let mut widths = nodes.iter().map(width);
            let first = widths.next()??;
            widths.all(|w| w == Some(first)).then_some(first)
        }
        Node::Group(_, node) | Node::Atomic(node) => width(node),
        Node::Back { .. } => None,
        Node::Repeat { node, least, most, .. } if Some(*least) == *most => Some(width(node)? * *least as usize),
        Node::Repeat { .. } => None,
        Node::Conditional { yes, no, .. } => {
            let (yes, no) = (width(yes)?, width(no)?);
            (yes == no).then_some(yes)
        }
    }
}
