use super::*;
use crate::machine::{Domain, Facet, Subject};
use std::sync::Arc;

fn file(name: &str, before: Facet, after: Facet) -> Change {
    Change::set(Subject::new(Domain::File, name), "content", before, after)
}

fn text(text: &str) -> Facet {
    Facet::Text(text.into())
}

fn unmasked() -> Mask {
    Arc::new(|text: &str| text.to_string())
}

fn shown(changes: &[Change]) -> String {
    super::changes(changes, &unmasked(), Style::plain(), DiffOptions::default())
}

#[test]
fn a_text_change_is_a_unified_diff() {
    insta::assert_snapshot!(shown(&[file("/etc/x", text("a\nb\nc\n"), text("a\nB\x1b[31m\nc"))]), @r"
      ~ file /etc/x (content)
        @@ -1,3 +1,3 @@
         a
        -b
        -c
        +B�[31m
        +c
        \ No newline at end of file
    ");
}

#[test]
fn the_words_that_changed_are_highlighted() {
    let changes = [file("/etc/x", text("one two three\n"), text("one 2 three\n"))];
    let drawn = super::changes(&changes, &unmasked(), Style::new(true), DiffOptions::default());
    insta::assert_snapshot!(drawn.replace('\x1b', "␛"), @r"
    ␛[33m~␛[0m file /etc/x (content)
      ␛[36m@@ -1,1 +1,1 @@␛[0m
      ␛[31m-␛[0m␛[31mone ␛[0m␛[7m␛[31mtwo␛[0m␛[0m␛[31m three␛[0m
      ␛[32m+␛[0m␛[32mone ␛[0m␛[7m␛[32m2␛[0m␛[0m␛[32m three␛[0m
    ");
}

#[test]
fn values_and_secrets_take_one_line() {
    let subject = Subject::new(Domain::File, "/etc/x");
    let mode = Change::set(subject.clone(), "mode", Facet::Value("0600".into()), Facet::Value("0644".into()));
    assert_eq!(shown(&[mode]), "  ~ file /etc/x: mode 0600 → 0644\n");
    let key = Change::set(subject, "content", Facet::Absent, Facet::Secret { fingerprint: "ab12".into() });
    assert_eq!(shown(&[key]), "  + file /etc/x: content absent → (secret, fingerprint ab12)\n");
}

#[test]
fn a_new_file_is_born_in_one_line_and_an_empty_one_has_no_lines() {
    let mode = |name: &str| {
        let subject = Subject::new(Domain::File, name);
        Change::set(subject, "mode", Facet::Absent, Facet::Value("0644".into()))
    };
    let changes = [file("/a", Facet::Absent, text("x\n")), mode("/a"), file("/b", Facet::Absent, text("")), mode("/b")];
    insta::assert_snapshot!(shown(&changes), @r"
    + file /a (content)  mode 0644
      @@ -0,0 +1,1 @@
      +x
    + file /b: content absent → empty  mode 0644
    ");
}

#[test]
fn option_files_are_shown_by_key_when_that_tells_all() {
    let before = "[mysqld]\nport=3306\nwsrep_provider_options=\"gcache.size=128M; pc.weight=1\"\nold=1\n";
    let after = "[mysqld]\nport=3307\nwsrep_provider_options=\"gcache.size=1G; pc.weight=1\"\nnew=1\n";
    insta::assert_snapshot!(shown(&[file("/etc/mysql/g.cnf", text(before), text(after))]), @r"
    ~ file /etc/mysql/g.cnf (content, by key)
      + [mysqld] new: 1
      - [mysqld] old: 1
      ~ [mysqld] port: 3306 → 3307
      ~ [mysqld] wsrep_provider_options gcache.size: 128M → 1G
    ");
    // A comment is in no key, so the lines are shown, too.
    let more = format!("# by hand\n{after}");
    insta::assert_snapshot!(shown(&[file("/etc/mysql/g.cnf", text(before), text(&more))]), @r#"
    ~ file /etc/mysql/g.cnf (content, by key)
      + [mysqld] new: 1
      - [mysqld] old: 1
      ~ [mysqld] port: 3306 → 3307
      ~ [mysqld] wsrep_provider_options gcache.size: 128M → 1G
      @@ -1,4 +1,5 @@
      +# by hand
       [mysqld]
      -port=3306
      -wsrep_provider_options="gcache.size=128M; pc.weight=1"
      -old=1
      +port=3307
      +wsrep_provider_options="gcache.size=1G; pc.weight=1"
      +new=1
    "#);
    // Who wants lines gets lines.
    let unified = DiffOptions { layout: Layout::Unified, context: 0, ..DiffOptions::default() };
    let changes = [file("/etc/x.json", text("{\n \"a\": 1,\n \"b\": 2\n}\n"), text("{\n \"a\": 1,\n \"b\": 3\n}\n"))];
    insta::assert_snapshot!(super::changes(&changes, &unmasked(), Style::plain(), unified), @r#"
    ~ file /etc/x.json (content, by key)
      ~ b: 2 → 3
      @@ -3,1 +3,1 @@
      - "b": 2
      + "b": 3
    "#);
}

#[test]
fn variables_of_the_server_are_shown_by_their_parts() {
    let subject = || Subject::new(Domain::DatabaseVariable, "wsrep_provider_options");
    let value = |text: &str| Facet::Value(text.into());
    let set = Change::set(
        subject(),
        "value",
        value("gcs.fc_limit = 16; pc.weight = 1"),
        value("gcs.fc_limit = 64; pc.weight = 1"),
    );
    let lists = Change::set(
        Subject::new(Domain::DatabaseAccount, "app@%"),
        "privileges",
        Facet::Value(serde_json::json!({"app.*": ["SELECT", "DROP"]})),
        Facet::Value(serde_json::json!({"app.*": ["INSERT", "SELECT"]})),
    );
    insta::assert_snapshot!(shown(&[set, lists]), @r#"
    ~ database variable wsrep_provider_options (value, by key)
      ~ gcs.fc_limit: 16 → 64
    ~ database account app@% (privileges, by key)
      - "app.*"[]: DROP
      + "app.*"[]: INSERT
    "#);
}

#[test]
fn both_sides_beside_each_other() {
    let before = "a\nthe quick brown fox jumps over the lazy dog and goes on\nb\nc\n";
    let after = "a\nthe quick red fox jumps over the lazy dog and goes on\nb\n日本語日本語日本語日本語\n\td\n";
    let options = DiffOptions { layout: Layout::SideBySide, width: 60, context: 1 };
    let drawn = super::changes(&[file("/x", text(before), text(after))], &unmasked(), Style::plain(), options);
    insta::assert_snapshot!(drawn, @r"
    ~ file /x (content)
      @@ -1,4 +1,5 @@
        a                        │   a
      - the quick brown fox jump │ + the quick red fox jumps
        s over the lazy dog and  │   over the lazy dog and go
        goes on                  │   es on
        b                        │   b
      - c                        │ + 日本語日本語日本語日本語
                                 │ +     d
    ");
    use unicode_width::UnicodeWidthStr;
    assert!(drawn.lines().skip(1).all(|line| line.width() <= 60), "{drawn}");
}

#[test]
fn certificates_are_shown_by_what_they_say_and_keys_never() {
    let certificate = |name: &str| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_string(), "10.0.0.1".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((one, key), (two, _)) = (certificate("db1.example"), certificate("db2.example"));
    let drawn = shown(&[file("/etc/ssl/db.pem", text(&one), text(&two))]);
    for part in [
        "(content, by key)",
        "~ certificate subject: /CN=db1.example → /CN=db2.example",
        "certificate names: DNS:db1.example, IP:10.0.0.1 → DNS:db2.example, IP:10.0.0.1",
        "      certificate valid: 2026-01-01 00:00 UTC to 2027-01-01 00:00 UTC",
        "certificate SHA-256: ",
    ] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    assert!(!drawn.contains("BEGIN") && !drawn.contains("@@"), "{drawn}");
    let chain = shown(&[file("/etc/ssl/db.pem", text(&one), text(&format!("# ours\n{one}{two}")))]);
    assert!(chain.contains("+ certificate 2 subject: /CN=db2.example") && chain.contains("+# ours"), "{chain}");
    assert!(!chain.contains("BEGIN"), "{chain}");
    // A certificate that goes behind what it stood before is another one in another place: the lines say so.
    let moved = shown(&[file("/x.pem", text(&format!("{one}# ours\n")), text(&format!("# ours\n{two}")))]);
    assert!(moved.contains("certificate subject") && moved.contains("@@"), "{moved}");
    // The machine keeps keys out of changes; should one come here all the same, it stops here.
    let secret: String = key.lines().nth(1).unwrap().into();
    for change in [
        file("/x", Facet::Absent, text(&format!("a\n{key}b\n"))),
        file("/x", Facet::Absent, text(&key.replace("-----END", "-----XND"))),
        file("/x", Facet::Value("1".into()), Facet::Value(key.clone().into())),
    ] {
        let drawn = shown(&[change]);
        assert!(drawn.contains("(a private key: not shown)") && !drawn.contains(&secret), "{drawn}");
    }
}

#[test]
fn a_secret_is_masked_before_marks_could_take_it_apart() {
    let mask: Mask = Arc::new(|text: &str| text.replace("old word new", "********"));
    let changes = [file("/x", text("p=old word old\n"), text("p=old word new\n"))];
    for layout in [Layout::Auto, Layout::Unified, Layout::SideBySide] {
        let options = DiffOptions { layout, width: 26, ..DiffOptions::default() };
        let drawn = super::changes(&changes, &mask, Style::new(true), options);
        assert!(!drawn.contains("new") && drawn.contains("********"), "{drawn}");
    }
    let number = Change::set(
        Subject::new(Domain::DatabaseVariable, "x"),
        "value",
        Facet::Absent,
        Facet::Value(serde_json::json!({"pin": 12345678})),
    );
    let mask: Mask = Arc::new(|text: &str| text.replace("12345678", "********"));
    assert!(super::changes(&[number], &mask, Style::plain(), DiffOptions::default()).contains("********"));
}

#[test]
fn what_is_binary_is_shown_by_size_and_hash() {
    let bytes = |size, hash: &str| Facet::Bytes { size, sha256: hash.repeat(64) };
    assert_eq!(
        shown(&[file("/x", bytes(10, "a"), bytes(12, "b"))]),
        "  ~ file /x: content 10 bytes, sha256 aaaaaaaaaaaa → 12 bytes, sha256 bbbbbbbbbbbb\n"
    );
}

#[test]
fn nothing_in_a_change_steers_a_terminal() {
    let evil = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{7f}";
    let value = |value: serde_json::Value| Facet::Value(value);
    let mut params = rcgen::CertificateParams::new(vec!["db1.example".to_string()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("db1{evil}"));
    params.distinguished_name.push(rcgen::DnType::OrganizationName, evil);
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let subject = || Subject::new(Domain::DatabaseVariable, format!("x{evil}"));
    let object = |text: &str| value(serde_json::json!({ format!("k{evil}"): text, "l": [text, "same"] }));
    let effect =
        Change::effect(Subject::new(Domain::Unit, evil), format!("restarted {evil}"), crate::machine::Undo::None);
    for change in [
        Change::set(subject(), "value", object("a"), object(&format!("b{evil}"))),
        Change::set(subject(), "value", value("pc.weight=1".into()), value(format!("pc.weight={evil}").into())),
        Change::set(subject(), "value", value("a".into()), value(evil.into())),
        file("/x.pem", Facet::Absent, text(&certificate)),
        file(&format!("/x{evil}.cnf"), text("[a]\nb=1\n"), text(&format!("[a]\nb={evil}\n"))),
        file("/x", text("a\n"), text(&format!("{evil}\n"))),
        file("/x", Facet::Absent, Facet::AtApply(evil.into())),
        effect,
    ] {
        for layout in [Layout::Auto, Layout::Unified, Layout::SideBySide] {
            let options = DiffOptions { layout, ..DiffOptions::default() };
            let drawn = super::changes(std::slice::from_ref(&change), &unmasked(), Style::plain(), options);
            let steering = |c: char| c.is_control() && c != '\n';
            assert!(!drawn.chars().any(steering), "{drawn:?}");
        }
        assert!(!changes_short(&[change], &unmasked(), Style::plain()).contains('\x1b'));
    }
}

#[test]
fn an_order_that_changed_is_seen() {
    let order = Change::set(
        Subject::new(Domain::DatabaseAccount, "app@%"),
        "roles",
        Facet::Value(serde_json::json!({"roles": ["a", "b"], "x": [{"name": "p"}, {"name": "q"}]})),
        Facet::Value(serde_json::json!({"roles": ["b", "a", "c"], "x": [{"name": "q"}, {"name": "p"}]})),
    );
    insta::assert_snapshot!(shown(&[order]), @r"
    ~ database account app@% (roles, by key)
      + roles[]: c
      ~ roles[] (order): a, b → b, a, c
      ~ x[name] (order): p, q → q, p
    ");
    // Keys and sections of a file have lines, and these are shown then.
    for (name, before, after) in [
        ("/x.json", "{\n \"a\": 1,\n \"b\": 2\n}\n", "{\n \"b\": 2,\n \"a\": 1\n}\n"),
        ("/x.yml", "a: 1\nb: 2\n", "b: 2\na: 3\n"),
        ("/x.cnf", "[a]\nx=1\n[b]\nx=2\n", "[b]\nx=2\n[a]\nx=3\n"),
    ] {
        let drawn = shown(&[file(name, text(before), text(after))]);
        assert!(drawn.contains("@@"), "{name}: {drawn}");
    }
}
