//! The `%` tokens of `ssh_config` values.

use super::ssh_config::{home, local_user};
use super::target::Target;

/// What the tokens stand for.
pub(crate) struct Tokens {
    /// The name given on the command line.
    original: String,
    host: String,
    port: u16,
    user: String,
    alias: String,
}

impl Tokens {
    /// The tokens for `target`, which was asked for as `original`.
    pub(crate) fn of(original: &str, target: &Target) -> Self {
        Tokens {
            original: original.to_string(),
            host: target.address.clone(),
            port: target.port,
            user: target.user.clone(),
            alias: target.host_key.alias.clone().unwrap_or_else(|| original.to_string()),
        }
    }
}

/// `text` with its tokens replaced. Tokens that are not known stay as they are.
pub(crate) fn expand(text: &str, tokens: &Tokens) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('h') => out.push_str(&tokens.host),
            Some('n') => out.push_str(&tokens.original),
            Some('p') => out.push_str(&tokens.port.to_string()),
            Some('r') => out.push_str(&tokens.user),
            Some('k') => out.push_str(&tokens.alias),
            Some('u') => out.push_str(&local_user()),
            Some('d') => out.push_str(&home().display().to_string()),
            Some('i') => out.push_str(&rustix::process::getuid().as_raw().to_string()),
            Some('l') => out.push_str(&local_name()),
            Some('L') => out.push_str(local_name().split('.').next().unwrap_or_default()),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

fn local_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced() {
        let mut target = Target::plain("web1", "10.0.0.1", 2222, "admin");
        target.host_key.alias = None;
        let tokens = Tokens::of("web", &target);
        for (text, expected) in [
            ("ssh -W %h:%p -l %r b", "ssh -W 10.0.0.1:2222 -l admin b"),
            ("%n-%k", "web-web"),
            ("100%%", "100%"),
            ("%Z%", "%Z%"),
        ] {
            assert_eq!(expand(text, &tokens), expected);
        }
        assert_eq!(expand("%u", &tokens), local_user());
    }
}
