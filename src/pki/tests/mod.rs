//! The room against the `openssl` binary, and its decisions by tables.

mod archive;
mod authorities;
mod csr;
mod decisions;
mod intermediate;
mod rotation;
mod store;
mod watch;

use std::path::Path;
use std::process::Command;

use super::*;
use crate::secret::Secret;

const NOW: UnixTime = 1_800_000_000;
const DAY: i64 = 86_400;

/// Runs openssl in `dir`; gives success and all it said.
fn openssl(dir: &Path, args: &str) -> (bool, String) {
    let out = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), said)
}

fn ok(dir: &Path, args: &str) -> String {
    let (success, said) = openssl(dir, args);
    assert!(success, "openssl {args}: {said}");
    said
}

fn request(profile: Profile, key_type: KeyType) -> Request {
    Request {
        profile,
        subject: Subject::new("galera1", Some("Example")).unwrap(),
        sans: ["galera1", "galera1.example.org", "10.0.0.1", "fd00::1"].map(|s| s.parse().unwrap()).to_vec(),
        key_type,
        lifetime: Lifetime::days(90),
    }
}

fn authority(name: &str, purpose: Purpose) -> Authority {
    Authority::create(&AuthoritySpec::new(name, purpose).unwrap(), NOW).unwrap()
}

fn no_passphrase() -> Result<Secret, PkiError> {
    Err(PkiError::NoPassphrase { why: "none in this test".into() })
}

fn evidence(issued: &Issued) -> KeyEvidence {
    public_half(issued.key_pem.expose())
}

fn store_at(root: &Path) -> Store {
    let storage = DirStorage::open(root).unwrap();
    Store::new(Box::new(storage), Passphrase::given(Secret::new("it's \"a\" $ecret\\")))
}
