//! Jump hosts and proxy commands.

use deploy::connection::{ConnectionError, Target};

use crate::connector;
use crate::sshd::{Sshd, user};

async fn works(target: &Target) {
    let connection = connector().connect(target).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(connection.exec("echo in", b"").await.unwrap().stdout, b"in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_jump_hosts_is_shared_by_the_hosts_behind_it() {
    let (outer, inner, last) = (Sshd::start(), Sshd::start(), Sshd::start());
    let mut target = last.target();
    target.jump = vec![outer.target(), inner.target()];
    let connector = connector();
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (connector, target) = (connector.clone(), target.clone());
            tokio::spawn(async move { connector.connect(&target).await })
        })
        .collect();
    let mut connections = Vec::new();
    for task in tasks {
        connections.push(task.await.unwrap().unwrap());
    }
    for connection in &connections {
        assert_eq!(connection.exec("cat", b"through").await.unwrap().stdout, b"through");
    }
    for (server, logins) in [(&outer, 1), (&inner, 1), (&last, 5)] {
        assert_eq!(server.log().matches("Accepted publickey").count(), logins, "{}", server.log());
    }
    drop(connections);
    // The jump hosts' connections end with the last host behind them; a new one makes them again.
    for _ in 0..100 {
        if outer.sessions().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(outer.sessions().is_empty(), "the jump connection stays open");
    connector.connect(&target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_jump_host_is_named() {
    let (jump, last) = (Sshd::start(), Sshd::start());
    let mut target = last.target();
    let mut hop = jump.target();
    hop.auth.identities.clear();
    target.jump = vec![hop];
    let error = connector().connect(&target).await.err().unwrap();
    assert!(matches!(&error, ConnectionError::Jump { .. }), "{error}");
    assert!(error.to_string().contains("jump host") && error.is_unreachable(), "{error}");

    // The jump host is fine, what is behind it is not.
    target.jump = vec![jump.target()];
    target.port = 1;
    let error = connector().connect(&target).await.err().unwrap();
    assert!(matches!(&error, ConnectionError::Connect { .. }), "{error}");
    assert!(error.to_string().contains(&format!(":{}", jump.port)), "{error}");

    let closed = Sshd::with("AllowTcpForwarding no");
    let mut target = last.target();
    target.jump = vec![closed.target()];
    let error = connector().connect(&target).await.err().unwrap().to_string();
    assert!(error.contains("AllowTcpForwarding"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_key_behind_a_jump_host_is_checked() {
    let (jump, last) = (Sshd::start(), Sshd::start());
    let mut target = last.target();
    last.know(&std::fs::read_to_string(jump.path("host.pub")).unwrap());
    target.jump = vec![jump.target()];
    let error = connector().connect(&target).await.err().unwrap();
    assert!(matches!(&error, ConnectionError::HostKey { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_carries_the_connection() {
    let (jump, last) = (Sshd::start(), Sshd::start());
    jump.target();
    let mut target = last.target();
    target.proxy_command = Some(format!(
        "ssh -F none -i {} -o UserKnownHostsFile={} -p {} -W {}:{} {}@127.0.0.1",
        jump.path("client").display(),
        jump.path("known_hosts").display(),
        jump.port,
        target.address,
        target.port,
        user()
    ));
    works(&target).await;
    assert_eq!(jump.log().matches("Accepted publickey").count(), 1);
    target.proxy_command = Some("sh -c 'echo no way >&2; exit 1'".to_string());
    let error = connector().connect(&target).await.err().unwrap();
    assert!(error.is_unreachable() && error.to_string().contains("no way"), "{error}");
}
