//! What load balancers are told when a node goes and comes back: words and statements, and what their answers mean.

use serde::Serialize;

/// A server of a backend, as HAProxy's `show stat` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Backend.
    pub backend: String,
    /// Server in it.
    pub server: String,
    /// `UP`, `DRAIN`, `MAINT`, `DOWN`, `no check` …
    pub status: String,
    /// Sessions at the moment.
    pub sessions: u64,
}

impl Seen {
    /// It gets no new sessions.
    pub fn is_drained(&self) -> bool {
        self.status.starts_with("DRAIN") || self.status.starts_with("MAINT")
    }
}

/// Reads the answer of HAProxy to `show stat`.
pub fn haproxy_servers(csv: &str) -> Result<Vec<Seen>, String> {
    let mut lines = csv.lines();
    let head = lines.next().unwrap_or_default().trim_start_matches("# ");
    let column = |name: &str| {
        head.split(',')
            .position(|known| known == name)
            .ok_or_else(|| format!("HAProxy's answer has no column `{name}`: {head}"))
    };
    let (backend, server, status, sessions) =
        (column("pxname")?, column("svname")?, column("status")?, column("scur")?);
    let mut found = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        if matches!(cell(server), "FRONTEND" | "BACKEND" | "") {
            continue;
        }
        found.push(Seen {
            backend: cell(backend).into(),
            server: cell(server).into(),
            status: cell(status).into(),
            sessions: cell(sessions).parse().unwrap_or(0),
        });
    }
    Ok(found)
}

/// What HAProxy is told. Names are checked: the socket takes several commands on one line.
pub fn haproxy_command(backend: &str, server: &str, drain: bool) -> Result<String, String> {
    for name in [backend, server] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("`{name}` is no name of a backend or server in HAProxy"));
        }
    }
    Ok(format!("set server {backend}/{server} state {}", if drain { "drain" } else { "ready" }))
}

/// What ProxySQL's administration is told (not tried against a real ProxySQL). `hostgroup` limits it to one.
pub fn proxysql_statements(host: &str, port: u16, hostgroup: Option<u32>, drain: bool) -> Result<Vec<String>, String> {
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) {
        return Err(format!("`{host}` is no name or address of a server"));
    }
    let status = if drain { "OFFLINE_SOFT" } else { "ONLINE" };
    let group = hostgroup.map_or(String::new(), |group| format!(" AND hostgroup_id={group}"));
    Ok(vec![
        format!("UPDATE mysql_servers SET status='{status}' WHERE hostname='{host}' AND port={port}{group}"),
        "LOAD MYSQL SERVERS TO RUNTIME".into(),
    ])
}

/// What MaxScale is told (not tried against a real MaxScale). A master cannot be drained: switch over first.
pub fn maxscale_command(server: &str, drain: bool) -> Result<Vec<String>, String> {
    if server.is_empty() || server.starts_with('-') || server.contains(char::is_whitespace) {
        return Err(format!("`{server}` is no name of a server in MaxScale"));
    }
    let verb = if drain { "set" } else { "clear" };
    Ok(["maxctrl", verb, "server", server, "drain"].map(String::from).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight\n\
        galera,FRONTEND,,,2,3,1000,9,0,0,0,0,0,,,,,OPEN,\n\
        galera,galera1,0,0,2,3,,9,0,0,,0,,0,0,0,0,UP,1\n\
        galera,galera2,0,0,0,1,,1,0,0,,0,,0,0,0,0,DRAIN,1\n\
        galera,galera3,0,0,0,1,,1,0,0,,0,,0,0,0,0,DOWN 1/3,1\n\
        galera,BACKEND,0,0,2,3,100,9,0,0,0,0,,0,0,0,0,UP,3\n";

    #[test]
    fn haproxys_table() {
        let servers = haproxy_servers(STAT).unwrap();
        let short: Vec<(&str, bool, u64)> =
            servers.iter().map(|one| (one.server.as_str(), one.is_drained(), one.sessions)).collect();
        assert_eq!(short, [("galera1", false, 2), ("galera2", true, 0), ("galera3", false, 0)]);
        assert!(haproxy_servers("Unknown command").unwrap_err().contains("pxname"));
    }

    #[test]
    fn words_and_statements() {
        assert_eq!(haproxy_command("galera", "galera1", true).unwrap(), "set server galera/galera1 state drain");
        assert_eq!(haproxy_command("galera", "galera1", false).unwrap(), "set server galera/galera1 state ready");
        for name in ["", "a b", "a;shutdown", "a/b", "a\nb"] {
            assert!(haproxy_command(name, "x", true).is_err() && haproxy_command("x", name, true).is_err(), "{name}");
        }
        let statements = proxysql_statements("10.0.0.1", 3306, None, true).unwrap();
        assert_eq!(
            statements[0],
            "UPDATE mysql_servers SET status='OFFLINE_SOFT' WHERE hostname='10.0.0.1' AND port=3306"
        );
        assert_eq!(statements[1], "LOAD MYSQL SERVERS TO RUNTIME");
        let statements = proxysql_statements("db1", 3306, Some(10), false).unwrap();
        assert!(statements[0].ends_with("AND port=3306 AND hostgroup_id=10") && statements[0].contains("'ONLINE'"));
        assert!(proxysql_statements("x' OR '1'='1", 3306, None, true).is_err());
        assert_eq!(maxscale_command("db1", true).unwrap().join(" "), "maxctrl set server db1 drain");
        assert_eq!(maxscale_command("db1", false).unwrap().join(" "), "maxctrl clear server db1 drain");
        assert!(maxscale_command("--x", true).is_err() && maxscale_command("a b", true).is_err());
    }
}
