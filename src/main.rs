//! The `loadline` binary.

use std::process::ExitCode;

/// Heap profiles need an allocator that remembers who has allocated.
#[cfg(feature = "profiles")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    loadline::cli::main(std::env::args_os())
}
