//! Each condition of the gate by itself, on members that are otherwise well.

use super::*;

pub fn synced(host: &str) -> Member {
    let uuid = "6f5c3a52-0000-11ee-8000-aaaaaaaaaaaa".to_string();
    Member {
        host: host.into(),
        process: super::super::Process::Running,
        status: Some(NodeStatus {
            wsrep_on: true,
            cluster_status: "Primary".into(),
            ready: true,
            connected: true,
            local_state: 4,
            local_state_comment: "Synced".into(),
            cluster_size: 3,
            cluster_state_uuid: uuid.clone(),
            local_state_uuid: uuid,
            cluster_conf_id: 7,
            evs_state: "OPERATIONAL".into(),
            ..NodeStatus::default()
        }),
        ..Member::default()
    }
}

type Spoil = fn(&mut NodeStatus);

#[test]
fn each_condition_closes_the_gate_by_itself() {
    let spoils: [(Spoil, &str); 15] = [
        (|s| s.wsrep_on = false, "without Galera"),
        (|s| s.cluster_status = "non-Primary".into(), "quorum"),
        (|s| s.ready = false, "wsrep_ready OFF"),
        (|s| s.connected = false, "wsrep_connected OFF"),
        (
            |s| {
                s.local_state = 2;
                s.local_state_comment = "Donor/Desynced".into();
            },
            "Donor/Desynced, not Synced",
        ),
        (|s| s.local_state = 1, "not Synced"),
        (|s| s.cluster_size = 2, "missing"),
        (|s| s.cluster_size = 4, "unexpected"),
        (|s| s.local_state_uuid = "0".into(), "differs"),
        (|s| s.cluster_conf_id = 8, "view 8 here, 7 on a"),
        (|s| s.desync_count = 1, "desynced on purpose"),
        (|s| s.evs_state = "GATHER".into(), "reforming"),
        (|s| s.evs_delayed = "x:1".into(), "unsteady"),
        (|s| s.local_recv_queue = 11, "11 write sets"),
        (|s| s.links = Links::Mixed, "socket.dynamic"),
    ];
    let members = [synced("a"), synced("b"), synced("c")];
    assert!(gate(&members, 3, &[], &Tolerances::default()).is_open());
    for (spoil, expected) in spoils {
        let mut members = members.clone();
        spoil(members[1].status.as_mut().unwrap());
        match gate(&members, 3, &[], &Tolerances::default()) {
            Verdict::Closed { host, reason } => {
                assert_eq!(host, "b", "{reason}");
                assert!(reason.contains(expected), "{reason} / {expected}");
            }
            Verdict::Open => panic!("open in spite of {expected}"),
        }
    }
}

#[test]
fn two_clusters_silence_and_nobody_close_it() {
    let mut members = [synced("a"), synced("b")];
    let status = members[1].status.as_mut().unwrap();
    status.cluster_state_uuid = "77777777-0000-11ee-8000-aaaaaaaaaaaa".into();
    status.local_state_uuid = status.cluster_state_uuid.clone();
    let verdict = gate(&members, 3, &[], &Tolerances::default());
    assert!(verdict.reason().unwrap().contains("another cluster"), "{verdict:?}");
    members[1].status = None;
    assert!(gate(&members, 3, &[], &Tolerances::default()).reason().unwrap().starts_with("b: no answer"));
    assert!(!gate(&[], 3, &[], &Tolerances::default()).is_open());
}

#[test]
fn what_rises_between_two_looks_closes_it() {
    let mut member = synced("a");
    let mut before = Sample::of(&member);
    member.status.as_mut().unwrap().flow_control_paused_ns = 20_000_000;
    assert!(!gate(&[member.clone()], 3, &[before.clone()], &Tolerances::default()).is_open());
    // Without a sample before, the count since the server's start means nothing.
    assert!(gate(&[member.clone()], 3, &[], &Tolerances::default()).is_open());
    before.paused_ns = 20_000_000;
    before.recv_queue = 3;
    member.status.as_mut().unwrap().local_recv_queue = 4;
    assert!(!gate(&[member.clone()], 3, &[before.clone()], &Tolerances::default()).is_open());
    member.status.as_mut().unwrap().local_recv_queue = 2;
    assert!(gate(&[member], 3, &[before], &Tolerances::default()).is_open());
}

/// Three members that know each other, after a closer look.
fn known() -> [Member; 3] {
    ["a", "b", "c"].map(|host| {
        let mut member = synced(host);
        member.clock = 1_000_000;
        member.close = Some(super::super::Closer::default());
        let status = member.status.as_mut().unwrap();
        status.node_name = host.into();
        status.members = ["a", "b", "c"].map(String::from).to_vec();
        status.incoming_addresses = vec!["10.0.0.1:3306".into(); 3];
        member
    })
}

#[test]
fn what_else_closes_it() {
    use super::super::{Certificate, Leaf, Statement};
    type Spoil = fn(&mut Member);
    let long = |seconds| Statement { user: "app".into(), seconds, kind: "ALTER TABLE".into(), ..Statement::default() };
    let certificate = |not_after| Certificate {
        served: Some(Leaf { serial: "1".into(), not_before: 0, not_after }),
        ..Certificate::default()
    };
    let expected = Expected::all(3, 0);
    let tolerances = Tolerances::default();
    assert!(gate(&known(), expected, &[], &tolerances).is_open());
    let mut quick = known();
    quick[1].status.as_mut().unwrap().statements = vec![long(1)];
    quick[1].close.as_mut().unwrap().certificates = vec![certificate(1_000_000 + 8 * 86_400)];
    assert!(gate(&quick, expected, &[], &tolerances).is_open(), "a short statement, a certificate of eight days");

    let spoils: [(Spoil, &str); 9] = [
        (|m| m.status.as_mut().unwrap().members.push("mallory".into()), "`mallory` is in the cluster"),
        (|m| drop(m.status.as_mut().unwrap().members.pop()), "does not see c"),
        (|m| m.status.as_mut().unwrap().incoming_addresses.push("".into()), "1 arbitrators (garbd), not 0"),
        (|m| m.status.as_mut().unwrap().arbitrators.push("garb".into()), "1 arbitrators (garbd), not 0"),
        (|m| m.backup = Some("mariadb-backup".into()), "a backup is running (mariadb-backup)"),
        (|m| m.clock += 60, "clock differs"),
        (
            |m| m.close.as_mut().unwrap().unreadable = Some("/etc/mysql/ssl/key.pem".into()),
            "may not read /etc/mysql/ssl/key.pem",
        ),
        (
            |m| m.close.as_mut().unwrap().configuration_error = Some("unknown variable 'x=1'".into()),
            "would not start with the option files that are there now: unknown variable",
        ),
        (|m| m.process = super::super::Process::Running, ""),
    ];
    for (spoil, words) in spoils {
        let mut members = known();
        spoil(&mut members[1]);
        let verdict = gate(&members, expected, &[], &tolerances);
        match words {
            "" => assert!(verdict.is_open()),
            words => assert!(verdict.reason().unwrap_or_default().starts_with("b: "), "{words}: {verdict:?}"),
        }
        assert!(verdict.reason().unwrap_or_default().contains(words), "{words}: {verdict:?}");
    }
    let mut members = known();
    members[2].status.as_mut().unwrap().statements = vec![long(9)];
    let reason = gate(&members, expected, &[], &tolerances).reason().unwrap();
    assert!(reason.contains("c: ALTER TABLE of app runs for 9 s"), "{reason}");
    // Those who apply it do not know what it is, and what waits for it is no cause.
    let applied = Statement { user: "system user".into(), seconds: 10, ..Statement::default() };
    members[0].status.as_mut().unwrap().statements = vec![applied];
    members[1].status.as_mut().unwrap().local_recv_queue = 40;
    let reason = gate(&members, expected, &[], &tolerances).reason().unwrap();
    assert!(reason.contains("c: ALTER TABLE of app runs for 9 s"), "{reason}");
    for (not_after, words) in [(999_999, "expired"), (1_000_000 + 3 * 86_400, "expires in 3 days")] {
        let mut members = known();
        members[2].close.as_mut().unwrap().certificates = vec![certificate(not_after)];
        let reason = gate(&members, expected, &[], &tolerances).reason().unwrap();
        assert!(reason.starts_with("c: ") && reason.contains(words), "{reason}");
    }
}

#[test]
fn certificates_past_their_end_are_let_through_and_no_others() {
    use super::super::{Certificate, Leaf};
    let leaf = |not_before, not_after| Some(Leaf { serial: "1".into(), not_before, not_after });
    // The clock of all members is at 1,000,000.
    for (served, words, words_if_expired) in [
        (leaf(0, 2_000_000), None, None),
        (leaf(0, 1_000_060), Some("expires in 60 s"), None),
        (leaf(0, 999_940), Some("expired 60 s ago"), None),
        (leaf(1_000_060, 2_000_000), Some("becomes valid only in 60 s"), Some("becomes valid only in 60 s")),
        (None, Some("could be read neither"), Some("could be read neither")),
    ] {
        let mut members = known();
        members[2].close.as_mut().unwrap().certificates = vec![Certificate { served, ..Certificate::default() }];
        for (expired, words) in [(false, words), (true, words_if_expired)] {
            let tolerances = Tolerances { expired, ..Tolerances::default() };
            let reason = gate(&members, Expected::all(3, 0), &[], &tolerances).reason();
            match words {
                None => assert_eq!(reason, None),
                Some(words) => {
                    assert!(reason.as_ref().is_some_and(|text| text.contains(words)), "{words}: {reason:?}")
                }
            }
        }
    }
}

#[test]
fn disks() {
    const MB: u64 = 1_000_000;
    // Data and free space of b, in MB; the others have 300 and 1000.
    for (data, free, words) in [
        (300, 1000, None),
        (300, 64, None),
        (300, 63, Some("its disk is full: 63 MB are free")),
        (300, 0, Some("its disk is full: 0 B are free")),
        (0, 0, None),   // not looked at
        (0, 200, None), // not counted
        (100, 200, None),
        (100, 199, Some("has room for 299 MB, and the data of c are 300 MB")),
    ] {
        let mut members = known();
        for member in &mut members {
            let close = member.close.as_mut().unwrap();
            (close.data_bytes, close.disk_free) = (300 * MB, 1000 * MB);
        }
        let close = members[1].close.as_mut().unwrap();
        (close.data_bytes, close.disk_free) = (data * MB, free * MB);
        let verdict = gate(&members, Expected::all(3, 0), &[], &Tolerances::default());
        match words {
            None => assert!(verdict.is_open(), "{data} {free}: {verdict:?}"),
            Some(words) => {
                let reason = verdict.reason().unwrap_or_default();
                assert!(reason.starts_with("b: ") && reason.contains(words), "{data} {free}: {verdict:?}");
            }
        }
        let off = Tolerances { disk_free: 0, ..Tolerances::default() };
        assert!(gate(&members, Expected::all(3, 0), &[], &off).is_open(), "{data} {free}");
    }
}

#[test]
fn arbitrators_are_counted() {
    let mut members = known();
    for member in &mut members {
        let status = member.status.as_mut().unwrap();
        status.cluster_size = 4;
        status.arbitrators = vec!["garb".into()];
        status.incoming_addresses.push(String::new());
    }
    assert!(gate(&members, Expected::all(3, 1), &[], &Tolerances::default()).is_open());
    assert!(!gate(&members, Expected::all(3, 0), &[], &Tolerances::default()).is_open());
    let reason = gate(&members, Expected::all(3, 2), &[], &Tolerances::default()).reason().unwrap();
    assert!(reason.contains("4 members, not 5"), "{reason}");
}

#[test]
fn silence_says_what_is_known() {
    let mut members = known();
    members[0].status = None;
    members[0].process = super::super::Process::Failed;
    assert!(
        gate(&members, 3, &[], &Tolerances::default())
            .reason()
            .unwrap()
            .contains("a: no answer from its server (the server has failed)")
    );
}

#[test]
fn pauses_are_judged_by_the_hosts_own_time() {
    let mut member = synced("a");
    member.at_ms = 10_000;
    let before = Sample::of(&member);
    member.at_ms = 20_000;
    member.status.as_mut().unwrap().flow_control_paused_ns = 50_000_000;
    // 50 ms of 10 s are half a per cent.
    assert!(gate(&[member.clone()], 3, std::slice::from_ref(&before), &Tolerances::default()).is_open());
    member.at_ms = 11_000;
    assert!(!gate(&[member], 3, &[before], &Tolerances::default()).is_open());
}
