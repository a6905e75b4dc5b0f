//! What the trace macros of the WDK (WPP) and WMI providers call as soon as they are initialised.
//!
//! `IoWMIRegistrationControl`, `WmiTraceMessage`, `WmiQueryTraceInformation`. Nobody has started a trace session here, so that a
//! provider is registered and never enabled.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{driver, irql};
use crate::export::VaList;
use crate::status::NtStatus;
use crate::thread::{DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::verifier;

/// `WMIREG_ACTION_…`, and the flag that says that a routine stands where the device would.
const REGISTER: u32 = 1;
const DEREGISTER: u32 = 2;
const BLOCK_IRPS: u32 = 5;
const BY_CALLBACK: u32 = 0x8000_0000;
/// `STATUS_WMI_GUID_NOT_FOUND`: no session has that handle.
const NO_SESSION: NtStatus = NtStatus::WMI_GUID_NOT_FOUND;

/// Providers: device or routine, whose, and where it was registered.
static PROVIDERS: LazyLock<Mutex<Vec<(usize, String, usize)>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Vec<(usize, String, usize)>> {
    PROVIDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reports the providers that a driver leaves registered.
pub(super) fn report_leaks(service: &str) {
    let left: Vec<_> = lock()
        .extract_if(.., |(_, owner, _)| owner == service)
        .collect();
    for (provider, _, site) in left {
        verifier::finding_at(
            "notify-left",
            site,
            format!(
                "{service} went away with the WMI provider {provider:#x} registered (IoWMIRegistrationControl)"
            ),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Registers a provider of WMI data or of trace messages, or takes it away.
    partial "nobody asks a provider for anything"
    fn IoWMIRegistrationControl(provider: usize, action: u32) -> NtStatus {
        irql::at_most("IoWMIRegistrationControl", PASSIVE_LEVEL);
        let mut providers = lock();
        let known = providers.iter().position(|(known, ..)| *known == provider);
        match action & !BY_CALLBACK {
            REGISTER => {
                if known.is_none() {
                    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
                    providers.push((provider, service, verifier::here()));
                }
                NtStatus::SUCCESS
            }
            DEREGISTER => match known {
                Some(index) => {
                    providers.remove(index);
                    NtStatus::SUCCESS
                }
                None => NtStatus::INVALID_PARAMETER,
            },
            DEREGISTER..=BLOCK_IRPS if known.is_some() => NtStatus::SUCCESS,
            _ => NtStatus::INVALID_PARAMETER,
        }
    }

    /// Sends a trace message: no session is there to take it.
    partial "no session is there"
    variadic fn WmiTraceMessage(_arguments: VaList) -> NtStatus {
        irql::at_most("WmiTraceMessage", DISPATCH_LEVEL);
        NO_SESSION
    }

    /// The same, with the arguments in a list.
    partial "no session is there"
    fn WmiTraceMessageVa(_session: u64, _flags: u32, _message: usize, _number: u16, _arguments: usize) -> NtStatus {
        irql::at_most("WmiTraceMessageVa", DISPATCH_LEVEL);
        NO_SESSION
    }

    /// Asks about a trace session: none is there.
    partial "no session is there"
    fn WmiQueryTraceInformation(
        _class: u32, _buffer: usize, _length: u32, needed: Guest<u32>, _session: usize,
    ) -> NtStatus {
        irql::at_most("WmiQueryTraceInformation", DISPATCH_LEVEL);
        needed.write_opt(0);
        NO_SESSION
    }
}
