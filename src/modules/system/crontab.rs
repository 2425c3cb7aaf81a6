//! The lines of a crontab: jobs under their names, variables, and everything else as it is.

/// A crontab.
pub struct Crontab {
    lines: Vec<String>,
}

/// Where a new variable goes.
pub enum Place {
    /// At the start.
    First,
    /// After another variable.
    After(String),
    /// Before another variable.
    Before(String),
}

const MARK: &str = "#Ansible: ";

impl Crontab {
    pub fn parse(text: &str) -> Crontab {
        Crontab { lines: text.lines().map(str::to_string).collect() }
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn mark(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.strip_prefix(MARK) == Some(name))
    }

    /// The line of a job.
    pub fn job(&self, name: &str) -> Option<String> {
        self.lines.get(self.mark(name)? + 1).cloned()
    }

    pub fn set_job(&mut self, name: &str, line: &str) {
        match self.mark(name) {
            Some(at) => match self.lines.get_mut(at + 1) {
                Some(job) => *job = line.to_string(),
                None => self.lines.push(line.to_string()),
            },
            None => self.lines.extend([format!("{MARK}{name}"), line.to_string()]),
        }
    }

    pub fn remove_job(&mut self, name: &str) {
        if let Some(at) = self.mark(name) {
            self.lines.drain(at..(at + 2).min(self.lines.len()));
        }
    }

    fn variable_at(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|line| {
            let bare = line.trim_start();
            !bare.starts_with('#') && bare.split_once('=').is_some_and(|(key, _)| key.trim() == name)
        })
    }

    /// The line of a variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.lines.get(self.variable_at(name)?).cloned()
    }

    pub fn set_variable(&mut self, name: &str, line: &str, place: &Place) -> Result<(), String> {
        if let Some(known) = self.variable_at(name).and_then(|at| self.lines.get_mut(at)) {
            *known = line.to_string();
            return Ok(());
        }
        let find = |other: &str| self.variable_at(other).ok_or_else(|| format!("Variable named '{other}' not found."));
        let at = match place {
            Place::First => 0,
            Place::After(other) => find(other)? + 1,
            Place::Before(other) => find(other)?,
        };
        self.lines.insert(at, line.to_string());
        Ok(())
    }

    pub fn remove_variable(&mut self, name: &str) {
        if let Some(at) = self.variable_at(name) {
            self.lines.remove(at);
        }
    }

    /// Names of the jobs.
    pub fn jobs(&self) -> Vec<String> {
        self.lines.iter().filter_map(|line| line.strip_prefix(MARK)).map(str::to_string).collect()
    }

    /// Names of the variables.
    pub fn variables(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|line| line.trim_start())
            .filter(|line| !line.starts_with(['#', '@', '*']) && !line.starts_with(|c: char| c.is_ascii_digit()))
            .filter_map(|line| line.split_once('=').map(|(key, _)| key.trim()))
            .filter(|key| !key.is_empty() && !key.contains(char::is_whitespace))
            .map(str::to_string)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_stay_as_they_are() {
        let text = "# mine\nPATH=/bin\n0 1 * * * x=1 y\n#Ansible: a\n1 * * * * one\n";
        let mut table = Crontab::parse(text);
        assert_eq!((table.jobs(), table.variables()), (vec!["a".to_string()], vec!["PATH".to_string()]));
        table.set_job("b", "2 * * * * two");
        table.set_variable("SHELL", "SHELL=\"/bin/sh\"", &Place::After("PATH".into())).unwrap();
        assert!(table.set_variable("X", "X=1", &Place::Before("NOPE".into())).is_err());
        assert!(table.text().contains("PATH=/bin\nSHELL=\"/bin/sh\"\n0 1"));
        table.remove_job("b");
        table.remove_variable("SHELL");
        assert_eq!(table.text(), text);
    }
}
