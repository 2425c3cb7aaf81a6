//! One file per command: run (the default), inventory, pki, vault, doc.

pub mod pki;
