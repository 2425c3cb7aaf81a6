//! Keys, requests and certificates on the host, made by its own `openssl`. What a cluster needs is in `pki`, whose
//! authority stays on the controller.

mod certificate;
mod csr;
mod der;
mod dhparam;
mod extensions;
mod info;
mod privatekey;
mod time;
mod tool;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &certificate::CERTIFICATE,
    &csr::CSR,
    &dhparam::DHPARAM,
    &info::CERTIFICATE_INFO,
    &info::CSR_INFO,
    &info::PRIVATEKEY_INFO,
    &privatekey::PRIVATEKEY,
];
