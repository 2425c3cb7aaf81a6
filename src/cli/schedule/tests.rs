use super::*;

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
