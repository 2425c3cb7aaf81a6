//! Hosts that are not there, hang, or go away.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use deploy::connection::{ConnectionError, ExitStatus, Target};
use tokio::io::AsyncReadExt;

use crate::connector;
use crate::sshd::Sshd;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_killed_under_a_command_is_lost_and_never_a_success() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let mut channel = connection.open("echo started; sleep 1000").await.unwrap();
    let mut started = [0; 8];
    channel.read_exact(&mut started).await.unwrap();
    let waiting = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.exec("sleep 1000", b"").await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill_sessions();
    let end = async {
        let mut rest = Vec::new();
        channel.read_to_end(&mut rest).await.unwrap();
        (rest, channel.wait().await)
    };
    let limit = Duration::from_secs(10);
    assert_eq!(tokio::time::timeout(limit, end).await.expect("it hangs"), (Vec::new(), ExitStatus::Lost));
    // A command that was still being started is either lost or was never taken; it has no status.
    match tokio::time::timeout(limit, waiting).await.expect("it hangs").unwrap() {
        Ok(output) => assert_eq!(output.status, ExitStatus::Lost),
        Err(error) => assert!(matches!(error, ConnectionError::Lost { .. }), "{error}"),
    }
    assert!(connection.is_closed());
    let error = connection.lost();
    assert!(error.is_unreachable() && error.to_string().contains("web1"), "{error}");
    let next = connection.exec("true", b"").await.expect_err("the next command fails");
    assert!(matches!(next, ConnectionError::Lost { .. }), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_to_a_lost_connection_does_not_hang() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    // More than every window and buffer on the way, to a command that reads nothing.
    let running = tokio::spawn(async move { connection.exec("sleep 1000", &vec![0; 40_000_000]).await });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.kill_sessions();
    let output = tokio::time::timeout(Duration::from_secs(10), running).await.expect("it hangs").unwrap().unwrap();
    assert_eq!(output.status, ExitStatus::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_host_is_noticed_by_keepalives() {
    let server = Sshd::start();
    let mut target = server.target();
    target.timeouts.keepalive = Some(Duration::from_secs(1));
    target.timeouts.keepalive_max = 2;
    let connection = connector().connect(&target).await.unwrap();
    let running = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.exec("sleep 1000", b"").await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal_sessions(rustix::process::Signal::STOP);
    let start = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(15), running).await.expect("it hangs").unwrap().unwrap();
    assert_eq!(output.status, ExitStatus::Lost);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(connection.lost().to_string().contains("keepalives"), "{}", connection.lost());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_command_is_not_a_dead_one() {
    let server = Sshd::start();
    let mut target = server.target();
    target.timeouts.keepalive = Some(Duration::from_millis(300));
    target.timeouts.keepalive_max = 2;
    let connection = connector().connect(&target).await.unwrap();
    let output = connection.exec("sleep 4; echo done", b"").await.unwrap();
    assert_eq!(output.stdout, b"done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = Target::plain("web1", "127.0.0.1", listener.local_addr().unwrap().port(), "root");
    target.timeouts.connect = Duration::from_secs(1);
    let start = Instant::now();
    let error = connector().connect(&target).await.err().unwrap();
    assert!(matches!(error, ConnectionError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
    assert!(error.to_string().contains("ansible_timeout"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_no_name_no_ssh() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = connector().connect(&Target::plain("web1", "127.0.0.1", port, "root")).await.err().unwrap();
    assert!(matches!(error, ConnectionError::Connect { .. }), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");

    let error = connector().connect(&Target::plain("web1", "no-such-host.invalid", 22, "root")).await.err().unwrap();
    assert!(matches!(error, ConnectionError::Lookup { .. }), "{error}");
    assert!(error.to_string().contains("ansible_host"), "{error}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>no ssh</html>\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let error = connector().connect(&Target::plain("web1", "127.0.0.1", port, "root")).await.err().unwrap();
    assert!(matches!(error, ConnectionError::Handshake { .. }), "{error}");
    assert!(error.to_string().contains("HTTP/1.1 400"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_greets_few_at_a_time_is_knocked_at_again() {
    let server = Sshd::with("MaxStartups 3:100:3");
    let target = server.target();
    let connector = connector();
    let tasks: Vec<_> = (0..15)
        .map(|_| {
            let (connector, target) = (connector.clone(), target.clone());
            tokio::spawn(async move { connector.connect(&target).await.map(|_| ()) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}
