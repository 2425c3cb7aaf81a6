//! Lines of the server's log and what they mean.

/// What a line contains, and its meaning.
const CAUSES: [(&str, &str); 29] = [
    (
        "unsuitable certificate purpose",
        "a peer's certificate may not be used for this: cluster certificates need both serverAuth and clientAuth",
    ),
    ("unsupported certificate", "a peer refuses this node's certificate: it needs both serverAuth and clientAuth"),
    ("certificate has expired", "a peer's certificate has expired"),
    ("alert certificate expired", "this node's certificate has expired"),
    ("certificate is not yet valid", "a certificate is not valid yet: compare the hosts' clocks"),
    ("self-signed certificate in certificate chain", "the peer's authority is not among those this node trusts"),
    ("unable to get local issuer certificate", "the peer's authority is not among those this node trusts"),
    ("alert unknown ca", "the peer does not trust the authority of this node's certificate"),
    (
        "peer did not return a certificate",
        "something connected without a certificate (a probe, or a client of one-way TLS)",
    ),
    ("unexpected eof while reading", "the peer does not speak TLS: it is configured without it"),
    ("wrong version number", "one end of a transfer speaks TLS and the other does not"),
    ("key values mismatch", "the private key does not belong to the certificate"),
    (
        "Will never receive state. Need to abort",
        "the state transfer could not be done: is port 4568 (IST) open from all members?",
    ),
    ("IST sender, failed to connect", "the donor cannot reach port 4568 of the joining node: is the firewall open?"),
    (
        "Donor does not know my secret",
        "the transfer reached another joiner: check the receive address (wsrep_sst_receive_address)",
    ),
    (
        "It may not be safe to bootstrap",
        "this node was not the last to leave the cluster: another one may have newer data",
    ),
    ("Application received wrong state", "a full state transfer has failed"),
    ("unknown variable", "the option files contain a variable that this server does not know"),
    ("unknown option", "the option files contain an option that this server does not know"),
    ("No space left on device", "the disk is full"),
    ("Errcode: 28", "the disk is full"),
    ("OS error: 28", "the disk is full"),
    ("Probably out of disk space", "the disk is full"),
    ("Disk is full", "the disk is full"),
    (
        "Unable to get private key",
        "the server may not read its private key (it runs as the user mysql), or it does not belong to the certificate",
    ),
    ("for integer type", "a provider option (wsrep_provider_options) has a value that the provider does not take"),
    ("Can't create/write to file", "a directory that the option files name is not there, or mysql may not write to it"),
    ("Address already in use", "another process uses the port"),
    (
        "failed to reach primary view",
        "no other member with quorum was reached: check the cluster's addresses, port 4567 and TLS",
    ),
];

/// What a line means, where it is known.
pub fn explain(line: &str) -> Option<&'static str> {
    if line.contains("socket.ssl") && line.contains("Permission denied") {
        return Some("the server may not read its certificate or key: it runs as the user mysql");
    }
    if line.contains("socket.ssl") && line.contains("No such file") {
        return Some("a certificate or key that the provider options name is not there");
    }
    if line.contains("WSREP_SST: [ERROR]") && line.contains("not found") {
        return Some("a program that the state transfer needs is missing (socat, mariadb-backup)");
    }
    CAUSES.iter().find(|(text, _)| line.contains(text)).map(|(_, cause)| *cause)
}

/// The lines of a log that are worth showing (errors, at most `limit`, the last ones), and the first known cause.
pub fn notable(log: &str, limit: usize) -> (Vec<String>, Option<&'static str>) {
    let mut lines: Vec<String> = log
        .lines()
        .filter(|line| line.contains("[ERROR]") || line.contains("terminated") || explain(line).is_some())
        .map(str::to_string)
        .collect();
    let cause = lines.iter().find_map(|line| explain(line));
    lines.dedup();
    let start = lines.len().saturating_sub(limit);
    (lines.split_off(start), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_explained() {
        for (line, expected) in [
            ("error: certificate verify failed: unsuitable certificate purpose", "serverAuth and clientAuth"),
            ("handshake: tlsv1 alert unknown ca", "does not trust"),
            ("Bad value '/x' for SSL parameter 'socket.ssl_key': Permission denied", "user mysql"),
            ("mariadbd: unknown variable 'wsrep_nonsense=1'", "does not know"),
            ("WSREP: Will never receive state. Need to abort.", "4568"),
            ("WSREP_SST: [ERROR] socat not found in path", "missing"),
        ] {
            assert!(explain(line).is_some_and(|cause| cause.contains(expected)), "{line}: {:?}", explain(line));
        }
        assert_eq!(explain("[Note] all is well"), None);
    }

    #[test]
    fn the_last_errors_and_the_first_cause() {
        let log = "[Note] x\n[ERROR] one\nalert unknown ca\n[ERROR] two\n[ERROR] three\n";
        let (lines, cause) = notable(log, 2);
        assert_eq!(lines, ["[ERROR] two", "[ERROR] three"]);
        assert!(cause.is_some_and(|c| c.contains("trust")));
    }
}
