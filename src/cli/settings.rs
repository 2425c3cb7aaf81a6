//! What `ansible.cfg` and the environment say, where the command line says nothing.

use super::arguments::{AccessArguments, Colour, RunArguments, SourceArguments};
use crate::config::{self, Settings, Surroundings};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Reads the configuration, once for the process. Its warnings are for whoever is told of the error otherwise.
pub fn load() -> Result<&'static Settings, String> {
    if let Some(known) = SETTINGS.get() {
        return Ok(known);
    }
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let text = |value: std::ffi::OsString| value.into_string().ok();
    let around = Surroundings {
        variables: std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect(),
        directory: &directory,
        home: std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
        system: Path::new("/etc/ansible"),
    };
    let settings = config::load(&around).map_err(|error| error.to_string())?;
    settings.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    crate::playbook::library_path(settings.library.clone());
    Ok(SETTINGS.get_or_init(|| settings))
}

/// The settings; those of nobody where [`load`] was not called.
pub fn settings() -> &'static Settings {
    static NONE: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get().unwrap_or_else(|| NONE.get_or_init(Settings::default))
}

impl Settings {
    /// What a run is given.
    pub fn fill_run(&self, run: &mut RunArguments) {
        self.fill_access(&mut run.access);
        if run.roles_path.is_none() {
            let paths = self.roles_path.as_ref();
            run.roles_path = paths.map(|paths| {
                let paths: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
                paths.join(":")
            });
        }
        run.forks = run.forks.or(self.forks);
        run.become_ |= self.become_;
        run.become_user = run.become_user.take().or_else(|| self.become_user.clone());
        run.force_handlers |= self.force_handlers;
        run.diff |= self.diff_always;
        run.display.diff_context = run.display.diff_context.or(self.diff_context);
        run.verbose = run.verbose.max(self.verbosity.unwrap_or(0));
        if run.color == Colour::Auto {
            run.color = match (self.nocolor, self.force_color) {
                (true, _) => Colour::Never,
                (false, true) => Colour::Always,
                (false, false) => Colour::Auto,
            };
        }
    }

    /// Tags are for playbooks that the user names, and not for those that this program makes.
    pub fn fill_tags(&self, run: &mut RunArguments) {
        for (given, said) in [(&mut run.tags, &self.run_tags), (&mut run.skip_tags, &self.skip_tags)] {
            if given.is_empty() {
                given.clone_from(said);
            }
        }
    }

    /// How hosts are reached.
    pub fn fill_access(&self, access: &mut AccessArguments) {
        self.fill_sources(&mut access.sources);
        let or = |given: &mut Option<String>, said: &Option<String>| *given = given.take().or_else(|| said.clone());
        or(&mut access.user, &self.remote_user);
        or(&mut access.become_method, &self.become_method);
        or(&mut access.ssh_common_args, &self.ssh_common_args);
        or(&mut access.ssh_extra_args, &self.ssh_extra_args);
        or(&mut access.connection, &self.transport);
        let or = |given: &mut Option<PathBuf>, said: &Option<PathBuf>| *given = given.take().or_else(|| said.clone());
        or(&mut access.private_key, &self.private_key_file);
        // Who asks for a password does not want that of a file, and the other way round.
        if !access.ask_pass {
            access.ask_pass = self.ask_pass && access.connection_password_file.is_none();
            or(&mut access.connection_password_file, &self.connection_password_file);
        }
        if !access.ask_become_pass {
            access.ask_become_pass = self.become_ask_pass && access.become_password_file.is_none();
            or(&mut access.become_password_file, &self.become_password_file);
        }
        access.timeout = access.timeout.or(self.timeout);
    }

    /// What is read.
    pub fn fill_sources(&self, sources: &mut SourceArguments) {
        if sources.inventory.is_empty() {
            sources.inventory.clone_from(&self.inventory);
        }
        self.fill_vault(sources);
    }

    /// The passwords of the vault: identities of the list come before those of the command line, a file only where none is
    /// named there.
    pub fn fill_vault(&self, sources: &mut SourceArguments) {
        sources.vault_id.splice(0..0, self.vault_identity_list.iter().cloned());
        if sources.vault_password_file.is_empty() {
            sources.vault_password_file.extend(self.vault_password_file.clone());
        }
        sources.ask_vault_pass |= self.ask_vault_pass;
    }
}
