//! Plays on real hosts: what is done, in which order, and what is seen of it.

use super::lab::{BOXES, lab};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("a play changes a host once", changes_once),
    ("blocks, rescues, handlers", blocks),
    ("hosts read each other's results", cross_host),
    ("batches stop at a failure", batches),
    ("run_once, delegate_to, loops, includes", once_and_includes),
    ("a delegated task becomes root as the other host wants it", delegated_password),
    ("check equals apply", check_equals_apply),
];

const FILES: &str = r#"
- hosts: box*
  gather_facts: false
  become: true
  tasks:
    - name: directory
      file: path=/srv/app state=directory mode=0750 owner=deploy
    - name: file
      copy:
        content: "host {{ inventory_hostname }}\n"
        dest: /srv/app/conf
        mode: 0640
      notify: tell
    - name: line
      lineinfile: path=/srv/app/conf line="second = 2"
    - name: decimal number
      copy: {content: x, dest: /srv/app/mode, mode: 420}
    - name: symbolic
      file: {path: /srv/app/mode, mode: "u=rw,g=r,o="}
  handlers:
    - name: tell
      copy: {content: told, dest: /srv/app/told}
"#;

fn changes_once() {
    let lab = lab();
    BOXES.iter().for_each(|host| lab.reset(host));
    let ran = lab.play(FILES, &[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    for host in BOXES {
        let seen =
            lab.ssh(host, "stat -c '%a %U' /srv/app /srv/app/conf /srv/app/mode; cat /srv/app/conf /srv/app/told");
        assert_eq!(seen, format!("750 deploy\n640 root\n640 root\nhost {host}\nsecond = 2\ntold"));
        assert_eq!(ran.count(host, "changed"), 6, "{}", ran.out);
    }
    let inode = lab.ssh("box1", "stat -c '%i %Y' /srv/app/mode /srv/app/told");
    // The file is written back by `content` each time the line is missing, so only steady tasks are run again.
    let steady = FILES.replace(
        "content: \"host {{ inventory_hostname }}\\n\"",
        "content: \"host {{ inventory_hostname }}\\nsecond = 2\\n\"",
    );
    let steady = steady.replace("mode: 420}", "mode: '0640'}");
    let again = lab.play(&steady, &["--detailed-exitcode"]);
    assert_eq!(again.code, 0, "{}", again.all());
    assert_eq!(again.count("box1", "changed"), 0);
    assert_eq!(lab.ssh("box1", "stat -c '%i %Y' /srv/app/mode /srv/app/told"), inode);
}

fn blocks() {
    let lab = lab();
    let ran = lab.play(
        r#"
- hosts: box1,box2
  gather_facts: false
  become: true
  tasks:
    - block:
        - name: breaks on one
          command: test {{ inventory_hostname }} = box2
          changed_when: false
        - copy: {content: fine, dest: /srv/fine}
      rescue:
        - copy: {content: "{{ ansible_failed_result.rc }} {{ ansible_failed_task.name }}", dest: /srv/rescued}
      always:
        - copy: {content: always, dest: /srv/always}
          notify: first
    - meta: flush_handlers
    - name: handlers were flushed
      command: test -f /srv/second
      changed_when: false
  handlers:
    - name: first
      copy: {content: a, dest: /srv/first}
      notify: next
    - name: second
      listen: next
      copy: {content: b, dest: /srv/second}
"#,
        &[],
    );
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(
        lab.ssh("box1", "cat /srv/rescued; ls /srv/fine 2>&1 | wc -l; cat /srv/always"),
        "1 breaks on one1\nalways"
    );
    assert_eq!(lab.ssh("box2", "cat /srv/fine; ls /srv/rescued 2>/dev/null; cat /srv/always"), "finealways");
    assert_eq!((ran.count("box1", "rescued"), ran.count("box1", "failed")), (1, 0));
}

fn cross_host() {
    let lab = lab();
    let ran = lab.play(
        r#"
- hosts: box*
  gather_facts: false
  tasks:
    - command: sleep {{ 1 if inventory_hostname == 'box3' else 0 }}
      changed_when: false
    - set_fact: mine="of {{ inventory_hostname }}"
    - command: echo {{ inventory_hostname }} answers
      register: answer
      changed_when: false
    - assert:
        that:
          - hostvars['box3'].mine == 'of box3'
          - hostvars['box3'].answer.stdout == 'box3 answers'
          - ansible_play_hosts | length == 3
    - set_fact: mine="later"
"#,
        &[],
    );
    assert_eq!(ran.code, 0, "{}", ran.all());
}

fn batches() {
    let lab = lab();
    for host in BOXES {
        lab.ssh(host, "rm -rf /srv/batch; mkdir -p /srv/batch");
    }
    let play = |last: &str| {
        format!(
            r#"
- hosts: box*
  gather_facts: false
  become: true
  serial: {last}
  tasks:
    - copy: {{content: here, dest: /srv/batch/begun}}
    - name: the last task of the batch
      command: test {{{{ inventory_hostname }}}} != box1
      changed_when: false
"#
        )
    };
    let ran = lab.play(&play("1"), &[]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert_eq!(lab.ssh("box2", "ls /srv/batch"), "", "a failed last task must stop the next batch\n{}", ran.out);
    // Ansible goes on to the next batch as long as one host of a batch is left.
    let ran = lab.play(&play("2"), &[]);
    assert_eq!((ran.code, lab.ssh("box3", "ls /srv/batch")), (2, "begun".into()), "{}", ran.all());
}

fn once_and_includes() {
    let lab = lab();
    for host in BOXES {
        lab.ssh(host, "rm -rf /srv/once; mkdir -p /srv/once");
    }
    lab.file("more.yml", "- copy: {content: '{{ word }} {{ extra }}', dest: '/srv/once/{{ word }}'}\n");
    lab.file("roles/small/defaults/main.yml", "word: default\n");
    lab.file("roles/small/tasks/main.yml", "- template: {src: t.j2, dest: /srv/once/role}\n");
    lab.file("roles/small/templates/t.j2", "{% set l = [] %}{% for h in groups['all'] if h is match('box') %}{% set _ = l.append(h) %}{% endfor %}{{ l | join(',') }} {{ word }}\n");
    let ran = lab.play(
        r#"
- hosts: box*
  gather_facts: false
  become: true
  tasks:
    - command: mktemp -u
      run_once: true
      register: name
      changed_when: false
    - copy: {content: "{{ name.stdout }}", dest: /srv/once/name}
    - copy: {content: "{{ inventory_hostname }}", dest: "/srv/once/from-{{ inventory_hostname }}"}
      delegate_to: box1
    - include_tasks: more.yml
      loop: [one, two]
      loop_control: {loop_var: word}
      vars: {extra: "{{ word | upper }}"}
    - include_role: {name: small}
      vars: {word: given}
"#,
        &[],
    );
    assert_eq!(ran.code, 0, "{}", ran.all());
    let names: Vec<String> = BOXES.iter().map(|host| lab.ssh(host, "cat /srv/once/name")).collect();
    assert!(!names[0].is_empty() && names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(lab.ssh("box1", "ls /srv/once | grep from"), "from-box1\nfrom-box2\nfrom-box3");
    assert_eq!(lab.ssh("box2", "cat /srv/once/one /srv/once/two /srv/once/role"), "one ONEtwo TWObox1,box2,box3 given");
}

/// sudo asks a password on galera3 alone, and only that host's variables have it.
fn delegated_password() {
    let lab = lab();
    assert_ne!(lab.ssh("galera3", "runuser -u deploy -- sudo -n true && echo asks nothing"), "asks nothing");
    let ran = lab.play(
        "- hosts: box1\n  gather_facts: false\n  become: true\n  tasks:\n    - command: id -un\n      delegate_to: \"{{ item }}\"\n      \
         loop: [galera3, box2]\n      register: who\n      changed_when: false\n    - assert: {that: \"who.results | \
         map(attribute='stdout') | list == ['root', 'root']\"}\n",
        &[],
    );
    assert_eq!(ran.code, 0, "{}", ran.all());
}

fn check_equals_apply() {
    let lab = lab();
    lab.reset("box1");
    let play = r#"
- hosts: box1
  become: true
  tasks:
    - name: group
      group: name=app
    - name: user
      user: name=app group=app home=/srv/home shell=/bin/sh
    - name: directory
      file: path=/srv/home/etc state=directory owner=app group=app mode=0750
    - name: file
      copy: {content: "a = 1\n", dest: /srv/home/etc/conf, owner: app, mode: "0600"}
    - name: line
      lineinfile: path=/srv/home/etc/conf regexp=^a line="a = 2"
    - name: look
      stat: path=/srv/home/etc/conf
      register: conf
    - name: only if the file is there
      copy: {content: "{{ conf.stat.size }} {{ conf.stat.pw_name }}", dest: /srv/home/size}
      when: conf.stat.exists
    - name: package
      apt: name=tree
    - name: link
      file: {src: /srv/home/etc/conf, dest: /srv/home/link, state: link}
      notify: told
    - name: gone
      file: path=/etc/motd state=absent
    - name: block
      blockinfile: {path: /srv/home/etc/conf, block: "b = 3"}
    - name: hosts
      replace: {path: /srv/home/etc/conf, regexp: "b = (.)", replace: 'b = \1\1'}
  handlers:
    - name: told
      debug: msg=told
"#;
    let tree = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path '/home/deploy/.cache' -o -path /var/cache -o -path '*/.cache/deploy' -o -path /var/lib/deploy -o -path /var/lib/deploy-agent -o -path /home/deploy/.cache -o -path /var/lib/systemd -o -path /var/lib/sudo \\) -prune -o -type f -printf '%p %m %u %s %T@\\n' | sort | sha256sum";
    let before = lab.ssh("box1", tree);
    let check = lab.play(play, &["--check", "--diff", "--format", "json"]);
    assert_eq!(check.code, 0, "{}", check.all());
    assert_eq!(lab.ssh("box1", tree), before, "a check changed the host");
    let apply = lab.play(play, &["--diff", "--format", "json"]);
    assert_eq!(apply.code, 0, "{}", apply.all());
    pretty_assertions(&check.results(), &apply.results());
    assert_eq!(
        lab.ssh("box1", "cat /srv/home/size; cat /srv/home/etc/conf; command -v tree"),
        "6 app".to_string()
            + "a = 2\n# BEGIN ANSIBLE MANAGED BLOCK\nb = 33\n# END ANSIBLE MANAGED BLOCK\n/usr/bin/tree"
    );
    let again = lab.play(play, &["--format", "json"]);
    let changed: Vec<_> =
        again.results().into_iter().filter(|(_, _, status, _)| status == "changed").map(|r| r.1).collect();
    assert_eq!(changed, ["file", "line", "block", "hosts"], "{}", again.all());
}

/// Compares task by task, so that a difference is seen at once.
pub fn pretty_assertions<T: PartialEq + std::fmt::Debug>(check: &[T], apply: &[T]) {
    let differences: Vec<String> = (0..check.len().max(apply.len()))
        .filter(|&i| check.get(i) != apply.get(i))
        .map(|i| format!("check {:?}\napply {:?}", check.get(i), apply.get(i)))
        .collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
