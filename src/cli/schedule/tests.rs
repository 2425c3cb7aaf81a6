use super::*;
use serde_json::json;

#[test]
fn a_run_is_what_stands_behind_the_dashes() {
    let of = |words: &[&str]| words_of(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>());
    let (words, run) = of(&[]).unwrap();
    assert_eq!((words, run.playbooks), (vec![PLAYBOOK.to_string()], vec![PathBuf::from(PLAYBOOK)]));
    let (words, run) = of(&["-i", "hosts.yml", "site.yml"]).unwrap();
    assert_eq!((words.len(), name_of(None, &run), run.playbooks.len()), (3, "site".into(), 1));
    assert_eq!(name_of(Some(&"other".to_string()), &run), "other");
    for (words, why) in [
        (&["--ask-pass"][..], "nobody is there to ask"),
        (&["-K"], "nobody is there to ask"),
        (&["-J"], "nobody is there to ask"),
        (&["--step"], "nobody is there to ask"),
        (&["--if-locked", "wait"], "before the `--`"),
        (&["pki", "init"], "not the command"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let refused = of(words).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn times_and_names_are_checked() {
    for (text, expected) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("0", 0)] {
        assert_eq!(seconds(text), Ok(expected));
    }
    for text in ["", "soon", "-1", "1y", "999d"] {
        assert!(seconds(text).is_err(), "{text}");
    }
    assert!(plain_name("deploy_1.x-y").is_ok());
    for text in ["", "-x", "a b", "a/b", "a\nb", "ä"] {
        assert!(plain_name(text).is_err(), "{text:?}");
    }
}

/// What the variables of a project's hosts ask of its unit.
#[test]
fn a_unit_is_given_what_certificates_need() {
    let acme = |listen: &str| {
        json!({"type": "acme", "directory": "https://acme.example/dir", "accept_terms": true, "trust": "/etc/ca.pem",
            "listen": listen})
    };
    let files = json!({"type": "files", "requests": "/srv/requests", "trust": "/etc/corp.pem", "purpose": "client"});
    for (variables, writable, low_port, remark) in [
        (json!({}), &[][..], false, ""),
        (json!({"pki_store": "/srv/pki"}), &["/srv/pki"], false, ""),
        (json!({"pki_store": "~/pki"}), &["/var/lib/deploy/pki"], false, "below the home of"),
        (json!({"pki_issuers": {"corp": files}}), &["/srv/requests"], false, ""),
        (json!({"pki_issuers": {"public": acme("0.0.0.0:80")}}), &[], true, ""),
        (json!({"pki_issuers": {"public": acme("[::]:5002")}}), &[], false, ""),
    ] {
        let mut needs = write::Needs::default();
        for _ in ["one host", "another"] {
            needs.add(variables.as_object().unwrap(), std::path::Path::new("/var/lib/deploy")).unwrap();
        }
        let paths: Vec<_> = needs.writable.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!((paths.as_slice(), needs.low_port), (writable, low_port), "{variables}");
        assert_eq!(needs.remarks.len(), usize::from(!remark.is_empty()), "{needs:?}");
        assert!(needs.remarks.iter().all(|said| said.contains(remark)), "{needs:?}");
    }
    let relative = json!({"pki_store": "pki"});
    let refused = write::Needs::default().add(relative.as_object().unwrap(), std::path::Path::new("/"));
    assert!(refused.unwrap_err().contains("absolute"));
}
