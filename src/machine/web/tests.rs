//! Requests against servers that answer what a test says.

use super::*;
use crate::machine::Mode;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Answers each connection with the next answer, and keeps what was asked.
pub(crate) fn server(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, own) = (asked.clone(), base.clone());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            loop {
                let read = socket.read(&mut chunk).unwrap_or(0);
                request.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    if read == 0 {
                        break;
                    }
                    continue;
                };
                let length = head
                    .to_lowercase()
                    .split_once("content-length: ")
                    .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
                if body.len() >= length || read == 0 {
                    break;
                }
            }
            seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let _ = socket.write_all(answer.replace("BASE", &own).as_bytes());
        }
    });
    (base, asked)
}

fn ask(request: &Request) -> Result<(u16, String, String), WebError> {
    let mut response = Machine::new(Mode::Live).request(request).unwrap()?;
    let mut text = String::new();
    response.body.read_to_string(&mut text).map_err(|e| WebError::failed(e.to_string()))?;
    Ok((response.status, text, response.url))
}

#[test]
fn bodies_of_every_framing() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhithere", Ok("hi")),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", Ok("to the end")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
            Ok("abc0123456789"),
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", Ok("x")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", Err("remaining 4 bytes")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", Err("Incomplete")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Err("no length")),
        ("nonsense\r\n\r\n", Err("nonsense")),
        ("", Err("without response")),
    ] {
        let (base, _) = server(vec![answer.to_string()]);
        let found = ask(&Request::get(format!("{base}/x")));
        match (found, expected) {
            (Ok((200, text, _)), Ok(expected)) => assert_eq!(text, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{answer:?}: {error}"),
            (found, _) => panic!("{answer:?}: {found:?}"),
        }
    }
}

#[test]
fn what_is_sent_and_which_redirects_are_followed() {
    let found = |status: u16| format!("HTTP/1.1 {status} Found\r\nLocation: /new?x\r\nSet-Cookie: a=b; Path=/\r\n\r\n");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_string();
    for (method, follow, status, expected) in [
        ("GET", Follow::Urllib, 302, Some("GET")),
        ("POST", Follow::Urllib, 302, Some("GET")),
        ("POST", Follow::Urllib, 307, None),
        ("POST", Follow::Safe, 302, None),
        ("POST", Follow::All, 307, Some("POST")),
        ("PUT", Follow::All, 301, Some("PUT")),
        ("GET", Follow::None, 301, None),
    ] {
        let (base, asked) = server(vec![found(status), ok.clone()]);
        let request = Request {
            method: method.into(),
            follow,
            body: (method != "GET").then(|| Body::Bytes(b"data".to_vec())),
            headers: vec![("X-One".into(), "1".into()), ("X-Here".into(), "2".into())],
            unredirected: vec!["x-here".into()],
            ..Request::get(format!("{base}/old"))
        };
        let (code, _, url) = ask(&request).unwrap();
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with(&format!("{method} /old HTTP/1.1\r\n")), "{}", asked[0]);
        assert!(asked[0].contains("User-Agent: ansible-httpget\r\n") && asked[0].contains("X-Here: 2"));
        match expected {
            None => assert_eq!((code, asked.len()), (status, 1), "{method} {follow:?} {status}"),
            Some(method) => {
                assert_eq!((code, url), (200, format!("{base}/new?x")));
                assert!(asked[1].starts_with(&format!("{method} /new?x HTTP/1.1\r\n")), "{}", asked[1]);
                assert!(asked[1].contains("X-One: 1") && !asked[1].contains("X-Here"));
                assert!(asked[1].contains("Cookie: a=b\r\n"));
                assert_eq!(asked[1].ends_with("data"), matches!(status, 307));
            }
        }
    }
}

#[test]
fn logins_are_sent_when_they_are_asked_for() {
    let asking = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_string();
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_string();
    let (base, asked) = server(vec![asking.clone(), ok.clone()]);
    let request = Request { login: Some(("u".into(), "p".into())), ..Request::get(base) };
    assert_eq!(ask(&request).unwrap().0, 200);
    assert!(!asked.lock().unwrap()[0].contains("Authorization"));
    assert!(asked.lock().unwrap()[1].contains("Authorization: Basic dTpw\r\n"));
    let (base, asked) = server(vec![ok.clone()]);
    let request = Request { force_basic_auth: true, ..Request::get(base.replace("://", "://u:p@")) };
    let answer = ask(&request).unwrap();
    assert!(!answer.2.contains("u:p"), "{}", answer.2);
    assert!(asked.lock().unwrap()[0].contains("Authorization: Basic dTpw\r\n"));
    let (base, _) = server(vec![asking.clone(), asking]);
    let request = Request { login: Some(("u".into(), "wrong".into())), ..Request::get(base) };
    assert_eq!(ask(&request).unwrap().0, 401, "once, not for ever");
}

#[test]
fn another_host_is_not_told_who_we_are() {
    let asking = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_string();
    let (other, told) = server(vec![asking.clone(), asking.clone()]);
    let leads = format!("HTTP/1.1 302 Found\r\nLocation: {other}/\r\nContent-Length: 0\r\n\r\n");
    let (base, asked) = server(vec![asking, leads]);
    let request = Request { login: Some(("u".into(), "p".into())), ..Request::get(base) };
    assert_eq!(ask(&request).unwrap().0, 401);
    assert!(asked.lock().unwrap()[1].contains("Authorization: Basic dTpw\r\n"));
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "and it is not asked twice: {told:?}");
    assert!(!told[0].contains("Authorization"), "{}", told[0]);
}

#[test]
fn failures_are_pythons() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, expected, senseless) in [
        (format!("http://{closed}/"), "Request failed: <urlopen error [Errno 111] Connection refused>", false),
        (
            "http://no-such-host.invalid/".into(),
            "Request failed: <urlopen error [Errno -2] Name or service not known>",
            false,
        ),
        ("gopher://x/".into(), "Request failed: <urlopen error unknown url type: gopher>", true),
        ("nothing".into(), "unknown url type: 'nothing'", true),
    ] {
        let error = ask(&Request::get(&url)).unwrap_err();
        assert_eq!((error.what.as_str(), error.senseless), (expected, senseless), "{url}");
    }
}

#[test]
fn a_check_asks_unless_it_may_not() {
    let mut machine = Machine::new(Mode::Predicted);
    machine.no_fetch = true;
    assert!(matches!(machine.request(&Request::get("http://a/")), Err(MachineError::Unknown { .. })));
    machine.no_fetch = false;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let request = Request::get(format!("http://{closed}/"));
    assert!(machine.request(&request).unwrap().is_err());
    let scratch = tempfile::tempdir().unwrap();
    machine.make_directory(scratch.path().join("new"), &Default::default()).unwrap();
    assert!(matches!(machine.request(&request), Err(MachineError::Unknown { .. })), "it may be there then");
}
