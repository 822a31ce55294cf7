//! The benchmark command: `cargo run --release -p anteroom-benches`.

use std::process::ExitCode;

fn main() -> ExitCode {
    anteroom_benches::main()
}
