//! What a dispatch routine returns, compared with what became of the packet.
//!
//! Three rules of "Completing IRPs" and "Different Ways of Handling IRPs": a routine that returns `STATUS_PENDING` has marked
//! the packet with `IoMarkIrpPending`, and the other way round; one that returns anything else returns what the packet was
//! completed with. A packet may be completed before or after the routine returns, so whichever comes last looks.

use std::sync::{Mutex, PoisonError};

use crate::abi::io::major_name;
use crate::status::NtStatus;
use crate::verifier;

/// A packet in a driver's dispatch routine.
pub(super) struct Call {
    /// Which stack location is the driver's.
    pub(super) location: i8,
    driver: String,
    major: u8,
    /// The dispatch routine.
    routine: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    returned: Option<NtStatus>,
    ended: Option<Ended>,
}

#[derive(Clone, Copy)]
struct Ended {
    marked: bool,
    status: NtStatus,
}

impl Call {
    /// The routine is about to be called.
    pub(super) fn new(location: i8, driver: &str, major: u8, routine: usize) -> Self {
        Self {
            location,
            driver: driver.to_owned(),
            major,
            routine,
            state: Mutex::default(),
        }
    }

    /// It returned; false: the packet is neither completed nor pending.
    pub(super) fn returned(&self, status: NtStatus) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.returned = Some(status);
        let _blame = verifier::blame_routine(self.routine);
        match state.ended {
            Some(ended) => self.compare(status, ended),
            None if status == NtStatus::PENDING => {}
            None => {
                verifier::finding(
                    "irp-not-completed",
                    format!(
                        "the dispatch routine of {} for {} returned {status}, and the IRP was neither completed nor \
                         pended",
                        self.driver,
                        major_name(self.major)
                    ),
                );
                return false;
            }
        }
        true
    }

    /// The packet came past its location on the way up.
    pub(super) fn ended(&self, marked: bool, status: NtStatus) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended.is_some() {
            return;
        }
        let ended = Ended { marked, status };
        state.ended = Some(ended);
        if let Some(returned) = state.returned {
            self.compare(returned, ended);
        }
    }

    fn compare(&self, returned: NtStatus, ended: Ended) {
        let _blame = verifier::blame_routine(self.routine);
        let what = format!(
            "the dispatch routine of {} for {}",
            self.driver,
            major_name(self.major)
        );
        if returned == NtStatus::PENDING {
            if !ended.marked {
                verifier::finding(
                    "irp-pending-not-marked",
                    format!("{what} returned STATUS_PENDING for an IRP that is not marked so"),
                );
            }
        } else if ended.marked {
            verifier::finding(
                "irp-marked-not-pending",
                format!("{what} marked an IRP with IoMarkIrpPending and returned {returned}"),
            );
        } else if returned != ended.status {
            verifier::finding(
                "irp-status-mismatch",
                format!(
                    "{what} returned {returned} for an IRP that was completed with {}",
                    ended.status
                ),
            );
        }
    }
}
