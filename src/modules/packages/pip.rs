//! `pip`: packages of Python.

use super::pip_names::{Package, recover, same_name};
use crate::machine::web::mask_all;
use crate::machine::{Command, Machine, MachineError, Output};
use crate::modules::commands::words;
use crate::modules::files::common::{Step, begin, expand};
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.builtin.pip`
pub const PIP: Module = Module {
    name: "ansible.builtin.pip",
    aliases: &["pip", "ansible.legacy.pip"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Pip::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Installed.
    #[default]
    Present,
    /// Not installed.
    Absent,
    /// The newest.
    Latest,
    /// Installed once more.
    ForceReinstall,
}

impl State {
    fn words(self) -> &'static [&'static str] {
        match self {
            State::Present => &["install"],
            State::Absent => &["uninstall", "-y"],
            State::Latest => &["install", "-U"],
            State::ForceReinstall => &["install", "-U", "--force-reinstall"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            State::Present => "present",
            State::Absent => "absent",
            State::Latest => "latest",
            State::ForceReinstall => "forcereinstall",
        }
    }
}

/// A directory in which nobody but root can leave modules of Python.
const ROOT: &str = "/";

crate::arguments! {
    /// Installs and removes packages of Python, by the host's own `pip`, in a virtual environment or in the system.
    ///
    /// A check reads what is installed. Where that does not tell (`latest`, `forcereinstall`, `requirements`, `extra_args`) it
    /// says that something would change, as Ansible does. Packages cannot be put back by a rollback.
    pub struct Pip {
        /// Packages: names, with versions (`name>=1.0`), addresses.
        pub name: Option<TextList>,
        /// The version of the one package.
        pub version: Option<Text>,
        /// A file of the host that lists packages.
        pub requirements: Option<Text>,
        /// A virtual environment, made where there is none.
        pub virtualenv: Option<Text>,
        /// The command that makes one: `virtualenv`, `python3 -m venv`.
        pub virtualenv_command: Option<Text>,
        /// The environment sees the system's packages.
        #[serde(default)]
        pub virtualenv_site_packages: Flag,
        /// The environment's Python, for `virtualenv`.
        pub virtualenv_python: Option<Text>,
        /// `present`, `absent`, `latest` or `forcereinstall`.
        #[serde(default)]
        pub state: State,
        /// More words for pip.
        pub extra_args: Option<Text>,
        /// Install as a source tree.
        #[serde(default)]
        pub editable: Flag,
        /// Where pip is run: `/` when not given.
        pub chdir: Option<Text>,
        /// The program: `pip3.13`, or a path.
        pub executable: Option<Text>,
        /// Not supported yet: an error.
        pub umask: Option<Text>,
        /// Install beside the system's own packages.
        #[serde(default)]
        pub break_system_packages: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Pip = decode(arguments)?;
    begin(machine, context);
    let fail = |why: &str| Err(ModuleError::Failed(why.into()));
    match (&arguments.name, &arguments.requirements) {
        (None, None) => return fail("one of the following is required: name, requirements"),
        (Some(_), Some(_)) => return fail("parameters are mutually exclusive: name|requirements"),
        _ => {}
    }
    if arguments.executable.is_some() && arguments.virtualenv.is_some() {
        return fail("parameters are mutually exclusive: executable|virtualenv");
    }
    if arguments.umask.is_some() {
        return Err(ModuleError::argument("umask", "not supported yet"));
    }
    if arguments.state == State::Latest && arguments.version.is_some() {
        return fail("version is incompatible with state=latest");
    }
    let chdir = match &arguments.chdir {
        Some(chdir) => expand(machine, chdir)?,
        // Python looks for modules where it runs first: never where anybody may write, as Ansible's /tmp.
        None => PathBuf::from(ROOT),
    };
    let environment = arguments.virtualenv.as_ref().map(|env| expand(machine, env)).transpose()?;
    let mut task = Task { arguments: &arguments, chdir, environment, out: String::new(), err: String::new() };
    let packages = task.packages()?;
    let mut made = false;
    if let Some(environment) = task.environment.clone()
        && !machine.exists(environment.join("bin/activate"))?
    {
        if machine.predicted() {
            machine.foresee_tool(&environment, "made a virtual environment", None)?;
            return Ok(Outcome::ok());
        }
        task.make_environment(machine, &environment)?;
        made = true;
    }
    let pip = task.pip(machine)?;
    if machine.predicted() {
        task.foresee(machine, &pip, &packages)
    } else {
        task.apply(machine, &pip, &packages, made)
    }
}

struct Task<'a> {
    arguments: &'a Pip,
    chdir: PathBuf,
    environment: Option<PathBuf>,
    out: String,
    err: String,
}

impl Task<'_> {
    fn packages(&self) -> Step<Vec<Package>> {
        let names = self.arguments.name.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
        let mut packages: Vec<Package> = recover(names).iter().map(|name| Package::read(name)).collect();
        let Some(version) = &self.arguments.version else { return Ok(packages) };
        if packages.len() > 1 {
            let why = "'version' argument is ambiguous when installing multiple package distributions. \
                       Please specify version restrictions next to each package in 'name' argument.";
            return Err(ModuleError::Failed(why.into()));
        }
        if let Some(package) = packages.first_mut() {
            if package.has_version() {
                let why = "The 'version' argument conflicts with any version specifier provided along with a package \
                           name. Please keep the version specifier, but remove the 'version' argument.";
                return Err(ModuleError::Failed(why.into()));
            }
            let version = version.trim_start();
            let equals = if version.starts_with(|c: char| c.is_ascii_digit()) { "==" } else { "" };
            *package = Package::read(&format!("{}{equals}{version}", package.written));
        }
        Ok(packages)
    }

    /// The words before what pip is to do.
    fn pip(&self, machine: &Machine) -> Step<Vec<String>> {
        let missing = |why: String| {
            if machine.foresees_anything() {
                let why = "pip is not there yet, and may be when this is applied";
                return ModuleError::from(MachineError::unknown(why));
            }
            ModuleError::Failed(why)
        };
        if let Some(environment) = &self.environment {
            let mut found = ["pip3", "pip"].iter().map(|name| environment.join("bin").join(name));
            let found = found.find(|path| machine.exists(path).unwrap_or(false));
            return found.map(|path| vec![path.display().to_string()]).ok_or_else(|| {
                missing(format!(
                    "Unable to find pip in the virtualenv, {}, under any of these names: pip3, pip. Make sure pip is \
                     present in the virtualenv.",
                    environment.display()
                ))
            });
        }
        if let Some(executable) = &self.arguments.executable {
            let path = if executable.contains('/') {
                expand(machine, executable)?.display().to_string()
            } else {
                executable.0.clone()
            };
            let why = || missing(format!("Unable to find any of {path} to use.  pip needs to be installed."));
            return machine.find_program(&path).map(|path| vec![path]).ok_or_else(why);
        }
        if let Some(python) = machine.find_program("python3")
            && machine
                .probe(&Command { chdir: Some(ROOT.into()), ..Command::new([python.as_str(), "-c", "import pip"]) })?
                .success()
        {
            return Ok(vec![python, "-m".into(), "pip".into()]);
        }
        let why = || missing("Unable to find any of pip3 to use.  pip needs to be installed.".into());
        machine.find_program("pip3").map(|path| vec![path]).ok_or_else(why)
    }

    fn command(&self, argv: Vec<String>, machine: &Machine) -> Command {
        let mut environment = vec![("LANG".to_string(), "C.UTF-8".to_string()), ("LC_ALL".into(), "C.UTF-8".into())];
        if self.arguments.break_system_packages.0 {
            environment.push(("PIP_BREAK_SYSTEM_PACKAGES".into(), "1".into()));
        }
        if let Some(own) = &self.environment {
            let path = machine.environment.get("PATH").cloned().or_else(|| std::env::var("PATH").ok());
            environment.push(("PATH".into(), format!("{}:{}", own.join("bin").display(), path.unwrap_or_default())));
        }
        Command { chdir: Some(self.chdir.display().to_string()), environment, ..Command::new(argv) }
    }

    /// What is installed, and the command that told it.
    fn installed(&self, machine: &Machine, pip: &[String]) -> Step<(String, Output)> {
        let mut last = None;
        for words in [&["list", "--format=freeze"][..], &["freeze"]] {
            let argv: Vec<String> = pip.iter().cloned().chain(words.iter().map(|word| word.to_string())).collect();
            let output = machine.probe(&self.command(argv.clone(), machine))?;
            if output.success() {
                return Ok((argv.join(" "), output));
            }
            last = Some((argv, output));
        }
        let (argv, output) = last.unwrap_or_default();
        Err(failed(argv, &output.stdout_text(), &output.stderr_text()))
    }

    fn foresee(&self, machine: &mut Machine, pip: &[String], packages: &[Package]) -> Step<Outcome> {
        let unclear = matches!(self.arguments.state, State::Latest | State::ForceReinstall);
        let place = self.place(pip);
        if unclear || self.arguments.extra_args.is_some() || self.arguments.requirements.is_some() {
            self.foretell(machine, &place, "may install or remove packages of Python")?;
            return Ok(Outcome::ok());
        }
        let (cmd, output) = self.installed(machine, pip)?;
        let text = output.stdout_text();
        let there = |package: &Package| {
            let own = |line: &str| line.split_once("==").map(|(name, version)| (name.to_string(), version.to_string()));
            text.lines()
                .filter_map(own)
                .any(|(name, version)| same_name(&name, &package.name) && package.takes(&version))
        };
        let wanted = self.arguments.state == State::Present;
        let differing: Vec<&str> = packages
            .iter()
            .filter(|package| there(package) != wanted)
            .map(|package| package.written.as_str())
            .collect();
        if !differing.is_empty() {
            let verb = if wanted { "installed" } else { "removed" };
            self.foretell(machine, &place, &format!("{verb} {}", differing.join(", ")))?;
        }
        Ok(Outcome::ok().with("cmd", cmd).with("stdout", text).with("stderr", output.stderr_text()))
    }

    fn foretell(&self, machine: &mut Machine, place: &Path, what: &str) -> Step<()> {
        match &self.environment {
            // What is in it then is not what is in it now.
            Some(path) => machine.foresee_tool(path, mask_all(what), None)?,
            None => machine.record_tool(place, mask_all(what)),
        }
        Ok(())
    }

    /// What the change is of.
    fn place(&self, pip: &[String]) -> PathBuf {
        self.environment.clone().unwrap_or_else(|| PathBuf::from(pip.first().cloned().unwrap_or_default()))
    }

    fn apply(mut self, machine: &mut Machine, pip: &[String], packages: &[Package], made: bool) -> Step<Outcome> {
        let arguments = self.arguments;
        let mut argv: Vec<String> = pip.to_vec();
        argv.extend(arguments.state.words().iter().map(|word| word.to_string()));
        let mut extra = arguments.extra_args.as_ref().map(|text| text.0.clone()).unwrap_or_default();
        if arguments.editable.0 && !extra.split(' ').any(|word| word == "-e") {
            extra = format!("{extra} -e");
        }
        argv.extend(words::split(&extra).map_err(ModuleError::Failed)?);
        argv.extend(packages.iter().map(|package| package.written.clone()));
        if let Some(file) = &arguments.requirements {
            argv.extend(["-r".to_string(), file.0.clone()]);
        }
        let vcs =
            |package: &Package| ["svn+", "git+", "hg+", "bzr+"].iter().any(|start| package.written.starts_with(start));
        let compare = arguments.requirements.is_some() || packages.iter().any(vcs);
        let before = if compare { Some(self.installed(machine, pip)?.1.stdout) } else { None };
        let place = self.place(pip);
        let command = self.command(argv.clone(), machine);
        let output = machine.run_tool(&place, "changed by pip", &command)?;
        let (out, err) = (output.stdout_text(), output.stderr_text());
        self.out += &out;
        self.err += &err;
        let absent = arguments.state == State::Absent;
        let nothing = output.rc == 1 && absent && (out.contains("not installed") || err.contains("not installed"));
        if !output.success() && !nothing {
            return Err(failed(argv, &self.out, &self.err));
        }
        let changed = match before {
            Some(before) if !absent => before != self.installed(machine, pip)?.1.stdout,
            _ if absent => out.contains("Successfully uninstalled"),
            _ => out.contains("Successfully installed"),
        };
        if changed || made {
            let done =
                out.lines().rfind(|line| line.trim().starts_with("Successfully")).unwrap_or("made an environment");
            machine.record_tool(&place, mask_all(done.trim()));
        }
        let text = |text: &Option<Text>| text.as_ref().map_or(Value::Null, |text| text.0.clone().into());
        Ok(Outcome::ok()
            .with("cmd", masked(&argv))
            .with("name", arguments.name.as_ref().map_or(Value::Null, |list| masked(&list.0).into()))
            .with("version", text(&arguments.version))
            .with("state", arguments.state.name())
            .with("requirements", text(&arguments.requirements))
            .with("virtualenv", self.environment.as_ref().map_or(Value::Null, |path| path.display().to_string().into()))
            .with("stdout", mask_all(&self.out))
            .with("stderr", mask_all(&self.err)))
    }

    fn make_environment(&mut self, machine: &mut Machine, environment: &Path) -> Step<()> {
        let given = self.arguments.virtualenv_command.as_deref().unwrap_or("virtualenv");
        let mut argv = words::split(given).map_err(ModuleError::Failed)?;
        let program = argv.first().cloned().unwrap_or_default();
        let found = machine
            .find_program(&program)
            .ok_or_else(|| ModuleError::Failed(format!("Failed to find required executable \"{program}\" in paths")))?;
        if let Some(first) = argv.first_mut() {
            *first = found;
        }
        let venv = program.ends_with("pyvenv") || argv.windows(2).any(|pair| pair == ["-m", "venv"]);
        if self.arguments.virtualenv_site_packages.0 {
            argv.push("--system-site-packages".into());
        }
        match (&self.arguments.virtualenv_python, venv) {
            (Some(_), true) => {
                let why =
                    "virtualenv_python should not be used when using the venv module or pyvenv as virtualenv_command";
                return Err(ModuleError::Failed(why.into()));
            }
            (Some(python), false) => argv.push(format!("-p{}", python.0)),
            (None, false) => argv.extend(machine.find_program("python3").map(|python| format!("-p{python}"))),
            (None, true) => {}
        }
        argv.push(environment.display().to_string());
        let command = self.command(argv.clone(), machine);
        let output = machine.run_tool(environment, "made a virtual environment", &command)?;
        self.out += &output.stdout_text();
        self.err += &output.stderr_text();
        if output.success() { Ok(()) } else { Err(failed(argv, &self.out, &self.err)) }
    }
}

/// A failure as Ansible tells it.
fn failed(argv: Vec<String>, out: &str, err: &str) -> ModuleError {
    let mut why = String::new();
    if !out.is_empty() {
        why += &format!("stdout: {out}");
    }
    if !err.is_empty() {
        why += &format!("\n:stderr: {err}");
    }
    ModuleError::Ended(Box::new(Outcome::failed(mask_all(&why)).with("cmd", masked(&argv))))
}

/// Words without the logins of addresses, of which there may be some among packages and options.
fn masked(words: &[String]) -> Vec<String> {
    words.iter().map(|word| mask_all(word)).collect()
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::check;
    use serde_json::json;

    #[test]
    fn what_cannot_be_asked_for() {
        for (arguments, expected) in [
            (json!({}), "one of the following is required"),
            (json!({"name": "a", "requirements": "b"}), "mutually exclusive: name"),
            (json!({"name": "a", "executable": "pip", "virtualenv": "/x"}), "mutually exclusive: executable"),
            (json!({"name": "a", "version": "1", "state": "latest"}), "incompatible with state=latest"),
            (json!({"name": "a,b", "version": "1"}), "ambiguous"),
            (json!({"name": "a>1", "version": "1"}), "conflicts"),
            (json!({"name": "a", "executable": "/no/such/pip"}), "pip needs to be installed"),
        ] {
            let outcome = check("pip", &arguments);
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{arguments}: {:?}", outcome.msg);
        }
        let words = ["git+https://TOKEN@h/x", "--index-url", "https://u:p@h/simple"].map(String::from);
        let outcome = format!("{:?}", super::failed(words.into(), "Looking in https://u:p@h/simple", "TOKE"));
        assert!(!outcome.contains("TOKEN") && !outcome.contains("u:p"), "{outcome}");
        let outcome = check("pip", &json!({"name": "a", "virtualenv": "/no/such/env"}));
        assert!(outcome.changed() && outcome.msg.is_none(), "{:?}", outcome.msg);
    }
}
