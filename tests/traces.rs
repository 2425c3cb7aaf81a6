//! Traces as a collector gets them: a small server takes what `deploy` sends, and reads it.

#[path = "common/play.rs"]
mod play;
use play::{Play, Ran};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PLAYBOOK: &str = r#"
- name: the play
  hosts: all
  gather_facts: false
  tasks:
    - name: writes
      copy: {content: "{{ db_password }}\n", dest: "{{ here }}/{{ inventory_hostname }}"}
    - name: says
      debug: {msg: "v1/traces of db {{ lookup('env', 'OTEL_EXPORTER_OTLP_HEADERS') | urldecode }}"}
    - name: fails
      fail: {msg: "no {{ db_password }}"}
      when: inventory_hostname == 'two'
"#;

const SECRET: &str = "correct-horse-battery";

/// What was asked: path, headers, body.
type Asked = (String, BTreeMap<String, String>, Value);

/// A collector that answers with `status`, or not at all.
fn collector(status: Option<&'static str>) -> (String, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut waiting = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let path = line.split(' ').nth(1).unwrap().to_string();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim().split_once(": ") else { break };
                headers.insert(name.to_lowercase(), value.to_string());
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let _ = sender.send((path, headers, serde_json::from_slice(&body).unwrap()));
            match status {
                Some(status) => write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").unwrap(),
                None => waiting.push(stream),
            }
        }
    });
    (address, receiver)
}

fn run(variables: &[(&str, &str)], more: &[&str]) -> Ran {
    let play = Play::new(PLAYBOOK);
    play.file("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n");
    let secret = serde_json::json!({"db_password": SECRET}).to_string();
    let mut command = play.command(&[&["-e", &secret], more].concat());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn attribute<'v>(span: &'v Value, name: &str) -> &'v Value {
    let all = span["attributes"].as_array().unwrap();
    all.iter().find(|pair| pair["key"] == name).map_or(&Value::Null, |pair| &pair["value"])
}

#[test]
fn a_run_is_a_tree_of_spans_without_secrets() {
    let (address, asked) = collector(Some("200 OK"));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ran = run(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20the-token-of-it,X-Team=db"),
            ("OTEL_SERVICE_NAME", "rollout"),
            ("TRACEPARENT", parent),
        ],
        &[],
    );
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(!ran.all().contains("the trace of"), "{}", ran.all());
    let (path, headers, body) = asked.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(path, "/v1/traces");
    assert_eq!((headers["authorization"].as_str(), headers["x-team"].as_str()), ("Bearer the-token-of-it", "db"));
    assert_eq!(headers["content-type"], "application/json");
    // What is public about the collector is no secret of the run.
    assert!(ran.out.contains("v1/traces of db"), "{}", ran.all());
    assert!(!ran.all().contains("the-token-of-it"), "{}", ran.all());
    assert!(!body.to_string().contains(SECRET), "{body}");

    let group = &body["resourceSpans"][0];
    assert_eq!(attribute(&group["resource"], "service.name")["stringValue"], "rollout");
    let spans = group["scopeSpans"][0]["spans"].as_array().unwrap();
    let by_id: BTreeMap<&str, &Value> = spans.iter().map(|span| (span["spanId"].as_str().unwrap(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "each has an id of its own");
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let root = named("deploy run")[0];
    assert_eq!(root["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(root["status"]["code"], 2, "{root}");
    assert_eq!(attribute(root, "deploy.failed")["intValue"], "1");
    let play = named("play the play")[0];
    let (writes, fails) = (named("task writes")[0], named("task fails")[0]);
    assert_eq!((&play["parentSpanId"], &writes["parentSpanId"]), (&root["spanId"], &play["spanId"]));
    assert_eq!((writes["status"]["code"].as_u64(), fails["status"]["code"].as_u64()), (None, Some(2)));
    for (host, statuses) in [("one", ["changed", "skipped"]), ("two", ["changed", "failed"])] {
        let results = named(host);
        for (task, status) in [writes, fails].iter().zip(statuses) {
            let result = results.iter().find(|result| result["parentSpanId"] == task["spanId"]).unwrap();
            assert_eq!(attribute(result, "deploy.status")["stringValue"], status, "{result}");
            assert_eq!(attribute(result, "host.name")["stringValue"], host);
            let failed = status == "failed";
            assert_eq!(result["status"]["message"].as_str(), failed.then_some("no ********"), "{result}");
        }
    }
    for span in spans {
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        let time = |name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span}");
        if let Some(above) = by_id.get(span["parentSpanId"].as_str().unwrap()) {
            assert!(above["startTimeUnixNano"].as_str() <= span["startTimeUnixNano"].as_str(), "{above} {span}");
        }
    }
}

#[test]
fn a_collector_that_fails_fails_no_run() {
    let good = &["--limit", "one"];
    let (address, _asked) = collector(Some("503 Service Unavailable"));
    let ran = run(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{address}/key-of-the-hook"))], good);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.all().contains("the trace of this run was not sent") && ran.all().contains("503"), "{}", ran.all());
    assert!(!ran.all().contains("key-of-the-hook"), "{}", ran.all());

    let (address, _asked) = collector(None);
    let began = Instant::now();
    let silent = [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
    let ran = run(&silent, good);
    assert!(ran.code == 0 && ran.all().contains("not within 0.3 s"), "{}", ran.all());
    assert!(began.elapsed() < Duration::from_secs(30));

    for (variables, expected) in [
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")], "cannot connect"),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "only http/json",
        ),
    ] {
        let ran = run(&variables, good);
        assert!(ran.code == 0 && ran.all().contains(expected), "{expected}: {}", ran.all());
    }
}
