//! Large contents pass with little memory at both ends. A test program of its own: memory is measured per process.

mod agent_support;

use agent_support::*;
use deploy::connection::agent::Blobs;
use deploy::modules::{Content, Status};
use deploy::wire::OnFailure;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

#[tokio::test]
async fn large_contents_are_streamed_with_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let session = session(directory.path()).await;
    let mebibytes: u64 = std::env::var("DEPLOY_TEST_BLOB_MIB").ok().and_then(|v| v.parse().ok()).unwrap_or(192);
    let path = directory.path().join("large");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(mebibytes * 1024 * 1024).unwrap();
    let blobs = Arc::new(Blobs::default());
    let content = blobs.offer_file(&path).unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap(); // the peak so far: compressing the agent
    let before = peak_kib();
    let began = Instant::now();
    let mut call = probe(json!({"content": content, "rss": "yes"}));
    call.blobs = blobs.clone();
    let outcome = run(&session, call).await;
    assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.msg);
    let Content::Blob { sha256, size } = content else { panic!() };
    assert_eq!((&outcome.data["sha256"], &outcome.data["size"]), (&json!(sha256), &json!(size)));
    let (host, ours) = (outcome.data["peak_kib"].as_u64().unwrap(), peak_kib());
    println!("{mebibytes} MiB in {:?}; peak {host} KiB on the host, {before} → {ours} KiB here", began.elapsed());
    assert!(host < 32 * 1024, "{host} KiB");
    // The program itself, compressed and plain, is in memory before.
    assert!(ours < before + 24 * 1024, "{before} → {ours} KiB");

    // Not read to the end, then another: streams do not mix.
    let mut call = probe(json!({"content": {"blob": {"sha256": sha256, "size": size}}, "stop_after": 100_000}));
    call.blobs = blobs.clone();
    assert_eq!(run(&session, call).await.status, Status::Ok);
    assert_eq!(run(&session, probe(json!({"echo": "next"}))).await.data["echo"], "next");

    // A file that changes on the way, one that was never offered.
    let mut call = probe(json!({"content": {"blob": {"sha256": sha256, "size": size}}}));
    call.blobs = blobs.clone();
    call.request.on_failure = OnFailure::Continue;
    std::fs::File::options().write(true).open(&path).unwrap().set_len(3000).unwrap();
    let outcome = run(&session, call).await;
    assert!(outcome.msg.as_ref().is_some_and(|m| m.contains("shorter")), "{:?}", outcome.msg);
    let mut call = probe(json!({"content": {"blob": {"sha256": "00", "size": 5}}}));
    call.request.on_failure = OnFailure::Continue;
    assert_eq!(run(&session, call).await.status, Status::Failed);
    assert_eq!(run(&session, probe(json!({"echo": "next"}))).await.data["echo"], "next");
}
