//! The host's firewall: one nftables table of our own, replaced in one transaction, behind a timer that reverts it.
//!
//! A change has two steps. [`Machine::apply_firewall`] arms a timer on the host that puts the old rules back, then
//! puts the new ones in force; [`Machine::confirm_firewall`], called after a new connection from the controller has
//! come through, disarms the timer and makes the rules permanent. What is not confirmed is gone by itself, after a
//! reboot too.

mod managers;
mod prediction;
mod revert;
pub mod ruleset;

pub(crate) use prediction::Firewall;
pub use ruleset::{Network, Ports, Rule, Ruleset, Sources};

use super::files::{Attributes, WriteOptions};
use super::history::Entry;
use super::units::UnitOptions;
use super::{Change, Command, Domain, Facet, Machine, MachineError, Result, Subject};
use std::net::IpAddr;

/// Where tables are kept for the next boot.
const DIRECTORY: &str = "/etc/nftables.d";
/// What nftables.service reads.
const CONFIGURATION: &str = "/etc/nftables.conf";
const INCLUDE: &str = "include \"/etc/nftables.d/*.nft\"";
/// What `nft` printed right after a table was put in force: the listing differs when somebody has changed it since.
const LISTINGS: &str = "/var/lib/deploy/firewall";

/// Where a change of the firewall stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Everything is as wanted, and permanent.
    Unchanged,
    /// The rules are in force until the timer ends: confirm them over a new connection.
    Armed,
    /// In a check: they would be.
    Foreseen,
}

impl Machine {
    /// Puts a table in force for now, with a timer of `revert_after` seconds that puts the old one back.
    /// `client` is where the controller comes from and to which port, where that is known.
    pub fn apply_firewall(
        &mut self,
        rules: &Ruleset,
        revert_after: u64,
        client: Option<(IpAddr, u16)>,
    ) -> Result<Applied> {
        self.refuse_other_managers()?;
        if let Some((address, port)) = client
            && !rules.admits(address, port)
        {
            return Err(MachineError::failed(format!(
                "these rules would lock the controller out: it comes from {address} to port {port}, which no rule admits"
            )));
        }
        let text = rules.text();
        if !self.predicted() {
            revert::settle(self, &rules.table)?; // a run that was cut off before it confirmed
        }
        let before = self.firewall_table(&rules.table)?;
        if before.as_deref() == Some(text.as_str()) && self.firewall_is_permanent(rules)? {
            return Ok(Applied::Unchanged);
        }
        self.try_firewall(rules)?;
        let subject = Subject::new(Domain::Firewall, format!("inet {}", rules.table));
        let old = before.clone().map_or(Facet::Absent, Facet::Text);
        if self.predicted() {
            self.foresee_firewall(&rules.table, Some(text.clone()));
        } else {
            let listing = self.listing(&rules.table)?;
            self.log(Entry::Firewall { table: rules.table.clone(), before: listing });
            revert::arm(self, &rules.table, revert_after)?;
            if let Err(error) = self.nft(&["-f", "-"], Some(rules.transaction())) {
                revert::disarm(self, &rules.table)?;
                return Err(error);
            }
            let listing = self.listing(&rules.table)?;
            self.log(Entry::FirewallIs { table: rules.table.clone(), after: listing.clone() });
            revert::applied(self, &rules.table, &listing.unwrap_or_default())?;
        }
        if old != Facet::Text(text.clone()) {
            self.record(Change::set(subject, "rules", old, Facet::Text(text)));
        }
        if self.predicted() {
            self.keep_firewall(rules)?;
            return Ok(Applied::Foreseen);
        }
        Ok(Applied::Armed)
    }

    /// After a new connection has come through: the rules stay, also after a reboot.
    pub fn confirm_firewall(&mut self, rules: &Ruleset) -> Result<()> {
        let listing = self.listing(&rules.table)?.unwrap_or_default();
        if !revert::is_applied(&rules.table, &listing) {
            return Err(MachineError::failed(
                "the host has put the old firewall rules back before the new ones were confirmed: the new connection \
                 took too long; give a longer `revert_after`",
            ));
        }
        revert::disarm(self, &rules.table)?;
        self.keep_firewall(rules)?;
        let path = listing_path(&rules.table);
        let store = || -> std::io::Result<()> {
            std::fs::create_dir_all(LISTINGS)?;
            std::fs::write(&path, &listing)
        };
        store().map_err(|e| MachineError::io(format!("cannot write {path}"), e))
    }

    /// Removes a table, now and for the next boot. Says whether anything was done.
    pub fn remove_firewall(&mut self, table: &str) -> Result<bool> {
        let before = self.firewall_table(table)?;
        let file = kept_path(table);
        let removed = if self.exists(&file)? { self.remove(&file)? } else { false };
        let Some(before) = before else {
            return Ok(removed);
        };
        if self.predicted() {
            self.foresee_firewall(table, None);
        } else {
            let listing = self.listing(table)?;
            self.log(Entry::Firewall { table: table.to_string(), before: listing });
            revert::disarm(self, table)?;
            self.nft(&["-f", "-"], Some(ruleset::removal(table)))?;
            self.log(Entry::FirewallIs { table: table.to_string(), after: None });
            let _ = std::fs::remove_file(listing_path(table)); // a leftover says nothing without its table
        }
        let subject = Subject::new(Domain::Firewall, format!("inet {table}"));
        self.record(Change::set(subject, "rules", Facet::Text(before), Facet::Absent));
        Ok(true)
    }

    /// What nft prints of a table now, or what a check foresees of it.
    pub(crate) fn firewall_listing(&self, table: &str) -> Result<Option<String>> {
        match self.foreseen_firewall(table) {
            Some(foreseen) => foreseen,
            None if self.has_nft()? => self.listing(table),
            None => Ok(None),
        }
    }

    /// Puts a table back to what nft once printed of it, in one step. Says whether anything was done.
    pub(crate) fn restore_firewall(&mut self, table: &str, wanted: Option<&str>) -> Result<bool> {
        let present = self.firewall_listing(table)?;
        if present.as_deref() == wanted {
            return Ok(false);
        }
        if self.predicted() {
            self.foresee_firewall(table, wanted.map(str::to_string));
        } else {
            self.log(Entry::Firewall { table: table.to_string(), before: present.clone() });
            let transaction = format!("{}{}", ruleset::removal(table), wanted.unwrap_or_default());
            self.nft(&["-f", "-"], Some(transaction))?;
            // A timer that was still waiting would only put back the same.
            revert::disarm(self, table)?;
            let listing = self.listing(table)?;
            let path = listing_path(table);
            let noted = match &listing {
                // Known as ours again, where its file is.
                Some(text) if self.exists(kept_path(table))? => std::fs::write(&path, text),
                _ => std::fs::remove_file(&path),
            };
            match noted {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(MachineError::io(format!("cannot write {path}"), e));
                }
                _ => self.log(Entry::FirewallIs { table: table.to_string(), after: listing }),
            };
        }
        let side = |text: Option<&str>| text.map_or(Facet::Absent, |text| Facet::Text(text.to_string()));
        let subject = Subject::new(Domain::Firewall, format!("inet {table}"));
        self.record(Change::set(subject, "rules", side(present.as_deref()), side(wanted)));
        Ok(true)
    }

    /// A table's text: what we wrote where nobody has changed it since, what `nft` prints otherwise.
    pub fn firewall_table(&self, table: &str) -> Result<Option<String>> {
        if let Some(foreseen) = self.foreseen_firewall(table) {
            return foreseen;
        }
        if !self.has_nft()? {
            return Ok(None);
        }
        let Some(listing) = self.listing(table)? else {
            return Ok(None);
        };
        let ours = std::fs::read_to_string(listing_path(table)).is_ok_and(|known| known == listing);
        let kept = self.read_file_if_exists(kept_path(table), 1 << 20)?;
        Ok(Some(match kept {
            Some(bytes) if ours => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                text.strip_prefix(&ruleset::removal(table)).map(str::to_string).unwrap_or(text)
            }
            _ => listing,
        }))
    }

    /// Whether there is a program to speak to, now or (in a check) after earlier tasks.
    fn has_nft(&self) -> Result<bool> {
        if self.has_program("nft") {
            return Ok(true);
        }
        if self.predicted() && self.exists("/usr/sbin/nft")? {
            return Ok(false);
        }
        Err(MachineError::MissingProgram { program: "nft".into(), hint: "; install the package nftables".into() })
    }

    /// Lets nft look at the rules without putting them in force.
    fn try_firewall(&self, rules: &Ruleset) -> Result<()> {
        match self.has_nft()? {
            true => self.nft(&["-c", "-f", "-"], Some(rules.transaction())).map(|_| ()),
            false => Ok(()),
        }
    }

    fn nft(&self, arguments: &[&str], input: Option<String>) -> Result<String> {
        let mut command = Command::new(std::iter::once("nft").chain(arguments.iter().copied()));
        command.stdin = input.map(String::into_bytes);
        let output = self.run_process(&command)?;
        if output.success() {
            return Ok(output.stdout_text());
        }
        let said = output.stderr_text();
        let hint = match said.contains("not permitted") {
            true => " (only root may: `become: true`)",
            false => "",
        };
        Err(MachineError::failed(format!("nft refused{hint}: {}", said.trim())))
    }

    /// What nft prints of a table; nothing where there is none.
    fn listing(&self, table: &str) -> Result<Option<String>> {
        match self.nft(&["-s", "list", "table", "inet", table], None) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.to_string().contains("No such file or directory") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the next boot would bring these rules.
    fn firewall_is_permanent(&self, rules: &Ruleset) -> Result<bool> {
        let kept = self.read_file_if_exists(kept_path(&rules.table), 1 << 20)?;
        if kept.as_deref() != Some(rules.transaction().as_bytes()) {
            return Ok(false);
        }
        if !includes(&self.read_file_if_exists(CONFIGURATION, 1 << 20)?.unwrap_or_default()) {
            return Ok(false);
        }
        let unit = self.unit("nftables.service", &UnitOptions::default())?;
        Ok(!unit.exists() || unit.is_enabled())
    }

    /// Makes the rules permanent.
    fn keep_firewall(&mut self, rules: &Ruleset) -> Result<()> {
        let directory = Attributes { mode: Some(0o755), owner: Some(0), group: Some(0) };
        self.make_directories(DIRECTORY, &directory)?;
        let options = WriteOptions {
            attributes: Attributes { mode: Some(0o644), owner: Some(0), group: Some(0) },
            ..WriteOptions::default()
        };
        self.write_file(kept_path(&rules.table), rules.transaction().as_bytes(), &options)?;
        let mut configuration = self.read_file_if_exists(CONFIGURATION, 1 << 20)?.unwrap_or_default();
        if !includes(&configuration) {
            if configuration.is_empty() {
                configuration.extend_from_slice(b"#!/usr/sbin/nft -f\n\nflush ruleset\n");
            }
            if !configuration.ends_with(b"\n") {
                configuration.push(b'\n');
            }
            configuration.extend_from_slice(format!("\n{INCLUDE}\n").as_bytes());
            let options = WriteOptions::default();
            self.write_file(CONFIGURATION, &configuration, &options)?;
        }
        let unit = self.unit("nftables.service", &UnitOptions::default())?;
        if unit.exists() {
            self.set_unit_enabled(&unit, true, &UnitOptions::default())?;
        }
        Ok(())
    }
}

fn includes(configuration: &[u8]) -> bool {
    String::from_utf8_lossy(configuration).lines().any(|line| line.trim() == INCLUDE)
}

fn kept_path(table: &str) -> String {
    format!("{DIRECTORY}/{table}.nft")
}

fn listing_path(table: &str) -> String {
    format!("{LISTINGS}/{table}.listing")
}
