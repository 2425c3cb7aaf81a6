//! Plans of the real site: what a check of bare hosts showed is what is done; a host that moved in between is refused.

use super::super::cluster::{self, NODES, tail};
use super::super::lab::{Lab, Ran, lab};
use super::note;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub const SCENARIOS: &[(&str, fn())] =
    &[("plans: the site is checked, signed, applied; a host that moved is refused", plans)];

/// What is drifted and put back here.
const FILE: &str = "/etc/mysql/mariadb.conf.d/70-galera.cnf";

struct Planner<'a> {
    lab: &'a Lab,
    plan: PathBuf,
    key: PathBuf,
}

impl Planner<'_> {
    fn check(&self, more: &[&str]) -> Ran {
        let plan = self.plan.display().to_string();
        let words = [&["--check", "--diff", "--out", &plan], more].concat();
        Ran::of(cluster::site_command(self.lab, &words).env("DEPLOY_PLAN_KEY", &self.key).output().unwrap())
    }

    fn on_plan(&self, name: &str, more: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.arg(name).arg(&self.plan).args(more).env("DEPLOY_PLAN_KEY", &self.key).env("NO_COLOR", "1");
        command.env("DEPLOY_RUNS_DIR", self.lab.file("site-runs/.keep", "").parent().unwrap());
        Ran::of(command.output().unwrap())
    }
}

fn modes(lab: &Lab) -> [String; 3] {
    NODES.map(|host| lab.ssh(host, &format!("stat -c %a {FILE}")))
}

fn plans() {
    let lab = lab();
    NODES.iter().for_each(|host| lab.reset(host));
    let planner = Planner {
        lab: &lab,
        plan: lab.file("site.plan", ""),
        key: lab.file("plan-key/.keep", "").with_file_name("key"),
    };
    let signer = lab.file("signer/.keep", "").with_file_name("alice");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&signer).status().unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(signer.with_extension("pub")).unwrap();
    let signers = lab.file("signer/allowed", &format!("alice {public}")).display().to_string();

    // From bare hosts: the plan of a whole cluster.
    let check = planner.check(&["--sign", signer.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    let text = std::fs::read_to_string(&planner.plan).unwrap();
    for secret in [cluster::PASSWORD, cluster::PASSPHRASE, &serde_json::to_string(cluster::PASSWORD).unwrap()] {
        assert!(!text.contains(secret), "a secret is in the plan");
    }
    let shown = planner.on_plan("show", &[]);
    // Progress is of the moment; fingerprints of secrets are keyed in a plan.
    let lines = |text: &str| {
        let kept = |line: &&str| !line.starts_with("  … ") && !line.contains("fingerprint");
        text.lines().filter(kept).map(str::to_string).collect::<Vec<_>>()
    };
    super::super::language::pretty_assertions(&lines(&check.out), &lines(&shown.out));
    let applied = planner.on_plan("apply", &["--allowed-signers", &signers]);
    assert_eq!(applied.code, 0, "{}", tail(&applied.all()));
    assert!(applied.err.contains("signed by alice"), "{}", applied.err);
    let undone = applied.err.lines().filter(|line| line.contains("was not changed, as the plan says")).count();
    cluster::assert_whole(&lab, Duration::from_secs(5));
    note(format!("a first deployment by its plan of {} kB; planned and not done: {undone}", text.len() / 1024));
    let before = cluster::processes(&lab);
    let again = planner.on_plan("apply", &["--allowed-signers", &signers]);
    assert!(again.code == 12 && again.err.contains("nothing was done"), "{}", tail(&again.all()));

    // Two hosts have drifted, a third drifts after the check.
    for host in ["galera1", "galera2"] {
        lab.ssh(host, &format!("chmod 600 {FILE}"));
    }
    let check = planner.check(&[]);
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    let refused = planner.on_plan("apply", &["--allowed-signers", &signers]);
    assert!(refused.code == 12 && refused.err.contains("does not hold"), "an old signature: {}", refused.err);
    // A database that was changed since is noticed, though no task would change it back.
    let alter = |to: &str| lab.ssh("galera1", &format!("mariadb --skip-ssl -e 'ALTER DATABASE passbolt {to}'"));
    alter("CHARACTER SET latin1");
    let refused = planner.on_plan("apply", &[]);
    assert!(
        refused.code == 12 && refused.err.contains("what it looks at is not what it was"),
        "{}",
        tail(&refused.all())
    );
    alter("CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
    lab.ssh("galera3", &format!("chmod 600 {FILE}"));
    let refused = planner.on_plan("apply", &[]);
    assert_eq!(refused.code, 12, "{}", tail(&refused.all()));
    assert!(
        refused.err.contains("galera3 is not as the plan saw it") && refused.err.contains("mode"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains("galera1 is not"), "{}", refused.err);
    assert_eq!(modes(&lab), ["600"; 3], "nothing was done anywhere");
    let skipped = planner.on_plan("apply", &["--moved", "skip"]);
    assert_eq!(skipped.code, 12, "{}", tail(&skipped.all()));
    assert_eq!(modes(&lab), ["644", "644", "600"], "{}", tail(&skipped.all()));
    assert_eq!(cluster::processes(&lab), before, "nobody was restarted");
    note("two drifted hosts put right by a plan; the third, which moved after it, was left alone");
}
