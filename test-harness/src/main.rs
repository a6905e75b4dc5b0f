//! `headroom`: scenarios for headroom.sys.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use headroom_harness::cli::Cli;

fn main() -> ExitCode {
    // A simulated machine is this executable started again: then this call does not return.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    ntbench::host_main();

    match Cli::parse().verb.run() {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            let _ = writeln!(anstream::stderr(), "headroom: {failure}");
            ExitCode::from(2)
        }
    }
}
