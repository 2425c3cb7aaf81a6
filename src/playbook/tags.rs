//! `--tags` and `--skip-tags`.

use std::collections::BTreeSet;

/// Which tags were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSelection {
    only: BTreeSet<String>,
    skip: BTreeSet<String>,
}

impl Default for TagSelection {
    fn default() -> Self {
        TagSelection::new::<&str>(&[], &[])
    }
}

impl TagSelection {
    /// From the values of the options, each perhaps a list with commas. No `--tags` means `all`.
    pub fn new<S: AsRef<str>>(only: &[S], skip: &[S]) -> Self {
        let split = |values: &[S]| -> BTreeSet<String> {
            let tags = values.iter().flat_map(|value| value.as_ref().split(','));
            tags.map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
        };
        let mut only = split(only);
        if only.is_empty() {
            only.insert("all".to_owned());
        }
        TagSelection { only, skip: split(skip) }
    }

    /// The tags that were asked for by name.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        let special = ["all", "tagged", "untagged", "always", "never"];
        self.only.iter().map(String::as_str).filter(move |tag| !special.contains(tag))
    }

    /// Whether everything without the tag `never` runs.
    pub fn is_everything(&self) -> bool {
        self.only.contains("all") && self.skip.is_empty()
    }

    /// Whether a task with these tags runs, its own and all inherited ones.
    pub fn selects<S: AsRef<str>>(&self, tags: &[S]) -> bool {
        let has = |tag: &str| tags.iter().any(|own| own.as_ref() == tag);
        let untagged = tags.is_empty();
        let meets = |set: &BTreeSet<String>| match untagged {
            true => set.contains("untagged"),
            false => tags.iter().any(|tag| set.contains(tag.as_ref())),
        };
        let wanted = has("always")
            || self.only.contains("all") && !has("never")
            || meets(&self.only)
            || self.only.contains("tagged") && !untagged && !has("never");
        if !wanted {
            return false;
        }
        if self.skip.contains("all") {
            return has("always") && !self.skip.contains("always");
        }
        !(meets(&self.skip) || self.skip.contains("tagged") && !untagged)
    }
}

#[cfg(test)]
mod tests {
    use super::TagSelection;

    #[test]
    fn as_ansible_selects() {
        let table: &[(&str, &str, &str, bool)] = &[
            // --tags, --skip-tags, the task's, runs
            ("", "", "", true),
            ("", "", "a", true),
            ("", "", "never", false),
            ("", "", "never,a", false),
            ("a", "", "never,a", true),
            ("never", "", "never", true),
            ("a", "", "a", true),
            ("a", "", "b", false),
            ("a", "", "", false),
            ("a", "", "always", true),
            ("a,b", "", "b", true),
            ("all", "", "b", true),
            ("all", "", "never", false),
            ("tagged", "", "a", true),
            ("tagged", "", "", false),
            ("tagged", "", "never", false),
            ("untagged", "", "", true),
            ("untagged", "", "a", false),
            ("untagged", "", "always", true),
            ("", "a", "a", false),
            ("", "a", "b", true),
            ("", "a", "", true),
            ("", "always", "always", false),
            ("", "all", "a", false),
            ("", "all", "always", true),
            ("", "all,always", "always", false),
            ("", "tagged", "a", false),
            ("", "tagged", "", true),
            ("", "untagged", "", false),
            ("", "untagged", "a", true),
            ("a", "b", "a,b", false),
            ("a", "a", "always,a", false),
        ];
        for (only, skip, tags, runs) in table {
            let tags: Vec<&str> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
            let selection = TagSelection::new(&[*only], &[*skip]);
            assert_eq!(selection.selects(&tags), *runs, "--tags {only} --skip-tags {skip} on {tags:?}");
        }
    }
}
