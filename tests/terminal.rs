//! A person at a terminal: questions, and Ctrl-C. The terminal is util-linux's `script`, which every Debian has.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// `deploy` on a terminal of its own.
struct Session {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
}

const INVENTORY: &str = "all: {hosts: {here: {ansible_connection: local}}}\n";

fn folder(play: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hosts.yml"), INVENTORY).unwrap();
    std::fs::write(folder.path().join("play.yml"), play).unwrap();
    folder
}

impl Session {
    fn start(folder: &Path, arguments: &str) -> Session {
        let deploy = env!("CARGO_BIN_EXE_deploy");
        let here = folder.display();
        // The terminal's own state is told afterwards: it must be as it was. Ctrl-C reaches the shell too, and of the shells
        // that `sh` may be only bash waits for its child: with a trap that does nothing all of them do.
        let line = format!(
            "trap : INT; {deploy} -i hosts.yml play.yml -e here={here} -e deploy_agent_dir={here}/agent {arguments}; echo \"code=$?\"; stty -a"
        );
        Session::shell(folder, &line)
    }

    fn shell(folder: &Path, line: &str) -> Session {
        let mut child = Command::new("script")
            .args(["-qec", line, "/dev/null"])
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .env("DEPLOY_RUNS_DIR", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let screen: Arc<Mutex<String>> = Arc::default();
        let (mut output, seen) = (child.stdout.take().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut chunk) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
        });
        Session { keys: child.stdin.take().unwrap(), child, screen }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until something is on the screen.
    fn sees(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.screen().contains(text) {
            assert!(Instant::now() < end, "`{text}` was never seen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn types(&mut self, keys: &str) {
        // Who answers before the question is drawn is not understood by the terminal's modes.
        std::thread::sleep(Duration::from_millis(100));
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Everything that was seen, and the exit code.
    fn end(mut self) -> (i32, String) {
        self.sees("isig");
        drop(self.keys);
        let _ = self.child.wait();
        let screen = self.screen.lock().unwrap().clone();
        let code = screen.split("code=").last().unwrap().lines().next().unwrap().trim().parse().unwrap();
        assert!(!screen.contains("-echo ") && !screen.contains("-icanon") && !screen.contains("-isig"), "{screen}");
        (code, screen)
    }
}

const PROMPTS: &str = r#"
- hosts: here
  gather_facts: false
  vars_prompt:
    - {name: shown, prompt: "Which one", private: false, default: first}
    - {name: secret, prompt: "The word", confirm: true}
  tasks:
    - copy: {content: "{{ shown }} {{ secret }}", dest: "{{ here }}/answers"}
    - debug: msg=said-{{ secret }}
    - name: last
      copy: {content: x, dest: "{{ here }}/last"}
"#;

#[test]
fn questions_of_a_play_are_asked_and_secrets_are_not_shown() {
    let folder = folder(PROMPTS);
    let mut session = Session::start(folder.path(), "");
    session.sees("Which one [first]: ");
    session.types("secod\u{7f}nd\r");
    session.sees("The word: ");
    session.types("hush-hush\r");
    session.sees("confirm The word: ");
    session.types("hash\r");
    session.sees("they differ; again");
    session.types("hush-hush\r");
    session.sees("confirm The word: ");
    std::thread::sleep(Duration::from_millis(300));
    session.types("hush-hush\r");
    let (code, screen) = session.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(std::fs::read_to_string(folder.path().join("answers")).unwrap(), "second hush-hush");
    assert!(!screen.contains("hush-hush"), "{screen}");
}

#[test]
fn ctrl_c_at_a_question_ends_the_run_before_anything_is_done() {
    let first = folder(PROMPTS);
    let mut session = Session::start(first.path(), "");
    session.sees("Which one [first]: ");
    session.types("x\r");
    session.sees("The word: ");
    session.types("half\u{3}");
    let (code, screen) = session.end();
    assert_eq!(code, 99, "{screen}");
    assert!(!first.path().join("answers").exists());

    for (option, question) in
        [("-K", "BECOME password: "), ("-k", "SSH password: "), ("--ask-vault-pass", "Vault password: ")]
    {
        let folder = folder(PROMPTS);
        let mut session = Session::start(folder.path(), option);
        session.sees(question);
        session.types("\u{3}");
        let (code, screen) = session.end();
        assert_eq!(code, 99, "{option}: {screen}");
        assert!(screen.contains("nothing was begun"), "{screen}");
    }
}

#[test]
fn passwords_are_asked_for_and_masked() {
    let folder = folder(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - debug: msg=the-{{ 'key' }}-passw0rd-and-vaultw0rd\n",
    );
    let mut session = Session::start(folder.path(), "-k -K --ask-vault-pass");
    session.sees("Vault password: ");
    session.types("vaultw0rd\r");
    session.sees("SSH password: ");
    session.types("the-key\r");
    session.sees("BECOME password");
    session.types("passw0rd\r");
    let (code, screen) = session.end();
    assert_eq!(code, 0, "{screen}");
    for secret in ["vaultw0rd", "the-key", "passw0rd"] {
        assert!(!screen.contains(secret), "{secret}: {screen}");
    }
}

const STEPS: &str = r#"
- hosts: here
  gather_facts: false
  tasks:
    - {name: one, copy: {content: x, dest: "{{ here }}/one"}}
    - {name: two, copy: {content: x, dest: "{{ here }}/two"}}
    - {name: three, copy: {content: x, dest: "{{ here }}/three"}}
    - {name: four, copy: {content: x, dest: "{{ here }}/four"}}
"#;

#[test]
fn steps_are_taken_as_they_are_answered() {
    let first = folder(STEPS);
    let mut session = Session::start(first.path(), "--step");
    session.sees("Perform task: one (N)o/(y)es/(c)ontinue: ");
    session.types("y\r");
    session.sees("Perform task: two");
    session.types("\r");
    session.sees("Perform task: three");
    session.types("c\r");
    let (code, screen) = session.end();
    assert_eq!(code, 0, "{screen}");
    let there =
        |folder: &tempfile::TempDir| ["one", "two", "three", "four"].map(|name| folder.path().join(name).exists());
    assert_eq!(there(&first), [true, false, true, true], "{screen}");

    let second = folder(STEPS);
    let mut session = Session::start(second.path(), "--step");
    session.sees("Perform task: one");
    session.types("y\r");
    session.sees("Perform task: two");
    session.types("\u{3}");
    let (code, screen) = session.end();
    assert_eq!((code, there(&second)), (99, [true, false, false, false]), "{screen}");
}

#[test]
fn a_preview_that_fills_more_than_the_screen_goes_through_the_pager() {
    let lines: String = (0..40).map(|n| format!("line {n}\\n")).collect();
    let folder = folder(&format!(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {{content: \"{lines}\", dest: \"{{{{ here }}}}/x\"}}\n"
    ));
    let (deploy, here) = (env!("CARGO_BIN_EXE_deploy"), folder.path().display());
    let shown = |rows: u32, before: &str, arguments: &str| {
        let line = format!(
            "stty rows {rows} cols 80; {before} {deploy} -i hosts.yml play.yml -e here={here} -e deploy_agent_dir={here}/agent \
             {arguments}; echo \"code=$?\"; stty -a"
        );
        let (code, screen) = Session::shell(folder.path(), &line).end();
        assert!(code == 0 && screen.contains("+line 39") && screen.contains("PLAY RECAP"), "{screen}");
        screen.contains("paged: ")
    };
    let pager = "DEPLOY_PAGER='sed \"s/^/paged: /\"'";
    assert!(shown(24, pager, "--check --diff"), "it is longer than the screen");
    assert!(!shown(200, pager, "--check --diff"), "it fits");
    assert!(!shown(24, pager, "--check --diff --no-pager"));
    assert!(!shown(24, pager, "--check --diff --diff-style unified | cat"), "never in pipes");
    assert!(
        !shown(24, "DEPLOY_PAGER=no-such-pager", "--check --diff"),
        "what there is no pager for is shown all the same"
    );
    assert!(!shown(24, pager, "--diff"), "a run is shown as it goes on");
}

#[test]
fn drift_and_what_moved_since_a_plan_go_through_the_pager_too() {
    let lines: String = (0..40).map(|n| format!("line {n}\\n")).collect();
    let folder = folder(&format!(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {{content: \"{lines}\", dest: \"{{{{ here }}}}/x\"}}\n"
    ));
    let (deploy, here) = (env!("CARGO_BIN_EXE_deploy"), folder.path().display());
    let run = |words: &str| {
        let line = format!(
            "stty rows 24 cols 80; export DEPLOY_PAGER='sed s/^/paged:/' DEPLOY_PLAN_KEY={here}/key; {deploy} {words}; \
             echo \"code=$?\"; stty -a"
        );
        let (code, screen) = Session::shell(folder.path(), &line).end();
        (code, screen.contains("+line 39"), screen.contains("paged:"))
    };
    let common = format!("-i hosts.yml play.yml -e here={here} -e deploy_agent_dir={here}/agent --diff");
    assert_eq!(run(&format!("drift {common}")), (10, true, true));
    assert_eq!(run(&format!("drift {common} --no-pager")), (10, true, false));
    assert_eq!(run(&format!("drift {common} | cat")), (0, true, false), "never in pipes");
    assert_eq!(run(&format!("{common} --check --out p.plan --no-pager")), (0, true, false));
    std::fs::write(folder.path().join("x"), "other\n".repeat(40)).unwrap();
    assert_eq!(run("apply p.plan"), (12, true, true));
    assert_eq!(run("apply p.plan --no-pager"), (12, true, false));
}

#[test]
fn what_is_redirected_gets_no_escapes() {
    let lines: String = (0..40).map(|n| format!("line {n}\\n")).collect();
    let folder = folder(&format!(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {{content: \"{lines}\", dest: \"{{{{ here }}}}/x\"}}\n"
    ));
    let (deploy, here) = (env!("CARGO_BIN_EXE_deploy"), folder.path().display());
    let line = format!(
        "stty rows 24 cols 80; export DEPLOY_PAGER='sed s/^/paged:/' DEPLOY_PLAN_KEY={here}/key; \
         {deploy} -i hosts.yml play.yml -e here={here} -e deploy_agent_dir={here}/agent --check --diff --out p.plan 2>check.err; \
         {deploy} show p.plan 2>show.err; echo \"code=$?\"; stty -a"
    );
    let (code, screen) = Session::shell(folder.path(), &line).end();
    assert!(code == 0 && screen.matches("paged:    +line 39").count() == 2, "{screen}");
    for (name, said) in [("check.err", "plan: p.plan"), ("show.err", "plan of ")] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains(said) && !text.contains('\x1b') && !text.contains('\r'), "{name}: {text:?}");
    }
}

#[test]
fn ctrl_c_in_the_pager_is_the_pagers_however_often() {
    let lines: String = (0..40).map(|n| format!("line {n}\\n")).collect();
    let folder = folder(&format!(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {{content: \"{lines}\", dest: \"{{{{ here }}}}/x\"}}\n"
    ));
    // As less does, this one takes Ctrl-C as a key; the shell that starts it does not stand in its place.
    let pager = "trap 'echo taken' INT; cat; for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.2; done; echo pager-done\n";
    std::fs::write(folder.path().join("pager.sh"), pager).unwrap();
    let (deploy, here) = (env!("CARGO_BIN_EXE_deploy"), folder.path().display());
    let line = format!(
        "trap : INT; stty rows 24 cols 80; DEPLOY_PAGER='sh pager.sh; true' {deploy} -i hosts.yml play.yml -e here={here} \
         -e deploy_agent_dir={here}/agent --check --diff; echo \"code=$?\"; stty -a"
    );
    let mut session = Session::shell(folder.path(), &line);
    session.sees("PLAY RECAP");
    session.types("\u{3}");
    session.sees("taken");
    session.types("\u{3}");
    let (code, screen) = session.end();
    assert_eq!(code, 0, "{screen}");
    let at = |text: &str| screen.find(text).unwrap_or_else(|| panic!("no `{text}`: {screen}"));
    assert!(at("pager-done") < at("code="), "deploy left before its pager: {screen}");
    assert_eq!(screen.matches("taken").count(), 2, "{screen}");
}

#[test]
fn a_second_ctrl_c_before_the_pager_leaves_with_what_was_seen() {
    let folder = folder(
        "- hosts: here\n  gather_facts: false\n  tasks:\n    - copy: {content: \"a line\\n\", dest: \"{{ here }}/x\"}\n    \
         - {name: slow, check_mode: false, shell: \"touch {{ here }}/begun; sleep 4; touch {{ here }}/ended\"}\n",
    );
    let (deploy, here) = (env!("CARGO_BIN_EXE_deploy"), folder.path().display());
    let line = format!(
        "trap : INT; stty rows 24 cols 80; DEPLOY_PAGER='sed s/^/paged:/' {deploy} -i hosts.yml play.yml -e here={here} \
         -e deploy_agent_dir={here}/agent --check --diff; echo \"code=$?\"; stty -a"
    );
    let mut session = Session::shell(folder.path(), &line);
    wait_for(&folder.path().join("begun"));
    session.types("\u{3}");
    std::thread::sleep(Duration::from_millis(500));
    session.types("\u{3}");
    let (code, screen) = session.end();
    assert_eq!(code, 130, "{screen}");
    assert!(screen.contains("+a line") && !screen.contains("paged:"), "{screen}");
    wait_for(&folder.path().join("ended"));
}

const SLOW: &str = r#"
- hosts: here
  gather_facts: false
  tasks:
    - {name: slow, shell: "touch {{ here }}/begun; sleep 3; touch {{ here }}/ended"}
    - {name: never, command: "touch {{ here }}/never"}
- hosts: here
  tasks: [{command: "touch {{ here }}/never"}]
"#;

fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < end, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_finishes_what_is_in_hand_and_says_what_was_not_run() {
    let folder = folder(SLOW);
    let mut session = Session::start(folder.path(), "");
    wait_for(&folder.path().join("begun"));
    session.types("\u{3}");
    let (code, screen) = session.end();
    assert_eq!(code, 99, "{screen}");
    assert!(folder.path().join("ended").exists() && !folder.path().join("never").exists(), "{screen}");
    assert!(screen.contains("changed: [here]") && screen.contains("ok=1"), "{screen}");
    assert!(screen.contains("tasks that were not run: from `never` on (here)"), "{screen}");
    assert!(screen.contains("the last play was not begun"), "{screen}");
}

#[test]
fn a_second_ctrl_c_leaves_at_once_and_the_host_finishes() {
    let folder = folder(SLOW);
    let mut session = Session::start(folder.path(), "");
    wait_for(&folder.path().join("begun"));
    session.types("\u{3}");
    session.sees("interrupted");
    let began = Instant::now();
    session.types("\u{3}");
    let (code, screen) = session.end();
    assert!(began.elapsed() < Duration::from_secs(2), "{screen}");
    assert_eq!(code, 130, "{screen}");
    wait_for(&folder.path().join("ended"));
}
