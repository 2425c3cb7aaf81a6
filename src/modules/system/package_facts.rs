//! `package_facts`: installed packages as facts.

use crate::machine::packages::PackageManager;
use crate::machine::{Command, Machine};
use crate::modules::scalars::{Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};

/// `ansible.builtin.package_facts`
pub const PACKAGE_FACTS: Module = Module {
    name: "ansible.builtin.package_facts",
    aliases: &["package_facts", "ansible.legacy.package_facts"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: PackageFacts::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Lists the installed packages in the fact `ansible_facts.packages`.
    pub struct PackageFacts {
        /// Package managers to ask: `auto`, `apt`, `rpm`.
        #[serde(default)]
        pub manager: TextList,
        /// `first` or `all` managers of the host.
        pub strategy: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: PackageFacts = decode(arguments)?;
    if let Some(unknown) =
        arguments.manager.0.iter().find(|m| !matches!(m.as_str(), "auto" | "apt" | "rpm" | "dnf" | "dnf5" | "yum"))
    {
        return Err(ModuleError::argument("manager", format!("`{unknown}` is not supported: write auto, apt or rpm")));
    }
    let mut packages: Map<String, Value> = Map::new();
    match machine.package_manager() {
        Some(PackageManager::Apt) => {
            for package in machine.dpkg_packages()?.into_values().filter(|p| p.is_installed()) {
                let entry = json!({
                    "name": package.name,
                    "version": package.version,
                    "arch": package.arch,
                    "category": package.section,
                    "source": "apt",
                    "origin": "",
                });
                add(&mut packages, package.name, entry);
            }
        }
        Some(PackageManager::Dnf) => {
            let format = "%{NAME}\\t%{VERSION}\\t%{RELEASE}\\t%{EPOCH}\\t%{ARCH}\\n";
            let output = machine.probe(&Command::new(["rpm", "-qa", "--queryformat", format]))?;
            for line in output.stdout_text().lines() {
                let fields: Vec<&str> = line.split('\t').collect();
                if let [name, version, release, epoch, arch] = fields.as_slice() {
                    let entry = json!({
                        "name": name, "version": version, "release": release, "epoch": epoch.parse::<u64>().ok(),
                        "arch": arch, "source": "rpm",
                    });
                    add(&mut packages, name.to_string(), entry);
                }
            }
        }
        None => {
            return Err(ModuleError::Failed(
                "Could not detect a supported package manager from the following list: apt, rpm".into(),
            ));
        }
    }
    let mut outcome = Outcome::ok();
    outcome.facts.insert("packages".into(), Value::Object(packages));
    Ok(outcome)
}

fn add(packages: &mut Map<String, Value>, name: String, entry: Value) {
    match packages.get_mut(&name) {
        Some(Value::Array(list)) => list.push(entry),
        _ => drop(packages.insert(name, json!([entry]))),
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::check;
    use serde_json::json;

    #[test]
    fn installed_packages_are_listed() {
        if !std::path::Path::new("/var/lib/dpkg/status").exists() {
            return;
        }
        let outcome = check("package_facts", &json!({"manager": "auto"}));
        assert_eq!(outcome.facts["packages"]["dpkg"][0]["source"], "apt");
    }
}
