//! Arguments, and what each command does with them.
//!
//! Exit status: 0, all went as it should; 1, the driver failed, bug-checked or broke a rule; 2, it could not be tried.

mod args;
mod service;
mod show;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use ntbench::wire::{
    CreateFile, DriverSpec, MachineConfig, NamespaceConfig, Refusal, StackKind, ThreadSpec,
    VerifierConfig,
};
use ntbench::{Machine, MachineError, NtStatus};

use args::{Arguments, Command, Run};

const FAILED: u8 = 1;
const NOT_TRIED: u8 = 2;

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    // SAFETY: no other thread runs yet; a reader that closes the pipe (`| head`) is no reason to panic.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    match Arguments::parse().command {
        Command::Coverage => {
            print!("{}", ntbench::coverage());
            ExitCode::SUCCESS
        }
        Command::Imports { image } => imports(&image),
        Command::Run(run) => match service::spec(&run) {
            Ok(spec) => match try_run(&run, spec) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::from(FAILED),
                Err(error) => failed(&error),
            },
            Err(error) => {
                eprintln!("ntbench: {error}");
                ExitCode::from(NOT_TRIED)
            }
        },
    }
}

fn failed(error: &MachineError) -> ExitCode {
    match error {
        MachineError::BugCheck(report) => {
            show::bug_check(report);
            ExitCode::from(FAILED)
        }
        MachineError::TimeLimit { stacks, .. } => {
            eprintln!("ntbench: {error}");
            stacks.iter().for_each(show::stack);
            ExitCode::from(FAILED)
        }
        MachineError::Refused(Refusal::Image(text)) => {
            eprintln!("ntbench: {text}");
            ExitCode::from(NOT_TRIED)
        }
        other => {
            eprintln!("ntbench: {other}");
            ExitCode::from(NOT_TRIED)
        }
    }
}

/// Who debugs takes the time that it takes.
fn time_limit(run: &Run) -> Option<u64> {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    let seconds = run.time_limit.or(run.debugger.then_some(WEEK))?;
    Some(seconds.min(WEEK) * 1000)
}

fn imports(image: &Path) -> ExitCode {
    match ntbench::imports(image) {
        Ok(imports) => {
            show::imports(&imports);
            if imports.iter().all(|import| import.known) {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            }
        }
        Err(error) => {
            eprintln!("ntbench: {error}");
            ExitCode::from(NOT_TRIED)
        }
    }
}

fn try_run(run: &Run, spec: DriverSpec) -> Result<bool, MachineError> {
    let machine = Machine::boot(MachineConfig {
        namespace: NamespaceConfig {
            servers: run.servers(),
            dfs: run.namespaces(),
            volumes: run.volume.iter().map(|volume| volume.0.clone()).collect(),
        },
        faults: run.fault.iter().map(|fault| fault.0.clone()).collect(),
        snapshot_at: run.snapshot_at.clone(),
        crash_dump: run.crash_dump.clone(),
        time_limit_ms: time_limit(run),
        debugger: run.debugger,
        verifier: VerifierConfig {
            special_pool: !run.no_special_pool,
            force_irql: !run.no_force_irql,
        },
        ..MachineConfig::default()
    })?;
    let service = spec.service.clone();
    let loaded = machine.load_driver(spec)?;
    println!(
        "{:<40} {}",
        format!("DriverEntry of {}", loaded.module.name),
        loaded.status
    );
    let mut good = loaded.status.is_success();
    if good {
        calls(&machine, run)?;
    }
    if good && !run.keep_loaded {
        let status = machine.unload_driver(&service)?;
        println!("{:<40} {status}", "unload");
        good = status == NtStatus::SUCCESS;
    }
    let report = machine.shutdown()?;
    show::trace(&report.trace);
    show::findings(&report.findings);
    Ok(good && report.findings.is_empty())
}

/// Makes the system calls asked for, all on one thread, and says how each ended.
fn calls(machine: &Machine, run: &Run) -> Result<(), MachineError> {
    let stack = if run.large_stack {
        StackKind::Large
    } else {
        StackKind::Ordinary
    };
    let thread = machine.thread(ThreadSpec {
        process_image: "ntbench.exe".to_owned(),
        process: 0,
        stack,
    })?;
    for name in &run.create {
        let completion = thread.create_file(&CreateFile {
            name: name.clone(),
            ..CreateFile::default()
        })?;
        println!("{:<40} {}", format!("open {name}"), completion.status);
        if completion.handle != 0 {
            thread.close(completion.handle)?;
        }
    }
    for name in &run.query {
        let completion = thread.query_attributes(name)?;
        println!("{:<40} {}", format!("query {name}"), completion.status);
    }
    thread.end()
}
