//! What other filters are measured against: its callbacks around a create do nothing, so what a create costs with it and not
//! without it is what being a filter costs at all.
//!
//! Beside that it holds routines around single steps that a create does not show by itself ([`steps`]): the benchmark finds
//! them by name and calls them. Nothing here does so.
#![no_std]

pub mod steps;

use fltmgr::{
    Attach, Create, Creates, Filter, FilterCell, Kept, Minifilter, NtStatus, OnCreate, PreCreate,
    Unload, Verdict, Volume,
};
// The panic handler: a bug check that names the place. Nothing here panics.
use wdk_panic as _;
use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS};

/// The registration, from the start of filtering to the unload.
static FILTER: FilterCell = FilterCell::new();

/// The memory that [`steps`] writes to.
static RINGS: Kept<steps::Rings> = Kept::new();

struct Yardstick;

impl Minifilter for Yardstick {
    type Operations = (Creates,);
    type Instance = ();

    fn attach(_: Volume) -> Attach<()> {
        Attach::With(())
    }

    fn unload(_: Unload) {
        drop(FILTER.take());
        drop(RINGS.take());
    }
}

impl OnCreate for Yardstick {
    #[inline]
    fn pre_create(_: &Create<'_, Self>) -> PreCreate<Self> {
        PreCreate::Now(Verdict::PassThen(0))
    }

    #[inline]
    fn post_create(_: &Create<'_, Self>, _: usize) {}
}

/// The driver's entry point. `PASSIVE_LEVEL`.
#[unsafe(export_name = "DriverEntry")]
extern "system" fn driver_entry(driver: &mut DRIVER_OBJECT, _: PCUNICODE_STRING) -> NTSTATUS {
    match start(driver) {
        Ok(()) => STATUS_SUCCESS,
        Err(NtStatus(status)) => status,
    }
}

fn start(driver: &mut DRIVER_OBJECT) -> Result<(), NtStatus> {
    let rings = steps::Rings::start()?;
    let filter = Filter::register::<Yardstick>(driver)?;
    if let Err(rings) = RINGS.put(rings) {
        drop(filter);
        drop(rings);
        return Err(NtStatus::UNSUCCESSFUL);
    }
    FILTER.start(filter).map_err(|(status, filter)| {
        drop(filter);
        drop(RINGS.take());
        status
    })
}
