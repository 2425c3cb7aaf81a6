//! Playbook files: plays and imports of other playbooks.

use std::path::Path;
use std::sync::Arc;

use super::keywords::{Keywords, Place, check_literal, listed};
use super::load::{Loader, TaskContext, parent};
use super::model::{Play, Step};
use crate::source::{Diag, Mapping, Node, NodeValue, SourceFile, Span};

impl Loader<'_> {
    /// The plays of a file, those of imported playbooks in their places.
    pub(super) fn playbook_file(&mut self, path: &Path, asked: Option<&Span>) -> Option<Vec<Arc<Play>>> {
        let identity = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.importing.contains(&identity) {
            let diag = Diag::error(format!("the playbook {} imports itself", path.display()));
            self.error(match asked {
                Some(span) => diag.at(span),
                None => diag,
            });
            return None;
        }
        let (file, root) = self.read(path, asked)?;
        let entries = match &root.value {
            NodeValue::Seq(entries) => entries,
            NodeValue::Null => {
                self.error(Diag::error(format!("the playbook {} is empty", path.display())));
                return None;
            }
            _ => {
                let diag =
                    Diag::error(format!("a playbook is a list of plays, and this is {}", root.kind())).at(&root.span);
                self.error(match root.as_map() {
                    Some(_) => diag.with_help("begin each play with `- `"),
                    None => diag,
                });
                return None;
            }
        };
        self.importing.push(identity);
        let mut plays = Vec::new();
        for entry in entries.iter() {
            let Some(map) = entry.as_map() else {
                self.error(
                    Diag::error(format!("a play is a dictionary, and this is {}", entry.kind())).at(&entry.span),
                );
                continue;
            };
            let import = ["import_playbook", "ansible.builtin.import_playbook", "ansible.legacy.import_playbook"]
                .iter()
                .find_map(|key| map.get_entry(key));
            match import {
                Some((key, name)) => plays.extend(self.import_playbook(map, key, name, &file)),
                None => plays.extend(self.play(entry, map, &file).map(Arc::new)),
            }
        }
        self.importing.pop();
        Some(plays)
    }

    fn import_playbook(&mut self, map: &Mapping, key: &Node, name: &Node, file: &Arc<SourceFile>) -> Vec<Arc<Play>> {
        let mut keywords = Keywords::default();
        for (word, value) in map.iter() {
            let fine = word.key_id() == key.key_id() || word.as_str() == Some("name");
            if !fine && !keywords.take(word, value, self.diags) {
                self.error(Place::Import.unknown(word));
            }
        }
        let Some(text) = self.static_name(name, &keywords.vars, "import_playbook") else { return Vec::new() };
        let path = parent(&file.path).join(text);
        let Some(plays) = self.playbook_file(&path, Some(&name.span)) else { return Vec::new() };
        plays
            .into_iter()
            .map(|play| {
                let mut play = Arc::unwrap_or_clone(play);
                let mut inner = Arc::unwrap_or_clone(play.keywords);
                // The import's variables override the play's, its tags and conditions come on top.
                inner.vars.extend(keywords.vars.iter().cloned());
                inner.tags.extend(keywords.tags.iter().cloned());
                let mut when = keywords.when.clone();
                when.append(&mut inner.when);
                inner.when = when;
                play.keywords = Arc::new(inner);
                Arc::new(play)
            })
            .collect()
    }

    fn play(&mut self, node: &Node, map: &Mapping, file: &Arc<SourceFile>) -> Option<Play> {
        let mut keywords = Keywords::default();
        let mut play = Play {
            span: node.span.clone(),
            file: file.clone(),
            directory: parent(&file.path),
            name: None,
            hosts: Node::new(node.span.clone(), NodeValue::Null),
            keywords: Arc::default(),
            gather_facts: None,
            gather_subset: None,
            gather_timeout: None,
            fact_path: None,
            vars_files: Vec::new(),
            vars_prompt: Vec::new(),
            serial: Vec::new(),
            strategy: None,
            order: None,
            max_fail_percentage: None,
            force_handlers: None,
            rolling: None,
            pre_tasks: Vec::new(),
            roles: Vec::new(),
            tasks: Vec::new(),
            post_tasks: Vec::new(),
            handlers: Vec::new(),
            all_roles: Vec::new(),
        };
        let mut strangers: Vec<&Node> = Vec::new();
        for (key, value) in map.iter() {
            let word = key.as_str().unwrap_or_default();
            // These belong to what is in a play.
            let misplaced = matches!(word, "when" | "delegate_to" | "delegate_facts");
            if !misplaced && keywords.take(key, value, self.diags) {
                continue;
            }
            let given = || Some(value.clone()).filter(|value| !value.is_null());
            // Left empty: as if it were not written.
            if !value.is_null() {
                check_literal(word, value, self.diags);
            }
            match word {
                "name" => play.name = given(),
                "hosts" => play.hosts = value.clone(),
                "user" => keywords.remote_user = keywords.remote_user.take().or_else(given),
                "gather_facts" => play.gather_facts = given(),
                "gather_subset" => play.gather_subset = given(),
                "gather_timeout" => play.gather_timeout = given(),
                "fact_path" => play.fact_path = given(),
                "vars_files" => play.vars_files = listed(value),
                "vars_prompt" => {
                    play.vars_prompt = listed(value);
                    for prompt in &play.vars_prompt {
                        if prompt.as_map().and_then(|map| map.get("name")).is_none() {
                            self.diags.push(
                                Diag::error("an entry of `vars_prompt` is a dictionary with a `name`").at(&prompt.span),
                            );
                        }
                    }
                }
                "serial" => play.serial = listed(value),
                "strategy" => play.strategy = given(),
                "order" => play.order = given(),
                "max_fail_percentage" => play.max_fail_percentage = given(),
                "force_handlers" => play.force_handlers = given(),
                "roles" | "pre_tasks" | "tasks" | "post_tasks" | "handlers" | "rolling" => {}
                _ => strangers.push(key),
            }
        }
        self.check_hosts(node, map, &strangers);
        for key in strangers {
            let module = key.as_str().is_some_and(|word| self.options.modules.resolve(word).is_some());
            let mut diag = Place::Play.unknown(key);
            if module && diag.help.is_empty() {
                diag = diag.with_help("it is a module: put it under `tasks:`");
            }
            self.error(diag);
        }
        let keywords = Arc::new(keywords);
        play.keywords = keywords.clone();
        let mut context =
            TaskContext { playbook_dir: play.directory.clone(), ..TaskContext::default() }.inside(&keywords);
        // Names of roles and of imported files may begin with it.
        let directory = std::path::absolute(&play.directory).unwrap_or_else(|_| play.directory.clone());
        let directory = Node::string(play.span.clone(), &*directory.to_string_lossy());
        context.vars.push((Arc::from("playbook_dir"), directory));
        self.roles.clear();
        self.role_handlers.clear();
        let mut handlers = Vec::new();
        if let Some((key, value)) = map.get_entry("rolling") {
            play.rolling = self.rolling(key, value, map, file, &context);
        }
        play.pre_tasks = self.section(map, "pre_tasks", file, &context);
        if let Some(roles) = map.get("roles") {
            for loaded in self.role_list(roles, "roles", &[], &context) {
                play.roles.extend(loaded.steps);
                self.roles.extend(loaded.all_roles);
                handlers.extend(loaded.handlers);
            }
        }
        play.tasks = self.section(map, "tasks", file, &context);
        play.post_tasks = self.section(map, "post_tasks", file, &context);
        let of_play = TaskContext { handler: true, ..context };
        play.handlers = handlers;
        play.handlers.append(&mut self.section(map, "handlers", file, &of_play));
        play.handlers.append(&mut self.role_handlers);
        play.all_roles = std::mem::take(&mut self.roles);
        Some(play)
    }

    fn section(&mut self, map: &Mapping, name: &str, file: &Arc<SourceFile>, context: &TaskContext) -> Vec<Step> {
        match map.get(name) {
            Some(node) => self.steps(node, file, context),
            None => Vec::new(),
        }
    }

    fn check_hosts(&mut self, node: &Node, map: &Mapping, strangers: &[&Node]) {
        let Some((key, hosts)) = map.get_entry("hosts") else {
            let diag = Diag::error("this play has no `hosts`").at(&node.span);
            let modules = strangers
                .iter()
                .filter(|key| key.as_str().is_some_and(|word| self.options.modules.resolve(word).is_some()));
            self.error(match modules.count() {
                0 => diag,
                _ => {
                    diag.with_help("this looks like a file of tasks; a playbook's tasks stand under `tasks:` of a play")
                }
            });
            return;
        };
        let empty = hosts.is_null() || hosts.as_str() == Some("") || hosts.as_seq().is_some_and(<[Node]>::is_empty);
        if empty {
            self.error(Diag::error("`hosts` is empty").at(&key.span));
        }
        let bad = match &hosts.value {
            NodeValue::Seq(items) => items.iter().find(|item| !item.is_scalar() || item.is_null()),
            NodeValue::Map(_) => Some(hosts),
            _ => None,
        };
        if let Some(bad) = bad {
            self.error(
                Diag::error(format!("`hosts` must be a pattern or a list of patterns, and this is {}", bad.kind()))
                    .at(&bad.span),
            );
        }
    }
}
