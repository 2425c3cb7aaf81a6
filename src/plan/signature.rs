//! Signatures over a plan's file, made and judged by `ssh-keygen`: it knows agents, hardware keys and certificates, and
//! anyone can verify them without us: `ssh-keygen -Y verify -n deploy-plan …`.

use super::PlanError;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Keeps a signature under a plan from being one under anything else.
const NAMESPACE: &str = "deploy-plan";

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who signed, as the file of allowed signers calls them.
    pub by: String,
}

/// Where the signature of a plan's file is: beside it, with `.sig` behind its name.
pub fn signature_path(plan: &Path) -> PathBuf {
    let mut name = plan.as_os_str().to_os_string();
    name.push(".sig");
    PathBuf::from(name)
}

/// Signs a plan's file with a key, or with the key of the agent whose public half is named. A passphrase is asked for on the
/// terminal.
pub fn sign(plan: &Path, key: &Path) -> Result<(), PlanError> {
    // ssh-keygen asks before it replaces a file.
    let signature = signature_path(plan);
    match std::fs::remove_file(&signature) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(PlanError::file(signature)(error)),
        _ => {}
    }
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).arg(plan).stdout(Stdio::null());
    let output = run(&mut command, Stdio::inherit())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(PlanError::Signature(format!(
            "{} was not signed with {}: {}",
            plan.display(),
            key.display(),
            words(&output)
        ))),
    }
}

/// Judges the signature of a plan's file.
///
/// # Errors
/// There is none, it does not hold, or whoever made it is not allowed to.
pub fn verify(plan: &Path, allowed: &Path) -> Result<Signed, PlanError> {
    let signature = signature_path(plan);
    let refused = |why: String| PlanError::Signature(format!("{}: {why}", signature.display()));
    if !signature.exists() {
        return Err(refused(format!("there is no signature, and {} asks for one", allowed.display())));
    }
    let file = |path: &Path| std::fs::File::open(path).map_err(PlanError::file(path));
    file(allowed)?;
    let mut find = Command::new("ssh-keygen");
    find.args(["-Y", "find-principals", "-n", NAMESPACE, "-s"]).arg(&signature).arg("-f").arg(allowed);
    let found = run(&mut find, Stdio::from(file(plan)?))?;
    let principals = String::from_utf8_lossy(&found.stdout).into_owned();
    let Some(by) = principals.lines().next().filter(|_| found.status.success()).map(str::to_string) else {
        return Err(refused(format!("whoever signed is not among those of {}", allowed.display())));
    };
    let mut check = Command::new("ssh-keygen");
    check.args(["-Y", "verify", "-n", NAMESPACE, "-I", &by, "-s"]).arg(&signature).arg("-f").arg(allowed);
    let output = run(&mut check, Stdio::from(file(plan)?))?;
    match output.status.success() {
        true => Ok(Signed { by }),
        false => Err(refused(format!("the signature of {by} does not hold: {}", words(&output)))),
    }
}

fn run(command: &mut Command, stdin: Stdio) -> Result<Output, PlanError> {
    let child = command.stdin(stdin).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output);
    output.map_err(|error| {
        PlanError::Signature(format!("plans are signed and verified by ssh-keygen, which cannot be run: {error}"))
    })
}

/// What the program said, in one line.
fn words(output: &Output) -> String {
    let mut text = String::new();
    let _ = output.stderr.as_slice().read_to_string(&mut text);
    let text = if text.trim().is_empty() { String::from_utf8_lossy(&output.stdout).into_owned() } else { text };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keygen(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        path
    }

    #[test]
    fn a_signature_holds_for_these_bytes_and_these_signers() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (plan, allowed) = (folder.join("p.plan"), folder.join("signers"));
        std::fs::write(&plan, "a plan\n").unwrap();
        let (alice, mallory) = (keygen(folder, "alice"), keygen(folder, "mallory"));
        let public = |key: &Path| std::fs::read_to_string(key.with_extension("pub")).unwrap();
        std::fs::write(&allowed, format!("alice@example.com {}", public(&alice))).unwrap();
        let said = |result: Result<Signed, PlanError>| result.unwrap_err().to_string();
        assert!(said(verify(&plan, &allowed)).contains("there is no signature"));
        sign(&plan, &alice).unwrap();
        assert_eq!(verify(&plan, &allowed).unwrap().by, "alice@example.com");
        std::fs::write(&plan, "another plan\n").unwrap();
        assert!(said(verify(&plan, &allowed)).contains("does not hold"));
        sign(&plan, &mallory).unwrap();
        assert!(said(verify(&plan, &allowed)).contains("not among those"));
        std::fs::write(&allowed, format!("mallory namespaces=\"git\" {}", public(&mallory))).unwrap();
        assert!(verify(&plan, &allowed).is_err(), "she may sign commits, not plans");
        assert!(sign(&plan, &folder.join("nobody")).unwrap_err().to_string().contains("was not signed"));
    }
}
