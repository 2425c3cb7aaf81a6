//! The rules: what each looks for, why that matters, what to do.

use crate::source::{Diag, Severity};

/// A rule. Its name is what `# noqa:` and `--skip` take.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// How bad a breach is, unless the breach itself says otherwise.
    pub severity: Severity,
    /// What it looks for, in a few words.
    pub title: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Rule {
    /// A breach of it.
    pub fn breach(&self, message: impl Into<String>) -> Diag {
        let mut diag = Diag::note(message);
        diag.severity = self.severity;
        diag
    }
}

/// The rule of this name.
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// Whether a text stands in what is said of the rules.
pub fn speak_of(text: &str) -> bool {
    ALL.iter().any(|rule| [rule.id, rule.title, rule.why, rule.remedy].iter().any(|said| said.contains(text)))
}

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident: $title:literal; $why:literal; $remedy:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: Rule = Rule {
                id: $id,
                severity: Severity::$severity,
                title: $title,
                why: $why,
                remedy: $remedy,
            };
        )*
        /// All rules, sorted as they are told.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    // What the loader finds: it would stop a run, or the task when it is reached.
    YAML_SYNTAX "yaml-syntax" Error: "The file is no YAML that can be read";
        "nothing in the file can be used"; "mend the file at the place";
    DUPLICATE_KEY "duplicate-key" Warning: "A key stands twice in a dictionary";
        "only the last one counts, the other is lost without a word"; "remove one of them";
    BASE_60 "base-60" Warning: "Digits with colons that YAML reads as a number in base 60";
        "`12:30` without quotes is 750"; "put it in quotes";
    PLAYBOOK "playbook" Error: "The structure of a playbook, role or file of tasks is wrong";
        "no play of the file can run"; "write it as the message says";
    UNKNOWN_KEYWORD "unknown-keyword" Error: "A word that is no keyword where it stands";
        "a misspelt keyword would have no effect"; "correct the word, or indent it to where it belongs";
    UNKNOWN_MODULE "unknown-module" Error: "A module that does not exist here";
        "a task whose module is unknown fails when it is reached; where no condition stands before it, nothing runs";
        "use a module of `deploy doc --list`, or put one of your own into library/ (docs/own-modules.md)";
    UNKNOWN_ARGUMENT "unknown-argument" Error: "An argument that the module does not take";
        "the task fails when it is reached"; "correct the name: `deploy doc MODULE` lists the arguments";
    MISSING_ARGUMENT "missing-argument" Error: "An argument that the module needs is not there";
        "the task fails when it is reached"; "add the argument: `deploy doc MODULE` describes it";
    WRONG_VALUE "wrong-value" Error: "A value that the keyword or argument does not take";
        "the task fails when it is reached"; "write one of the values that it takes";
    VARIABLE_NAME "variable-name" Error: "A name that no variable can have";
        "no expression can use it"; "use letters, digits and underscores, and no digit first";
    MISSING_FILE "missing-file" Error: "A role or file that is named and does not exist";
        "what names it cannot run"; "correct the name, or say with --roles-path where roles are";
    STATIC_NAME "static-name" Note: "The name of a static import that only a run can know";
        "what is imported could not be looked at"; "give the variable with -e, or use include_tasks or include_role";
    ENCRYPTED "encrypted" Note: "An encrypted file that was not read";
        "what stands in it could not be looked at"; "give the password of the vault, with --vault-password-file";
    INVENTORY "inventory" Error: "An inventory that cannot be read as it is written";
        "hosts or variables would be missing"; "write it as the message says";
    JINJA_SYNTAX "jinja-syntax" Error: "A template that cannot be parsed";
        "the task fails when it is reached"; "mend the template at the place";
    UNKNOWN_FILTER "unknown-filter" Error: "A filter or test that does not exist here";
        "the expression cannot be evaluated"; "correct the name";
    UNKNOWN_LOOKUP "unknown-lookup" Error: "A lookup that does not exist here";
        "the expression cannot be evaluated"; "correct the name";
    NO_EFFECT "no-effect" Warning: "A keyword that has no effect here";
        "whoever reads the playbook believes that it has"; "remove it";

    // What runs, and perhaps not as meant.
    HANDLER_MISSING "handler-missing" Error: "A notify of a handler that does not exist";
        "a task that notifies it fails as soon as it changes something, which a run without changes never shows";
        "correct the name, or write the handler";
    HANDLER_UNUSED "handler-unused" Note: "A handler that nothing notifies";
        "it never runs; perhaps a notify is misspelt"; "notify it, or remove it";
    UNKNOWN_GROUP "unknown-group" Warning: "A group or host that no inventory of the tree has";
        "a play for nobody does nothing, and says so in one line only; variables of nobody have no effect";
        "correct the name, or add the group to the inventory, if only empty";
    RESERVED_NAME "reserved-name" Warning: "A variable with a name that is taken";
        "a name that the language itself sets hides the value that was meant, or is hidden by it";
        "choose another name, with the role's name in front";
    WHEN_BRACES "when-braces" Warning: "Template braces in a condition";
        "a condition is an expression already: what the braces give is evaluated a second time, and values that hosts \
         send could be expressions";
        "write the bare expression";
    BECOME_USER "become-user" Warning: "become_user without become";
        "the task runs as the login user"; "add `become: true` beside it";
    RESERVED_TAG "reserved-tag" Warning: "A tag whose name means something else";
        "`all`, `tagged` and `untagged` are words of --tags and select by themselves"; "choose another name";
    TAG_TYPO "tag-typo" Note: "A tag that stands once and is nearly another one";
        "--tags would leave the task out"; "write the tag as the others do";

    // Values that YAML reads otherwise than their author.
    OCTAL_MODE "octal-mode" Warning: "A mode without quotes and without a leading zero";
        "YAML reads `644` as a decimal number, which is mode 1204";
        "write it as a string: \"0644\"";
    OCTAL_VALUE "octal-value" Warning: "A number that begins with a zero";
        "YAML reads it as octal: `0123` is 83"; "put it in quotes if the digits are meant";
    TRUTHY "truthy" Warning: "yes, no, on or off where a text is meant";
        "YAML reads it as a boolean, and it is printed as True or False";
        "put it in quotes, or write true or false if a boolean is meant";
    VERSION_FLOAT "version-float" Warning: "A version that YAML reads as a number";
        "`10.10` is 10.1 then"; "put it in quotes";

    // Dangerous things.
    SECRET_NO_LOG "secret-no-log" Warning: "A secret in a task without no_log";
        "arguments and results are shown with -v and kept in the journals of runs, and only values that are known as \
         secrets are masked there";
        "add `no_log: true` to the task";
    PLAIN_SECRET "plain-secret" Warning: "A password or key in plain text";
        "whoever can read the repository has it"; "encrypt it: deploy vault encrypt-string";
    CLUSTER_RESTART "cluster-restart" Warning: "A database server is restarted outside of a rolling play";
        "every node of a cluster may go down at once, or before the one before is back in the cluster";
        "restart nodes in a play with `rolling:` (docs/rolling.md)";
    IGNORED_ERRORS "ignored-errors" Warning: "ignore_errors on a task that changes what others rely on";
        "the play goes on as if it had succeeded"; "say with failed_when which failures are none, or rescue them";
    PIPE_TO_SHELL "pipe-to-shell" Warning: "What was downloaded is run without a look at it";
        "a broken or forged download runs as the user of the task, and a check foresees nothing of it";
        "fetch it with get_url and a checksum, then run the file";
    UNVERIFIED_PEER "unverified-peer" Warning: "Certificates or signatures are not verified";
        "anyone on the way can answer instead"; "trust the authority or the key instead of nobody";
    WORLD_WRITABLE "world-writable" Warning: "A mode that lets everybody write";
        "any account of the host can replace the contents"; "take the write bit of others away";
    TEMPLATED_MODULE "templated-module" Note: "A module that a variable names";
        "which module it is, and whether it takes these arguments, is known when the task runs and not before";
        "write a task for each module, with a condition, or include a file of tasks for each";
    DEPRECATED "deprecated" Warning: "A word that Ansible has given up or will give up";
        "newer releases refuse it, and readers look for it in vain"; "write what replaces it";
    UNVERIFIED_MODULE "unverified-module" Note: "A module that was never tried against the real thing";
        "it was written from documentation and samples"; "try it on a host that may break";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_rule_says_all() {
        for (at, rule) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(at + 1).all(|other| other.id != rule.id), "{}", rule.id);
            assert!(!rule.title.is_empty() && !rule.why.is_empty() && !rule.remedy.is_empty(), "{}", rule.id);
            assert!(rule.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{}", rule.id);
        }
    }
}
