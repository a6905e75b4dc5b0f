//! `ntbench run`: what the arguments ask for, made into machines, and what came of them told.

mod gather;
pub(super) mod replay;
mod seeds;
mod tell;

use std::process::ExitCode;

use clap::ArgMatches;
use ntbench::Machine;
use ntbench::wire::{
    FinalReport, MachineConfig, NamespaceConfig, ScheduleConfig, StackKind, VerifierConfig,
};

use super::args::{Faults, Run, Sweep};
use super::drivers::{self, DriverError};
use super::report::Report;
use super::scenario::{self, FileError, PlayError, Sites, SitesError};
use super::session::{Goodbye, Plan, Session, compare};
use super::{FAILED, NOT_TRIED, sweep, sweep_table, table};
use gather::report;
use tell::{entries, tell};

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTried {
    /// The drivers cannot be loaded as asked.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] FileError),
    /// There is no place for scenarios.
    #[error(transparent)]
    Sites(#[from] SitesError),
}

/// Runs it.
pub(super) fn run(run: &Run, matches: &ArgMatches) -> ExitCode {
    if run.scenario.iter().any(|name| name == "list") {
        return super::list_scenarios();
    }
    if run.image.is_empty() {
        eprintln!("ntbench: no driver: name a .sys file (`ntbench run --help` has examples)");
        return ExitCode::from(NOT_TRIED);
    }
    let plan = match plan(run, matches) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("ntbench: {error}");
            return ExitCode::from(NOT_TRIED);
        }
    };
    let report = if let Some(which) = &run.faults {
        fail_each(run, &plan, which)
    } else if let Some(range) = run.low_stack {
        sweep_stack(run, plan, range)
    } else if let Some(count) = run.schedules {
        seeds::schedules(run, plan, count)
    } else {
        once(run, &plan)
    };
    finish(run, &report)
}

/// `--faults`.
fn fail_each(run: &Run, plan: &Plan, which: &Faults) -> Report {
    let swept = match sweep::faults(plan, which, run.json) {
        Ok(swept) => swept,
        Err(error) => {
            // What fails by itself is told as it is without `--faults`.
            if !run.json {
                println!("Before any call was made to fail:");
            }
            let mut report = once(run, plan);
            if report.exit_status == 0 {
                eprintln!("ntbench: {error}");
                report.exit_status = FAILED;
            }
            return report;
        }
    };
    let left = Left {
        report: FinalReport {
            findings: swept.findings,
            ..FinalReport::default()
        },
    };
    let mut report = report(run, plan, swept.undisturbed, Ok(&left));
    if !run.json {
        installed(plan);
        entries(&report);
        table::findings(&report.findings, report.drivers.len() > 1);
        sweep_table::faults(&swept.reports);
    }
    if swept.reports.is_empty() {
        eprintln!(
            "ntbench: no such call was made: nothing has failed; --scenario puts a driver to more work"
        );
        report.exit_status = NOT_TRIED;
    }
    if swept.reports.iter().any(|report| report.outcome != "ok") {
        report.exit_status = FAILED;
    }
    report.faults = swept.reports;
    report
}

/// `--low-stack`.
fn sweep_stack(run: &Run, mut plan: Plan, range: Sweep) -> Report {
    if let [bytes] = range.numbers()[..] {
        // One number is one run, which is told in full.
        plan.config.low_stack = Some(bytes);
        return once(run, &plan);
    }
    let plan = &plan;
    let mut report = once(run, plan);
    if report.exit_status != 0 {
        return report;
    }
    report.low_stack = sweep::low_stack(plan, range, run.json);
    if report.low_stack.iter().any(|tried| tried.outcome != "ok") {
        report.exit_status = FAILED;
    }
    if !run.json {
        sweep_table::low_stack(&report.low_stack);
    }
    report
}

fn installed(plan: &Plan) {
    for line in plan
        .drivers
        .iter()
        .filter_map(super::drivers::Driver::installed)
    {
        println!("{line}");
    }
}

/// Writes JSON where it is wanted, and ends.
fn finish(run: &Run, report: &Report) -> ExitCode {
    if run.json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("ntbench: the report cannot be written: {error}");
                return ExitCode::from(NOT_TRIED);
            }
        }
    }
    ExitCode::from(report.exit_status)
}

fn plan(run: &Run, matches: &ArgMatches) -> Result<Plan, NotTried> {
    let drivers = drivers::all(run, matches)?;
    let mut scenarios = Vec::new();
    for wanted in &run.scenario {
        scenarios.extend(scenario::find(wanted)?);
    }
    let namespace = NamespaceConfig {
        servers: run.servers(),
        dfs: run.namespaces(),
        volumes: run.volume.iter().map(|volume| volume.0.clone()).collect(),
    };
    let sites = Sites::new(namespace, !scenarios.is_empty())?;
    let config = MachineConfig {
        namespace: sites.namespace.clone(),
        windows: Some(run.windows),
        faults: run.fault.iter().map(|fault| fault.0.clone()).collect(),
        fail_also: run.fault.iter().map(|fault| fault.0.call.clone()).collect(),
        snapshot_at: run.snapshot_at.clone(),
        crash_dump: run.crash_dump.clone(),
        time_limit_ms: time_limit(run),
        debugger: run.debugger,
        buffers: run.buffers.0,
        schedule: run.seed.map(|seed| ScheduleConfig { seed }),
        verifier: VerifierConfig {
            special_pool: !run.no_special_pool,
            force_irql: !run.no_force_irql,
            quarantine: true,
            pool_limit: run
                .pool_limit
                .map(|megabytes| megabytes.saturating_mul(1 << 20)),
            stack_use: true,
            stack_limit: run.stack_limit.map(|bytes| bytes.0.into()),
        },
        ..MachineConfig::default()
    };
    Ok(Plan {
        config,
        drivers,
        scenarios,
        sites,
        create: run.create.clone(),
        query: run.query.clone(),
        port_context: run
            .port_context
            .clone()
            .map_or_else(Vec::new, |context| context.0),
        stack: if run.large_stack {
            StackKind::Large
        } else {
            StackKind::Ordinary
        },
        end: match (run.keep_loaded, run.stop) {
            (true, _) => Goodbye::None,
            (false, true) => Goodbye::Stop,
            (false, false) => Goodbye::Unload,
        },
    })
}

/// Who debugs takes the time that it takes.
fn time_limit(run: &Run) -> Option<u64> {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    let seconds = run.time_limit.or(run.debugger.then_some(WEEK))?;
    Some(seconds.min(WEEK) * 1000)
}

/// One machine, with all that is to be told of it.
fn once(run: &Run, plan: &Plan) -> Report {
    if !run.json {
        installed(plan);
    }
    let mut session = Session::default();
    let outcome = machine(plan, plan.config.clone(), true, &mut session);
    if !plan.scenarios.is_empty() {
        match plan.bare() {
            Ok(bare) => compare(&mut session.steps, &bare),
            Err(error) => eprintln!("ntbench: the scenarios without the drivers: {error}"),
        }
    }
    let report = report(run, plan, session, outcome.as_ref());
    if !run.json {
        tell(run, plan, &report, &outcome);
    }
    report
}

/// What a machine leaves: its report and what it told until then.
pub(super) struct Left {
    /// Its report.
    pub(super) report: FinalReport,
}

/// Boots a machine, does the plan on it and shuts it down.
///
/// # Errors
/// When it dies of it; what came until then is in `session`.
pub(super) fn machine(
    plan: &Plan,
    config: MachineConfig,
    observe: bool,
    session: &mut Session,
) -> Result<Left, PlayError> {
    let machine = Machine::boot(config)?;
    plan.run(&machine, observe, session)?;
    let mut report = machine.shutdown()?;
    session.trace.append(&mut report.trace.events);
    Ok(Left { report })
}
