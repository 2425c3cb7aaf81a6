//! Names in certificates: subject alternative names and the subject itself.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PkiError;

/// A subject alternative name. Its text form is `DNS:…` or `IP:…`; a bare word is whichever it looks like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum San {
    /// A host name in lower case, perhaps with `*` as its first label.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl San {
    /// A host name, checked.
    pub fn dns(text: &str) -> Result<San, PkiError> {
        let bad = |why: &str| PkiError::Name { text: text.to_string(), why: why.to_string() };
        let name = text.trim();
        if name.is_empty() {
            return Err(bad("it is empty"));
        }
        if !name.is_ascii() {
            return Err(bad("host names in certificates are ASCII; write its punycode form (xn--…)"));
        }
        if name.len() > 253 {
            return Err(bad("a host name has at most 253 characters"));
        }
        if name.ends_with('.') {
            return Err(bad("host names in certificates have no dot at the end"));
        }
        let (wild, rest) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        for label in rest.split('.') {
            if label.is_empty() {
                return Err(bad("it has an empty label"));
            }
            if label.len() > 63 {
                return Err(bad("a label has at most 63 characters"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(bad("a label neither begins nor ends with a hyphen"));
            }
            if let Some(wrong) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_')) {
                return Err(bad(&match wrong {
                    '*' => "`*` stands only for the whole first label".to_string(),
                    ':' | '/' => format!("`{wrong}` belongs to addresses, and this is none"),
                    other => format!("{other:?} is not allowed in a host name"),
                }));
            }
        }
        if wild && !rest.contains('.') {
            return Err(bad("a wildcard needs two labels behind it"));
        }
        if rest.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit())) {
            return Err(bad("it is neither an address nor a host name, which cannot end in a number"));
        }
        Ok(San::Dns(name.to_ascii_lowercase()))
    }

    /// An address, checked.
    pub fn ip(text: &str) -> Result<San, PkiError> {
        let bad = |why: &str| PkiError::Name { text: text.to_string(), why: why.to_string() };
        match text.trim() {
            "" => Err(bad("it is empty")),
            one if one.contains('/') => Err(bad("a certificate names single addresses, not networks")),
            one => one.parse().map(San::Ip).map_err(|_| bad("it is no IPv4 or IPv6 address")),
        }
    }

    /// Whether a certificate with this name is good for `wanted`: equal, or a wildcard one label above.
    pub fn covers(&self, wanted: &San) -> bool {
        match (self, wanted) {
            (San::Dns(have), San::Dns(want)) => {
                have == want
                    || have.strip_prefix("*.").is_some_and(|parent| {
                        want.split_once('.').is_some_and(|(first, rest)| first != "*" && rest == parent)
                    })
            }
            _ => self == wanted,
        }
    }
}

impl FromStr for San {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<San, PkiError> {
        let trimmed = text.trim();
        let prefixed = |prefix: &str| {
            trimmed
                .get(..prefix.len())
                .filter(|start| start.eq_ignore_ascii_case(prefix))
                .and(trimmed.get(prefix.len()..))
        };
        if let Some(name) = prefixed("DNS:") {
            San::dns(name)
        } else if let Some(address) = prefixed("IP:").or_else(|| prefixed("IP Address:")) {
            San::ip(address)
        } else if let Ok(address) = trimmed.parse() {
            Ok(San::Ip(address))
        } else {
            San::dns(text)
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            San::Dns(name) => write!(f, "DNS:{name}"),
            San::Ip(address) => write!(f, "IP:{address}"),
        }
    }
}

impl From<San> for String {
    fn from(san: San) -> String {
        san.to_string()
    }
}

impl TryFrom<String> for San {
    type Error = PkiError;

    fn try_from(text: String) -> Result<San, PkiError> {
        text.parse()
    }
}

/// A certificate's subject: a common name, perhaps an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// CN.
    pub common_name: String,
    /// O.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

impl Subject {
    /// A subject, checked.
    pub fn new(common_name: &str, organization: Option<&str>) -> Result<Self, PkiError> {
        for text in [Some(common_name), organization].into_iter().flatten() {
            let bad = |why: &str| PkiError::Subject { text: text.to_string(), why: why.to_string() };
            if text.trim().is_empty() {
                return Err(bad("it is empty"));
            }
            if text.chars().count() > 64 {
                return Err(bad("X.509 allows 64 characters"));
            }
            if text.chars().any(char::is_control) {
                return Err(bad("it contains a control character"));
            }
            // `REQUIRE SUBJECT '/O=…/CN=…'` compares one line in which these two have a meaning.
            if text.contains(['/', '=']) {
                return Err(bad("`/` and `=` make the form that databases compare ambiguous"));
            }
        }
        Ok(Subject { common_name: common_name.to_string(), organization: organization.map(str::to_string) })
    }

    /// The form that `REQUIRE SUBJECT` compares: `/O=example/CN=app`.
    pub fn one_line(&self) -> String {
        let organization = self.organization.as_ref().map(|name| format!("/O={name}")).unwrap_or_default();
        format!("{organization}/CN={}", self.common_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        for (text, want) in [
            ("galera1", "DNS:galera1"),
            ("Galera1.Example.ORG", "DNS:galera1.example.org"),
            ("db_1.lan", "DNS:db_1.lan"),
            ("dns:a.b", "DNS:a.b"),
            ("*.db.example.org", "DNS:*.db.example.org"),
            ("10.0.0.1", "IP:10.0.0.1"),
            ("IP:10.0.0.1", "IP:10.0.0.1"),
            ("IP Address:fd00::0001", "IP:fd00::1"),
            (" 192.0.2.7 ", "IP:192.0.2.7"),
        ] {
            assert_eq!(text.parse::<San>().unwrap().to_string(), want);
        }
    }

    #[test]
    fn what_is_no_name_is_named_in_the_error() {
        for (text, why) in [
            ("", "empty"),
            ("  ", "empty"),
            ("a b", "' ' is not allowed"),
            ("10.0.0.300", "neither an address"),
            ("IP:galera1", "no IPv4"),
            ("10.0.0.0/8", "belongs to addresses"),
            ("IP:10.0.0.0/8", "single addresses"),
            ("fe80::1%eth0", "belongs to addresses"),
            ("a..b", "empty label"),
            ("a.b.", "dot at the end"),
            ("-a.b", "hyphen"),
            ("*.org", "two labels"),
            ("a.*.org", "whole first label"),
            ("*", "whole first label"),
            ("bücher.example", "punycode"),
            ("{{ inventory_hostname }}", "not allowed"),
        ] {
            let error = text.parse::<San>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text.trim_start_matches("IP:")), "{text:?}: {error}");
        }
        assert!(San::dns(&"a".repeat(64)).is_err());
        assert!(San::dns(&vec!["abcdefgh"; 40].join(".")).is_err());
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let covers = |have: &str, want: &str| have.parse::<San>().unwrap().covers(&want.parse().unwrap());
        assert!(covers("*.db.lan", "a.db.lan"));
        assert!(!covers("*.db.lan", "a.b.db.lan"));
        assert!(!covers("*.db.lan", "db.lan"));
        assert!(covers("A.lan", "a.LAN"));
        assert!(covers("10.0.0.1", "IP:10.0.0.1"));
        assert!(!covers("10.0.0.1", "10.0.0.2"));
    }

    #[test]
    fn subjects_are_checked() {
        assert_eq!(Subject::new("app", Some("Example")).unwrap().one_line(), "/O=Example/CN=app");
        for bad in ["", "a/b", "a=b", "a\nb", &"x".repeat(65)] {
            assert!(Subject::new(bad, None).is_err(), "{bad:?}");
        }
    }
}
