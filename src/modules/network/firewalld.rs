//! `firewalld`: zones of firewalld and what they let in, by its own command.

use super::firewalld_wish::{Element, wishes};
use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Subject};
use crate::modules::programs::required;
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.posix.firewalld`
pub const FIREWALLD: Module = Module {
    name: "ansible.posix.firewalld",
    aliases: &["firewalld"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Firewalld::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Lets services, ports, sources and more into zones of firewalld, or keeps zones.
    ///
    /// Without `permanent` it is until firewalld starts or is reloaded, with `permanent` alone from then on, with `immediate`
    /// besides at once and for good. Where firewalld does not run, what is permanent is changed on its disk. It is done by
    /// `firewall-cmd`, without firewalld's Python library. One task changes one thing.
    pub struct Firewalld {
        /// `enabled` or `disabled`; for a zone itself, or for its `target`, `present` or `absent`.
        pub state: Text,
        /// The zone; firewalld's default one when not given.
        pub zone: Option<Text>,
        /// Name of a service.
        pub service: Option<Text>,
        /// Port or range, and protocol: `3306/tcp`.
        pub port: Option<Text>,
        /// Name of a protocol.
        pub protocol: Option<Text>,
        /// One mapping of `port`, `proto`, `toport` and `toaddr`.
        pub port_forward: Option<Value>,
        /// A rule in firewalld's rich language.
        pub rich_rule: Option<Text>,
        /// Address or network that belongs to the zone.
        pub source: Option<Text>,
        /// Interface that belongs to the zone.
        pub interface: Option<Text>,
        /// Kind of ICMP that is blocked.
        pub icmp_block: Option<Text>,
        /// Whether all kinds of ICMP but those are blocked.
        pub icmp_block_inversion: Option<Flag>,
        /// Whether addresses are masqueraded.
        pub masquerade: Option<Flag>,
        /// Whether the zone's interfaces forward to each other.
        pub forward: Option<Flag>,
        /// What the zone does by itself: `default`, `ACCEPT`, `DROP` or `%%REJECT%%`.
        pub target: Option<Text>,
        /// For good.
        #[serde(default)]
        pub permanent: Flag,
        /// At once, too.
        #[serde(default)]
        pub immediate: Flag,
        /// Seconds for which what is not permanent lasts.
        pub timeout: Option<Int>,
        /// It may be that firewalld does not run; needs `permanent`.
        #[serde(default)]
        pub offline: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Firewalld = decode(arguments)?;
    arguments.validate()?;
    let wishes = wishes(&arguments)?;
    let online = required(machine, "firewall-cmd", "firewalld")?;
    let running = machine.probe(&Command::new([online.as_str(), "--state"]))?.success();
    if arguments.offline.0 && !arguments.permanent.0 {
        return Err(ModuleError::Failed("offline cannot be enabled unless permanent changes are allowed".into()));
    }
    let mut immediate = arguments.immediate.0 && (running || !arguments.offline.0);
    immediate |= !arguments.permanent.0;
    if immediate && !running {
        return Err(ModuleError::Failed(
            "firewall is not currently running, unable to perform immediate actions without a running firewall daemon"
                .into(),
        ));
    }
    let program = if running { online } else { required(machine, "firewall-offline-cmd", "firewalld")? };
    let mut firewalld = Tool { program, running, zone: String::new(), timeout: arguments.timeout.map_or(0, |t| t.0) };
    firewalld.zone = match arguments.zone.as_ref() {
        Some(zone) => zone.0.clone(),
        None => firewalld.ask(machine, &["--get-default-zone".into()])?.trim().to_string(),
    };
    let mut messages: Vec<String> = Vec::new();
    for wish in wishes {
        if immediate && !wish.element.has_runtime() {
            return Err(ModuleError::Failed(
                "Zone operations must be permanent. Make sure you didn't set the 'permanent' flag to 'false' or the \
                 'immediate' flag to 'true'."
                    .into(),
            ));
        }
        messages.push(
            match (arguments.permanent.0, immediate) {
                (true, true) => "Permanent and Non-Permanent(immediate) operation",
                (true, false) => "Permanent operation",
                _ => "Non-permanent operation",
            }
            .into(),
        );
        let mut changed = false;
        for permanent in [arguments.permanent.0.then_some(true), immediate.then_some(false)].into_iter().flatten() {
            changed |= firewalld.bring(machine, &wish.element, permanent, wish.enabled)?;
        }
        if changed {
            let own = wish.element.said(wish.enabled, &firewalld.zone);
            messages.push(own.unwrap_or_else(|| format!("Changed {} to {}", wish.about, arguments.state.0)));
        }
    }
    if !running {
        messages.push("(offline operation: only on-disk configs were altered)".into());
    }
    Ok(Outcome { msg: Some(messages.join(", ")), ..Outcome::ok() })
}

/// firewalld's command, the one for a daemon that runs or the other.
struct Tool {
    program: String,
    running: bool,
    zone: String,
    timeout: i64,
}

impl Tool {
    fn command(&self, permanent: bool, words: &[String]) -> Command {
        let mut argv = vec![self.program.clone()];
        // The offline command knows nothing else.
        argv.extend((permanent && self.running).then(|| "--permanent".to_string()));
        argv.extend(words.iter().map(|word| match word.strip_prefix("--remove-service=") {
            // The offline command has an older option of that name, which knows no zones.
            Some(service) if !self.running => format!("--remove-service-from-zone={service}"),
            _ => word.clone(),
        }));
        Command::new(argv)
    }

    fn ask(&self, machine: &Machine, words: &[String]) -> Result<String, ModuleError> {
        let output = machine.probe(&self.command(false, words))?;
        match output.success() {
            true => Ok(output.stdout_text()),
            false => Err(refused(&output.stderr_text())),
        }
    }

    fn is_enabled(&self, machine: &Machine, element: &Element, permanent: bool) -> Result<bool, ModuleError> {
        let output = machine.probe(&self.command(permanent, &element.query(&self.zone)))?;
        let (said, told) = (output.stdout_text(), output.stderr_text());
        // What is no service is not there, and 1 says no. Anything else is a question that was not answered: a zone that is
        // none, a rule that cannot be read, a daemon that may not be asked.
        let answered = matches!(output.rc, 0 | 1) || told.contains("INVALID_SERVICE");
        if !answered && !matches!(element, Element::Zone) {
            return Err(refused(&told));
        }
        Ok(element.is_in(&said, &self.zone, output.success()))
    }

    /// Says whether anything was done.
    fn bring(
        &self,
        machine: &mut Machine,
        element: &Element,
        permanent: bool,
        enabled: bool,
    ) -> Result<bool, ModuleError> {
        let layer = if permanent { "permanent" } else { "running" };
        let name = format!("firewalld {layer} {}: {}", self.zone, element.name());
        let setting = Setting::new(Subject::new(Domain::Firewall, name), "state");
        let zone_name = format!("firewalld permanent {}: zone", self.zone);
        let zone = Setting::new(Subject::new(Domain::Firewall, zone_name), "state");
        let present = match machine.foreseen_setting(&setting)? {
            Some(state) => state == "enabled",
            // In a zone that an earlier task of the check would make there is nothing.
            None if machine.foreseen_setting(&zone)?.as_deref() == Some("enabled") => false,
            None => self.is_enabled(machine, element, permanent)?,
        };
        let word = |enabled: bool| if enabled { "enabled" } else { "disabled" };
        machine.observe_setting(&setting, word(present));
        if present == enabled {
            return Ok(false);
        }
        let sides = (Facet::Value(word(present).into()), Facet::Value(word(enabled).into()));
        let timeout = if permanent || !enabled { 0 } else { self.timeout };
        let command = self.command(permanent, &element.change(&self.zone, enabled, timeout));
        match machine.change_setting(&setting, sides, word(enabled), std::slice::from_ref(&command))? {
            Some(output) if !output.success() => {
                Err(refused(&format!("{}{}", output.stderr_text(), output.stdout_text())))
            }
            _ => Ok(true),
        }
    }
}

fn refused(said: &str) -> ModuleError {
    let hint = match said.contains("INVALID_SERVICE") {
        true => {
            " Services are defined by port/tcp relationship and named as they are in /etc/services (on most systems)"
        }
        false => "",
    };
    ModuleError::Failed(format!("ERROR: Exception caught: {}{hint}", said.trim()))
}
