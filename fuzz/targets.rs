//! What is fuzzed: everything that reads text or bytes that others wrote.

use deploy::config::Ini;
use deploy::connection::{known_hosts, ssh_args, ssh_config};
use deploy::galera::{ProviderOptions, SavedState};
use deploy::inventory::{Inventory, expand_host_pattern, python_literal, split_patterns};
use deploy::machine::firewall::{Network, Ports, Rule, Ruleset, Sources};
use deploy::machine::sql::{Client, Grants};
use deploy::modules::pattern::{Flags, Pattern, Template, characters};
use deploy::pki::{San, Subject};
use deploy::playbook::{
    LoadOptions, RegisteredModules, TaskContext, join_args, load_playbook, load_tasks, no_templates, parse_kv,
    split_args, unquote,
};
use deploy::redact::Redactor;
use deploy::secret::Secret;
use deploy::source::{Diags, Span, load_yaml_str, no_vault};
use deploy::template::{Layer, Raw, RenderOptions, Scope, Templar, from_json};
use deploy::vars::vault::{Vault, is_encrypted};
use deploy::wire::{End, Frame, Hello, Kind, Progress, RelayOpen, Reply, Start, TaskRequest};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// The targets by name.
pub const ALL: &[(&str, fn(&[u8]))] = &[
    ("yaml", yaml),
    ("playbook", playbook),
    ("template", template),
    ("expression", expression),
    ("wire", wire),
    ("inventory_ini", inventory_ini),
    ("inventory_yaml", inventory_yaml),
    ("host_patterns", host_patterns),
    ("ssh_config", configuration),
    ("ssh_args", arguments_of_ssh),
    ("known_hosts", hosts_known),
    ("free_form", free_form),
    ("vault", vault),
    ("pem", pem),
    ("der", der),
    ("network", network),
    ("regex", regex),
    ("regex_differential", regex_differential),
    ("mariadb", mariadb),
    ("galera", galera),
    ("configuration", ansible_cfg),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Every error must also be printable.
fn shown(diags: &Diags) {
    let _ = diags.render(false);
}

fn yaml(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut diags = Diags::default();
    if let Some(node) = load_yaml_str("fuzz.yml", text, &mut diags) {
        let _ = Templar::default().check_node(&node);
        let _ = serde_json::to_string(&node);
    }
    shown(&diags);
}

/// A playbook, and the same text as a file of tasks.
fn playbook(data: &[u8]) {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
        let directory = Path::new("/dev/shm").join(format!("deploy-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for the playbook");
        directory.join("play.yml")
    });
    // What it would include is not ours to read.
    if text(data).is_none_or(|text| text.contains("import") || text.contains("include") || text.contains("_files")) {
        return;
    }
    std::fs::write(PLACE.as_path(), data).expect("the playbook is written");
    let vault = no_vault;
    let options =
        LoadOptions { modules: &RegisteredModules, vault: &vault, roles_path: Vec::new(), template: &no_templates };
    let mut diags = Diags::default();
    let _ = load_playbook(&PLACE, &options, &mut diags);
    shown(&diags);
    let mut diags = Diags::default();
    let _ = load_tasks(&PLACE, &TaskContext::default(), &options, &mut diags);
    shown(&diags);
}

/// Whether a template could reach outside: lookups run programs and read files.
fn reaches_out(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "q")
        || ["lookup", "query", "glob", "realpath", "include", "import", "extends"]
            .iter()
            .any(|word| text.contains(word))
}

fn scope() -> Scope {
    const VARIABLES: &str = r#"{"n": 3, "f": 1.5, "t": "héllo", "l": [3, 1, "b"], "d": {"a": {"b": [1]}}, "e": "",
        "z": null, "y": true, "u": [{"name": "a", "groups": ["x"]}, {"name": "b"}], "v": "{{ n }}"}"#;
    let values: BTreeMap<String, serde_json::Value> = serde_json::from_str(VARIABLES).expect("variables");
    let mut layer = Layer::new();
    for (name, value) in values {
        layer.insert(name.as_str().into(), Raw::Value(from_json(&value)));
    }
    Scope::new(&Templar::default()).with(layer)
}

fn template(data: &[u8]) {
    let Some(text) = text(data).filter(|text| !reaches_out(text)) else { return };
    let scope = scope();
    let templar = scope.templar().clone();
    let _ = templar.check_template(text);
    if let Err(error) = templar.template_str(text, &scope) {
        let _ = error.to_string();
    }
    if let Err(error) = templar.render_file(Path::new("fuzz.j2"), text, RenderOptions::default(), &scope) {
        let _ = error.to_string();
    }
}

fn expression(data: &[u8]) {
    let Some(text) = text(data).filter(|text| !reaches_out(text)) else { return };
    let scope = scope();
    let templar = scope.templar().clone();
    let _ = templar.check_expression(text);
    if let Err(error) = templar.expression(text, &scope) {
        let _ = error.to_string();
    }
}

/// Each message, whatever the frame says that it is.
fn understood(frame: &Frame) {
    let _ = frame.parse::<Hello>();
    let _ = frame.parse::<Start>();
    let _ = frame.parse::<TaskRequest>();
    let _ = frame.parse::<Reply>();
    let _ = frame.parse::<Progress>();
    let _ = frame.parse::<End>();
    let _ = frame.parse::<RelayOpen>();
    let _ = frame.parse_credit();
}

fn wire(data: &[u8]) {
    let mut reader = deploy::wire::FrameReader::new(data);
    while let Ok(Some(frame)) = reader.next() {
        let again = frame.encode();
        let mut second = deploy::wire::FrameReader::new(again.as_slice());
        let back = second.next().expect("our own frame can be read").expect("it is there");
        assert_eq!((back.kind, back.id, &back.body), (frame.kind, frame.id, &frame.body));
        understood(&frame);
    }
    // The same without the lengths, which changes seldom leave right.
    if let Some((kind, body)) = data.split_first()
        && let Some(kind) = Kind::from_number(*kind)
    {
        understood(&Frame { kind, id: 1, body: body.to_vec() });
    }
}

/// Reads an inventory and asks it everything.
fn inventory(name: &str, text: &str) {
    let mut diags = Diags::default();
    let mut inventory = Inventory::from_text(name, text, &mut diags);
    shown(&diags);
    // Nobody needs the answers for a million hosts.
    if inventory.hosts.len() < 2000 {
        let _ = inventory.select(&["all".to_string()], &["!web*".to_string()], &Span::generated(), &mut diags);
    }
}

/// A range is small in writing and large in hosts.
fn is_large(text: &str) -> bool {
    text.contains('[') && text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3)
        || text.matches([':']).count() > 40
}

fn inventory_ini(data: &[u8]) {
    let Some(text) = text(data).filter(|text| !is_large(text)) else { return };
    inventory("hosts.ini", text);
}

fn inventory_yaml(data: &[u8]) {
    let Some(text) = text(data).filter(|text| !is_large(text)) else { return };
    inventory("hosts.yml", text);
}

fn host_patterns(data: &[u8]) {
    static INVENTORY: &str = "[a]\ndb[1:5].example\n[b]\nweb[a:c]\ndb3.example\n[c:children]\na\nb\n[d]\nfe80::1\n";
    let Some(text) = text(data).filter(|text| !text.contains('@')) else { return };
    let mut diags = Diags::default();
    let mut inventory = Inventory::from_text("hosts.ini", INVENTORY, &mut diags);
    let patterns = split_patterns(text);
    let limit = Inventory::limit_patterns(text, &mut diags);
    let _ = inventory.select(&patterns, &[], &Span::generated(), &mut diags);
    let _ = inventory.select(&["all".to_string()], &limit, &Span::generated(), &mut diags);
    if !is_large(text) && text.matches('[').count() < 3 {
        let _ = expand_host_pattern(text);
    }
    let _ = python_literal(&Span::generated(), text);
    shown(&diags);
}

fn configuration(data: &[u8]) {
    let Some(text) = text(data).filter(|text| !text.to_ascii_lowercase().contains("include")) else { return };
    for host in ["web1", "db.example.net", ""] {
        let _ = ssh_config::settings_of_text(text, host);
    }
}

/// `ansible.cfg`
fn ansible_cfg(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Ini::parse(Path::new("ansible.cfg"), text) {
        Ok(ini) => drop(ini.get("defaults", "forks").map(|entry| entry.value.len())),
        Err(error) => drop(error.to_string()),
    }
}

fn arguments_of_ssh(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = ssh_args::SshArgs::parse(text, "ansible_ssh_common_args");
    let _ = ssh_args::split(text);
}

fn hosts_known(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for entry in known_hosts::parse(Path::new("known_hosts"), &text) {
        for name in ["db1.example", "[db1.example]:2222", "10.0.0.1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            let _ = entry.matches(name);
        }
        let _ = (entry.place(), known_hosts::fingerprint(&entry.key));
    }
}

fn free_form(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = parse_kv(text, true);
    let _ = parse_kv(text, false);
    let _ = unquote(text);
    if let Ok(words) = split_args(text) {
        let _ = join_args(&words);
    }
}

fn vault(data: &[u8]) {
    static VAULT: LazyLock<Vault> = LazyLock::new(|| {
        let mut vault = Vault::new(Redactor::default());
        vault.add_password("default", Secret::from("a password".to_string()));
        vault
    });
    // The derivation of a key takes milliseconds: most inputs are read only as far as the password.
    let empty = Vault::new(Redactor::default());
    if let Some(text) = text(data) {
        let _ = is_encrypted(text);
        let _ = empty.decrypt_str(text);
    }
    let _ = empty.decrypt(data);
    if data.len() % 64 == 7 {
        let locked = VAULT.encrypt(data, None).expect("anything can be encrypted");
        assert_eq!(VAULT.decrypt(locked.as_bytes()).expect("and read again"), data);
    }
}

fn pem(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = deploy::pki::public_half(text);
    if let Ok(blocks) = deploy::pki::pem::blocks(text) {
        for block in blocks {
            let again = deploy::pki::pem::encode(&block.label, &block.der);
            if !block.label.is_empty() && !block.has_headers {
                let back = deploy::pki::pem::blocks(&again).expect("our own block can be read");
                assert_eq!(back.first().map(|b| &b.der), Some(&block.der));
            }
        }
    }
    described(text);
    let _ = (San::dns(text), San::ip(text), Subject::new(text, Some(text)));
}

/// The same behind the armour, which random bytes seldom get through.
fn der(data: &[u8]) {
    described(&deploy::pki::pem::encode("CERTIFICATE", data));
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let _ = deploy::pki::public_half(&deploy::pki::pem::encode(label, data));
    }
}

fn described(text: &str) {
    for info in deploy::pki::inspect_all(text, "fuzz").into_iter().flatten() {
        let _ = (deploy::pki::describe(&info), info.fingerprint_colons());
    }
}

fn network(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let networks: Vec<Network> = text.split_whitespace().filter_map(|word| Network::parse(word).ok()).collect();
    for network in &networks {
        assert!(network.contains(network.address), "{network} has its own address");
        assert_eq!(Network::parse(&network.to_string()).as_ref(), Ok(network), "its text means the same");
    }
    let ports: Ports =
        data.chunks_exact(4).map(|c| (u16::from(c[0]) << 4, (u16::from(c[0]) << 4) + u16::from(c[1]))).collect();
    let merged = deploy::machine::firewall::ruleset::merged(&ports);
    for port in ports.iter().flat_map(|(first, last)| [*first, *last]) {
        let hits = merged.iter().filter(|(first, last)| (*first..=*last).contains(&port)).count();
        assert_eq!(hits, 1, "{port} is in one range of {merged:?}");
    }
    let kept = deploy::machine::firewall::ruleset::disjoint(networks.iter().copied().collect());
    let ruleset = Ruleset {
        table: "deploy_fuzz".into(),
        sets: BTreeMap::new(),
        rules: vec![Rule {
            protocol: "tcp".into(),
            ports: [(22, 22)].into(),
            sources: Sources::Of { sets: Vec::new(), networks: kept },
            comment: String::new(),
        }],
        closed: data.len().is_multiple_of(2),
    };
    for network in &networks {
        assert!(ruleset.admits(network.address, 22), "{network} is let in");
    }
    let _ = ruleset.transaction();
}

/// The first line is the pattern, the second the replacement, the rest the subject.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (pattern, rest) = text.split_once('\n')?;
    let (template, subject) = rest.split_once('\n')?;
    Some((pattern, template, subject))
}

fn regex(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let flag = |bit: u8| first & (1 << bit) != 0;
    let flags = Flags { ignore_case: flag(0), multiline: flag(1), dot_all: flag(2), verbose: flag(3), ascii: flag(4) };
    let Some((pattern, template, subject)) = text(rest).and_then(parts) else { return };
    let _ = Pattern::of_bytes(pattern, flags);
    let Ok(pattern) = Pattern::new(pattern, flags) else { return };
    let subject = characters(subject);
    if let Ok(Some(found)) = pattern.search(&subject, 0) {
        assert!(found.start() <= found.end() && found.end() <= subject.len());
    }
    if let Ok(template) = Template::new(&characters(template), &pattern) {
        let _ = pattern.replace_all(&subject, &template);
    }
}

/// What both understand must find the same place: alternatives, repetitions, groups and sets without look-around.
fn regex_differential(data: &[u8]) {
    let Some((pattern, subject)) = text(data).and_then(|text| text.split_once('\n')) else { return };
    // Both mean the same by these; `$` before a last newline and Unicode classes are Python's own.
    let common = |c: char| c.is_ascii_lowercase() || "()|*+?.[]-{}0123456789,".contains(c);
    if !pattern.chars().all(common) || !subject.is_ascii() || pattern.contains("(?") || subject.len() > 200 {
        return;
    }
    // Sets nest and have operators in one of them; `{,3}` is a repetition only for Python.
    if pattern.contains("--") || pattern.contains("[[") || pattern.contains("[]") || pattern.contains("{,") {
        return;
    }
    let set = |text: &str| text.split('[').skip(1).any(|rest| rest.split(']').next().is_some_and(|s| s.contains('-')));
    if set(pattern) {
        return;
    }
    // Possessive only for Python.
    if ["*+", "++", "?+", "}+"].iter().any(|greedy| pattern.contains(greedy)) {
        return;
    }
    // A loop around something that can be empty ends differently by definition.
    if ["*)", "?)", "})", "|)", "(|", "()", "||", "*|", "?|", "}|"].iter().any(|inner| pattern.contains(inner)) {
        return;
    }
    let Ok(ours) = Pattern::new(pattern, Flags::default()) else { return };
    let Ok(theirs) = regex_lite::RegexBuilder::new(pattern).size_limit(1 << 20).build() else { return };
    let Ok(found) = ours.search(&characters(subject), 0) else { return };
    let expected = theirs.find(subject).map(|m| (m.start(), m.end()));
    assert_eq!(found.map(|m| (m.start(), m.end())), expected, "`{pattern}` on {subject:?}");
}

/// The server's side of a session, from its greeting on.
fn mariadb(data: &[u8]) {
    if data.len() > 60_000 {
        return;
    }
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("two ends");
    theirs.write_all(data).expect("the buffer takes it");
    theirs.shutdown(std::net::Shutdown::Write).expect("that was all");
    let wait = Duration::from_secs(1);
    let password = Secret::from("a password".to_string());
    match Client::over(Box::new(ours), "root", &password, Some("passbolt"), wait, Some(wait)) {
        Ok(mut client) => {
            for _ in 0..3 {
                match client.query("SELECT 1") {
                    Ok(rows) => drop(rows.scalar().map(str::len)),
                    Err(error) => drop(error.to_string()),
                }
            }
        }
        Err(error) => drop(error.to_string()),
    }
}

/// What the server and its files say of itself.
fn galera(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = SavedState::parse(text);
    let _ = ProviderOptions::parse(text);
    if let Ok(grants) = Grants::parse(text, data.len().is_multiple_of(2)) {
        let _ = (grants.describe(), grants.statements_to(&Grants::default(), "`a`@`b`"));
    }
    let mut grants = Grants::default();
    for line in text.lines() {
        let _ = grants.add_shown(line);
    }
    let _ = grants.simplified();
}
