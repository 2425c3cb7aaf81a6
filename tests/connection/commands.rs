//! Commands and channels.

use std::time::{Duration, Instant};

use deploy::connection::{ConnectionError, ExitStatus};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::connector;
use crate::sshd::Sshd;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_logs_in_and_a_command_runs_with_input_output_errors_and_status() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let output = connection.exec("cat; echo oops >&2; exit 3", b"hello\0there").await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(3));
    assert_eq!(output.stdout, b"hello\0there");
    assert_eq!(output.stderr, b"oops\n");
    connection.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_a_stream_both_ways() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let (stream, mut control) = connection.open("cat; exit 7").await.unwrap().into_parts();
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    for i in 0..50 {
        write.write_all(format!("line {i}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        read.read_line(&mut line).await.unwrap();
        assert_eq!(line, format!("line {i}\n"));
    }
    assert_eq!(control.try_wait(), None);
    write.shutdown().await.unwrap();
    let mut rest = Vec::new();
    read.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!(control.wait().await, ExitStatus::Code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_exchanges_are_not_held_up_by_nagle() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let mut channel = connection.open("cat").await.unwrap();
    let mut buffer = [0; 40];
    channel.write_all(&[1; 40]).await.unwrap();
    channel.read_exact(&mut buffer).await.unwrap();
    let start = Instant::now();
    for _ in 0..50 {
        channel.write_all(&[1; 40]).await.unwrap();
        channel.read_exact(&mut buffer).await.unwrap();
    }
    let each = start.elapsed() / 50;
    assert!(each < Duration::from_millis(20), "{each:?} for one round trip");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_by_a_signal_says_so() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    for (signal, name) in [("KILL", "KILL"), ("TERM", "TERM"), ("SEGV", "SEGV")] {
        let output = connection.exec(&format!("kill -{signal} $$; sleep 1"), b"").await.unwrap();
        assert_eq!(output.status, ExitStatus::Signal(name.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_the_server_takes_wait_for_their_turn() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let tasks: Vec<_> = (0..30)
        .map(|i| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.exec(&format!("sleep 0.05; echo {i}"), b"").await })
        })
        .collect();
    for (i, task) in tasks.into_iter().enumerate() {
        let output = task.await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{i}\n"));
    }
    for _ in 0..20 {
        assert!(connection.exec("true", b"").await.unwrap().status.is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_are_dropped_give_their_place_back() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    for _ in 0..12 {
        drop(connection.open("cat").await.unwrap());
    }
    let output = tokio::time::timeout(Duration::from_secs(10), connection.exec("echo here", b"")).await;
    assert_eq!(output.expect("no place was given back").unwrap().stdout, b"here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_fewer_sessions_says_so() {
    let server = Sshd::with("MaxSessions 1");
    let connection = connector().connect(&server.target()).await.unwrap();
    let _held = connection.open("cat").await.unwrap();
    let Err(error) = connection.open("cat").await else { panic!("a second session was opened") };
    assert!(matches!(error, ConnectionError::Channel { .. }), "{error}");
    assert!(error.to_string().contains("MaxSessions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_goes_both_ways_unchanged() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let data: Vec<u8> = (0..6_000_000_u32).map(|i| (i * 7 + i / 1000) as u8).collect();
    let output = connection.exec("cat", &data).await.unwrap();
    assert!(output.stdout == data, "{} bytes came back of {}", output.stdout.len(), data.len());
    assert!(output.status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_read_its_input_ends_all_the_same() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let data = vec![0; 8_000_000];
    let output = tokio::time::timeout(Duration::from_secs(20), connection.exec("exit 4", &data)).await;
    assert_eq!(output.expect("it hangs").unwrap().status, ExitStatus::Code(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_process_that_keeps_the_output_open_does_not_hold_us() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let start = Instant::now();
    let output = connection.exec("sleep 300 & echo started", b"").await.unwrap();
    assert_eq!((output.status, output.stdout.as_slice()), (ExitStatus::Code(0), b"started\n".as_slice()));
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_outlive_the_connection_they_came_from() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let mut channel = connection.open("cat").await.unwrap();
    drop(connection);
    let mut buffer = [0; 5];
    channel.write_all(b"hello").await.unwrap();
    channel.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_connection_from_the_host() {
    let server = Sshd::start();
    let connection = connector().connect(&server.target()).await.unwrap();
    let mut stream = connection.tcp("127.0.0.1", server.port).await.unwrap();
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    let Err(error) = connection.tcp("127.0.0.1", 1).await else { panic!("nothing listens on port 1") };
    assert!(matches!(error, ConnectionError::Channel { .. }), "{error}");
}
