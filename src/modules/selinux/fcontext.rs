//! What `semanage fcontext -l` says: the labels that paths get, and paths that count as others.

/// A label: `system_u:object_r:mysqld_db_t:s0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub user: String,
    pub role: String,
    pub kind: String,
    /// A policy without levels has none.
    pub level: Option<String>,
}

impl Label {
    /// Nothing for `<<None>>`: what a path has is left alone.
    pub fn parse(text: &str) -> Option<Label> {
        let mut parts = text.trim().splitn(4, ':').map(str::to_string);
        let (user, role, kind) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Label { user, role, kind, level: parts.next() })
    }

    pub fn shown(&self) -> String {
        let level = self.level.as_ref().map_or(String::new(), |level| format!(":{level}"));
        format!("{}:{}:{}{level}", self.user, self.role, self.kind)
    }
}

/// How a path that is left alone is listed, and how it is shown.
pub const NO_LABEL: &str = "<<None>>";

/// What is listed for a target and a kind of files: `/srv/x(/.*)?   all files   system_u:object_r:etc_t:s0`.
pub fn label_of<'a>(listing: &'a str, target: &str, files: &str) -> Option<&'a str> {
    let own = |line: &'a str| {
        let rest = line.strip_prefix(target)?;
        let label = rest.trim_start().strip_prefix(files)?;
        (rest.starts_with(' ') && label.starts_with(' ')).then(|| label.trim())
    };
    listing.lines().filter_map(own).next_back()
}

/// Paths that count as others: those of the distribution, and those of this host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Equivalences {
    pub distribution: Vec<(String, String)>,
    pub local: Vec<(String, String)>,
}

impl Equivalences {
    /// They stand behind the labels, under headings of their own.
    pub fn read(listing: &str) -> Equivalences {
        let mut found = Equivalences::default();
        let mut list = None;
        for line in listing.lines().map(str::trim) {
            match line {
                "SELinux Distribution fcontext Equivalence" => list = Some(&mut found.distribution),
                "SELinux Local fcontext Equivalence" => list = Some(&mut found.local),
                line => {
                    if let (Some(list), Some((target, other))) = (list.as_mut(), line.split_once(" = ")) {
                        list.push((target.to_string(), other.to_string()));
                    }
                }
            }
        }
        found
    }

    /// What a path counts as.
    pub fn of(&self, target: &str) -> Option<&str> {
        self.all().find(|(own, _)| own == target).map(|(_, other)| other.as_str())
    }

    /// Whether it was said on this host that the path counts as another.
    pub fn is_local(&self, target: &str) -> bool {
        self.local.iter().any(|(own, _)| own == target)
    }

    fn all(&self) -> impl Iterator<Item = &(String, String)> {
        self.distribution.iter().chain(&self.local)
    }

    /// Why a target cannot have a label or an equivalence of its own.
    pub fn refusal(&self, target: &str) -> Option<String> {
        if target.is_empty() || target.contains(['\n', ' ']) {
            return Some(format!("`{target}` is no target: it is empty, or has a space or a line's end in it"));
        }
        let (own, other) = self.all().find(|(own, _)| below(target, own))?;
        let rest = target.get(own.len()..).unwrap_or_default();
        Some(format!(
            "File spec {target} conflicts with equivalency rule '{own} {other}'; Try adding '{other}{rest}' instead"
        ))
    }

    /// Why a path cannot count as another one.
    pub fn refusal_of_equivalence(&self, target: &str, other: &str) -> Option<String> {
        for (what, path) in [("Target", target), ("Substitute", other)] {
            if path.len() > 1 && path.ends_with('/') {
                return Some(format!("{what} {path} is not valid. {what} is not allowed to end with '/'"));
            }
        }
        let inside = self.all().find(|(own, _)| below(own, target));
        self.refusal(target).or_else(|| {
            inside.map(|(own, other)| format!("File spec {target} conflicts with equivalency rule '{own} {other}'"))
        })
    }
}

fn below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "SELinux fcontext                                   type               Context\n\n\
        /srv/my(/.*)?                                      directory          system_u:object_r:mysqld_db_t:s0 \n\
        /srv/my(/.*)?                                      all files          u:r:t:s0:c0.c1023 \n\
        /srv/my                                            all files          u:r:t \n\
        /srv/none                                          all files          <<None>>\n\n\
        SELinux Distribution fcontext Equivalence \n\n/lib = /usr/lib\n\n\
        SELinux Local fcontext Equivalence \n\n/srv/other = /srv/my\n";

    #[test]
    fn labels() {
        for (target, files, expected) in [
            ("/srv/my(/.*)?", "directory", Some("system_u:object_r:mysqld_db_t:s0")),
            ("/srv/my(/.*)?", "all files", Some("u:r:t:s0:c0.c1023")),
            ("/srv/my", "all files", Some("u:r:t")),
            ("/srv/my", "directory", None),
            ("/srv/none", "all files", Some("<<None>>")),
            ("/srv", "all files", None),
        ] {
            let found = label_of(LISTING, target, files);
            assert_eq!(found, expected, "{target}");
            let shown = found.filter(|text| *text != NO_LABEL).and_then(Label::parse).map(|label| label.shown());
            assert_eq!(shown.as_deref(), expected.filter(|text| *text != NO_LABEL));
        }
        assert_eq!(Label::parse(NO_LABEL), None);
        assert_eq!(Label::parse("u:r:t:s0:c1").unwrap().level.as_deref(), Some("s0:c1"));
    }

    #[test]
    fn equivalences() {
        let found = Equivalences::read(LISTING);
        assert_eq!(
            (found.of("/lib"), found.of("/srv/other"), found.of("/srv")),
            (Some("/usr/lib"), Some("/srv/my"), None)
        );
        assert!(found.is_local("/srv/other") && !found.is_local("/lib"));
        for (target, expected) in [
            ("/srv/x(/.*)?", ""),
            ("/lib", ""),
            ("/lib/x", "Try adding '/usr/lib/x' instead"),
            ("/srv/other/x", "Try adding '/srv/my/x' instead"),
            ("/a b", "no target"),
            ("", "no target"),
        ] {
            let said = found.refusal(target).unwrap_or_default();
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{target}: {said}");
        }
        for (target, other, expected) in [
            ("/srv/a", "/srv/b", ""),
            ("/srv", "/x", "rule '/srv/other /srv/my'"),
            ("/srv/a/", "/x", "Target /srv/a/ is not valid"),
            ("/srv/a", "/x/", "Substitute /x/ is not valid"),
            ("/", "/x", "conflicts"),
        ] {
            let said = found.refusal_of_equivalence(target, other).unwrap_or_default();
            assert!(
                said.contains(expected) && said.is_empty() == expected.is_empty() || target == "/",
                "{target}: {said}"
            );
        }
    }
}
