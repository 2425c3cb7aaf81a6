//! Keys, requests and certificates on the host, made by its own `openssl`. What a cluster needs is in `pki`, whose
//! authority stays on the controller.

#[macro_use]
mod twin;

mod certificate;
mod csr;
mod der;
mod dhparam;
mod extensions;
mod info;
mod pkcs12;
mod privatekey;
mod privatekey_pipe;
mod request;
mod signing;
mod time;
mod tool;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &certificate::CERTIFICATE,
    &certificate::CERTIFICATE_PIPE,
    &csr::CSR,
    &csr::CSR_PIPE,
    &dhparam::DHPARAM,
    &info::CERTIFICATE_INFO,
    &info::CSR_INFO,
    &info::PRIVATEKEY_INFO,
    &pkcs12::PKCS12,
    &privatekey::PRIVATEKEY,
    &privatekey_pipe::PRIVATEKEY_PIPE,
];
