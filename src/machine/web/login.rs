//! Who a request says that it is: by Basic authentication, from the task, the address or `~/.netrc`.

use super::stream::basic;
use super::url::Url;
use super::{Request, Response};
use std::collections::BTreeMap;

/// How a request logs in.
pub(super) struct Login {
    value: Option<String>,
    /// It is sent before anybody asks.
    at_once: bool,
}

impl Login {
    /// Nobody.
    pub fn none() -> Login {
        Login { value: None, at_once: false }
    }

    pub fn of(request: &Request, url: &Url, environment: &BTreeMap<String, String>) -> Login {
        let given = request.login.clone().filter(|(user, _)| !user.is_empty()).or_else(|| url.login());
        if let Some((user, password)) = given {
            return Login { value: Some(basic(&user, &password)), at_once: request.force_basic_auth };
        }
        let found = if request.use_netrc { from_netrc(&url.host, environment) } else { None };
        Login { value: found.map(|(user, password)| basic(&user, &password)), at_once: true }
    }

    /// The header's value, if it is to be sent now. Where a redirect leads is not told who we are before it asks.
    pub fn header(&self, asked: bool, redirected: bool) -> Option<String> {
        self.value.clone().filter(|_| asked || self.at_once && !redirected)
    }

    /// Whether there is an answer to what a server asks for.
    pub fn answers(&self, response: &Response) -> bool {
        let basic = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("www-authenticate")
                && value.split(',').any(|one| one.trim().to_ascii_lowercase().starts_with("basic"))
        };
        self.value.is_some() && !self.at_once && response.headers.iter().any(basic)
    }
}

/// The login for a host in the file that `NETRC` names, or `~/.netrc`.
fn from_netrc(host: &str, environment: &BTreeMap<String, String>) -> Option<(String, String)> {
    let read = |name: &str| environment.get(name).cloned().or_else(|| std::env::var(name).ok());
    let file = read("NETRC").or_else(|| Some(format!("{}/.netrc", read("HOME")?)))?;
    let text = std::fs::read_to_string(file).ok()?;
    login_in(&text, host)
}

fn login_in(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let (mut own, mut user, mut password) = (false, None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if own && user.is_some() && password.is_some() {
                    break;
                }
                own = word == "default" || words.next() == Some(host);
                (user, password) = (None, None);
            }
            "login" if own => user = words.next().map(str::to_string),
            "password" if own => password = words.next().map(str::to_string),
            _ => {}
        }
    }
    user.zip(password).filter(|_| own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_a_netrc() {
        let text = "# comment\nmachine a login u1 password p1\nmachine b\n  login u2\n  password p2\ndefault login d password q";
        for (host, expected) in [("a", ("u1", "p1")), ("b", ("u2", "p2")), ("c", ("d", "q"))] {
            let found = login_in(text, host).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{host}");
        }
        assert_eq!(login_in("machine a login u", "a"), None);
    }
}
