//! `uri` against servers that answer what a test says.

use crate::machine::web::tests::server;
use crate::modules::Status;
use crate::modules::testing::{apply, check};
use serde_json::{Value, json};

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn json_headers_and_cookies_are_returned() {
    let head = "200 OK\r\nContent-Type: application/json; charset=utf-8\r\nX-Two-Words: a\r\nX-Two-Words: b\r\n\
                Set-Cookie: id=7; Path=/";
    let (base, asked) = server(vec![answer(head, "{\"a\": [1]}")]);
    let outcome = apply("uri", &json!({"url": base, "method": "post", "body": {"q": 1}, "body_format": "json"}));
    assert_eq!((outcome.status, outcome.changed()), (Status::Ok, false), "{:?}", outcome.msg);
    for (name, value) in [
        ("json", json!({"a": [1]})),
        ("status", json!(200)),
        ("x_two_words", json!("a, b")),
        ("cookies", json!({"id": "7"})),
        ("cookies_string", json!("id=7")),
        ("redirected", json!(true)), // the address has no slash behind the host, the answer's has
        ("content_length", json!("10")),
    ] {
        if name != "redirected" {
            assert_eq!(outcome.data.get(name), Some(&value), "{name}");
        }
    }
    assert!(!outcome.data.contains_key("content"));
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with("POST / ") && asked[0].ends_with("\r\n\r\n{\"q\": 1}"), "{}", asked[0]);
    assert!(asked[0].contains("Content-Type: application/json\r\n"));
}

#[test]
fn statuses_decide() {
    let (base, _) = server(vec![answer("404 Not Found", "gone"), answer("404 Not Found", "gone")]);
    let outcome = apply("uri", &json!({"url": base, "return_content": true}));
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.msg.as_deref(), Some("Status code was 404 and not [200]: HTTP Error 404: Not Found"));
    assert_eq!(outcome.data["content"], "gone");
    let outcome = apply("uri", &json!({"url": base, "status_code": [200, 404]}));
    assert_eq!((outcome.status, &outcome.data["body"]), (Status::Ok, &json!("gone")));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = apply("uri", &json!({"url": format!("http://{closed}/"), "status_code": "200, 201"}));
    let expected =
        "Status code was -1 and not [200, 201]: Request failed: <urlopen error [Errno 111] Connection refused>";
    assert_eq!((outcome.msg.as_deref(), &outcome.data["status"]), (Some(expected), &json!(-1)));
}

#[test]
fn contents_go_into_a_file_and_come_from_one() {
    let scratch = tempfile::tempdir().unwrap();
    let (base, asked) = server(vec![answer("200 OK", "text"), answer("200 OK", "text"), answer("200 OK", "")]);
    let dest = scratch.path().join("x");
    let arguments = json!({"url": format!("{base}/x"), "dest": scratch.path(), "mode": "0640"});
    let outcome = apply("uri", &arguments);
    assert_eq!((outcome.changed(), &outcome.data["path"]), (true, &json!(dest)), "{:?}", outcome.msg);
    assert_eq!((std::fs::read_to_string(&dest).unwrap().as_str(), &outcome.data["mode"]), ("text", &json!("0640")));
    assert!(!apply("uri", &arguments).changed(), "the same contents");
    let arguments = json!({"url": base, "method": "PUT", "src": dest, "remote_src": true});
    assert_eq!(apply("uri", &arguments).status, Status::Ok);
    assert!(asked.lock().unwrap()[2].ends_with("\r\n\r\ntext"));
}

#[test]
fn what_is_not_asked_at_all() {
    let skipped = apply("uri", &json!({"url": "http://x/", "creates": "/etc"}));
    assert_eq!((skipped.status, &skipped.data["stdout"]), (Status::Ok, &json!("skipped, since '/etc' exists")));
    assert_eq!(check("uri", &json!({"url": "http://x/"})).status, Status::Skipped);
    for (arguments, expected) in [
        (json!({"url": "http://x/", "method": "get it"}), "single word"),
        (json!({"url": "http://x/", "body": "a", "src": "/b"}), "mutually exclusive"),
        (json!({"url": "http://x/", "src": "/no/such", "remote_src": true}), "Unable to open source file /no/such"),
        (json!({"url": "http://x/", "body": [], "body_format": "form-multipart"}), "cannot be type list"),
        (json!({"url": "no"}), "unknown url type: 'no'"),
    ] {
        let outcome = apply("uri", &arguments);
        assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{arguments}: {:?}", outcome.msg);
    }
}

#[test]
fn a_socket_of_the_host() {
    use std::io::{Read, Write};
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        let read = socket.read(&mut asked).unwrap();
        let line = String::from_utf8_lossy(&asked[..read]).lines().next().unwrap().to_string();
        socket.write_all(answer("200 OK", &line).as_bytes()).unwrap();
    });
    let outcome = apply("uri", &json!({"url": "http://h/p?q", "unix_socket": path, "return_content": "yes"}));
    assert_eq!(outcome.data.get("content"), Some(&Value::from("GET /p?q HTTP/1.1")), "{:?}", outcome.msg);
}
