//! `headroom.sys`: a file-system minifilter that keeps its deep pre-create work off the caller's kernel stack.
//!
//! A filter that inspects a path before it lets a create go on does deep work on a stack of 24 KB that it does not own,
//! and where its opens re-enter the stack of filters, it does so once for each of them. This driver wraps that work in
//! `KeExpandKernelStackAndCalloutEx`, as the DFS client of Windows does, and records what was left of the stack before,
//! inside and after. A file per concern:
//!
//! * `create`: the create path, all that runs on the caller's stack;
//! * `events`: what a trace session can listen to;
//! * `fallback`: what becomes of a create for which there is no stack;
//! * `inspect`: the deep work that runs on the reserved stack;
//! * `recorder`: the records and the watermarks, found by a debugger under the names `HEADROOM_RECORDER` and
//!   `HEADROOM_WATERMARKS`;
//! * `config`: the settings, from the service's `Parameters` key; found under the name `HEADROOM_CONFIG`;
//! * `port`: the communication port, `\HeadroomPort`;
//! * `print`: a line per record for a debugger's console, when that is asked for;
//! * `registry`: values of that key;
//! * `kernel`: the kernel's clocks and identities;
//! * `instance`: what is kept with each instance;
//! * `local`: the ancestors of a path that is not on the network.
//!
//! # Order
//!
//! Set up: events, settings, records, the task that pushes, registration, port, filtering. Taken down in the opposite order: the
//! port closes, so that no client connects; `FltUnregisterFilter` ends the connections, and when it has returned, no
//! callback and no work item runs and none will; only then the task and the records' memory go. A step that fails undoes
//! those before it, in the same order.
//!
//! # Sections
//!
//! Set-up and take-down are paged code (`PAGE`): they run at `PASSIVE_LEVEL`, seldom. The create path is not: it costs
//! little to keep and would be paged in on a stack that may be short. There is no `INIT` section: a function there is
//! gone once `DriverEntry` has returned, and which functions a linker folds together is not ours to say.
#![no_std]

mod config;
mod create;
mod events;
mod fallback;
mod inspect;
mod instance;
mod kernel;
mod local;
mod port;
mod print;
mod recorder;
mod registry;

use fltmgr::{
    Attach, Creates, FileSystem, Filter, FilterCell, Kept, Minifilter, NtStatus, OnCreate, Port,
    ReadyTask, Unload, Volume,
};
use wdk::paged_code;
// The panic handler: a bug check that names the place. Nothing on a reachable path panics.
use wdk_panic as _;
use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS};

use crate::{
    config::SETTINGS, events::Events, instance::Instance, port::HeadroomPort, recorder::Records,
};

/// The registration, from the start of filtering to the unload: a debugger gets from it to the Filter Manager's own list
/// of instances.
#[used]
#[unsafe(no_mangle)]
static HEADROOM_FILTER: FilterCell = FilterCell::new();

/// What else was set up.
static RUNNING: Kept<Running> = Kept::new();

/// See [`RUNNING`].
struct Running {
    port: Port<HeadroomPort>,
    rest: Rest,
}

/// What callbacks use, and what therefore outlives the registration. Dropped in this order.
struct Rest {
    _push: ReadyTask,
    _records: Records,
    _events: Events,
}

/// The minifilter.
struct Headroom;

/// A create that is passing this filter.
type Create<'a> = fltmgr::Create<'a, Headroom>;
/// What becomes of it.
type PreCreate = fltmgr::PreCreate<Headroom>;

impl Minifilter for Headroom {
    type Operations = (Creates,);
    type Instance = Instance;

    fn attach(volume: Volume) -> Attach<Instance> {
        match volume.file_system() {
            // Who asks for an instance on a local volume gets it, and with it a record that says what is left alone.
            FileSystem::Other if SETTINGS.unc_only() && !volume.is_asked_for() => Attach::Decline,
            FileSystem::Network | FileSystem::Other => Attach::With(Instance::new()),
        }
    }

    fn detaching(instance: &Instance) {
        instance.close();
    }

    fn unload(_: Unload) {
        if let Some(running) = RUNNING.take() {
            take_down(running, HEADROOM_FILTER.take());
        }
    }
}

impl OnCreate for Headroom {
    #[inline(always)]
    fn pre_create(create: &Create<'_>) -> PreCreate {
        create::pre_create(create)
    }

    #[inline]
    fn post_create(create: &Create<'_>, sequence: usize) {
        create::post_create(create, sequence);
    }
}

/// Takes everything down, in order.
fn take_down(running: Running, filter: Option<Filter>) {
    let Running { port, rest } = running;
    drop(port);
    drop(filter);
    drop(rest);
}

/// The driver's entry point. `PASSIVE_LEVEL`.
///
/// # Safety
///
/// Called by the system, once, with the driver's own object and the path of its service key.
#[unsafe(export_name = "DriverEntry")]
#[unsafe(link_section = "PAGE")]
pub unsafe extern "system" fn driver_entry(
    driver: &mut DRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    match start(driver) {
        Ok(()) => STATUS_SUCCESS,
        Err(NtStatus(status)) => {
            print::not_started(status);
            status
        }
    }
}

#[unsafe(link_section = "PAGE")]
fn start(driver: &mut DRIVER_OBJECT) -> Result<(), NtStatus> {
    paged_code!();
    // Locals are dropped in the opposite order, which is how a failure takes down what there is.
    let events = Events::register();
    config::load(driver);
    let records = Records::start(SETTINGS.log_capacity())?;
    let push = port::PUSH.set_up()?;
    let filter = Filter::register::<Headroom>(driver)?;
    let port = Port::open(filter.as_ref())?;
    let running = Running {
        port,
        rest: Rest {
            _push: push,
            _records: records,
            _events: events,
        },
    };
    // Kept first, since the unload callback may run as soon as filtering has started.
    if let Err(running) = RUNNING.put(running) {
        take_down(running, Some(filter));
        return Err(NtStatus::UNSUCCESSFUL);
    }
    HEADROOM_FILTER.start(filter).map_err(|(status, filter)| {
        if let Some(running) = RUNNING.take() {
            take_down(running, Some(filter));
        }
        status
    })?;
    events::started();
    Ok(())
}
