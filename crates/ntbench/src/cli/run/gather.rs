//! A machine's end and what it told until then, as a report.

use std::collections::BTreeMap;

use ntbench::wire::TraceEvent;
use ntbench::{MachineError, NtStatus};

use super::Left;
use crate::cli::args::Run;
use crate::cli::report::{self, CallReport, DriverReport, End, FindingReport, Report};
use crate::cli::scenario::PlayError;
use crate::cli::session::{Goodbye, Plan, Session};
use crate::cli::{FAILED, NOT_TRIED};

/// Why a driver is still there after its unload.
fn stays(status: NtStatus, end: Goodbye) -> Option<&'static str> {
    match (status, end) {
        (NtStatus::FLT_DO_NOT_DETACH, Goodbye::Stop) => Some(
            "it registered without an unload callback, or with FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP, and cannot be stopped",
        ),
        (NtStatus::FLT_DO_NOT_DETACH, _) => Some(
            "it registered without an unload callback, or its callback refused; --stop does not ask",
        ),
        (NtStatus::INVALID_DEVICE_REQUEST, _) => {
            Some("it has no unload routine (DriverObject->DriverUnload)")
        }
        _ => None,
    }
}

/// Gathers what came of it.
pub(super) fn report(
    run: &Run,
    plan: &Plan,
    session: Session,
    outcome: Result<&Left, &PlayError>,
) -> Report {
    let mut session = session;
    let (found, stack_use) = match outcome {
        Ok(left) => (left.report.findings.clone(), left.report.stack_use.clone()),
        Err(PlayError::Machine(MachineError::BugCheck(report))) => {
            session.trace.extend(report.trace.events.iter().cloned());
            (report.findings.clone(), report.stack_use.clone())
        }
        Err(PlayError::Machine(MachineError::TimeLimit { findings, .. })) => {
            (findings.clone(), Vec::new())
        }
        Err(_) => (Vec::new(), Vec::new()),
    };
    let mut callbacks: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &session.trace {
        if let TraceEvent::Callback(event) = event {
            *callbacks.entry(&event.filter).or_default() += 1;
        }
    }
    let findings = report::findings(&found);
    let drivers = plan.drivers.iter().map(|driver| {
        let service = &driver.spec.service;
        let status = |list: &[(String, NtStatus)]| {
            let found = list.iter().find(|(name, _)| name == service);
            found.map(|(_, status)| status.to_string())
        };
        let its = |finding: &&FindingReport| finding.driver.as_ref() == Some(service);
        DriverReport {
            service: service.clone(),
            image: driver.spec.image.display().to_string(),
            altitude: driver.altitude.clone(),
            entry: status(&session.entries),
            unload: status(&session.unloads),
            stays: session
                .unloads
                .iter()
                .find(|(name, _)| name == service)
                .and_then(|(_, status)| stays(*status, plan.end)),
            callbacks: callbacks.get(service.as_str()).copied().unwrap_or(0),
            findings: findings.iter().filter(its).count(),
        }
    });
    let changed = run.unchanged && session.steps.iter().any(|step| step.without.is_some());
    let exit_status = match outcome {
        Ok(_) if session.is_good() && findings.is_empty() && !changed => 0,
        Ok(_)
        | Err(PlayError::Machine(MachineError::BugCheck(_) | MachineError::TimeLimit { .. })) => {
            FAILED
        }
        Err(_) => NOT_TRIED,
    };
    let end = match outcome {
        Ok(_) => None,
        Err(PlayError::Machine(error)) => Some(End::from(error)),
        Err(PlayError::Sites(error)) => Some(End::Other {
            text: error.to_string(),
        }),
    };
    let call = |(call, status): &(String, NtStatus)| CallReport {
        call: call.clone(),
        status: status.to_string(),
    };
    Report {
        exit_status,
        drivers: drivers.collect(),
        calls: session.calls.iter().map(call).collect(),
        findings,
        stack_use,
        end,
        steps: session.steps,
        trace: session.trace,
        ..Report::default()
    }
}
