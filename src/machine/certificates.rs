//! Certificates as part of the change list: what they say, beside the change of the files they are in.

use super::{Change, Domain, Facet, Machine, Subject, Undo};

impl Machine {
    /// Records that the certificate at `path` says something else from now on, in the words of people. The files are
    /// changed, and recorded, through the domain of files; this is what somebody who reads a diff wants to see of it.
    pub fn note_certificate(&mut self, path: &str, before: Option<&str>, after: &str) {
        let side = |text: Option<&str>| text.map_or(Facet::Absent, |text| Facet::Text(text.to_string()));
        let subject = Subject::new(Domain::Pki, path);
        self.record(Change::set(subject, "certificate", side(before), side(Some(after))));
    }

    /// Records that something was made and handed to the play, which alone has it: nothing on the host is another than before.
    pub fn note_handed_over(&mut self, what: &str) {
        self.record(Change::effect(Subject::new(Domain::Pki, what), "made, and handed to the play", Undo::Exact));
    }
}
