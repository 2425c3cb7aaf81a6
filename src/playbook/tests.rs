//! Playbooks in temporary folders: what is made of them, and the messages as users see them.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::source::{Diags, no_vault};

/// A few modules, so that these tests do not depend on which exist.
struct Index;

const MODULES: &[(&str, bool, &str)] = &[
    // name, takes a text, arguments (`*`: required, `/`: alias)
    ("debug", false, "msg var verbosity"),
    ("command", true, "cmd/_raw_params argv chdir creates"),
    ("shell", true, "cmd/_raw_params chdir"),
    ("copy", false, "src content *dest mode owner"),
    ("template", false, "*src *dest mode"),
    ("service", false, "*name state enabled"),
    ("apt", false, "name/pkg state update_cache"),
    ("set_fact", false, "?"),
    ("user", false, "*name state"),
    ("meta", true, "*_raw_params"),
    ("deploy.builtin.galera_gate", false, "group timeout expected_size"),
    ("import_tasks", true, "*file/_raw_params apply"),
    ("include_tasks", true, "*file/_raw_params apply"),
    ("import_role", false, "*name/role tasks_from vars_from defaults_from handlers_from allow_duplicates"),
    ("include_role", false, "*name/role tasks_from apply public"),
];

impl ModuleIndex for Index {
    fn resolve(&self, name: &str) -> Option<Arc<ModuleInfo>> {
        let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
        let (name, free_form, args) = MODULES.iter().find(|(known, _, _)| *known == short)?;
        let args = (*args != "?").then(|| {
            args.split(' ')
                .map(|word| {
                    let mut names = word.trim_start_matches('*').split('/').map(str::to_owned);
                    ModuleArgument {
                        name: names.next().unwrap(),
                        aliases: names.collect(),
                        required: word.starts_with('*'),
                    }
                })
                .collect()
        });
        let full = if name.contains('.') { name.to_string() } else { format!("ansible.builtin.{name}") };
        let canonical: &'static str = Box::leak(full.into_boxed_str());
        Some(Arc::new(ModuleInfo { canonical, args, free_form: *free_form }))
    }
    fn names(&self) -> Vec<&str> {
        MODULES.iter().map(|(name, _, _)| *name).collect()
    }
}

/// Templates `{{ name }}` from the variables given.
fn template(text: &str, vars: &Variables) -> Result<String, String> {
    let mut text = text.to_owned();
    for (name, value) in vars.iter().rev() {
        text = text.replace(&format!("{{{{ {name} }}}}"), &value.scalar_text().unwrap_or_default());
    }
    if text.contains("{{") { Err(format!("`{text}` is undefined")) } else { Ok(text) }
}

struct Tree(tempfile::TempDir);

impl Tree {
    /// Files as `=== name` headers with their text below.
    fn new(files: &str) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for part in files.split("=== ").skip(1) {
            let (name, text) = part.split_once('\n').unwrap();
            let path = dir.path().join(name.trim());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Tree(dir)
    }

    fn load(&self) -> (Option<Playbook>, String) {
        let mut diags = Diags::new();
        let options = LoadOptions { modules: &Index, vault: &no_vault, roles_path: Vec::new(), template: &template };
        let playbook = load_playbook(&self.0.path().join("site.yml"), &options, &mut diags);
        let root = format!("{}/", self.0.path().display());
        (playbook, diags.render(false).replace(&root, ""))
    }

    fn good(&self) -> Playbook {
        let (playbook, diags) = self.load();
        assert_eq!(diags, "");
        playbook.unwrap()
    }
}

/// A playbook of one play with these tasks, each line indented as under `tasks:`.
fn tasks(text: &str) -> (Vec<Step>, String) {
    let tree = Tree::new(&format!("=== site.yml\n- hosts: all\n  tasks:\n{text}"));
    let (playbook, diags) = tree.load();
    (playbook.map(|playbook| playbook.plays[0].tasks.clone()).unwrap_or_default(), diags)
}

fn task(text: &str) -> Arc<Task> {
    let (steps, diags) = tasks(text);
    assert_eq!(diags, "", "{text}");
    match &steps[0] {
        Step::Task(task) => task.clone(),
        Step::Block(_) => panic!("a block"),
    }
}

fn args(task: &Task) -> String {
    let mut words: Vec<String> =
        task.action.args.iter().map(|(key, value)| format!("{}={value:?}", key.as_str().unwrap())).collect();
    words.extend(task.action.free_form.iter().map(|node| format!("raw={node:?}")));
    words.extend(task.action.args_template.iter().map(|node| format!("template={node:?}")));
    format!("{}: {}", task.action.name, words.join(" "))
}

#[test]
fn actions_in_all_their_forms() {
    let table = [
        ("- debug: {msg: hi}", r#"debug: msg="hi""#),
        ("- debug: msg=hi", r#"debug: msg="hi""#),
        ("- debug: msg='hi there' verbosity=2", r#"debug: msg="hi there" verbosity="2""#),
        ("- debug:", "debug: "),
        ("- ansible.builtin.debug: {var: x}", r#"ansible.builtin.debug: var="x""#),
        ("- command: ls -l chdir=/tmp", r#"command: chdir="/tmp" raw="ls -l""#),
        ("- command: echo a=b", r#"command: raw="echo a=b""#),
        ("- command: {argv: [ls, -l]}\n", r#"command: argv=["ls", "-l"]"#),
        ("- shell: |\n        a\n        b\n", r#"shell: raw="a\nb\n""#),
        ("- command: ls\n      args: {chdir: /x}", r#"command: chdir="/x" raw="ls""#),
        ("- copy: dest=/a\n      args: {dest: /b, mode: 0644}", r#"copy: dest="/a" mode=420"#),
        ("- copy: '{{ all }}'", r#"copy: template="{{ all }}""#),
        ("- copy:\n      args: '{{ all }}'", r#"copy: template="{{ all }}""#),
        ("- action: copy dest=/a", r#"copy: dest="/a""#),
        ("- action: command ls -l", r#"command: raw="ls -l""#),
        ("- action: {module: copy, dest: /a}", r#"copy: dest="/a""#),
        ("- local_action: command ls", r#"command: raw="ls""#),
        ("- set_fact: a=1 b={{ x }}", r#"set_fact: a="1" b="{{ x }}""#),
        ("- meta: flush_handlers", r#"meta: raw="flush_handlers""#),
        ("- include_tasks: x.yml", r#"include_tasks: raw="x.yml""#),
        ("- user: name=x", r#"user: name="x""#),
        ("- apt: pkg=x", r#"apt: pkg="x""#),
        ("- service: name=x state={{ 'a' if b else 'c' }}", r#"service: name="x" state="{{ 'a' if b else 'c' }}""#),
        ("- copy: {dest: /a, content: !unsafe '{{ x }}'}", r#"copy: dest="/a" content=!unsafe "{{ x }}""#),
    ];
    for (text, expected) in table {
        assert_eq!(args(&task(&format!("    {text}\n"))), expected, "{text}");
    }
    let local = task("    - local_action: command ls\n");
    assert_eq!(local.keywords.delegate_to.as_ref().unwrap().as_str(), Some("localhost"));
    let spans = task("    - copy: dest=/a mode=0644\n");
    assert_eq!(spans.action.arg("mode").unwrap().raw(), "0644");
    assert_eq!(spans.action.arg("mode").unwrap().span.line_col(), (3, 26));
}

#[test]
fn keywords_of_a_task() {
    let task = task(
        "    - name: n
      copy: {dest: /a}
      become: yes
      when: [a, b is defined]
      tags: one,two
      environment: {A: 1}
      vars: {v: 1}
      register: r
      until: r is ok
      retries: 3
      delay: 1.5
      changed_when: false
      failed_when: []
      notify: [h1, h2]
      loop: '{{ xs }}'
      loop_control: {loop_var: x, label: '{{ x }}'}
      async: 10
      poll: 0
      no_log: '{{ secret }}'
      delegate_to: other
",
    );
    let kw = &task.keywords;
    assert_eq!(kw.when.len(), 2);
    assert_eq!(format!("{:?}", kw.tags), r#"["one", "two"]"#);
    assert_eq!(kw.become_.as_ref().unwrap().as_bool(), Some(true));
    assert_eq!((kw.environment.len(), kw.vars.len(), task.notify.len()), (1, 1, 2));
    assert_eq!(task.changed_when.as_ref().unwrap()[0].as_bool(), Some(false));
    assert!(task.failed_when.is_none()); // an empty list is no condition
    assert_eq!(task.register.as_deref(), Some("r"));
    assert_eq!(task.loop_.as_ref().unwrap().kind, LoopKind::Loop);
    assert_eq!(task.loop_control.loop_var.as_ref().unwrap().as_str(), Some("x"));
    let with = super::tests::task("    - debug:\n      with_first_found: [a]\n");
    assert_eq!(with.loop_.as_ref().unwrap().kind, LoopKind::With(Arc::from("first_found")));
}

/// Every kind of mistake in tasks, one playbook each.
#[test]
fn wrong_tasks_as_users_see_them() {
    let cases = [
        "    - copy: {dest: /a}\n      becom: yes\n",
        "    - copy: {dest: /a}\n      shell: ls\n",
        "    - name: nothing\n",
        "    - name: nothing\n      when: x\n",
        "    - copi: {dest: /a}\n",
        "    - my.own.copy: {dest: /a}\n",
        "    - frobnicate: {}\n",
        "    - copy: {dets: /a}\n",
        "    - copy: {src: a}\n",
        "    - copy:\n        dest: /a\n        when: x\n",
        "    - template: src=a\n      wehn: x\n",
        "    - debug: hello world\n",
        "    - debug: [a]\n",
        "    - shell: echo it's\n",
        "    - debug:\n      loop: [1]\n      with_items: [2]\n",
        "    - debug:\n      loop: [1]\n      loop_control: {lop_var: x, index_var: 1x}\n",
        "    - debug:\n      register: my-var\n",
        "    - debug:\n      become: maybe\n      retries: many\n      port: [1]\n",
        "    - debug:\n      vars: [a]\n",
        "    - debug:\n      vars: {my-var: 1}\n",
        "    - debug:\n      when: {a: b}\n",
        "    - debug:\n      tags: {a: b}\n      environment: 7\n      notify: {a: b}\n",
        "    - debug:\n      listen: x\n",
        "    - meta: flush_handler\n",
        "    - hello\n",
        "    - rescue: [{debug: }]\n",
        "    - block: [{debug: }]\n      loop: [1]\n",
        "    - import_tasks: nope.yml\n",
        "    - import_tasks: '{{ nope }}.yml'\n",
        "    - import_tasks: site.yml\n      loop: [1]\n",
        "    - include_tasks: x.yml\n      become: yes\n",
        "    - import_role: {name: nope}\n",
        "    - on: x\n      debug:\n",
        "    - action: frob x=1\n",
        "    - debug: {on: x}\n",
        "    debug:\n",
    ];
    let shown: Vec<String> = cases.iter().map(|case| tasks(case).1).collect();
    insta::assert_snapshot!(shown.join("\n\n---\n\n"));
}

#[test]
fn wrong_plays_as_users_see_them() {
    let cases = [
        "hosts: all\n",
        "",
        "- debug: msg=hi\n",
        "- hosts:\n  tasks: []\n",
        "- hosts: [a, {b: c}]\n",
        "- hosts: all\n  taks: []\n  when: x\n  command: ls\n",
        "- hosts: all\n  tasks: 7\n  gather_facts: perhaps\n",
        "- hosts: all\n  rolling: yes\n",
        "- hosts: all\n  rolling:\n    max_unavailble: 1\n    gate: galea\n    soak: long\n    on_failure: pray\n",
        "- hosts: all\n  serial: 1\n  max_fail_percentage: 0\n  rolling: {max_unavailable: 0}\n",
        "- hosts: all\n  rolling:\n    max_unavailable: 120%\n    order: {a: b}\n    gate: 7\n    window: [Sat 22:00-22:00, 26:00-27:00, 1:00-2:00 Mars/Base]\n",
        "- hosts: all\n  rolling:\n    gate: {galera: {tiemout: 3}}\n",
        "- hosts: all\n  rolling:\n    gate: [{frob: }]\n",
        "- hosts: all\n  roles: [nope, {tags: x}, 7x/y]\n",
        "- import_playbook: nope.yml\n  becom: yes\n",
        "- import_playbook: site.yml\n",
        "- 7\n",
        "- hosts: all\n  vars_prompt: [x]\n  handlers:\n    - block: []\n      rescue: []\n    - include_role: {name: x}\n  tasks:\n    - debug:\n      with_items:\n",
    ];
    let shown: Vec<String> = cases.iter().map(|case| Tree::new(&format!("=== site.yml\n{case}")).load().1).collect();
    insta::assert_snapshot!(shown.join("\n\n---\n\n"));
}

#[test]
fn a_rolling_play() {
    let tree = Tree::new(
        "=== site.yml
- hosts: all
  rolling:
    max_unavailable: 30%
    order: \"{{ is_writer }}\"
    gate: galera
    group: db
    soak: 15
    on_failure: rollback
    window: Sat-Sun 22:00-04:00 Europe/Berlin
    when: due
- hosts: all
  rolling:
    gate:
      - debug: {msg: well}
      - import_tasks: more.yml
=== more.yml
- debug:
",
    );
    let playbook = tree.good();
    let rolling = playbook.plays[0].rolling.clone().unwrap();
    let gate = rolling.gate.as_ref().unwrap();
    assert_eq!((gate.name, rolling.on_failure, rolling.when.len()), (Some("galera"), OnFailure::Rollback, 1));
    let [Step::Task(task)] = &gate.steps[..] else { panic!("{:?}", gate.steps) };
    assert_eq!(&*task.action.name, "deploy.builtin.galera_gate");
    assert_eq!(task.action.arg("group").and_then(|node| node.scalar_text()), Some("db".into()));
    let rolling = playbook.plays[1].rolling.clone().unwrap();
    assert_eq!(rolling.gate.as_ref().map(|gate| gate.steps.len()), Some(2));
}

#[test]
fn all_errors_of_a_tree_come_at_once() {
    let tree = Tree::new(
        "=== site.yml
- hosts: all
  roles: [web]
  tasks:
    - copy: {dets: /a}
    - import_tasks: more.yml
=== more.yml
- frob:
=== roles/web/tasks/main.yml
- debug: {mgs: x}
=== roles/web/handlers/main.yml
- name: h
  servise: {name: x}
=== roles/web/vars/main.yml
a-b: 1
",
    );
    let (_, diags) = tree.load();
    for expected in ["`dets`", "`frob`", "`mgs`", "`servise`", "`a-b`"] {
        assert!(diags.contains(expected), "{expected} in\n{diags}");
    }
}

#[test]
fn errors_behind_a_condition_come_late() {
    let (steps, diags) = tasks(
        "    - frob: {x: 1}
      when: never
    - when: never
      block:
        - copy: {dets: /a}
",
    );
    assert_eq!(diags, "");
    let Step::Task(first) = &steps[0] else { panic!() };
    assert!(first.late_error.as_ref().unwrap().message.contains("unknown module `frob`"));
    let Step::Block(block) = &steps[1] else { panic!() };
    let Step::Task(inner) = &block.block[0] else { panic!() };
    assert!(inner.late_error.as_ref().unwrap().message.contains("no argument `dets`"));
}

#[test]
fn module_defaults_may_bring_what_is_required() {
    let (_, diags) = tasks("    - copy: {src: a}\n      module_defaults: {copy: {dest: /a}}\n");
    assert_eq!(diags, "");
}

const SITE: &str = "=== site.yml
- name: first
  hosts: web:db
  tags: p
  vars: {which: more}
  pre_tasks:
    - name: before
      debug:
      tags: [always]
  roles:
    - common
    - {role: web, tags: [w, x], port: 8080, flavour: sweet, when: a}
  tasks:
    - import_tasks: '{{ which }}.yml'
      tags: m
      when: c
    - block:
        - debug:
          tags: inner
      rescue:
        - name: rescued
          debug:
      tags: b
    - import_role: {name: web, tasks_from: extra}
  post_tasks:
    - name: after
      debug:
      tags: never
  handlers:
    - name: h
      debug:
      listen: topic
- import_playbook: sub/other.yml
  tags: o
  when: cond
  vars: {x: 2}
=== more.yml
- name: imported
  debug:
- import_tasks: deep/deeper.yml
=== deep/deeper.yml
- name: deeper
  debug:
- import_tasks: deepest.yml
=== deep/deepest.yml
- debug: msg=deepest
=== sub/other.yml
- hosts: localhost
  vars: {x: 1}
  roles: [local]
=== sub/roles/local/tasks/main.yml
- debug:
=== roles/common/tasks/main.yaml
- name: common things
  debug:
=== roles/common/defaults/main.yml
d: 1
=== roles/web/meta/main.yml
dependencies:
  - {role: base, level: 3}
allow_duplicates: true
=== roles/web/tasks/main.yml
- name: web things
  debug:
- import_tasks: sub.yml
=== roles/web/tasks/sub.yml
- name: in sub
  debug:
=== roles/web/tasks/extra.yml
- name: extra
  debug:
=== roles/web/handlers/main.yml
- name: restart web
  debug:
=== roles/web/vars/main/a.yml
v: 1
=== roles/web/vars/main/b.yml
v: 2
=== roles/web/meta/argument_specs.yml
argument_specs:
  main: {options: {port: {type: int}}}
=== roles/base/tasks/main.yml
- name: base things
  debug:
  tags: t
";

#[test]
fn a_whole_tree() {
    let playbook = Tree::new(SITE).good();
    let play = &playbook.plays[0];
    let names: Vec<&str> = play.all_roles.iter().map(|role| &*role.name).collect();
    assert_eq!(names, ["common", "base", "web", "base", "web"]);
    let web = &play.all_roles[2];
    assert_eq!(format!("{:?}", web.vars), r#"[("v", 2)]"#);
    assert_eq!(format!("{:?}", web.params), r#"[("flavour", "sweet")]"#);
    assert!(web.allow_duplicates && web.argument_spec.is_some() && web.dependency_names[0] == "base".into());
    assert_ne!(web.identity, play.all_roles[4].identity);
    assert_eq!(play.all_roles[1].parents[0].name, "web".into());
    assert_eq!(format!("{:?}", play.all_roles[1].params), r#"[("level", 3)]"#);
    // Those of a role that is imported stand in a block with what stands at the import.
    fn titles(steps: &[Step]) -> Vec<String> {
        let each = steps.iter().map(|step| match step {
            Step::Task(task) => vec![task.title()],
            Step::Block(block) => titles(&block.block),
        });
        each.flatten().collect()
    }
    assert_eq!(titles(&play.handlers), ["web : restart web", "h", "web : restart web"]);
    let other = &playbook.plays[1];
    assert_eq!(format!("{:?} {:?}", other.keywords.when, other.keywords.tags), r#"["cond"] ["o"]"#);
    assert_eq!(format!("{:?}", other.keywords.vars), r#"[("x", 1), ("x", 2)]"#);
    // The port of a role's entry is the keyword, as in Ansible.
    let Step::Block(entry) = &play.roles[1] else { panic!() };
    assert_eq!(entry.keywords.port.as_ref().unwrap().as_int(), Some(8080));
    assert_eq!(entry.keywords.when.len(), 1);
}

#[test]
fn listings() {
    let playbook = [Tree::new(SITE).good()];
    let options = ListOptions { tasks: true, tags: true, hosts: true, selection: TagSelection::default() };
    let text = list(&playbook, &options, &mut |_| vec!["h1".into(), "h2".into()]);
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("playbook:")).collect();
    insta::assert_snapshot!(text.join("\n").replace('\t', " <tab> "), @r#"
    play #1 (web:db): first <tab> TAGS: [p]
      pattern: ['web:db']
      hosts (2):
        h1
        h2
      tasks:
        before <tab> TAGS: [always, p]
        common : common things <tab> TAGS: [p]
        base : base things <tab> TAGS: [p, t, w, x]
        web : web things <tab> TAGS: [p, w, x]
        web : in sub <tab> TAGS: [p, w, x]
        imported <tab> TAGS: [m, p]
        deeper <tab> TAGS: [m, p]
        debug <tab> TAGS: [m, p]
        debug <tab> TAGS: [b, inner, p]
        base : base things <tab> TAGS: [p, t]
        web : extra <tab> TAGS: [p]
        TASK TAGS: [always, b, inner, m, p, t, w, x]

    play #2 (localhost): localhost <tab> TAGS: [o]
      pattern: ['localhost']
      hosts (2):
        h1
        h2
      tasks:
        local : debug <tab> TAGS: [o]
        TASK TAGS: [o]
    "#);
    let only = ListOptions { tasks: true, selection: TagSelection::new(&["b"], &[]), ..Default::default() };
    let text = list(&playbook, &only, &mut |_| Vec::new());
    assert!(text.contains("debug\tTAGS: [b, inner, p]") && !text.contains("common"), "{text}");
    assert!(text.contains("before"), "{text}");
}

#[test]
fn roles_at_run_time() {
    let tree = Tree::new(
        "=== roles/web/tasks/main.yml\n- import_role: {name: inner}\n- frob:\n=== roles/inner/tasks/main.yml\n- debug:\n=== roles/inner/handlers/main.yml\n- name: h\n  debug:\n",
    );
    let options = LoadOptions { modules: &Index, vault: &no_vault, roles_path: Vec::new(), template: &template };
    let context = TaskContext { playbook_dir: tree.0.path().to_owned(), ..TaskContext::default() };
    let request = |name: &str, tasks: Option<&str>| RoleRequest {
        name: name.into(),
        span: crate::source::Span::generated(),
        from: RoleFrom { tasks: tasks.map(str::to_owned), ..RoleFrom::default() },
        params: Vec::new(),
        parents: Vec::new(),
        allow_duplicates: Some(true),
        rolespec_validate: true,
        keywords: Arc::default(),
    };
    let mut diags = Diags::new();
    let loaded = load_role(&request("web", None), &context, &options, &mut diags).unwrap();
    assert!(diags.render(false).contains("unknown module `frob`"));
    assert_eq!((loaded.handlers.len(), loaded.all_roles.len()), (1, 2));
    let mut diags = Diags::new();
    assert!(load_role(&request("nope", None), &context, &options, &mut diags).is_none());
    load_role(&request("web", Some("other")), &context, &options, &mut diags);
    let text = diags.render(false);
    assert!(text.contains("no role `nope`") && text.contains("no file `other`"), "{text}");
    let collection = find_role("my.stuff.web", tree.0.path(), &[], None).unwrap();
    assert!(collection.ends_with("roles/web"));
}

#[test]
fn loops_of_imports_end() {
    let cases = [
        "=== site.yml\n- hosts: all\n  tasks:\n    - import_tasks: a.yml\n=== a.yml\n- import_tasks: b.yml\n=== b.yml\n- import_tasks: a.yml\n",
        "=== site.yml\n- hosts: all\n  roles: [a]\n=== roles/a/meta/main.yml\ndependencies: [b]\n=== roles/b/meta/main.yml\ndependencies: [a]\n",
        "=== site.yml\n- hosts: all\n  roles: [a]\n=== roles/a/tasks/main.yml\n- import_role: {name: a}\n",
        "=== site.yml\n- import_playbook: x.yml\n=== x.yml\n- import_playbook: site.yml\n",
    ];
    for case in cases {
        let (_, diags) = Tree::new(case).load();
        assert!(diags.contains("itself"), "{diags}");
    }
    // A role may import itself by another door.
    let fine = "=== site.yml\n- hosts: all\n  roles: [a]\n=== roles/a/tasks/main.yml\n- import_role: {name: a, tasks_from: b}\n=== roles/a/tasks/b.yml\n- debug:\n";
    Tree::new(fine).good();
}

#[test]
fn the_registry_resolves_its_modules() {
    let index = RegisteredModules;
    let info = index.resolve("ansible.builtin.command").unwrap();
    assert!(info.free_form && info.args.is_some());
    assert!(index.resolve("set_fact").unwrap().args.is_none());
    assert!(index.resolve("frobnicate").is_none() && index.names().contains(&"shell"));
}

/// Every file of tasks: `[task…]` in random nesting of known and unknown words.
mod fuzz {
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "hosts",
            "tasks",
            "roles",
            "block",
            "rescue",
            "name",
            "when",
            "copy",
            "command",
            "dest",
            "tags",
            "vars",
            "loop",
            "with_items",
            "register",
            "action",
            "local_action",
            "args",
            "import_tasks",
            "import_role",
            "notify",
            "loop_control",
            "module",
            "site.yml",
            "{{ x }}",
            "a=b",
            "'",
            "",
            "handlers",
            "import_playbook",
            "meta",
        ])
        .prop_map(str::to_owned)
    }

    fn tree() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            word().prop_map(serde_json::Value::String),
            any::<i8>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::Bool),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                prop::collection::vec((word(), inner), 0..5)
                    .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn no_playbook_panics(root in tree(), play in any::<bool>()) {
            let text = if play { format!("[{{\"hosts\": \"all\", \"tasks\": [{root}]}}]") } else { format!("[{root}]") };
            super::Tree::new(&format!("=== site.yml\n{text}")).load();
        }
    }
}
