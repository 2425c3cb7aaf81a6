use serde_json::json;

use super::*;

/// Resolves `host` with variables, reading no configuration file of this machine.
fn resolve_with(host: &str, vars: Value, mut options: ConnectionOptions) -> Result<(Target, Vec<String>), String> {
    options.ssh_args.get_or_insert_with(|| "-F none".to_string());
    let resolver = Resolver::new(options);
    let target = resolver.target(host, &|name| vars.get(name).cloned()).map_err(|e| e.to_string())?;
    Ok((target, resolver.warnings()))
}

fn resolve(vars: Value) -> Target {
    let (target, warnings) = resolve_with("web1", vars, ConnectionOptions::default()).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    target
}

fn error(vars: Value) -> String {
    resolve_with("web1", vars, ConnectionOptions::default()).unwrap_err()
}

#[test]
fn defaults_are_those_of_openssh_and_ansible() {
    let target = resolve(json!({}));
    assert_eq!((target.name.as_str(), target.address.as_str(), target.port), ("web1", "web1", 22));
    assert_eq!(target.user, local_user());
    assert_eq!(target.host_key.policy, HostKeyPolicy::Ask);
    assert_eq!(target.timeouts.connect, Duration::from_secs(10));
    assert!(target.auth.identities.iter().any(|i| i.path.ends_with(".ssh/id_ed25519") && !i.explicit));
    assert!(target.jump.is_empty() && target.proxy_command.is_none());
}

#[test]
fn variables_of_the_host() {
    let target = resolve(json!({
        "ansible_host": "10.0.0.1", "ansible_port": "2222", "ansible_user": "admin", "ansible_password": "it's \\ \"x\"",
        "ansible_ssh_private_key_file": "/k/id", "ansible_timeout": 3,
    }));
    assert_eq!((target.address.as_str(), target.port, target.user.as_str()), ("10.0.0.1", 2222, "admin"));
    assert_eq!(target.auth.password.as_ref().map(Secret::expose), Some("it's \\ \"x\""));
    assert_eq!(target.auth.identities, [Identity { path: "/k/id".into(), explicit: true }]);
    assert_eq!(target.timeouts.connect, Duration::from_secs(3));
    assert!(!format!("{target:?}").contains("it's"), "the password cannot be printed");
}

#[test]
fn variables_win_over_options_and_the_first_argument_wins() {
    let options = ConnectionOptions {
        user: Some("cli".into()),
        port: Some(1),
        private_key: Some("/cli/key".into()),
        password: Some(Secret::new("cli")),
        timeout: Some(Duration::from_secs(60)),
        ssh_common_args: Some("-o ServerAliveInterval=9".into()),
        batch: true,
        ..ConnectionOptions::default()
    };
    let (target, _) = resolve_with("web1", json!({}), options.clone()).unwrap();
    assert_eq!((target.user.as_str(), target.port), ("cli", 1));
    assert_eq!(target.auth.identities, [Identity { path: "/cli/key".into(), explicit: true }]);
    assert_eq!(target.timeouts.keepalive, Some(Duration::from_secs(9)));
    assert_eq!(target.timeouts.connect, Duration::from_secs(60));
    assert!(!target.auth.interactive);
    let vars =
        json!({ "ansible_user": "var", "ansible_port": 2, "ansible_ssh_common_args": "-o Port=3 -o User=x -l y" });
    let (target, _) = resolve_with("web1", vars, options).unwrap();
    assert_eq!((target.user.as_str(), target.port), ("var", 2));
    assert_eq!(target.timeouts.keepalive, Some(Duration::from_secs(15)), "the variable replaces the option");
}

#[test]
fn local_and_foreign_connections() {
    assert_eq!(resolve(json!({"ansible_connection": "local"})).transport, super::super::target::Transport::Local);
    assert_eq!(resolve(json!({"ansible_connection": "smart"})).transport, super::super::target::Transport::Ssh);
    assert!(error(json!({"ansible_connection": "docker"})).contains("docker is not supported"));
}

#[test]
fn host_keys() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfkNV4OS33ImTXvorZr72q4v5XhVEQKfvqsxOEJ/XaR";
    let target = resolve(json!({
        "ansible_ssh_common_args":
            "-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile='/a/%n /b' -o HostKeyAlias=x -o HashKnownHosts=yes",
        "ansible_ssh_host_key": [key, "SHA256:abc"],
    }));
    assert_eq!(target.host_key.policy, HostKeyPolicy::AcceptNew);
    assert_eq!(target.host_key.user_files, [PathBuf::from("/a/web1"), PathBuf::from("/b")]);
    assert_eq!(target.host_key.alias.as_deref(), Some("x"));
    assert!(target.host_key.hash_names);
    assert_eq!(target.host_key.pinned, [key, "SHA256:abc"]);
    for wrong in [json!("banana"), json!(""), json!([]), json!(5), json!(["ssh-ed25519 AAAA"])] {
        let error = error(json!({ "ansible_ssh_host_key": wrong }));
        assert!(error.contains("ansible_ssh_host_key"), "{error}");
    }
    let vars = json!({"ansible_ssh_host_key_checking": "no"});
    let (target, warnings) = resolve_with("web1", vars, ConnectionOptions::default()).unwrap();
    assert_eq!(target.host_key.policy, HostKeyPolicy::AcceptNew);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn jump_chains() {
    let target = resolve(json!({"ansible_ssh_common_args": "-J me@bastion:2222,[fe80::1]:3,ssh://inner"}));
    let hops: Vec<(String, String, u16)> =
        target.jump.iter().map(|h| (h.user.clone(), h.address.clone(), h.port)).collect();
    let local = local_user();
    assert_eq!(
        hops,
        [
            ("me".to_string(), "bastion".to_string(), 2222),
            (local.clone(), "fe80::1".to_string(), 3),
            (local, "inner".to_string(), 22)
        ]
    );
    assert!(target.jump.first().unwrap().name.contains("web1"), "the host concerned is named");
    assert!(resolve(json!({"ansible_ssh_common_args": "-o ProxyJump=none -J x"})).jump.is_empty());
    assert!(error(json!({"ansible_ssh_common_args": "-J a,,b"})).contains("ProxyJump"));
}

#[test]
fn jump_hosts_have_a_configuration_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(
        &path,
        "Host web*\n  ProxyJump bastion\n  User target\nHost bastion\n  HostName 10.0.0.9\n  User jumper\n  ProxyJump outer\n\
         Host outer\n  Port 99\nHost loop\n  ProxyJump loop\nHost cmd\n  ProxyCommand nc %h %p\n",
    )
    .unwrap();
    let resolver = Resolver::new(ConnectionOptions::default());
    let args = json!(format!("-F {} -o UserKnownHostsFile=/mine", path.display()));
    let vars = |name: &str| (name == "ansible_ssh_common_args").then(|| args.clone());
    let target = resolver.target("web1", &vars).unwrap();
    assert_eq!(target.describe(), format!("target@web1:22 via {}@outer:99 via jumper@10.0.0.9:22", local_user()));
    assert_eq!(target.jump.first().and_then(|h| h.host_key.user_files.first()), Some(&PathBuf::from("/mine")));
    assert!(resolver.target("loop", &vars).unwrap_err().to_string().contains("circle"));
    assert_eq!(resolver.target("cmd", &vars).unwrap().proxy_command.as_deref(), Some("nc cmd 22"));
}

#[test]
fn methods_and_keys() {
    let target = resolve(json!({"ansible_ssh_extra_args":
        "-o PreferredAuthentications=gssapi-with-mic,publickey -o IdentitiesOnly=yes -i ~/k -o CertificateFile=/c \
         -o IdentityAgent=/run/%u.sock -o PKCS11Provider=/lib/x.so"}));
    assert_eq!(target.auth.methods, Methods { publickey: true, password: false, keyboard_interactive: false });
    assert!(target.auth.identities_only);
    assert_eq!(target.auth.identities, [Identity { path: home().join("k"), explicit: true }]);
    assert_eq!(target.auth.certificates, [PathBuf::from("/c")]);
    assert_eq!(target.auth.agent, Some(PathBuf::from(format!("/run/{}.sock", local_user()))));
    let named = target.auth.unsupported.join(", ");
    assert!(named.contains("gssapi-with-mic") && named.contains("PKCS11Provider"), "{named}");
    assert_eq!(resolve(json!({"ansible_ssh_args": "-F none -o IdentityAgent=none"})).auth.agent, None);
}

#[test]
fn an_unknown_option_is_named_once() {
    let resolver = Resolver::new(ConnectionOptions::default());
    let vars = |name: &str| (name == "ansible_ssh_common_args").then(|| json!("-F none -o Banana=1"));
    for host in ["a", "b", "c"] {
        resolver.target(host, &vars).unwrap();
    }
    let warnings = resolver.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings.first().unwrap().contains("Banana"));
    assert!(resolver.warnings().is_empty());
}

#[test]
fn wrong_variables_are_errors_that_name_them_and_keep_secrets() {
    for (vars, word) in [
        (json!({"ansible_port": "many"}), "ansible_port"),
        (json!({"ansible_port": 70000}), "ansible_port"),
        (json!({"ansible_host": ["a"]}), "ansible_host"),
        (json!({"ansible_host": "-oProxyCommand=evil"}), "no name"),
        (json!({"ansible_user": "-x"}), "no name"),
        (json!({"ansible_ssh_common_args": "-o 'x"}), "ansible_ssh_common_args"),
        (json!({"ansible_ssh_host_key_checking": "perhaps"}), "ansible_ssh_host_key_checking"),
    ] {
        let error = error(vars);
        assert!(error.starts_with("web1: ") && error.contains(word), "{error}");
    }
    assert!(!error(json!({"ansible_password": ["hunter2"]})).contains("hunter2"));
}

#[test]
fn times() {
    for (text, expected) in
        [("0", Some(0)), ("90", Some(90)), ("1m30s", Some(90)), ("2h", Some(7200)), ("x", None), ("m", None)]
    {
        assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text}");
    }
}
