//! `headroom`: scenarios for headroom.sys.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use headroom_harness::backend::Environment;
use headroom_harness::cli::{Cli, RunArgs, Verb};
use headroom_harness::report::Report;
use headroom_harness::summary::summary;
use headroom_harness::{scenario, verdict};

fn main() -> ExitCode {
    // A simulated machine is this executable started again: then this call does not return.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    ntbench::host_main();

    let Verb::Run(args) = Cli::parse().verb;
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "headroom: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &RunArgs) -> Result<bool, Environment> {
    let plan = args.plan();
    let without_driver = scenario::run_without_driver(&plan)?;
    let policies = args.policy.policies();
    let runs = policies
        .iter()
        .map(|&expand| scenario::run(&plan, expand))
        .collect::<Result<Vec<_>, _>>()?;
    let checks = verdict::judge(&plan, &runs, &without_driver);
    let report = Report {
        plan,
        without_driver,
        runs,
        checks,
    };
    let written = report.write(&args.out)?;
    let text = if args.json {
        report.json()? + "\n"
    } else {
        summary(&report, &written)
    };
    // A reader that has seen enough (`| head`) changes nothing about the verdict.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(verdict::passed(&report.checks))
}
