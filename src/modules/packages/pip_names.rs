//! Packages of Python as they are asked for: names and the versions that will do.

use std::cmp::Ordering;

/// A package that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// As pip is given it.
    pub written: String,
    /// Its name alone.
    pub name: String,
    /// What its version must be: an operator and a version each.
    wanted: Vec<(String, String)>,
}

const OPERATORS: [&str; 8] = ["===", "==", "!=", "<=", ">=", "~=", "<", ">"];

impl Package {
    pub fn read(text: &str) -> Package {
        let text = text.trim();
        let plain = text.split(';').next().unwrap_or_default();
        let end = plain.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(plain.len());
        let (name, rest) = plain.split_at(end);
        let rest = rest.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']').map_or("", |(_, rest)| rest) } else { rest };
        let specifier = |part: &str| {
            let part = part.trim();
            let operator = OPERATORS.iter().find(|one| part.starts_with(**one))?;
            Some((operator.to_string(), part.trim_start_matches(operator).trim().to_string()))
        };
        let wanted = rest.trim_matches(['(', ')', ' ']).split(',').filter_map(specifier).collect();
        Package { written: text.to_string(), name: name.to_string(), wanted }
    }

    /// Whether it was asked for in some version.
    pub fn has_version(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether a version will do.
    pub fn takes(&self, version: &str) -> bool {
        self.wanted.iter().all(|(operator, wanted)| {
            let prefix = wanted.strip_suffix(".*");
            let starts = |prefix: &str| version == prefix || version.starts_with(&format!("{prefix}."));
            let order = compare(version, prefix.unwrap_or(wanted));
            match (operator.as_str(), prefix) {
                ("==", Some(prefix)) => starts(prefix),
                ("!=", Some(prefix)) => !starts(prefix),
                ("===", _) => version == wanted,
                ("==", None) => order.is_eq(),
                ("!=", None) => order.is_ne(),
                ("<=", _) => order.is_le(),
                (">=", _) => order.is_ge(),
                // Not what is before a release that itself is not wanted, nor what is behind it (PEP 440).
                ("<", _) => order.is_lt() && !(after(version, wanted, |rank| rank < RELEASE)),
                (">", _) => order.is_gt() && !(after(version, wanted, |rank| rank > RELEASE)),
                // ~=1.4.2 is >=1.4.2, ==1.4.*
                ("~=", _) => order.is_ge() && wanted.rsplit_once('.').is_none_or(|(prefix, _)| starts(prefix)),
                _ => true,
            }
        })
    }
}

/// The rank of a release itself among what is before and behind it.
const RELEASE: u32 = 4;

/// Whether a version is of the same release as the one that is a bound, and of such a rank, which the bound is not.
fn after(version: &str, bound: &str, such: fn(u32) -> bool) -> bool {
    let (version, bound) = (parts(version), parts(bound));
    version.0 == bound.0 && such(version.1) && !such(bound.1)
}

/// The order of two versions.
fn compare(one: &str, other: &str) -> Ordering {
    parts(one).cmp(&parts(other))
}

/// Numbers, then what is before a release (`rc1`), the release, and what is behind it (`.post1`).
fn parts(text: &str) -> (Vec<u64>, u32, u64) {
    let text = text.trim_start_matches('v').split('+').next().unwrap_or_default().to_lowercase();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut numbers: Vec<u64> = numbers.split('.').filter_map(|n| n.parse().ok()).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    let rest = rest.trim_start_matches(['-', '_', '.']);
    let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    let word: String = rest.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
    let rank = match word.as_str() {
        "dev" => 0,
        "a" | "alpha" => 1,
        "b" | "beta" => 2,
        "rc" | "c" | "pre" => 3,
        "" => RELEASE,
        _ => 5, // post
    };
    (numbers, rank, digits.parse::<u64>().unwrap_or(0))
}

/// Whether two names are of one package.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| {
        let mut plain = String::new();
        for c in name.to_lowercase().chars() {
            let c = if matches!(c, '-' | '_' | '.') { '-' } else { c };
            if c != '-' || !plain.ends_with('-') {
                plain.push(c);
            }
        }
        plain
    };
    plain(one) == plain(other)
}

/// Names that were cut at commas inside their versions, put together again.
pub(super) fn recover(names: &[String]) -> Vec<String> {
    let mut packages: Vec<String> = Vec::new();
    let mut brackets = false;
    for part in names.iter().flat_map(|name| name.split(',')) {
        let version = OPERATORS.iter().any(|one| part.trim_start().starts_with(one));
        match packages.last_mut().filter(|_| version || brackets) {
            Some(last) => *last = format!("{last},{}", part.trim()),
            None => packages.push(part.trim().to_string()),
        }
        brackets = (brackets || part.contains('[')) && !part.contains(']');
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_will_do() {
        for (package, version, expected) in [
            ("a", "1", true),
            ("a==1.0", "1", true),
            ("a==1.0", "1.0.1", false),
            ("a==1.*", "1.7", true),
            ("a>=1.10, <2", "1.9", false),
            ("a>=1.10, <2", "1.11", true),
            ("a[x,y]~=1.4.2", "1.4.9", true),
            ("a~=1.4.2", "1.5", false),
            ("a<2", "2rc1", false),
            ("a<2rc2", "2rc1", true),
            ("a<2", "1.9rc1", true),
            ("a>1", "1.post1", false),
            ("a>1.post1", "1.post2", true),
            ("a>1; python_version > '3'", "1.0.1", true),
        ] {
            assert_eq!(Package::read(package).takes(version), expected, "{package} {version}");
        }
        let names: Vec<String> = ["django>1.11.1", "<1.11.3", "b[x", "y]", "c"].map(String::from).into();
        assert_eq!(recover(&names), ["django>1.11.1,<1.11.3", "b[x,y]", "c"]);
        assert!(same_name("Foo_Bar", "foo-bar") && !same_name("foo", "bar"));
    }
}
