//! A whole minifilter: it logs the name of every create, and of every file whose last handle is closed, to the debugger's
//! console. The one `unsafe` is the export of its entry point.
#![no_std]

use fltmgr::{
    Attach, Cleanup, Cleanups, Create, Creates, Filter, FilterCell, Minifilter, NtStatus,
    OnCleanup, OnCreate, PreCreate, Unload, Volume, debug,
};
// The panic handler: a bug check that names the place. Nothing here panics.
use wdk_panic as _;
use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS};

/// The registration, from the start of filtering to the unload.
static FILTER: FilterCell = FilterCell::new();

struct CreateLogger;

impl Minifilter for CreateLogger {
    type Operations = (Creates, Cleanups);
    type Instance = ();

    fn attach(_: Volume) -> Attach<()> {
        Attach::With(())
    }

    fn unload(_: Unload) {
        drop(FILTER.take());
    }
}

impl OnCreate for CreateLogger {
    fn pre_create(create: &Create<'_, Self>) -> PreCreate<Self> {
        if !create.opens_paging_file() && !create.opens_volume() {
            match create.opened_name() {
                Ok(name) => debug::print(c"create-logger: create ", &name),
                // Where asking for the name is not safe, there is what the opener said.
                Err(_) => debug::print(c"create-logger: create (as given) ", create.given_name()),
            }
        }
        PreCreate::PASS
    }
}

impl OnCleanup for CreateLogger {
    fn pre_cleanup(cleanup: &Cleanup<'_, Self>) {
        if let Ok(name) = cleanup.opened_name() {
            debug::print(c"create-logger: cleanup ", &name);
        }
    }
}

/// The driver's entry point. `PASSIVE_LEVEL`.
#[unsafe(export_name = "DriverEntry")]
extern "system" fn driver_entry(driver: &mut DRIVER_OBJECT, _: PCUNICODE_STRING) -> NTSTATUS {
    let started = Filter::register::<CreateLogger>(driver).and_then(|filter| {
        FILTER.start(filter).map_err(|(status, filter)| {
            drop(filter);
            status
        })
    });
    match started {
        Ok(()) => STATUS_SUCCESS,
        Err(NtStatus(status)) => status,
    }
}
