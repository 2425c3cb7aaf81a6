//! Inputs that are nearly right: what is known to be read, changed in a few places. The same number gives the same inputs, so
//! that what a run found can be met again.

use std::path::Path;

/// No input is longer: what a parser does with much is asked by tests of its own.
const LONGEST: usize = 4096;

/// How many changed inputs are gone on with, so that changes add up.
const KEPT: usize = 64;

/// What is special to one of the languages that are read: places in it are found by these, not by chance.
const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    " | ",
    "~",
    "**",
    "//",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ":",
    ": ",
    "- ",
    "\n",
    "\r\n",
    "\t",
    "  ",
    "\n  ",
    "\n    ",
    "#",
    "&a ",
    "*a",
    "<<: ",
    "<<: *a",
    "!vault |",
    "!unsafe ",
    "!!python/x",
    "|\n",
    ">-\n",
    "|2-\n",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "? ",
    "'",
    "\"",
    "\\",
    "\\x",
    "\\u12",
    "\\N",
    "\\U0010ffff",
    "\0",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "\u{1f600}",
    "0x7fffffffffffffff",
    "-9223372036854775808",
    "18446744073709551616",
    "1e309",
    "-0",
    "0o777",
    "0777",
    "1_000",
    ".inf",
    ".nan",
    "1:30:00",
    "2026-01-01",
    "null",
    "~",
    "true",
    "yes",
    "hosts",
    "tasks",
    "block",
    "rescue",
    "when",
    "loop",
    "with_items",
    "register",
    "vars",
    "include_tasks_",
    "import_",
    "roles",
    "name",
    "for x in ",
    "endfor",
    "if ",
    "endif",
    "set x = ",
    "macro m(a)",
    "endmacro",
    "raw",
    "endraw",
    "is ",
    "not ",
    "in ",
    "and ",
    "or ",
    "else ",
    "default(",
    "map('",
    "select(",
    "range(",
    "join('",
    "regex_replace('",
    "dict(",
    "namespace(",
    "loop.",
    "_",
    ".",
    "__class__",
    "[0]",
    "[-1]",
    "[::",
    "[all:vars]\n",
    "[a:children]\n",
    "[1:3]",
    "[a:c]",
    "[001:010:2]",
    "all:\n",
    "children:",
    "ansible_host=",
    "=",
    " = ",
    ";",
    ",",
    "@",
    "!",
    "!vault",
    "$ANSIBLE_VAULT;1.1;AES256\n",
    "$ANSIBLE_VAULT;1.2;AES256;x\n",
    "3031",
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "ssh-ed25519 ",
    "|1|",
    "Host *\n",
    "Match ",
    "*",
    "?",
    "^",
    "$",
    "+",
    "(?:",
    "(?P<a>",
    "(?=",
    "\\1",
    "\\d",
    "{1,3}",
    "%",
    "%{",
    "0.0.0.0/0",
    "::/0",
    "::ffff:1.2.3.4",
    "fe80::1%eth0",
    "\u{7f}",
    "\u{1b}[31m",
];

/// SplitMix64 (Steele, Lea, Flood 2014): a few lines that stay the same for ever, which is all that is asked of it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 when that is 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// An endless source of inputs for one parser.
pub struct Mutator {
    random: Random,
    /// What is read as it is.
    seeds: Vec<Vec<u8>>,
    /// Inputs of before.
    kept: Vec<Vec<u8>>,
}

impl Mutator {
    /// From the files of `fuzz/seeds/TARGET`, and of the shipped playbooks and inventories where they are of that language.
    pub fn of_target(root: &Path, target: &str, number: u64) -> Mutator {
        let mut seeds = vec![Vec::new()];
        let mut directories = vec![root.join("fuzz/seeds").join(target)];
        let more: &[&str] = match target {
            "yaml" | "playbook" => {
                &["playbooks", "roles/mariadb_galera/tasks", "roles/pki/tasks", "fuzz/seeds/expression"]
            }
            "template" | "expression" => &["roles/mariadb_galera/templates", "roles/haproxy/templates"],
            "inventory_yaml" => &["inventory", "docs/examples"],
            _ => &[],
        };
        directories.extend(more.iter().map(|name| root.join(name)));
        for directory in directories {
            let mut files: Vec<_> =
                std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            files.sort();
            seeds.extend(files.iter().filter_map(|file| std::fs::read(file).ok()));
        }
        // The name of the target is part of the number, or all would be changed in the same places.
        let number = target.bytes().fold(number, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Mutator { random: Random(number), seeds, kept: Vec::new() }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.one();
        // A large file is not changed as a whole: a part of it is.
        if input.len() > LONGEST || self.random.below(4) == 0 {
            let begin = self.random.below(input.len());
            let end = begin + self.random.below((input.len() - begin).min(LONGEST));
            input = input[begin..end].to_vec();
        }
        for _ in 0..=self.random.below(6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        if self.random.below(8) == 0 {
            match self.kept.len() < KEPT {
                true => self.kept.push(input.clone()),
                false => {
                    let place = self.random.below(KEPT);
                    self.kept[place] = input.clone();
                }
            }
        }
        input
    }

    /// One that was read before.
    fn one(&mut self) -> Vec<u8> {
        match self.kept.is_empty() || self.random.below(2) == 0 {
            true => self.seeds[self.random.below(self.seeds.len())].clone(),
            false => self.kept[self.random.below(self.kept.len())].clone(),
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let length = self.random.below((input.len() - at).min(64) + 1);
        match self.random.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.random.next() as u8;
                }
            }
            2 => drop(input.drain(at..at + length)),
            3 => {
                let part = input[at..at + length].to_vec();
                let place = self.random.below(input.len() + 1);
                input.splice(place..place, part);
            }
            // Deep and long things are made of one thing many times.
            4 => {
                let part = input[at..at + length.min(8)].to_vec();
                let times = 1 << self.random.below(11);
                if part.len() * times + input.len() <= LONGEST {
                    input.splice(at..at, part.repeat(times));
                }
            }
            5 => {
                let other = self.one();
                let begin = self.random.below(other.len());
                let end = (begin + self.random.below(256)).min(other.len());
                input.splice(at..at, other[begin..end].iter().copied());
            }
            6 => {
                // A digit by others: numbers are where limits are.
                if let Some(place) = input.iter().skip(at).position(u8::is_ascii_digit) {
                    let digits = ["0", "9", "255", "65536", "2147483648", "99999999999999999999"];
                    let digits = digits[self.random.below(digits.len())];
                    input.splice(at + place..at + place + 1, digits.bytes());
                }
            }
            _ => {
                let word = WORDS[self.random.below(WORDS.len())];
                let over = match self.random.below(2) {
                    0 => 0,
                    _ => word.len().min(input.len() - at),
                };
                input.splice(at..at + over, word.bytes());
            }
        }
    }
}
