//! `--schedules`: many seeds, and the command that runs the one that failed again.

use ntbench::wire::{MachineConfig, ScheduleConfig};

use super::{machine, once, replay};
use crate::cli::args::Run;
use crate::cli::paint::Progress;
use crate::cli::report::{Report, SchedulesReport};
use crate::cli::session::{Plan, Session};
use crate::cli::{FAILED, scenario, sweep_table};

/// `--schedules`: one seed after the other, until one fails. That one is then run again and told in full.
pub(super) fn schedules(run: &Run, mut plan: Plan, count: u64) -> Report {
    if !plan.scenarios.iter().any(scenario::Scenario::is_concurrent) {
        eprintln!(
            "ntbench: hint: in these scenarios one thread runs at a time, beside those that the driver starts; --scenario threads has several"
        );
    }
    let from = run.seed.unwrap_or(1);
    let progress = Progress::new(run.json);
    let mut tried = SchedulesReport {
        from,
        tried: 0,
        failed: None,
        replay: None,
    };
    for seed in (from..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        progress.show(format!("seed {seed}, {} of {count}", tried.tried + 1));
        tried.tried += 1;
        let config = MachineConfig {
            schedule: Some(ScheduleConfig { seed }),
            crash_dump: None,
            ..plan.config.clone()
        };
        let mut session = Session::default();
        let good = machine(&plan, config, false, &mut session)
            .is_ok_and(|left| session.is_good() && left.report.findings.is_empty());
        if !good {
            tried.failed = Some(seed);
            tried.replay = Some(replay::command(
                &["--schedules", "--seed"],
                &["--seed".to_owned(), seed.to_string()],
            ));
            break;
        }
    }
    drop(progress);
    let seed = tried.failed.unwrap_or(from);
    plan.config.schedule = Some(ScheduleConfig { seed });
    let mut report = match tried.failed {
        Some(_) => once(run, &plan),
        None => Report::default(),
    };
    if tried.failed.is_some() && report.exit_status == 0 {
        eprintln!(
            "ntbench: seed {seed} failed and then did not: the driver asks for something that no seed decides, such as the time"
        );
        report.exit_status = FAILED;
    }
    if !run.json {
        sweep_table::schedules(&tried);
    }
    report.schedules = Some(tried);
    report
}
