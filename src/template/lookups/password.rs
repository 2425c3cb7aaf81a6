//! Passwords that are made once and kept in a file.

use std::path::{Path, PathBuf};

use minijinja::Error;
use minijinja::value::Value;

use super::{Call, Found};
use crate::template::args::{fail, is_list, items};
use crate::template::filters::{RandomSource, crypt, salt_for};
use crate::template::py;

struct Params {
    length: usize,
    chars: Vec<String>,
    encrypt: Option<String>,
    ident: Option<String>,
    seed: Option<Value>,
}

fn characters(names: &[String]) -> Vec<char> {
    let mut out: Vec<char> = Vec::new();
    for name in names {
        match name.as_str() {
            "ascii_letters" => out.extend(('a'..='z').chain('A'..='Z')),
            "ascii_lowercase" => out.extend('a'..='z'),
            "ascii_uppercase" => out.extend('A'..='Z'),
            "digits" => out.extend('0'..='9'),
            "hexdigits" => out.extend("0123456789abcdefABCDEF".chars()),
            "octdigits" => out.extend('0'..='7'),
            "punctuation" => out.extend("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".chars()),
            "whitespace" => out.extend(" \t\n\r\u{b}\u{c}".chars()),
            other => out.extend(other.chars()),
        }
    }
    out.retain(|c| !matches!(c, '"' | '\''));
    out
}

fn split_chars(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let text = if text.contains(",,") {
        names.push(",".to_owned());
        text.replace(",,", ",")
    } else {
        text.to_owned()
    };
    names.extend(text.split(',').filter(|c| !c.is_empty()).map(str::to_owned));
    names
}

fn parse(call: &Call<'_>, term: &str) -> Result<(String, Params), Error> {
    let mut params = Params {
        length: 20,
        chars: ["ascii_letters", "digits", ".,:-_"].map(str::to_owned).to_vec(),
        encrypt: None,
        ident: None,
        seed: None,
    };
    let mut path = Vec::new();
    for word in term.split(' ') {
        match word.split_once('=') {
            Some(("length", n)) => params.length = n.parse().map_err(|_| fail("password: length is not a number"))?,
            Some(("chars", c)) => params.chars = split_chars(c),
            Some(("encrypt", e)) => params.encrypt = Some(e.to_owned()),
            Some(("ident", i)) => params.ident = Some(i.to_owned()),
            Some(("seed", s)) => params.seed = Some(Value::from(s)),
            _ => path.push(word),
        }
    }
    if let Some(n) = call.option("length") {
        params.length = n.as_usize().ok_or_else(|| fail("password: length is not a number"))?;
    }
    if let Some(chars) = call.option("chars") {
        params.chars = if is_list(chars) {
            items(chars, "password")?.iter().map(py::str).collect()
        } else {
            split_chars(&py::str(chars))
        };
    }
    params.encrypt =
        call.text("encrypt").or(params.encrypt).filter(|e| !matches!(e.as_str(), "False" | "false" | "no"));
    params.ident = call.text("ident").or(params.ident);
    // A number is the text of its digits, which is another seed than the number.
    params.seed = call.text("seed").map(Value::from).or(params.seed);
    if params.length > 10_000 {
        return Err(fail("password: the length is more than 10000"));
    }
    Ok((path.join(" ").trim().to_owned(), params))
}

fn generate(params: &Params) -> Result<String, Error> {
    let chars = characters(&params.chars);
    if chars.is_empty() {
        return Err(fail("password: no characters to choose from"));
    }
    let mut source = RandomSource::new(params.seed.as_ref());
    let count = u64::try_from(chars.len()).unwrap_or(1);
    Ok((0..params.length).filter_map(|_| chars.get(usize::try_from(source.below(count)).unwrap_or(0))).collect())
}

/// `password`: the password in the file, which is made if there is none.
pub(super) fn password(call: &Call<'_>) -> Found {
    // Hosts run at the same time: the first makes the password, the others find it.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut out = Vec::new();
    for term in call.texts() {
        let (path, params) = parse(call, &term)?;
        let path = absolute(&path, call);
        let keep = path != Path::new("/dev/null");
        let host = call.scope.templar().lookup_host().cloned();
        let old = match &host {
            _ if !keep => None,
            Some(host) => {
                host.read(&path).map_err(|e| fail(format!("password: cannot read {}: {e}", path.display())))?
            }
            None => match std::fs::read(&path) {
                Ok(bytes) => Some(bytes),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(e) => return Err(fail(format!("password: cannot read {}: {e}", path.display()))),
            },
        };
        let old = old.map(|b| String::from_utf8_lossy(&b).trim_end().to_owned());
        let (mut clear, mut salt) = (None, None);
        if let Some(old) = &old {
            let (rest, _) = old.split_once(" ident=").unwrap_or((old, ""));
            match rest.rsplit_once(" salt=") {
                Some((p, s)) => (clear, salt) = (Some(p.to_owned()), Some(s.to_owned())),
                None => clear = Some(rest.to_owned()),
            }
        }
        let fresh = clear.is_none();
        let clear = match clear {
            Some(clear) => clear,
            None => generate(&params)?,
        };
        call.scope.templar().redactor().add(&clear);
        let needs_salt = params.encrypt.is_some() && salt.is_none();
        if let Some(kind) = params.encrypt.as_deref().filter(|_| needs_salt) {
            salt = Some(salt_for(kind, 8));
        }
        if keep && (fresh || needs_salt) {
            let content = match &salt {
                Some(salt) => format!("{clear} salt={salt}\n"),
                None => format!("{clear}\n"),
            };
            let host = host.ok_or_else(|| fail("password: nothing here can store a new password"))?;
            host.write(&path, content.as_bytes(), 0o600)
                .map_err(|e| fail(format!("password: cannot write {}: {e}", path.display())))?;
        }
        out.push(Value::from(match &params.encrypt {
            Some(kind) => crypt(&clear, kind, salt.as_deref().unwrap_or_default(), None, params.ident.as_deref())?,
            None => clear,
        }));
    }
    Ok(out)
}

fn absolute(path: &str, call: &Call<'_>) -> PathBuf {
    let path = crate::template::scope::expand_home(path);
    // A relative path is one of the playbook's directory, which is the last to be searched.
    match call.scope.paths().roots.last() {
        Some(root) if path.is_relative() => root.join(path),
        _ => path,
    }
}

/// `random_string`: of community.general.
pub(super) fn random_string(call: &Call<'_>) -> Found {
    let length = call.option("length").and_then(|n| n.as_usize()).unwrap_or(8).min(10_000);
    let mut names = Vec::new();
    for (option, set) in
        [("upper", "ascii_uppercase"), ("lower", "ascii_lowercase"), ("numbers", "digits"), ("special", "punctuation")]
    {
        if call.flag(option, true) {
            names.push(set.to_owned());
        }
    }
    let seed = call.option("seed").cloned();
    let text = generate(&Params { length, chars: names, encrypt: None, ident: None, seed })?;
    call.scope.templar().redactor().add(&text);
    Ok(vec![Value::from(text)])
}
