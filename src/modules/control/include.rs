//! `include_tasks`, `include_role`, `include_vars` and the static imports.

use super::control;
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{FreeForm, Module};

crate::arguments! {
    /// Tasks of a file: `include_tasks` reads it when the play gets there, `import_tasks` before the play begins.
    pub struct IncludeTasks {
        /// The file, relative to the task file or the role's `tasks` folder.
        #[serde(alias = "_raw_params")]
        pub file: Text,
        /// Keywords that the included tasks inherit.
        pub apply: Option<serde_json::Value>,
    }
}

crate::arguments! {
    /// A role: `include_role` loads it when the play gets there, `import_role` before the play begins.
    pub struct IncludeRole {
        /// The role.
        #[serde(alias = "role", alias = "_raw_params")]
        pub name: Text,
        /// Another file than `tasks/main.yml`.
        pub tasks_from: Option<Text>,
        /// Another file than `vars/main.yml`.
        pub vars_from: Option<Text>,
        /// Another file than `defaults/main.yml`.
        pub defaults_from: Option<Text>,
        /// Another file than `handlers/main.yml`.
        pub handlers_from: Option<Text>,
        /// Whether the role may run more than once.
        #[serde(default = "Flag::yes")]
        pub allow_duplicates: Flag,
        /// Whether its variables stay visible to what comes after.
        #[serde(default)]
        pub public: Flag,
        /// Whether its argument specification is checked.
        #[serde(default = "Flag::yes")]
        pub rolespec_validate: Flag,
        /// Keywords that the role's tasks inherit.
        pub apply: Option<serde_json::Value>,
    }
}

/// What becomes of dictionaries of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashBehaviour {
    /// The later is it.
    Replace,
    /// They are merged, those inside them, too.
    Merge,
}

crate::arguments! {
    /// Load variables from files when the play gets there.
    pub struct IncludeVars {
        /// A file, relative to the role's `vars` folder or the task file.
        #[serde(alias = "_raw_params")]
        pub file: Option<Text>,
        /// A folder, all of whose files are loaded in the order of their names.
        pub dir: Option<Text>,
        /// Put the variables under this one.
        pub name: Option<Text>,
        /// How many levels of folders to go down; 0 for all.
        #[serde(default)]
        pub depth: Int,
        /// Only files whose name matches this regular expression.
        pub files_matching: Option<Text>,
        /// Files to leave out: regular expressions that match the end of a name.
        #[serde(default)]
        pub ignore_files: TextList,
        /// Endings of files to read: `yaml`, `yml` and `json` when missing.
        pub extensions: Option<TextList>,
        /// Pass over files with other endings instead of failing.
        #[serde(default)]
        pub ignore_unknown_extensions: Flag,
        /// Whether dictionaries replace those that are there already, or are merged into them.
        pub hash_behaviour: Option<HashBehaviour>,
    }
}

/// `include_tasks`
pub static INCLUDE_TASKS: Module = control(
    "ansible.builtin.include_tasks",
    &["include_tasks", "include", "ansible.builtin.include", "ansible.legacy.include_tasks"],
    FreeForm::Raw,
    IncludeTasks::ARGUMENTS,
);

/// `import_tasks`
pub static IMPORT_TASKS: Module = control(
    "ansible.builtin.import_tasks",
    &["import_tasks", "ansible.legacy.import_tasks"],
    FreeForm::Raw,
    IncludeTasks::ARGUMENTS,
);

/// `include_role`
pub static INCLUDE_ROLE: Module = control(
    "ansible.builtin.include_role",
    &["include_role", "ansible.legacy.include_role"],
    FreeForm::KeyValue,
    IncludeRole::ARGUMENTS,
);

/// `import_role`
pub static IMPORT_ROLE: Module = control(
    "ansible.builtin.import_role",
    &["import_role", "ansible.legacy.import_role"],
    FreeForm::KeyValue,
    IncludeRole::ARGUMENTS,
);

/// `include_vars`
pub static INCLUDE_VARS: Module = control(
    "ansible.builtin.include_vars",
    &["include_vars", "ansible.legacy.include_vars"],
    FreeForm::Raw,
    IncludeVars::ARGUMENTS,
);
