//! `cargo bench -p anteroom-benches`: the same command as the program.
//!
//! Never: runs under `cargo test`, which builds and starts bench targets without `--bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let meant = |argument: std::ffi::OsString| argument == "--bench" || argument == "serve";
    if std::env::args_os().skip(1).any(meant) { anteroom_benches::main() } else { ExitCode::SUCCESS }
}
