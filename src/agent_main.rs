//! `deploy-agent`: the host half, started over SSH by `deploy`.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(debug_assertions)]
    let find = deploy::agent::selftest::find;
    #[cfg(not(debug_assertions))]
    let find = deploy::modules::find;
    deploy::agent::main(std::env::args_os(), find)
}
