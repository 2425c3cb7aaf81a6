//! `connection: local` behaves as SSH does.

use std::time::Duration;

use deploy::connection::{ExitStatus, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connector;

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_the_controller() {
    let connection = connector().connect(&Target::local("localhost")).await.unwrap();
    let output = connection.exec("cat; echo oops >&2; exit 3", b"hello").await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(3));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (b"hello".as_slice(), b"oops\n".as_slice()));
    let killed = connection.exec("kill -TERM $$; sleep 5", b"").await.unwrap();
    assert_eq!(killed.status, ExitStatus::Signal("TERM".to_string()));
    let data: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
    assert!(connection.exec("cat", &data).await.unwrap().stdout == data);
    let unread = tokio::time::timeout(Duration::from_secs(10), connection.exec("exit 4", &data)).await;
    assert_eq!(unread.expect("it hangs").unwrap().status, ExitStatus::Code(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_channel_ends_the_commands_input() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let connection = connector().connect(&Target::local("localhost")).await.unwrap();
    let mut channel = connection.open(&format!("cat; echo over > {}", mark.display())).await.unwrap();
    let mut buffer = [0; 2];
    channel.write_all(b"hi").await.unwrap();
    channel.read_exact(&mut buffer).await.unwrap();
    drop(channel);
    for _ in 0..100 {
        if mark.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the command did not see the end of its input");
}
