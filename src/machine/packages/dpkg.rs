//! What dpkg knows: its status file and how it orders versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// An installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture.
    pub arch: String,
    /// `installed`, `config-files`, `half-configured`, `unpacked` …
    pub status: String,
    /// Virtual packages that it provides.
    pub provides: Vec<String>,
    /// Its section: `database`, `libs` …
    pub section: String,
    /// The package it was built from.
    pub source: String,
}

impl Installed {
    /// Whether it is wholly installed.
    pub fn is_installed(&self) -> bool {
        matches!(self.status.as_str(), "installed" | "triggers-awaited" | "triggers-pending")
    }
}

/// Where dpkg writes down what is installed.
pub const STATUS: &str = "/var/lib/dpkg/status";

/// Reads a status file: packages by name; `name:arch` for a further architecture of the same name.
pub fn parse_status(text: &str) -> BTreeMap<String, Installed> {
    let mut packages: BTreeMap<String, Installed> = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let mut package = Installed::default();
        for line in paragraph.lines() {
            if line.starts_with([' ', '\t']) {
                continue;
            }
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key {
                "Package" => package.name = value.into(),
                "Version" => package.version = value.into(),
                "Architecture" => package.arch = value.into(),
                "Section" => package.section = value.into(),
                "Source" => package.source = value.split(' ').next().unwrap_or_default().into(),
                "Status" => package.status = value.rsplit(' ').next().unwrap_or_default().into(),
                "Provides" => {
                    package.provides = value
                        .split(',')
                        .filter_map(|p| p.trim().split([' ', '(', ':']).next())
                        .filter(|p| !p.is_empty())
                        .map(str::to_string)
                        .collect();
                }
                _ => {}
            }
        }
        if package.name.is_empty() || package.status == "not-installed" {
            continue;
        }
        if let Some(other) = packages.get(&package.name)
            && other.is_installed()
        {
            packages.insert(format!("{}:{}", package.name, package.arch), package);
        } else {
            packages.insert(package.name.clone(), package);
        }
    }
    packages
}

/// Orders two versions as `dpkg --compare-versions` does.
pub fn compare(a: &str, b: &str) -> Ordering {
    let split = |version: &str| {
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => (epoch.parse::<u64>().unwrap_or(0), rest.to_string()),
            None => (0, version.to_string()),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((upstream, revision)) => (upstream.to_string(), revision.to_string()),
            None => (rest, String::new()),
        };
        (epoch, upstream, revision)
    };
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0).then_with(|| compare_part(&a.1, &b.1)).then_with(|| compare_part(&a.2, &b.2))
}

/// Letters before other signs, `~` before everything, even the end.
fn weight(c: Option<u8>) -> i32 {
    match c {
        None => 0,
        Some(b'~') => -1,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(c) => i32::from(c) + 256,
    }
}

fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (a.first().copied(), b.first().copied());
            if x.is_none_or(|c| c.is_ascii_digit()) && y.is_none_or(|c| c.is_ascii_digit()) {
                break;
            }
            match weight(x).cmp(&weight(y)) {
                Ordering::Equal => {}
                other => return other,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let digits = |s: &mut &[u8]| -> Vec<u8> {
            let end = s.iter().position(|c| !c.is_ascii_digit()).unwrap_or(s.len());
            let (number, rest) = s.split_at(end);
            *s = rest;
            number.iter().copied().skip_while(|c| *c == b'0').collect()
        };
        let (x, y) = (digits(&mut a), digits(&mut b));
        match x.len().cmp(&y.len()).then_with(|| x.cmp(&y)) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_is_read() {
        let packages = parse_status(
            "Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: amd64\nDescription: x\n more\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n\
             Package: never\nStatus: unknown ok not-installed\n\n\
             Package: exim4\nStatus: install ok installed\nVersion: 4\nArchitecture: amd64\nProvides: mail-transport-agent, x (= 1)\n\n\
             Package: libc6\nStatus: install ok installed\nVersion: 2\nArchitecture: amd64\n\n\
             Package: libc6\nStatus: install ok installed\nVersion: 2\nArchitecture: i386\n",
        );
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["exim4", "gone", "hello", "libc6", "libc6:i386"]);
        assert!(packages["hello"].is_installed() && !packages["gone"].is_installed());
        assert_eq!(packages["exim4"].provides, ["mail-transport-agent", "x"]);
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        for (a, b, order) in [
            ("1.0", "1.0", Ordering::Equal),
            ("1.0-1", "1.0-2", Ordering::Less),
            ("1.10", "1.9", Ordering::Greater),
            ("1:0.1", "2.0", Ordering::Greater),
            ("1.0~rc1", "1.0", Ordering::Less),
            ("1.0+b1", "1.0", Ordering::Greater),
            ("1.0a", "1.0", Ordering::Greater),
            ("1.0-1~bpo", "1.0-1", Ordering::Less),
            ("01.0", "1.0", Ordering::Equal),
            ("11.8.6-0+deb13u1", "11.8.3-0+deb13u1", Ordering::Greater),
            ("1:11.8.6-0+deb13u1", "1:11.8.6-0+deb13u2", Ordering::Less),
        ] {
            assert_eq!(compare(a, b), order, "{a} {b}");
            assert_eq!(compare(b, a), order.reverse(), "{b} {a}");
        }
    }
}
