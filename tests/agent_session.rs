//! A session with a real agent on this machine: bootstrap, pipelining, contents both ways, relays, losses.

mod agent_support;

use agent_support::*;
use deploy::connection::Connection;
use deploy::connection::agent::{AgentError, AgentOptions, Call, Host, OpenFuture, Program, Programs, Session};
use deploy::machine::Mode;
use deploy::modules::Status;
use deploy::wire::{OnFailure, Reply};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn the_agent_is_brought_once_and_answers() {
    let directory = tempfile::tempdir().unwrap();
    let first = session(directory.path()).await;
    let outcome = run(&first, Call::new(request("ansible.builtin.ping", json!({})))).await;
    assert_eq!((outcome.status, &outcome.data["ping"]), (Status::Ok, &json!("pong")));
    first.close().await;
    let copy = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("agent-");
    let copies =
        || std::fs::read_dir(directory.path().join("agent")).unwrap().flatten().filter(|e| copy(&e.file_name()));
    let (before, began) = (copies().next().unwrap().metadata().unwrap(), Instant::now());
    session(directory.path()).await.close().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(copies().count(), 1);
    assert_eq!(copies().next().unwrap().metadata().unwrap().modified().unwrap(), before.modified().unwrap());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(before.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_thousand_requests_keep_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let file = directory.path().join("order");
    let began = Instant::now();
    let pending: Vec<_> = (0..1000)
        .map(|i| session.submit(probe(json!({"echo": i.to_string(), "append": file, "change": format!("/{i}")}))))
        .collect();
    for (i, pending) in pending.into_iter().enumerate() {
        let outcome = done(pending.await.unwrap().reply);
        assert_eq!(outcome.data["echo"], json!(i.to_string()));
        assert_eq!(outcome.changes.len(), 1);
    }
    println!("1000 requests in {:?}", began.elapsed());
    let order = std::fs::read_to_string(&file).unwrap();
    assert_eq!(order, (0..1000).map(|i| format!("{i}\n")).collect::<String>());
}

#[tokio::test]
async fn a_failure_stops_its_epoch_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let submit = |epoch, on_failure, arguments: Value| {
        let mut call = probe(arguments);
        (call.request.epoch, call.request.on_failure) = (epoch, on_failure);
        session.submit(call)
    };
    let fail = json!({"end": "fail"});
    let all = [
        submit(1, OnFailure::Continue, fail.clone()),
        submit(1, OnFailure::Stop, json!({})),
        submit(1, OnFailure::Stop, fail.clone()),
        submit(1, OnFailure::Stop, json!({})),
        submit(1, OnFailure::Continue, json!({})),
        submit(2, OnFailure::Stop, json!({})),
    ];
    let mut said = Vec::new();
    for pending in all {
        said.push(match pending.await.unwrap().reply {
            Reply::Done(outcome) => format!("{:?}", outcome.status),
            Reply::NotRun => "NotRun".into(),
            Reply::BecomeFailed { why, .. } => why,
        });
    }
    assert_eq!(said, ["Failed", "Ok", "Failed", "NotRun", "NotRun", "Ok"]);
}

#[tokio::test]
async fn a_failure_in_a_group_stops_what_is_behind_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let submit = |group, arguments: Value| {
        let mut call = probe(arguments);
        (call.request.epoch, call.request.on_failure, call.request.group) = (1, OnFailure::Stop, group);
        session.submit(call)
    };
    let all = [submit(7, json!({"end": "fail"})), submit(7, json!({})), submit(0, json!({})), submit(8, json!({}))];
    let mut said = Vec::new();
    for pending in all {
        said.push(match pending.await.unwrap().reply {
            Reply::Done(outcome) => format!("{:?}", outcome.status),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(said, ["Failed", "Ok", "NotRun", "NotRun"]);
}

#[tokio::test]
async fn a_module_that_breaks_is_a_failed_task() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    for (end, expected) in [("panic", "asked to panic"), ("abort", "signal 6"), ("kill", "signal 9")] {
        let mut call = probe(json!({"end": end, "change": "/x"}));
        call.request.mode = Mode::Live;
        call.request.on_failure = OnFailure::Continue;
        let outcome = run(&session, call).await;
        let msg = outcome.msg.unwrap_or_default();
        assert_eq!(outcome.status, Status::Failed, "{end}");
        assert!(msg.contains(expected) && msg.contains(PROBE), "{end}: {msg}");
        let mut next = probe(json!({"echo": "alive"}));
        next.request.mode = Mode::Live;
        assert_eq!(run(&session, next).await.data["echo"], "alive", "after {end}");
    }
    // In a check the predictions are gone with it, which no later task may hide.
    assert_eq!(run(&session, probe(json!({}))).await.status, Status::Ok);
    let mut call = probe(json!({"end": "panic"}));
    call.request.on_failure = OnFailure::Continue;
    assert_eq!(run(&session, call).await.status, Status::Failed);
    assert_eq!(run(&session, probe(json!({}))).await.status, Status::Unknown);
    let mut call = Call::new(request("no.such.module", json!({})));
    call.request.mode = Mode::Live;
    let outcome = run(&session, call).await;
    assert!(outcome.msg.unwrap().contains("no.such.module"));
}

#[tokio::test]
async fn contents_come_back_and_long_results_too() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let size = 20_000_000;
    let answer = session.submit(probe(json!({"send": size}))).await.unwrap();
    assert_eq!(std::fs::metadata(&answer.received["probe"]).unwrap().len(), size);
    let long = 5_000_000;
    let outcome = run(&session, probe(json!({"long": long, "echo": "y".repeat(3_000_000)}))).await;
    assert_eq!(outcome.data["long"].as_str().unwrap().len(), long);
    assert_eq!(outcome.data["echo"].as_str().unwrap().len(), 3_000_000);

    let mut nowhere = options(directory.path());
    nowhere.received = Some("/nonexistent".into());
    let session = Session::start(&local().await, programs(), &nowhere).await.unwrap();
    let outcome = run(&session, probe(json!({"send": size}))).await;
    assert!(outcome.msg.as_ref().is_some_and(|m| m.contains("cannot store `probe`")), "{:?}", outcome.msg);
}

#[tokio::test]
async fn progress_is_told_and_environment_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut call = probe(json!({"sleep_ms": 5, "getenv": "COLOUR"}));
    call.request.environment.insert("COLOUR".into(), "blue".into());
    let sink = told.clone();
    call.progress = Some(Arc::new(move |progress| sink.lock().unwrap().push(progress.text)));
    assert_eq!(run(&session, call).await.data["getenv"], "blue");
    assert_eq!(*told.lock().unwrap(), ["sleeping"]);
}

#[tokio::test]
async fn a_relay_passes_bytes_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = socket.into_split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
    });
    let busy = session.submit(probe(json!({"sleep_ms": 1500})));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for id in 0..20u8 {
        let relay = session.relay("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        tasks.push(tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(relay);
            let sending = tokio::spawn(async move {
                write.write_all(&vec![id; 3_000_000]).await.unwrap();
                write.shutdown().await.unwrap();
                write
            });
            let mut back = Vec::new();
            read.read_to_end(&mut back).await.unwrap();
            sending.await.unwrap();
            assert!(back.len() == 3_000_000 && back.iter().all(|b| *b == id), "{}", back.len());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    println!("20 relays with 3 MB each way in {:?}", began.elapsed());
    assert_eq!(done(busy.await.unwrap().reply).status, Status::Ok);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = session.relay("127.0.0.1", closed, Duration::from_secs(5)).await.err().unwrap();
    assert!(error.to_string().contains("refused"), "{error}");
    // One that is dropped closes the connection at the other end.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay =
        session.relay("127.0.0.1", listener.local_addr().unwrap().port(), Duration::from_secs(5)).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    drop(relay);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), socket.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_lost_channel_is_told_to_everybody_with_the_task_in_hand() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let mut pending = Vec::new();
    for (index, label) in ["restart the database", "check it", "go on"].into_iter().enumerate() {
        let mut call = probe(json!({"sleep_ms": 5000 * u64::from(index == 0)}));
        call.request.label = label.into();
        pending.push(session.submit(call));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let hub = rustix::process::Pid::from_raw(session.hello().pid as i32).unwrap();
    rustix::process::kill_process(hub, rustix::process::Signal::KILL).unwrap();
    for (index, pending) in pending.into_iter().enumerate() {
        let lost = pending.await.unwrap_err();
        assert_eq!(lost.during, "restart the database");
        assert_eq!(lost.was_in_hand(), index == 0);
    }
    assert!(session.submit(probe(json!({}))).await.is_err(), "what comes later is lost at once");
    assert!(session.relay("127.0.0.1", 1, Duration::from_secs(1)).await.is_err());
}

#[tokio::test]
async fn a_check_predicts_and_a_live_task_inside_it_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    for (mode, said) in [(Mode::Predicted, "Predicted"), (Mode::Tainted, "Tainted"), (Mode::Live, "Live")] {
        let mut call = probe(json!({}));
        call.request.mode = mode;
        assert_eq!(run(&session, call).await.data["mode"], said);
    }
}

/// Runs commands with something before them.
struct Before(Connection, &'static str);

impl Host for Before {
    fn open<'a>(&'a self, command: &'a str) -> OpenFuture<'a> {
        Box::pin(async move { Host::open(&self.0, &format!("{}\n{command}", self.1)).await })
    }
}

#[tokio::test]
async fn noisy_shells_are_understood_and_broken_ones_explained() {
    let directory = tempfile::tempdir().unwrap();
    for noise in ["echo 'Welcome to the host!'; echo careful >&2", "head -c 100000 /dev/urandom"] {
        let host = Before(local().await, noise);
        let session = Session::start(&host, programs(), &options(directory.path())).await.unwrap();
        assert_eq!(run(&session, probe(json!({"echo": "x"}))).await.data["echo"], "x");
    }
    let mut options = options(directory.path());
    options.timeout = Duration::from_secs(2);
    for (before, expected) in [
        ("echo This account is not available.; exit 1", "not available"),
        ("echo broken profile >&2; exit 3", "broken profile"),
        ("sleep 20", "nothing within 2 s"),
        ("yes", "print without end"),
    ] {
        let error = Session::start(&Before(local().await, before), programs(), &options).await.err().unwrap();
        assert!(error.to_string().contains(expected), "{before}: {error}");
    }
}

#[tokio::test]
async fn a_bad_directory_says_which_setting_to_change() {
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    std::fs::create_dir(&open).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (path, expected) in [
        ("relative".to_string(), "absolute"),
        ("/tmp/$(id)".to_string(), "absolute"),
        (open.display().to_string(), "written by others"),
        (format!("{}/below", file.display()), "cannot make the directory"),
        ("/proc/agent".to_string(), "cannot make the directory"),
    ] {
        let options = AgentOptions { directory: Some(path.clone()), ..Default::default() };
        let error = Session::start(&local().await, programs(), &options).await.err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("deploy_agent_dir"), "{path}: {error}");
    }
}

#[tokio::test]
async fn noexec_full_disks_and_other_cpus_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |name: &str, options: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let mut mount = std::process::Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).stderr(std::process::Stdio::null());
        (done.status().is_ok_and(|s| s.success()), path)
    };
    let (noexec, full) = (mount("noexec", "noexec,mode=700"), mount("full", "size=64k,mode=700"));
    let mut results = Vec::new();
    for (mounted, path, expected) in [(noexec.0, noexec.1, "noexec"), (full.0, full.1, "disk full")] {
        if !mounted {
            eprintln!("not tried, because this user may not mount: {expected}");
            continue;
        }
        let options = AgentOptions { directory: Some(path.display().to_string()), ..Default::default() };
        let error = Session::start(&local().await, programs(), &options).await.err().map(|e| e.to_string());
        std::process::Command::new("umount").arg(&path).status().unwrap();
        results.push((error.unwrap_or_default(), expected));
    }
    for (error, expected) in results {
        assert!(error.contains(expected) && error.contains("deploy_agent_dir"), "{expected}: {error}");
    }
    let other = Programs::of([Program::from_file("vax", Path::new(env!("CARGO_BIN_EXE_deploy-agent"))).unwrap()]);
    match Session::start(&local().await, &other, &options(directory.path())).await.err() {
        Some(error @ AgentError::NoProgram { .. }) => {
            let error = error.to_string();
            assert!(error.contains(std::env::consts::ARCH) && error.contains("vax"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Without gzip it comes as it is.
    let host = Before(
        local().await,
        "PATH=$(mktemp -d) && for p in uname ls mkdir chmod head wc rm mv find touch; do \
                                      ln -s $(PATH=/bin:/usr/bin; command -v $p) $PATH/$p 2>/dev/null || \
                                      /bin/ln -s /bin/$p $PATH/$p; done; export PATH",
    );
    let session = Session::start(&host, programs(), &options(directory.path())).await.unwrap();
    assert_eq!(run(&session, probe(json!({"echo": "x"}))).await.data["echo"], "x");
}
