//! The lab suite: real hosts, looked at with the lab's own means, never only through our recap.
//!
//! It needs root (it boots hosts) and is run by `make test`; `cargo test` alone leaves it out unless
//! `DEPLOY_TEST_LAB=1` says otherwise.

mod accuracy;
mod certificates;
mod checks;
mod cluster;
mod failures;
mod faults;
mod firewall;
mod forty;
mod inputs;
mod issuers;
mod killed;
mod lab;
mod language;
mod restart;
mod rollback;
mod rolling;
mod rotation;
mod runs;
mod secrets;
mod sets;
mod site;
mod tls;
mod turns;

/// One test, so that the hosts are booted once, taken down at the end, and never shared by two scenarios at a time.
#[test]
fn scenarios() {
    if std::env::var_os("DEPLOY_TEST_LAB").is_none() {
        eprintln!("left out: set DEPLOY_TEST_LAB=1 (make test does)");
        return;
    }
    let only = std::env::var("DEPLOY_TEST_ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    let mut passed = 0;
    let every = [
        language::SCENARIOS,
        failures::SCENARIOS,
        inputs::SCENARIOS,
        secrets::SCENARIOS,
        firewall::SCENARIOS,
        site::SCENARIOS,
        tls::SCENARIOS,
        certificates::SCENARIOS,
        issuers::SCENARIOS,
        restart::SCENARIOS,
        rolling::SCENARIOS,
        rollback::SCENARIOS,
        turns::SCENARIOS,
        runs::SCENARIOS,
        rotation::SCENARIOS,
        checks::SCENARIOS,
        accuracy::SCENARIOS,
    ];
    // The long ones are a suite of their own.
    let chosen: Vec<&(&str, fn())> = match faults::wanted() {
        true => faults::all().collect(),
        false => every.into_iter().flatten().collect(),
    };
    for (name, scenario) in chosen {
        if !only.split('|').any(|part| name.contains(part)) {
            continue;
        }
        let began = std::time::Instant::now();
        let ended = std::panic::catch_unwind(scenario);
        if faults::wanted() {
            faults::record(name, ended.is_ok(), began.elapsed());
        }
        let seconds = began.elapsed().as_secs_f64();
        match ended {
            Ok(()) => {
                passed += 1;
                eprintln!("scenario {name} ... ok ({seconds:.1} s)");
            }
            Err(_) => {
                eprintln!("scenario {name} ... FAILED ({seconds:.1} s)");
                failed.push(*name);
                // What it left behind is no other scenario's fault.
                if std::env::var_os("DEPLOY_TEST_KEEP").is_none() {
                    lab::renew();
                }
            }
        }
    }
    if std::env::var_os("DEPLOY_TEST_KEEP").is_none() {
        lab::down();
    }
    eprintln!("lab scenarios: {passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "failed scenarios: {}", failed.join(", "));
}
