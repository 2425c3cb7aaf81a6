use super::*;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

#[test]
fn receivers_are_read_from_the_inventory() {
    let list = Receiver::list(&json!([
        {"command": ["/usr/local/bin/tell", "it's"], "events": ["changed"]},
        {"command": "logger -t 'a job'"},
        {"url": "https://hooks.example/T0/secret", "headers": {"Authorization": "Bearer abc"}, "events": ["failed", "left"]},
        {"mail": "ops@example.org", "from": "deploy@example.org"},
        {"mail": ["a@example.org", "b@example.org"], "sendmail": "/usr/bin/msmtp"},
    ]))
    .unwrap();
    assert_eq!(list[0].way, Way::Command(vec!["/usr/local/bin/tell".into(), "it's".into()]));
    assert_eq!(list[1].way, Way::Command(vec!["logger".into(), "-t".into(), "a job".into()]));
    assert_eq!(list[2].secrets(), ["T0/secret", "Bearer abc"]);
    assert!(!list[2].name().contains("secret"), "{}", list[2].name());
    let wants =
        |at: usize| [Ended::Quiet, Ended::Changed, Ended::Left, Ended::Late, Ended::Failed].map(|e| list[at].wants(e));
    assert_eq!(wants(0), [false, true, false, false, false]);
    assert_eq!(wants(1), [false, true, false, true, true]);
    assert_eq!(wants(2), [false, false, true, true, true]);
    // One alone needs no list.
    assert_eq!(Receiver::list(&json!({"mail": "a@b"})).unwrap().len(), 1);
    for (bad, why) in [
        (json!([{"mail": "a@b", "url": "http://x"}]), "one of `command`, `url` and `mail`"),
        (json!([{"command": []}]), "is empty"),
        (json!([{"url": "ftp://x"}]), "no http"),
        (json!([{"mail": "a@b\nBcc: c@d"}]), "no address"),
        (json!([{"mail": "a@b", "when": "changed"}]), "unknown field `when`"),
        (json!([{"mail": "a@b", "events": ["always"]}]), "entry 1: unknown variant `always`"),
        (json!([{"url": "http://x", "headers": {"Host": "y"}}]), "cannot be set"),
        (json!("x"), "entry 1"),
    ] {
        let refused = Receiver::list(&bad).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

fn summary() -> Summary {
    Summary {
        job: "rotate-certs".into(),
        by: "deploy@control".into(),
        result: Ended::Failed,
        exit_code: 2,
        troubles: vec!["the password is hunter2-hunter2".into()],
        ..Summary::default()
    }
}

fn mask(text: &str) -> String {
    text.replace("hunter2-hunter2", "********")
}

fn tell(receiver: &Receiver) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(receiver.tell(&summary(), &mask))
}

#[test]
fn a_command_reads_json_without_secrets_and_its_failure_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let good = Receiver::command(&format!("sh -c 'cat > \"$0\"' {}", out.display())).unwrap();
    assert_eq!(tell(&good), Ok(()));
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(
        (told["result"].as_str(), told["exit_code"].as_u64(), told["job"].as_str()),
        (Some("failed"), Some(2), Some("rotate-certs"))
    );
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("FAILED with 2") && text.contains("the password is ********"), "{text}");
    for (command, why) in [
        ("sh -c 'echo no room >&2; exit 3'", "no room"),
        ("sh -c 'exec 0<&-; exit 3'", "exit status: 3"),
        ("/nowhere/at/all", "No such file"),
    ] {
        let refused = tell(&Receiver::command(command).unwrap()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

/// One connection's request, answered.
fn listener(
    answer: &'static str,
    read: impl FnOnce(std::net::TcpStream, &str) -> String + Send + 'static,
) -> (u16, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || read(listener.accept().unwrap().0, answer)))
}

fn request(mut stream: impl Read + Write, answer: &str) -> String {
    let mut heard = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                break;
            }
        }
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "{text}");
        heard.extend_from_slice(&chunk[..n]);
    }
    stream.write_all(answer.as_bytes()).unwrap();
    stream.flush().unwrap();
    String::from_utf8(heard).unwrap()
}

#[test]
fn a_hook_gets_one_post_and_its_answer_counts() {
    let (port, heard) = listener("HTTP/1.1 204 No Content\r\n\r\n", request);
    let receiver =
        json!({"url": format!("http://me:pass@127.0.0.1:{port}/T0/hook?a=b"), "headers": {"X-Token": "abc"}});
    assert_eq!(tell(&Receiver::list(&receiver).unwrap()[0]), Ok(()));
    let heard = heard.join().unwrap();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /T0/hook?a=b HTTP/1.1\r\n"), "{head}");
    for line in [
        &*format!("Host: 127.0.0.1:{port}"),
        "Content-Type: application/json",
        "X-Token: abc",
        "Authorization: Basic bWU6cGFzcw==",
    ] {
        assert!(head.lines().any(|one| one == line), "{line}: {head}");
    }
    let told: Value = serde_json::from_str(body).unwrap();
    assert_eq!(told["troubles"][0], "the password is ********");

    for (answer, why) in [
        ("HTTP/1.1 500 Oh\r\nContent-Length: 7\r\n\r\nno room", "it answered 500: no room"),
        ("HTTP/1.1 302 Found\r\nLocation: http://x\r\n\r\n", "redirects are not followed"),
        ("220 mail.example ESMTP\r\n", "did not answer in HTTP"),
    ] {
        let (port, heard) = listener(answer, request);
        let refused = tell(&Receiver::url(&format!("http://127.0.0.1:{port}/")).unwrap()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
        heard.join().unwrap();
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = tell(&Receiver::url(&format!("http://127.0.0.1:{unused}/")).unwrap()).unwrap_err();
    assert!(refused.contains("cannot connect"), "{refused}");
}

/// A certificate for `localhost`, and a server's side of TLS with it.
fn tls() -> (String, std::sync::Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), std::sync::Arc::new(config))
}

#[test]
fn a_hook_over_tls_is_told_only_when_it_proves_who_it_is() {
    let (pem, config) = tls();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let served = config.clone();
    let (port, heard) = listener("HTTP/1.1 200 OK\r\n\r\n", move |stream, answer| {
        let connection = rustls::ServerConnection::new(served).unwrap();
        request(rustls::StreamOwned::new(connection, stream), answer)
    });
    let receiver = |port: u16, ca: &str| {
        Receiver::list(&json!({"url": format!("https://localhost:{port}/x"), "ca_file": ca})).unwrap().remove(0)
    };
    assert_eq!(tell(&receiver(port, ca.to_str().unwrap())), Ok(()));
    assert!(heard.join().unwrap().starts_with("POST /x HTTP/1.1"));

    let (other, _) = tls();
    let wrong = folder.path().join("wrong.pem");
    std::fs::write(&wrong, other).unwrap();
    let (port, heard) = listener("", move |stream, _| {
        let connection = rustls::ServerConnection::new(config).unwrap();
        let mut nothing = String::new();
        let _ = rustls::StreamOwned::new(connection, stream).read_to_string(&mut nothing);
        nothing
    });
    let refused = tell(&receiver(port, wrong.to_str().unwrap())).unwrap_err();
    assert!(refused.starts_with("TLS: "), "{refused}");
    assert_eq!(heard.join().unwrap(), "", "nothing was said to a stranger");
}

#[test]
fn mail_goes_through_whatever_is_called_sendmail() {
    let folder = tempfile::tempdir().unwrap();
    let (program, out) = (folder.path().join("sendmail"), folder.path().join("out"));
    std::fs::write(&program, format!("#!/bin/sh\n(echo \"$@\"; cat) > {}\n", out.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let receiver = json!({"mail": ["ops@example.org", "b@example.org"], "from": "d@example.org", "sendmail": program});
    assert_eq!(tell(&Receiver::list(&receiver).unwrap()[0]), Ok(()));
    let told = std::fs::read_to_string(&out).unwrap();
    let (head, body) = told.split_once("\n\n").unwrap();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "-t -oi",
            "From: d@example.org",
            "To: ops@example.org, b@example.org",
            "Subject: deploy rotate-certs (deploy@control): FAILED",
        ]
    );
    assert!(lines.contains(&"Content-Type: text/plain; charset=utf-8"));
    assert!(body.contains("FAILED with 2") && body.contains("********") && !body.contains("hunter2"), "{body}");
    std::fs::write(&program, "#!/bin/sh\necho queue is full >&2; exit 75\n").unwrap();
    assert!(tell(&Receiver::list(&receiver).unwrap()[0]).unwrap_err().contains("queue is full"));
}
