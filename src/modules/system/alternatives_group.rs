//! What `update-alternatives --display` says of a name.

use crate::modules::scalars::Text;
use serde::{Deserialize, Serialize};

/// A link that follows another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subcommand {
    /// Its name.
    pub name: Text,
    /// Where it is.
    pub link: Text,
    /// What it leads to.
    pub path: Text,
}

/// One of the programs that a name can mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    pub path: String,
    pub priority: i64,
    pub family: Option<String>,
    pub subcommands: Vec<Subcommand>,
}

/// A name, and what it can mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Somebody has chosen; else it means the one of the highest priority.
    pub manual: bool,
    /// What it means.
    pub current: Option<String>,
    /// The link that leads there.
    pub link: Option<String>,
    pub alternatives: Vec<Alternative>,
}

impl Group {
    /// Debian's program and that of Red Hat's family say the same in almost the same words.
    pub fn parse(name: &str, text: &str) -> Group {
        let mut group = Group::default();
        let mut links: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            let inside = line.trim_start();
            if line.starts_with('/') {
                group.alternatives.extend(alternative(line));
            } else if let Some(rest) = follower(inside) {
                match (rest.split_once(": "), rest.split_once(" is ")) {
                    (Some((name, path)), _) if path != "(null)" => {
                        let own = |(known, _): &&(String, String)| known == name;
                        let link = links.iter().find(own).map(|(_, link)| link.clone()).unwrap_or_default();
                        if let Some(last) = group.alternatives.last_mut() {
                            let (name, path) = (Text(name.into()), Text(path.into()));
                            last.subcommands.push(Subcommand { name, link: Text(link), path });
                        }
                    }
                    (None, Some((name, link))) => links.push((name.to_string(), link.to_string())),
                    _ => {}
                }
            } else if let Some(path) = inside.strip_prefix("link currently points to ") {
                group.current = Some(path.to_string());
            } else if let Some(link) = inside.strip_prefix(&format!("link {name} is ")) {
                group.link = Some(link.to_string());
            } else if let Some(mode) = line.strip_prefix(&format!("{name} - ")) {
                // `manual mode`, `status is manual.`
                group.manual = mode.split([' ', '.']).any(|word| word == "manual");
            }
        }
        group
    }

    pub fn find(&self, path: &str) -> Option<&Alternative> {
        self.alternatives.iter().find(|one| one.path == path)
    }

    /// Makes one known, or known otherwise.
    pub fn add(&mut self, alternative: Alternative) {
        self.alternatives.retain(|one| one.path != alternative.path);
        self.alternatives.push(alternative);
        self.settle();
    }

    /// Takes one away; without the one that was chosen the best is meant again.
    pub fn remove(&mut self, path: &str) {
        self.alternatives.retain(|one| one.path != path);
        self.manual &= self.current.as_deref() != Some(path);
        if self.alternatives.is_empty() {
            *self = Group::default();
        }
        self.settle();
    }

    /// Chooses a path, or a family's best.
    pub fn select(&mut self, choice: &str) {
        let family = self.alternatives.iter().filter(|one| one.family.as_deref() == Some(choice));
        let best = family.max_by_key(|one| one.priority).map(|one| one.path.clone());
        self.current = Some(best.unwrap_or_else(|| choice.to_string()));
        self.manual = true;
    }

    pub fn choose_best(&mut self) {
        self.manual = false;
        self.settle();
    }

    fn settle(&mut self) {
        if !self.manual {
            // Of equal ones the first stays.
            let best = self.alternatives.iter().rev().max_by_key(|one| one.priority);
            self.current = best.map(|one| one.path.clone());
        }
    }

    /// As it stands in a change; nothing where nothing is known of the name.
    pub fn shown(&self) -> String {
        let Some(current) = &self.current else { return String::new() };
        let mode = if self.manual { "manual" } else { "auto" };
        let mut alternatives: Vec<&Alternative> = self.alternatives.iter().collect();
        alternatives.sort_by(|a, b| a.path.cmp(&b.path));
        let mut text = format!("{current} ({mode})\n");
        for one in alternatives {
            text.push_str(&format!("{} priority {}\n", one.path, one.priority));
            for follower in &one.subcommands {
                text.push_str(&format!("  {} {}\n", &*follower.name, &*follower.path));
            }
        }
        text
    }
}

fn follower(line: &str) -> Option<&str> {
    line.strip_prefix("slave ").or_else(|| line.strip_prefix("follower "))
}

/// `/bin/more - priority 50`, `/usr/lib/jvm/… - family java priority 180`
fn alternative(line: &str) -> Option<Alternative> {
    let (path, rest) = line.split_once(" - ")?;
    let mut words = rest.split_whitespace();
    let mut found = Alternative { path: path.to_string(), ..Alternative::default() };
    while let Some(word) = words.next() {
        match word {
            "family" => found.family = words.next().map(str::to_string),
            "priority" => found.priority = words.next()?.parse().ok()?,
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "my-pager - manual mode\n  link best version is /bin/more\n  link currently points to /bin/less\n  \
        link my-pager is /usr/bin/pager\n  slave pager.1.gz is /usr/share/man/man1/pager.1.gz\n/bin/less - priority -10\n\
        /bin/more - priority 50\n  slave pager.1.gz: /usr/share/man/man1/more.1.gz\n";
    const RED_HAT: &str = "java - status is auto.\n link currently points to /j8/java\n/j8/java - family java-8 priority 180\n \
        follower jre: /j8/jre\n follower none: (null)\n/j7/java - priority 70\nCurrent `best' version is /j8/java.\n";

    #[test]
    fn what_is_said() {
        let group = Group::parse("my-pager", DEBIAN);
        assert!(group.manual);
        assert_eq!((group.current.as_deref(), group.link.as_deref()), (Some("/bin/less"), Some("/usr/bin/pager")));
        assert_eq!(group.find("/bin/less").unwrap().priority, -10);
        let followers = &group.find("/bin/more").unwrap().subcommands;
        assert_eq!((followers.len(), &*followers[0].link), (1, "/usr/share/man/man1/pager.1.gz"));

        let group = Group::parse("java", RED_HAT);
        assert!(!group.manual);
        let found = group.find("/j8/java").unwrap();
        assert_eq!((found.family.as_deref(), found.priority, found.subcommands.len()), (Some("java-8"), 180, 1));
        assert_eq!(group.find("/j7/java").unwrap().family, None);
    }

    #[test]
    fn what_would_be() {
        let mut group = Group::parse("my-pager", DEBIAN);
        let more = |path: &str, priority| Alternative { path: path.into(), priority, ..Alternative::default() };
        group.add(more("/bin/cat", 99));
        assert_eq!(group.current.as_deref(), Some("/bin/less"));
        group.remove("/bin/less");
        assert_eq!((group.manual, group.current.as_deref()), (false, Some("/bin/cat")));
        group.select("/bin/more");
        assert_eq!((group.manual, group.current.as_deref()), (true, Some("/bin/more")));
        group.choose_best();
        assert_eq!(group.current.as_deref(), Some("/bin/cat"));
        group.remove("/bin/cat");
        group.remove("/bin/more");
        assert_eq!(group.shown(), "");
        let mut group = Group::parse("java", RED_HAT);
        group.select("java-8");
        assert_eq!(group.current.as_deref(), Some("/j8/java"));
    }
}
