//! The connection room against a real sshd.

#[path = "common/sshd.rs"]
mod sshd;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deploy::connection::{Connector, ExitStatus, NoPrompter};
use sshd::Sshd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

fn connector() -> Connector {
    Connector::new(Arc::new(NoPrompter))
}

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
