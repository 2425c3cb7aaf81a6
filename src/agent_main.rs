//! `deploy-agent`: the host half, started over SSH by `deploy`.

fn main() {}
