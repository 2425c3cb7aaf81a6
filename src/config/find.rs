//! Which `ansible.cfg` counts: `ANSIBLE_CONFIG`, then the working directory, the home directory, `/etc/ansible`. The first that
//! is there is the only one.

use super::Surroundings;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The configuration file, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: Option<PathBuf>,
    /// One that was passed over, and why.
    pub warning: Option<String>,
}

/// Looks for it.
pub fn find(around: &Surroundings<'_>) -> Found {
    let mut found = Found::default();
    let variable = around.variables.iter().find(|(name, _)| name == "ANSIBLE_CONFIG").map(|(_, value)| value);
    if let Some(named) = variable.filter(|value| !value.is_empty()) {
        let path = super::settings::expand(named, around, around.directory);
        let path = if path.is_dir() { path.join("ansible.cfg") } else { path };
        if path.is_file() {
            found.path = Some(path);
            return found;
        }
        found.warning = Some(format!("ANSIBLE_CONFIG names {}, which is not there", path.display()));
    }
    let here = around.directory.join("ansible.cfg");
    if here.is_file() {
        // Whoever can write there could make this process run programs of theirs.
        let open = std::fs::metadata(around.directory).is_ok_and(|found| found.permissions().mode() & 0o002 != 0);
        if !open {
            found.path = Some(here);
            return found;
        }
        found.warning = Some(format!(
            "{} is not read: everybody may write in that directory; ANSIBLE_CONFIG can name it all the same",
            here.display()
        ));
    }
    let home = around.home.iter().map(|home| home.join(".ansible.cfg"));
    found.path = home.chain([around.system.join("ansible.cfg")]).find(|path| path.is_file());
    found
}
