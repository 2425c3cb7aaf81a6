//! Tables for scalars and documents, and the messages as users see them.

use super::*;

fn load(text: &str) -> (Option<Node>, Diags) {
    let mut diags = Diags::new();
    let node = load_yaml(&SourceFile::new("t.yml", text), &mut diags);
    (node, diags)
}

fn value(text: &str) -> String {
    let (node, diags) = load(text);
    match node {
        Some(node) => format!("{node:?}"),
        None => diags.render(false),
    }
}

#[test]
fn plain_scalars_are_pyyamls() {
    let table = [
        ("0644", "420"),
        ("0o644", "\"0o644\""),
        ("644", "644"),
        ("yes", "true"),
        ("Off", "false"),
        ("y", "\"y\""),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("-0x1F", "-31"),
        ("0b101", "5"),
        ("1e3", "\"1e3\""),
        ("1.0e+3", "1000.0"),
        ("1.0e3", "\"1.0e3\""),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("-.5", "\"-.5\""),
        ("1:30", "90"),
        ("1:30.5", "90.5"),
        ("0:30", "\"0:30\""),
        ("08", "\"08\""),
        ("00", "0"),
        ("+12", "12"),
        ("~", "null"),
        ("null", "null"),
        (".inf", "inf"),
        ("2024-01-02", "\"2024-01-02\""),
        ("10.0.0.1", "\"10.0.0.1\""),
        ("11.8", "11.8"),
        ("99999999999999999999", "\"99999999999999999999\""),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1_0.2_5", "10.25"),
    ];
    for (text, expected) in table {
        assert_eq!(value(&format!("[{text}]")), format!("[{expected}]"), "{text}");
    }
}

#[test]
fn documents() {
    let table = [
        ("", "null"),
        ("---\n", "null"),
        ("# nothing\n", "null"),
        ("a: 1\nb: [x, 'y']\n", r#"{"a": 1, "b": ["x", "y"]}"#),
        ("\u{feff}a: 1", r#"{"a": 1}"#),
        ("a: 1\r\nb:\r\n  - 2\r\n", r#"{"a": 1, "b": [2]}"#),
        ("on: x", r#"{true: "x"}"#),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}\n", r#"{"a": {"b": 1}, "c": {"b": 1, "d": 2}}"#),
        ("c:\n  <<: [{b: 1, e: 1}, {b: 2, f: 3}]\n  e: 9\n", r#"{"c": {"b": 1, "f": 3, "e": 9}}"#),
        ("a: !unsafe '{{ x }}'", r#"{"a": !unsafe "{{ x }}"}"#),
        ("a: !unsafe [x]", r#"{"a": !unsafe [!unsafe "x"]}"#),
        ("a: !vault |\n  $ANSIBLE\n  66\n", r#"{"a": !vault "$ANSIBLE\n66\n"}"#),
        ("a: !!str 12", r#"{"a": "12"}"#),
        ("a: !!int \"12\"", r#"{"a": 12}"#),
        ("{\"a\": [1, 2.5, null, true]}", r#"{"a": [1, 2.5, null, true]}"#),
        ("a: |\n  x\n   y\nb: >-\n  p\n  q\n", r#"{"a": "x\n y\n", "b": "p q"}"#),
        ("a: 1 # c\nb: é # d\nc: 3\n", r#"{"a": 1, "b": "é", "c": 3}"#),
        ("a:\n- 1\n- 2\n", r#"{"a": [1, 2]}"#),
        // What PyYAML accepts, although lines inside brackets and quotes are not indented.
        ("a: [\n  1,\n]\nb: 2\n", r#"{"a": [1], "b": 2}"#),
        ("a:\n  b: {\n  x: 1,\n# c\ny: é\n}\n  c: 3\n", r#"{"a": {"b": {"x": 1, "y": "é"}, "c": 3}}"#),
        ("a:\n  - b: \"x\ny\n\n \\\n z\"\n  - 2\n", r#"{"a": [{"b": "x y\nz"}, 2]}"#),
        ("a:\n  b: 'x\n\t\ty''\n z'\n  c: 1\n", r#"{"a": {"b": "x y' z", "c": 1}}"#),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), expected, "{text:?}");
    }
}

#[test]
fn spans_are_bytes_and_exact() {
    let text = "é: ü  # c\nlist:\n  - mode: 0644   \n    b: {x: 1}\n  - 'q'\r\ntail: |\n  z\n\nend: x\n";
    let (node, _) = load(text);
    let node = node.unwrap();
    let map = node.as_map().unwrap();
    assert_eq!(map.get("é").unwrap().raw(), "ü");
    let list = map.get("list").unwrap();
    let first = list.as_seq().unwrap()[0].as_map().unwrap();
    assert_eq!(first.get("mode").unwrap().raw(), "0644");
    assert_eq!(first.get("mode").unwrap().span.line_col(), (3, 11));
    assert_eq!(first.get("b").unwrap().raw(), "{x: 1}");
    assert_eq!(list.as_seq().unwrap()[1].raw(), "'q'");
    assert_eq!(map.get("tail").unwrap().raw(), "z");
    assert_eq!(map.get_entry("end").unwrap().0.span.line_col(), (9, 1));
    assert_eq!(map.get("end").unwrap().raw(), "x");
    let (node, _) = load("a:\n  b: [\n  'é',\n]\n  c: zz\n");
    let node = node.unwrap();
    let inner = node.as_map().unwrap().get("a").unwrap().as_map().unwrap();
    assert_eq!((inner.get("c").unwrap().raw(), inner.get("b").unwrap().raw()), ("zz", "[\n  'é',\n]"));
}

#[test]
fn duplicate_keys_warn_and_the_last_wins() {
    let (node, diags) = load("a: 1\nb: 2\na: 3\n");
    assert_eq!(format!("{:?}", node.unwrap()), r#"{"a": 3, "b": 2}"#);
    insta::assert_snapshot!(diags.render(false), @r"
    warning: duplicate key `a`; the last value is used
     --> t.yml:3:1
      |
    1 | a: 1
      | - this one is ignored
    2 | b: 2
    3 | a: 3
      | ^ this one counts
    ");
}

#[test]
fn bombs_and_depth_are_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 9].join(",")));
    }
    assert!(value(&bomb).contains("aliases blow this document up"));
    assert!(value(&"[".repeat(100_000)).contains("nested deeper"));
    assert!(value(&"- ".repeat(100_000)).contains("nested deeper"));
    assert!(value(&"{a: ".repeat(100_000)).contains("nested deeper"));
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(value(&chain).contains("aliases blow"));
    assert!(value("a: &a [*a]").contains("inside the value that it names"));
}

#[test]
fn errors_as_users_see_them() {
    let cases = [
        "- hosts: all\n  tasks:\n    - debug:\n        msg: {{ foo }}\n",
        "- debug:\n    msg: {{ foo }} bar\n",
        "- debug:\n    msg: \"{{ foo }}\" bar\n",
        "- debug:\n    msg: a: b\n",
        "a:\n\tb: 1\n",
        "a: 'x\nb: 1\n",
        "a: 1\n---\nb: 2\n",
        "a: !foo x\n",
        "a: *nope\n",
        "a: @x\n",
        "a: [1, 2\nb: 3\n",
        "a: 1\n b: 2\n",
        "when: !x == 1\n",
    ];
    let text: Vec<String> = cases.iter().map(|case| value(case)).collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn structs_with_places() {
    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Args {
        dest: String,
        #[serde(default)]
        mode: Option<i64>,
    }
    let show = |text: &str| {
        let node = load(text).0.unwrap();
        match node.to::<Args>() {
            Ok(args) => format!("{args:?}"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(show("dest: x\nmode: 0644"), r#"Args { dest: "x", mode: Some(420) }"#);
    assert_eq!(show("dest: x\nmoed: 1"), "t.yml:2:1: unknown field `moed`, expected `dest` or `mode`");
    assert_eq!(show("dest: x\nmode: [1]"), "t.yml:2:7: invalid type: sequence, expected i64");
    assert_eq!(show("mode: 1"), "t.yml:1:1: missing field `dest`");
}

#[test]
fn sensitive_text_is_never_quoted() {
    let mut diags = Diags::new();
    let file = SourceFile::new_sensitive("v.yml", "a: hunter2\na: hunter3\nb: [hunter4");
    assert!(load_yaml(&file, &mut diags).is_none());
    let text = diags.render(false);
    assert!(text.contains("v.yml") && !text.contains("hunter"), "{text}");
}

#[test]
fn unreadable_files() {
    let dir = tempfile::tempdir().unwrap();
    let missing = SourceFile::read(&dir.path().join("x.yml")).unwrap_err();
    assert!(missing.message.ends_with("x.yml: no such file or directory"), "{missing}");
    let bad = SourceFile::from_bytes(std::path::Path::new("b.yml"), b"a: 1\nb: \xffx".to_vec());
    assert_eq!(bad.unwrap_err().message, "b.yml:2:4: byte 0xff is not UTF-8");
}

#[test]
fn nearest_names() {
    let names = ["become", "become_user", "register", "when", "with_items", "name", "notify", "tags", "tasks"];
    for (word, expected) in [
        ("becom", Some("become")),
        ("regsiter", Some("register")),
        ("wehn", Some("when")),
        ("become_usr", Some("become_user")),
        ("Notify", Some("notify")),
        ("taks", Some("tasks")),
        ("zzz", None),
        ("", None),
    ] {
        assert_eq!(did_you_mean(word, &names), expected, "{word}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[-a-c:{}\\[\\]&*!|>'\"#, \n\t\r%@<~0é\u{feff}]{0,80}") {
        let (_, diags) = load(&text);
        diags.render(true);
    }
}
