//! A sample of `make accuracy`: a dozen module cases are checked, run, and compared, so that neither the harness nor what it
//! measures rots. The whole is docs/accuracy.md.

use super::lab::{BOXES, lab, script};
use std::process::Command;

pub const SCENARIOS: &[(&str, fn())] = &[("accuracy: what a check of a dozen cases says is what a run does", sample)];

/// Cases that cover most domains of the machine and take seconds.
const CASES: &str = "cases: (control-flow|copy-content|file-links|file-recurse|group-user|user-password|lineinfile|\
                     blockinfile|handlers|hostname|sysctl|stat-find|systemd-unit|template)$";

fn sample() {
    let judged = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/accuracy/test_compare.py")).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    let lab = lab();
    let ran = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/accuracy/accuracy.py"))
        .args(["--tool", "deploy", "--strict", "--only", CASES])
        .env("DEPLOY_LAB_NAME", script("inventory").get_envs().find_map(lab_name).unwrap())
        .env("DEPLOY_ACCURACY_KEEP", "1")
        .env("DEPLOY_ACCURACY_BINARY", env!("CARGO_BIN_EXE_deploy"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("deploy: cases (14)"), "{said}");
    BOXES.iter().for_each(|host| lab.reset(host));
}

fn lab_name<'a>((name, value): (&'a std::ffi::OsStr, Option<&'a std::ffi::OsStr>)) -> Option<&'a std::ffi::OsStr> {
    value.filter(|_| name == "DEPLOY_LAB_NAME")
}
