//! CA, issuing, inspection, renewal policy: pure decisions, storage behind a trait.
