//! Modules that roles name and that are not here, with what to write instead.

/// Last word of a name, and what serves here; said behind "unknown module".
const INSTEAD: &[(&str, &str)] = &[
    (
        "nftables",
        "no collection of Ansible's has such a module; `deploy.builtin.firewall` says who may reach which ports, in an nftables \
         table of its own. For rules of yours write the file with `template` and load it with `command: nft -f FILE`",
    ),
    ("synchronize", "`copy` takes directories, too; for rsync's own options there is `command`"),
    ("subversion", "use `git`, or `command` with svn"),
    ("sysvinit", "use `service`"),
];

/// What to write where there is no module of this name.
pub fn instead(name: &str) -> Option<&'static str> {
    let last = name.rsplit('.').next().unwrap_or(name);
    INSTEAD.iter().find(|(module, _)| *module == last).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_instead_is_there() {
        for (name, sentence) in INSTEAD {
            assert!(crate::modules::find(name).is_none(), "there is `{name}`");
            let mut modules = sentence.split('`').skip(1).step_by(2).map(|word| word.split(':').next().unwrap());
            assert!(modules.all(|module| crate::modules::find(module).is_some()), "{sentence}");
        }
        assert!(
            instead("community.general.nftables").is_some_and(|sentence| sentence.contains("deploy.builtin.firewall"))
        );
        assert!(instead("copy").is_none());
    }
}
