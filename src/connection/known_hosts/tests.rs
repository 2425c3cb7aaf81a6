use super::*;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfkNV4OS33ImTXvorZr72q4v5XhVEQKfvqsxOEJ/XaR";
const RSA_TYPED_AS_ED: &str = "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJfkNV4OS33ImTXvorZr72q4v5XhVEQKfvqsxOEJ/XaR";

fn entries(text: &str) -> Vec<Entry> {
    parse(Path::new("kh"), text)
}

fn known(text: &str) -> KnownHosts {
    KnownHosts::new(vec![Arc::new(entries(text))])
}

#[test]
fn which_lines_are_about_a_host() {
    let table: &[(&str, &str, bool)] = &[
        ("web1", "web1", true),
        ("web1", "web2", false),
        ("WEB1", "web1", true),
        ("web1,10.0.0.1", "10.0.0.1", true),
        ("web?", "web1", true),
        ("web?", "web10", false),
        ("*.example.net", "a.b.example.net", true),
        ("*.example.net", "example.net", false),
        ("*,!web1", "web1", false),
        ("!web1,*", "web1", false),
        ("!web1,*", "web2", true),
        ("!web1", "web2", false),
        ("[web1]:2222", "[web1]:2222", true),
        ("web1", "[web1]:2222", false),
        ("[web1]:2222", "web1", false),
        ("[*.example.net]:2222", "[a.example.net]:2222", true),
        ("::1,fe80::*", "fe80::1", true),
    ];
    for (hosts, name, expected) in table {
        let line = entries(&format!("{hosts} {ED}"));
        assert_eq!(line.len(), 1, "{hosts}");
        assert_eq!(line.first().unwrap().matches(name), *expected, "{hosts} and {name}");
    }
}

#[test]
fn markers_tabs_comments_and_broken_lines() {
    let text = format!(
        "# comment\n\n   \t\nweb1\t{}\tcomment with words\n@cert-authority *.net {ED}\n@revoked * {ED}\n@other x {ED}\nweb2 \
         ssh-ed25519\nweb3 ssh-ed25519 %%%\nweb4 {RSA_TYPED_AS_ED}\n  web5   {ED}\n",
        ED.replace(' ', "\t")
    );
    let found: Vec<(usize, Marker)> = entries(&text).iter().map(|e| (e.line, e.marker)).collect();
    assert_eq!(found, [(4, Marker::HostKey), (5, Marker::Authority), (6, Marker::Revoked), (11, Marker::HostKey)]);
}

#[test]
fn markers_do_not_mix() {
    let known = known(&format!("@cert-authority web1 {ED}\n@revoked web2 {ED}\nweb3 {ED}\n"));
    assert_eq!(known.keys("web1").count(), 0, "an authority is no host key");
    assert_eq!(known.authorities("web1").count(), 1);
    assert_eq!(known.keys("web2").count(), 0);
    let key = known.keys("web3").next().unwrap().key.clone();
    assert_eq!(known.revoked("web2", &key).map(|e| e.line), Some(2));
    assert!(known.revoked("web3", &key).is_none());
    assert!(known.revoked("web2", b"other").is_none());
}

#[test]
fn a_hashed_name_made_by_openssh() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    std::fs::write(&path, format!("web1,[web1]:2222 {ED}\n")).unwrap();
    let status = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path).output().unwrap();
    assert!(status.status.success());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("|1|") && !text.contains("web1"), "{text}");
    let known = KnownHosts::new(vec![Arc::new(read_file(&path).unwrap())]);
    assert_eq!(known.keys("web1").count(), 1);
    assert_eq!(known.keys("[web1]:2222").count(), 1);
    assert_eq!(known.keys("web2").count(), 0);
}

#[test]
fn what_is_recorded_is_found_again_by_us_and_by_openssh() {
    let key = entries(&format!("x {ED}")).remove(0).key;
    for salt in [None, Some([7; 20])] {
        let line = record_line(&record_name("Web1", 2222), "ssh-ed25519", &key, salt);
        assert_eq!(known(&line).keys("[web1]:2222").count(), 1, "{line}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known_hosts");
        std::fs::write(&path, &line).unwrap();
        let found =
            std::process::Command::new("ssh-keygen").args(["-F", "[web1]:2222", "-f"]).arg(&path).output().unwrap();
        assert!(found.status.success(), "ssh-keygen -F does not find {line}");
    }
}

#[test]
fn a_missing_file_is_empty_and_a_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    assert!(read_file(&directory.path().join("none")).unwrap().is_empty());
    assert!(read_file(directory.path()).is_err());
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pub");
    std::fs::write(&path, ED).unwrap();
    let shown = std::process::Command::new("ssh-keygen").args(["-l", "-f"]).arg(&path).output().unwrap();
    let ours = fingerprint(&entries(&format!("x {ED}")).remove(0).key);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&ours), "{ours}");
}

#[test]
fn wildcards() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("??", "ab", true),
        ("*a", "aaab", false),
        ("**a", "ba", true),
    ] {
        assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
    }
    // A pattern made to be slow must not be.
    let start = std::time::Instant::now();
    assert!(!wildcard(&"*a".repeat(40), &"a".repeat(39)));
    assert!(start.elapsed() < std::time::Duration::from_secs(60));
}
