//! Certificates as part of the change list: what they say, beside the change of the files they are in.

use super::{Change, Domain, Facet, Machine, Subject};

impl Machine {
    /// Records that the certificate at `path` says something else from now on, in the words of people. The files are
    /// changed, and recorded, through the domain of files; this is what somebody who reads a diff wants to see of it.
    pub fn note_certificate(&mut self, path: &str, before: Option<&str>, after: &str) {
        let side = |text: Option<&str>| text.map_or(Facet::Absent, |text| Facet::Text(text.to_string()));
        let subject = Subject::new(Domain::Pki, path);
        self.record(Change::set(subject, "certificate", side(before), side(Some(after))));
    }
}
