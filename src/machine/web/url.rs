//! Addresses of the web: read, joined, shown without what is secret.

/// An address.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// `http`, `https`, `file` …, in lower case.
    pub scheme: String,
    /// User and password, as they are written.
    userinfo: Option<String>,
    /// Without the brackets of IPv6.
    pub host: String,
    port: Option<u16>,
    /// Path and query; never empty.
    pub target: String,
}

/// What it may hold of secrets stays inside.
impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Url {
    /// Reads `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH][?QUERY][#FRAGMENT]`; the message is Python's where it has one.
    pub fn parse(text: &str) -> Result<Url, String> {
        let scheme_end = text.find(':').filter(|at| {
            let scheme = text.get(..*at).unwrap_or_default();
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        let Some((scheme, rest)) = scheme_end.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) else {
            return Err(format!("unknown url type: '{}'", faulty(text)));
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (place, target) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        if let Some(bad) = text.chars().find(|c| c.is_ascii_control() || *c == ' ') {
            let text = faulty(text);
            return Err(format!("URL can't contain control characters. {text:?} (found at least {bad:?})"));
        }
        let (userinfo, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
        let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => place.rsplit_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = match port.filter(|port| !port.is_empty()) {
            None => None,
            // It may be the beginning of a password.
            Some(port) if port.parse::<u16>().is_err() && text.contains('@') => {
                return Err(format!("nonnumeric port in {}", faulty(text)));
            }
            Some(port) => Some(port.parse().map_err(|_| format!("nonnumeric port: '{port}'"))?),
        };
        let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
        // A browser would send these in UTF-8, each byte as %XX.
        let target = target.bytes().map(|b| if b.is_ascii() { (b as char).to_string() } else { format!("%{b:02X}") });
        Ok(Url {
            scheme: scheme.to_ascii_lowercase(),
            userinfo: userinfo.map(str::to_string),
            host: host.to_string(),
            port,
            target: target.collect(),
        })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls() { 443 } else { 80 })
    }

    /// Whether TLS is spoken.
    pub fn tls(&self) -> bool {
        self.scheme == "https"
    }

    /// `HOST[:PORT]` as a `Host` header has it.
    pub fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// User and password, unescaped.
    pub fn login(&self) -> Option<(String, String)> {
        let userinfo = self.userinfo.as_deref()?;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Some((unescaped(user), unescaped(password)))
    }

    /// The same without user and password.
    pub fn without_login(&self) -> Url {
        Url { userinfo: None, ..self.clone() }
    }

    /// As it is written, without user and password.
    pub fn plain(&self) -> String {
        format!("{}://{}{}", self.scheme, self.place(), self.target)
    }

    /// As Ansible shows it: user and password as stars.
    pub fn masked(&self) -> String {
        match &self.userinfo {
            None => self.plain(),
            Some(userinfo) => {
                let stars = if userinfo.contains(':') { "****:****" } else { "****" };
                format!("{}://{stars}@{}{}", self.scheme, self.place(), self.target)
            }
        }
    }

    /// What a redirect's `Location` means, seen from here.
    pub fn join(&self, location: &str) -> Result<Url, String> {
        let location = location.replace(' ', "%20");
        if location.contains("://") && location.find("://") < location.find(['/', '?']).or(Some(usize::MAX)) {
            return Url::parse(&location);
        }
        let base = format!("{}://{}", self.scheme, self.place());
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", self.scheme));
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let joined = match location.chars().next() {
            None => self.target.clone(),
            Some('/') => location,
            Some('?') => format!("{path}{location}"),
            Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(directory, _)| directory)),
        };
        let (path, query) = joined.split_once('?').map_or((joined.as_str(), None), |(p, q)| (p, Some(q)));
        let mut parts: Vec<&str> = Vec::new();
        let last = path.rsplit('/').next().unwrap_or_default();
        for part in path.split('/').skip(1) {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let slash = if matches!(last, "." | "..") && !parts.is_empty() { "/" } else { "" };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Url::parse(&format!("{base}/{}{slash}{query}", parts.join("/")))
    }

    /// The last name of its path: `index.html` where it has none.
    pub fn file_name(&self) -> String {
        let path = self.target.split(['?', '#']).next().unwrap_or_default();
        match path.rsplit('/').next() {
            None | Some("") => "index.html".to_string(),
            Some(name) => name.to_string(),
        }
    }
}

/// An address as Ansible shows it, also where it cannot be read; what is written stays as it is but for user and password.
pub fn mask(text: &str) -> String {
    match text.split_once("://") {
        None => text.to_string(),
        Some((scheme, rest)) => format!("{scheme}://{}", hidden(rest)),
    }
}

/// A text in which addresses may be, each of them without user and password.
pub fn mask_all(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '<' | '>')) {
        let mut parts = word.split("://");
        out += parts.next().unwrap_or_default();
        for part in parts {
            out += "://";
            out += &hidden(part);
        }
    }
    out
}

/// What is behind `://`, with stars for user and password.
fn hidden(rest: &str) -> String {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let place = rest.get(..end).unwrap_or_default();
    let at = match place.rfind('@') {
        Some(at) => Some(at),
        // What is no host and port is the beginning of a password with signs that it should have written as %XX.
        None if !is_place(place) || rest.contains(|c: char| c.is_ascii_control() || c == ' ') => rest.rfind('@'),
        None => None,
    };
    let Some((userinfo, behind)) = at.and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?))) else {
        return rest.to_string();
    };
    let stars = if userinfo.contains(':') { "****:****" } else { "****" };
    format!("{stars}@{behind}")
}

/// Whether a text is `HOST[:PORT]`.
fn is_place(text: &str) -> bool {
    let behind = text.rsplit_once(']').map_or(text, |(_, behind)| behind);
    behind.rsplit_once(':').is_none_or(|(_, port)| port.is_empty() || port.parse::<u16>().is_ok())
}

/// An address for the message that it is none.
fn faulty(text: &str) -> String {
    match text.rfind('@').and_then(|at| text.get(at..)) {
        Some(behind) if !text.contains("://") => format!("****{behind}"),
        _ => mask(text),
    }
}

/// Text in which `%XX` stands for a byte.
pub fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).filter(|_| *first == b'%');
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, host, port, target) in [
            ("http://a", "a", 80, "/"),
            ("https://a/x?y=1#z", "a", 443, "/x?y=1"),
            ("HTTP://a:8080?q", "a", 8080, "/?q"),
            ("http://u:p@[::1]:81/ä", "::1", 81, "/%C3%A4"),
            ("file:///etc/hosts", "", 80, "/etc/hosts"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port(), url.target.as_str()), (host, port, target), "{text}");
        }
        for text in ["a/b", "http://a:b/", "http://a/b c", "//a", ""] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        let url = Url::parse("http://us%40er:p:w@h/").unwrap();
        assert_eq!(url.login(), Some(("us@er".into(), "p:w".into())));
        assert_eq!((url.masked().as_str(), url.plain().as_str()), ("http://****:****@h/", "http://h/"));
        assert_eq!(format!("{url:?}"), "http://****:****@h/", "no password in a log");
        assert_eq!(mask("http://u@h"), "http://****@h");
        for (text, expected) in [
            ("http://u:pa ss@h/x", "http://****:****@h/x"),
            ("http://u:pa/ss@h/x", "http://****:****@h/x"),
            ("http://u:pa?s#s@h/x", "http://****:****@h/x"),
            ("http://h:81/x@2", "http://h:81/x@2"),
            ("http://[::1]/x@2", "http://[::1]/x@2"),
        ] {
            assert_eq!(mask(text), expected);
            assert!(Url::parse(text).err().is_none_or(|why| !why.contains("pa") && !why.contains("ss@")), "{text}");
        }
        assert!(!Url::parse("1u:secret@h/").unwrap_err().contains("secret"));
        assert_eq!(
            mask_all("fatal: 'https://u:p@h/x' and git+ssh://T@h:22/x,https://a:b@c --url=http://d"),
            "fatal: 'https://****:****@h/x' and git+ssh://****@h:22/x,https://****:****@c --url=http://d"
        );
    }

    #[test]
    fn redirects_are_joined() {
        let url = Url::parse("http://h:81/a/b?c").unwrap();
        for (location, expected) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "http://other/x"),
            ("/x y", "http://h:81/x%20y"),
            ("x", "http://h:81/a/x"),
            ("../x/./y", "http://h:81/x/y"),
            ("..", "http://h:81/"),
            ("?d", "http://h:81/a/b?d"),
            ("/to?u=http://q", "http://h:81/to?u=http://q"),
        ] {
            assert_eq!(url.join(location).unwrap().plain(), expected, "{location}");
        }
        assert_eq!(Url::parse("http://h/a/").unwrap().file_name(), "index.html");
        assert_eq!(Url::parse("http://h/a/b.tgz?x=/y").unwrap().file_name(), "b.tgz");
    }
}
