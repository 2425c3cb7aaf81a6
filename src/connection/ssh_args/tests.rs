use super::*;

fn options(text: &str) -> Vec<(String, String)> {
    SshArgs::parse(text, "test").unwrap().options
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn every_way_to_write_an_option() {
    let table: &[(&str, &[(&str, &str)])] = &[
        ("", &[]),
        ("-o Port=2222", &[("port", "2222")]),
        ("-oPort=2222", &[("port", "2222")]),
        ("-o 'Port 2222'", &[("port", "2222")]),
        ("-o 'Port = 2222'", &[("port", "2222")]),
        ("-p 2222 -p33", &[("port", "2222"), ("port", "33")]),
        ("-C -4vvp 2222", &[("addressfamily", "inet"), ("port", "2222")]),
        ("-J a@b:1,c", &[("proxyjump", "a@b:1,c")]),
        ("-i ~/.ssh/k -l root", &[("identityfile", "~/.ssh/k"), ("user", "root")]),
        ("-o ProxyCommand=\"ssh -W %h:%p -q bastion\"", &[("proxycommand", "ssh -W %h:%p -q bastion")]),
        ("-o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/tmp/%r@%h", &[]),
        ("-o ChallengeResponseAuthentication=no", &[("kbdinteractiveauthentication", "no")]),
        ("-o stricthostkeychecking=accept-new", &[("stricthostkeychecking", "accept-new")]),
    ];
    for (text, expected) in table {
        assert_eq!(options(text), pairs(expected), "{text}");
        assert!(SshArgs::parse(text, "test").unwrap().warnings.is_empty(), "{text}");
    }
}

#[test]
fn what_has_no_effect_is_named() {
    for (text, word) in [
        ("-o Banana=yes", "Banana"),
        ("-o Ciphers=aes128-ctr", "Ciphers"),
        ("-A", "-A"),
        ("-o ForwardAgent=yes", "ForwardAgent"),
        ("-L 8080:x:80", "-L"),
    ] {
        let args = SshArgs::parse(text, "ansible_ssh_extra_args").unwrap();
        assert_eq!(args.warnings.len(), 1, "{text}");
        let warning = args.warnings.first().unwrap();
        assert!(warning.contains(word) && warning.contains("ansible_ssh_extra_args"), "{warning}");
    }
    assert!(SshArgs::parse("-o ForwardAgent=no", "x").unwrap().warnings.is_empty());
}

#[test]
fn nonsense_is_an_error_with_its_origin() {
    for text in ["-p", "-o Port", "hostname", "-o 'Port=1", "-Z", "-"] {
        let error = SshArgs::parse(text, "ansible_ssh_args").unwrap_err();
        assert!(error.starts_with("ansible_ssh_args:"), "{text}: {error}");
    }
}

#[test]
fn the_configuration_file() {
    assert_eq!(SshArgs::parse("-F none", "x").unwrap().config_file, Some(PathBuf::from("none")));
    assert_eq!(SshArgs::parse("-F/a -F /b", "x").unwrap().config_file, Some(PathBuf::from("/b")));
}

#[test]
fn words_as_a_shell_splits_them() {
    let table: &[(&str, &[&str])] = &[
        ("  a  b ", &["a", "b"]),
        (r#"a\ b 'c "d' "e 'f\"" g''h """#, &["a b", "c \"d", "e 'f\"", "gh", ""]),
        (r#""a\b""#, &["a\\b"]),
    ];
    for (text, expected) in table {
        assert_eq!(split(text).unwrap(), *expected, "{text}");
    }
}
