//! `headroom`: scenarios for headroom.sys.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anstream::{eprintln, print, println};
use clap::Parser as _;
use headroom_harness::backend::Environment;
use headroom_harness::cli::{Cli, RunArgs, Verb};
use headroom_harness::model::{End, Run};
use headroom_harness::report::{Report, Written};
use headroom_harness::scenario::{self, Kind, Plan};
use headroom_harness::{listing, table, verdict};

/// Frames of a dead stack that are printed from its newest end: two creates and more.
const NEWEST_FRAMES: usize = 32;
/// And from its oldest.
const OLDEST_FRAMES: usize = 12;

fn main() -> ExitCode {
    // A simulated machine is this executable started again: then this call does not return.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    ntbench::host_main();

    let Verb::Run(args) = Cli::parse().verb;
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("headroom: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &RunArgs) -> Result<bool, Environment> {
    let plan = args.plan();
    let without_driver = scenario::run_without_driver(&plan)?;
    let runs = args
        .policy
        .policies()
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
    if args.json {
        println!("{}", report.json()?);
    } else {
        for (run, stack) in report.runs.iter().zip(&written.stacks) {
            let stack = stack
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default();
            show(&report.plan, run, &stack);
        }
        conclude(&report, &written);
    }
    Ok(verdict::passed(&report.checks))
}

fn show(plan: &Plan, run: &Run, stack_file: &str) {
    const BOLD: anstyle::Style = anstyle::Style::new().bold();
    println!("{BOLD}{}{BOLD:#}", headline(plan, run));
    println!();
    print!("{}", table::creates(plan, run));
    println!();
    if plan.scenario != Kind::Nested {
        print!("{}", table::opens(&run.opens));
        println!();
    }
    if let Some(deepest) = run.deepest_listing() {
        println!("The stack as {} was entered:", deepest.taken_at);
        print!("{}", listing::full(deepest));
        println!();
    }
    if let End::BugCheck(bug_check) = &run.end {
        println!(
            "{BOLD}Bug check {:#04X} {}{BOLD:#}: {}",
            bug_check.code, bug_check.name, bug_check.text
        );
        println!(
            "Parameters: {}",
            bug_check
                .parameters
                .map(|parameter| format!("{parameter:#x}"))
                .join(", ")
        );
        println!();
        print!(
            "{}",
            listing::folded(&bug_check.stack, NEWEST_FRAMES, OLDEST_FRAMES, stack_file)
        );
        println!();
        print!("{}", table::modules(&bug_check.stack.by_module));
        println!();
    }
}

fn headline(plan: &Plan, run: &Run) -> String {
    let stack = if plan.large_stack { "72 KB" } else { "24 KB" };
    let policy = run.expand.name();
    match plan.scenario {
        Kind::Nested => format!(
            "Nested UNC opens, {} deep, on a {stack} stack, ExpandPolicy {policy}",
            plan.depth
        ),
        Kind::Dfs => {
            format!("An attribute query on a DFS path, on a {stack} stack, ExpandPolicy {policy}")
        }
        Kind::Relative => format!(
            "Relative opens, {} deep, on a {stack} stack, ExpandPolicy {policy}",
            plan.depth
        ),
        Kind::Flat => {
            format!("Opens one after the other, on a {stack} stack, ExpandPolicy {policy}")
        }
    }
}

fn conclude(report: &Report, written: &Written) {
    print!("{}", table::checks(&report.checks));
    println!();
    println!("Picture: {}", written.picture.display());
    println!("Page:    {}", written.page.display());
    println!("Data:    {}", written.data.display());
}
