//! The account that a job runs as.

use std::path::PathBuf;
use std::process::Command;

/// An account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
    /// Where it is at home.
    pub home: PathBuf,
}

/// Where an account that we make is at home.
pub fn new_home(user: &str) -> PathBuf {
    PathBuf::from("/var/lib").join(user)
}

/// Looks it up, wherever accounts are kept; nothing where there is none.
pub fn find(user: &str) -> Result<Option<Account>, String> {
    let told = Command::new("getent").args(["passwd", user]).output();
    let told = told.map_err(|error| format!("cannot ask for the user {user}: getent: {error}"))?;
    Ok(read(&String::from_utf8_lossy(&told.stdout)))
}

fn read(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.lines().next()?.split(':').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
    let home = fields.get(5).filter(|home| home.starts_with('/'))?;
    Some(Account { uid: number(2)?, gid: number(3)?, home: home.into() })
}

/// Makes it: no password, no login shell, a home of its own.
pub fn create(user: &str) -> Result<Account, String> {
    let home = new_home(user);
    let mut useradd = Command::new("useradd");
    useradd.args(["--system", "--user-group", "--create-home", "--shell", "/usr/sbin/nologin", "--home-dir"]);
    let told = useradd.arg(&home).arg(user).output().map_err(|error| format!("useradd: {error}"))?;
    if !told.status.success() {
        return Err(format!("the user {user} cannot be made: {}", String::from_utf8_lossy(&told.stderr).trim()));
    }
    find(user)?.ok_or_else(|| format!("useradd has made the user {user}, and it is not there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read() {
        let account = Account { uid: 998, gid: 997, home: "/var/lib/deploy".into() };
        assert_eq!(read("deploy:x:998:997::/var/lib/deploy:/usr/sbin/nologin\n"), Some(account));
        assert_eq!((read(""), read("deploy:x:998"), read("deploy:x:998:997:::/bin/sh")), (None, None, None));
        assert_eq!(find("root").unwrap().map(|root| root.uid), Some(0));
        assert_eq!(find("nobody-is-called-this"), Ok(None));
    }
}
