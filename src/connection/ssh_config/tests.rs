use std::process::Command;

use super::*;

/// What `ssh -G` says about some keywords.
fn by_ssh(path: &Path, host: &str) -> Settings {
    let output = Command::new("ssh").arg("-G").arg("-F").arg(path).arg(host).output().expect("ssh is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse_dump(&String::from_utf8_lossy(&output.stdout))
}

const SIMPLE: &[&str] = &[
    "Host web1\n  Port 2222\nHost web*\n  Port 33\n  User me\n",
    "Port=1\nport 2\nHost *\nUser\tx\n",
    "Host a b !web1 web*\n  User not\nHost !web2 web?\n  User yes\n",
    "Host *\n  User \"quoted\"\n  Port 5 # a comment\n  IdentityFile ~/a\n  IdentityFile ~/b\nHost web1\n IdentityFile ~/c\n",
    "Host web1\n  HostName %h.example.net\n  HostKeyAlias alias\n  StrictHostKeyChecking accept-new\n",
    "Match all\n  User everyone\nHost none\nMatch all\n  Port 99\n",
    "Host web1\n  ProxyJump a@b:3,c\nHost *\n  ProxyCommand none\n",
    "Host web1\n  ProxyCommand ssh -W %h:%p \"x y\" b\n",
    "Host web2\n  User a\n  Include inc/*.conf\n  Port 7\nHost *\n  Include inc/*.conf\n",
    "IdentitiesOnly yes\nUserKnownHostsFile ~/a ~/b\nHashKnownHosts yes\nServerAliveInterval 30\nConnectTimeout 5\n",
    "PreferredAuthentications publickey,password\nPasswordAuthentication no\nChallengeResponseAuthentication no\n",
    "Host web1 # first\n  User commented\n",
];

#[test]
fn simple_files_mean_what_ssh_says_they_mean() {
    let directory = tempfile::tempdir().unwrap();
    let included = home().join(".ssh");
    let keywords = [
        "user",
        "port",
        "hostkeyalias",
        "proxycommand",
        "proxyjump",
        "identitiesonly",
        "hashknownhosts",
        "serveraliveinterval",
        "connecttimeout",
        "preferredauthentications",
        "passwordauthentication",
        "kbdinteractiveauthentication",
        "userknownhostsfile",
        "stricthostkeychecking",
    ];
    for (index, text) in SIMPLE.iter().enumerate() {
        // Relative includes of a user's file are looked up in ~/.ssh; the test brings its own.
        let inc = directory.path().join("inc");
        std::fs::create_dir_all(&inc).unwrap();
        std::fs::write(inc.join("1.conf"), "Host web2\n  HostKeyAlias included\nHost *\n  User from-include\n")
            .unwrap();
        let text = text.replace("inc/", &format!("{}/", inc.display()));
        let path = directory.path().join(format!("config{index}"));
        std::fs::write(&path, &text).unwrap();
        for host in ["web1", "web2", "web10", "db", "a"] {
            let file = File::parse(&text, &included, 0);
            assert_eq!(file.beyond_us(), None, "{text}");
            let mut pairs = Vec::new();
            file.evaluate(host, true, &mut pairs);
            let (ours, theirs) = (Settings(pairs), by_ssh(&path, host));
            for keyword in keywords {
                let Some(value) = ours.get(keyword) else { continue };
                let value = value.replace("~/", &format!("{}/", home().display()));
                let value = value.replace("yes", "true");
                let asked = theirs.get(keyword).unwrap_or("none").replace("~/", &format!("{}/", home().display()));
                let asked = asked.replace("yes", "true");
                // A jump host disables the command that comes later, which ssh -G then leaves out.
                if ours.first_of(&["proxyjump", "proxycommand"]).is_some_and(|(k, _)| k != keyword)
                    && keyword.starts_with("proxy")
                {
                    continue;
                }
                assert_eq!(value, asked, "{keyword} of {host} in:\n{text}");
            }
            if ours.get("user").is_none() {
                assert_eq!(theirs.get("user"), Some(local_user().as_str()), "user of {host} in:\n{text}");
            }
            if ours.get("port").is_none() {
                assert_eq!(theirs.get("port"), Some("22"), "port of {host} in:\n{text}");
            }
            if ours.all("identityfile").next().is_some() {
                let list = |s: &Settings| s.all("identityfile").map(String::from).collect::<Vec<_>>();
                assert_eq!(list(&ours), list(&theirs), "{host} in:\n{text}");
            }
        }
    }
}

#[test]
fn what_is_not_simple_is_left_to_ssh() {
    for text in [
        "Match host web1\n  User x\n",
        "CanonicalizeHostname yes\n",
        "Banana 1\n",
        "IdentityFile ${HOME}/x\n",
        "IdentityFile \"a b\"\n",
        "User \"open\n",
        "User a\"b\n",
    ] {
        assert!(File::parse(text, Path::new("/"), 0).beyond_us().is_some(), "{text}");
    }
}

#[test]
fn match_blocks_are_resolved_by_ssh_once_for_the_same_question() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let counter = directory.path().join("count");
    let text =
        format!("Match host web1 exec \"echo x >> {}\"\n  User matched\nHost *\n  User other\n", counter.display());
    std::fs::write(&path, text).unwrap();
    let config = SshConfig::default();
    let given = Settings::new(vec![("port".to_string(), "2222".to_string())]);
    for _ in 0..3 {
        let (settings, warning) = config.settings("web1", Some(&path), &given).unwrap();
        assert_eq!((settings.get("user"), settings.get("port"), warning), (Some("matched"), Some("2222"), None));
    }
    assert_eq!(std::fs::read_to_string(&counter).unwrap().lines().count(), 1);
    let (settings, _) = config.settings("web2", Some(&path), &Settings::default()).unwrap();
    assert_eq!(settings.get("user"), Some("other"));
}

#[test]
fn a_file_that_is_named_must_exist_and_none_is_none() {
    let config = SshConfig::default();
    let error = config.settings("x", Some(Path::new("/does/not/exist")), &Settings::default()).unwrap_err();
    assert!(error.contains("/does/not/exist"), "{error}");
    let (settings, _) = config.settings("x", Some(Path::new("none")), &Settings::default()).unwrap();
    assert_eq!(settings, Settings::default());
}

#[test]
fn a_configuration_that_ssh_refuses_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, "Banana yes\n").unwrap();
    let error = SshConfig::default().settings("x", Some(&path), &Settings::default()).unwrap_err();
    assert!(error.to_lowercase().contains("banana"), "{error}");
}
