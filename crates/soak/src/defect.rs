//! Defects that the soak has to find: each is put into what it sees, once in a round, where the seed says. A soak that cannot fail
//! shows nothing.

use clap::ValueEnum;
use ntbench::wire::{CallbackEvent, Finding, Trace, TraceEvent, Usage};

use crate::actor::Step;
use crate::ledger::Account;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Defect {
    /// An open comes to something else than on the twin.
    Results,
    /// The driver sees a create more than it counts.
    Creates,
    /// A record's path is another one.
    Records,
    /// The watermarks miss a create.
    Watermarks,
    /// A block of pool is held that was not.
    Pool,
    /// A rule of the verifier's is broken.
    Finding,
}

impl Defect {
    /// The option's value.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn spoil_results(defect: Option<Self>, steps: &mut [Step]) {
        if defect == Some(Self::Results)
            && let Some(step) = steps.first_mut()
        {
            step.information ^= 1;
        }
    }

    pub(crate) fn spoil_trace(defect: Option<Self>, trace: &mut Trace, service: &str) {
        match defect {
            Some(Self::Creates) => trace.events.push(TraceEvent::Callback(CallbackEvent {
                filter: service.to_owned(),
                phase: "pre".to_owned(),
                operation: "IRP_MJ_CREATE".to_owned(),
                ..CallbackEvent::default()
            })),
            Some(Self::Finding) => trace.events.push(TraceEvent::Finding(Finding {
                rule: "injected".to_owned(),
                text: "a finding that was put there to be found".to_owned(),
                advice: String::new(),
                site: None,
                tid: 0,
                driver: None,
            })),
            _ => {}
        }
    }

    pub(crate) fn spoil_account(defect: Option<Self>, account: &mut Account) {
        match defect {
            Some(Self::Records) => {
                if let Some(record) = account.records.last_mut() {
                    record.before_remaining = u32::MAX;
                }
            }
            Some(Self::Watermarks) => {
                account.marks.system.creates = account.marks.system.creates.wrapping_sub(1);
            }
            _ => {}
        }
    }

    pub(crate) fn spoil_usage(defect: Option<Self>, usage: &mut Usage) {
        if defect == Some(Self::Pool) {
            usage.pool_bytes += 64;
            usage.pool_blocks += 1;
        }
    }
}
