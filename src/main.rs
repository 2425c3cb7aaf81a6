//! `deploy`: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    deploy::cli::main(std::env::args_os())
}
