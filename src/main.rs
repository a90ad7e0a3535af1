//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    nslens::cli::run(std::env::args_os())
}
