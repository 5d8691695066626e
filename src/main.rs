//! The `loadline` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadline::cli::main(std::env::args_os())
}
