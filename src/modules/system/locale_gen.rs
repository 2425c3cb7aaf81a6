//! `locale_gen`: locales of Debian and Ubuntu.

use crate::machine::files::WriteOptions;
use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Subject};
use crate::modules::files::common::{Step, begin};
use crate::modules::files::lineinfile::State;
use crate::modules::programs::{ask, failed, required};
use crate::modules::scalars::TextList;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};

/// `community.general.locale_gen`
pub const LOCALE_GEN: Module = Module {
    name: "community.general.locale_gen",
    aliases: &["locale_gen"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: LocaleGen::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

const FILE: &str = "/etc/locale.gen";
const SUPPORTED: &str = "/usr/share/i18n/SUPPORTED";
const OLD_PLACE: &str = "/var/lib/locales/supported.d";

/// `locale -a` writes encodings in letters of its own.
const ENCODINGS: [(&str, &str); 10] = [
    (".utf8", ".UTF-8"),
    (".eucjp", ".EUC-JP"),
    (".iso885915", ".ISO-8859-15"),
    (".cp1251", ".CP1251"),
    (".koi8r", ".KOI8-R"),
    (".armscii8", ".ARMSCII-8"),
    (".euckr", ".EUC-KR"),
    (".gbk", ".GBK"),
    (".gb18030", ".GB18030"),
    (".euctw", ".EUC-TW"),
];

crate::arguments! {
    /// Makes or removes locales: in `/etc/locale.gen`, and by `locale-gen`. Needs the package locales.
    ///
    /// A locale that is supported, but not in that file, is added to it; Ansible leaves it out and says nothing.
    pub struct LocaleGen {
        /// The locales: `de_DE.UTF-8`.
        pub name: TextList,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: LocaleGen = decode(arguments)?;
    begin(machine, context);
    // As the list and the file of locales have them: `de_DE.utf8` is `de_DE.UTF-8`.
    let names: Vec<String> = arguments.name.0.iter().map(plain).collect();
    let names = &names;
    let Some(file) = machine.read_file_if_exists(FILE, 1 << 20)? else {
        let why = match machine.exists(OLD_PLACE)? {
            true => format!("{FILE} is missing: the older mechanism of {OLD_PLACE} is not supported"),
            false => format!("{OLD_PLACE} and {FILE} are missing. Is the package \"locales\" installed?"),
        };
        return Err(ModuleError::Ended(Box::new(Outcome::failed(why).with("name", json!(arguments.name.0)))));
    };
    let supported = machine.read_file_if_exists(SUPPORTED, 1 << 20)?.unwrap_or_default();
    let supported = String::from_utf8_lossy(&supported).into_owned();
    let listed = ask(machine, &Command::new(["locale", "-a"]))?;
    let there: Vec<String> = listed.lines().map(plain).collect();
    let is_there = |name: &String| there.contains(&plain(name));
    let nowhere: Vec<&str> = names
        .iter()
        .filter(|name| charset(&supported, name).is_none() && !is_there(name))
        .map(String::as_str)
        .collect();
    if !nowhere.is_empty() {
        let why = "The following locales you have entered are not available on your system";
        let failed = Outcome::failed(format!("{why}: {}", nowhere.join(", "))).with("name", json!(arguments.name.0));
        return Err(ModuleError::Ended(Box::new(by_glibc(failed))));
    }
    let wanted = arguments.state == State::Present;
    let word = |on: bool| if on { "present" } else { "absent" };
    let setting = |name: &String| Setting::new(Subject::new(Domain::Setting, format!("locale {name}")), "state");
    let mut present = Vec::new();
    for name in names {
        let there = match machine.foreseen_setting(&setting(name))? {
            Some(state) => state == word(true),
            None => is_there(name),
        };
        machine.observe_setting(&setting(name), word(there));
        present.push(there);
    }
    // As Ansible: they are present when all of them are, and all are absent as soon as one is.
    if present.iter().all(|there| *there) != wanted {
        let text = String::from_utf8_lossy(&file).into_owned();
        let new = edit(&text, names, wanted, &supported);
        if new != text {
            machine.write_file(FILE, new.as_bytes(), &WriteOptions { follow: true, ..WriteOptions::default() })?;
        }
        let program = required(machine, "locale-gen", "locales")?;
        let command = Command::new([program]);
        let mut steps: &[Command] = std::slice::from_ref(&command);
        for (name, there) in names.iter().zip(&present).filter(|(_, there)| **there != wanted) {
            let sides = (Facet::Value(word(*there).into()), Facet::Value(word(wanted).into()));
            // It is run once for all of them.
            if let Some(output) = machine.change_setting(&setting(name), sides, word(wanted), steps)?
                && !output.success()
            {
                return Err(failed(&command, &output));
            }
            steps = &[];
        }
        if !machine.predicted() {
            let now: Vec<String> = ask(machine, &Command::new(["locale", "-a"]))?.lines().map(plain).collect();
            if let Some(name) = names.iter().find(|name| now.contains(*name) != wanted) {
                let why = format!("locale-gen ran, but {name} is not {}: see its line in {FILE}", word(wanted));
                return Err(ModuleError::Failed(why));
            }
        }
    }
    let outcome = Outcome::ok().with("name", json!(arguments.name.0)).with("state", word(wanted));
    Ok(by_glibc(outcome))
}

/// The mechanism, as Ansible returns it.
fn by_glibc(outcome: Outcome) -> Outcome {
    outcome.with("mechanism", "glibc").with("ubuntu_mode", false)
}

fn plain(name: impl AsRef<str>) -> String {
    ENCODINGS.iter().fold(name.as_ref().trim().to_string(), |name, (from, to)| name.replace(from, to))
}

/// `de_DE.UTF-8 UTF-8`, with a `#` before it or without.
fn entry(line: &str) -> Option<(&str, &str)> {
    let bare = line.trim_start();
    let bare = bare.strip_prefix('#').map_or(bare, str::trim_start);
    let mut words = bare.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(name), Some(charset), None) => Some((name, charset)),
        _ => None,
    }
}

fn charset<'a>(supported: &'a str, name: &str) -> Option<&'a str> {
    supported.lines().filter_map(entry).find(|(found, _)| *found == name).map(|(_, charset)| charset)
}

/// The file with these locales, or without them.
fn edit(text: &str, names: &[String], wanted: bool, supported: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    let mut result = String::new();
    for line in text.split_inclusive('\n') {
        let own = entry(line).and_then(|(found, charset)| {
            let name = names.iter().find(|name| *name == found)?;
            Some((name.as_str(), charset))
        });
        match own {
            // What is indented is somebody's remark.
            Some((name, charset)) if !line.starts_with(char::is_whitespace) => {
                seen.push(name);
                result.push_str(&format!("{}{name} {charset}\n", if wanted { "" } else { "# " }));
            }
            _ => result.push_str(line),
        }
    }
    for name in names.iter().filter(|name| wanted && !seen.contains(&name.as_str())) {
        if let Some(charset) = charset(supported, name) {
            if !result.is_empty() && !result.ends_with('\n') {
                result.push('\n');
            }
            result.push_str(&format!("{name} {charset}\n"));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPORTED: &str = "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\n#fr_FR.UTF-8 UTF-8\nC.UTF-8 UTF-8\n";
    const TEXT: &str = "# This file lists locales.\n#\n# de_DE ISO-8859-1\n# de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8";

    #[test]
    fn names() {
        for (name, expected) in [("de_DE.utf8", "de_DE.UTF-8"), ("ja_JP.eucjp", "ja_JP.EUC-JP"), ("C", "C")] {
            assert_eq!(plain(name), expected);
        }
        for (name, expected) in [("de_DE.UTF-8", Some("UTF-8")), ("fr_FR.UTF-8", Some("UTF-8")), ("x", None)] {
            assert_eq!(charset(SUPPORTED, name), expected);
        }
    }

    #[test]
    fn the_file() {
        let base = "# This file lists locales.\n#\n";
        for (names, wanted, expected) in [
            (&["de_DE.UTF-8"][..], true, "# de_DE ISO-8859-1\nde_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8"),
            (&["en_US.UTF-8"], false, "# de_DE ISO-8859-1\n# de_DE.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n"),
            (&["fr_FR.UTF-8"], true, "# de_DE ISO-8859-1\n# de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\nfr_FR.UTF-8 UTF-8\n"),
            (&["fr_FR.UTF-8"], false, "# de_DE ISO-8859-1\n# de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8"),
            (&["de_DE", "de_DE.UTF-8"], true, "de_DE ISO-8859-1\nde_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8"),
        ] {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            assert_eq!(edit(TEXT, &names, wanted, SUPPORTED), format!("{base}{expected}"), "{names:?}");
        }
    }
}
