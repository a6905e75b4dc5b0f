//! The kernel's executive, as far as minifilters see it.
//!
//! Where Windows is known, or must be suspected, to differ:
//!
//! * Calls above their documented IRQL are findings, whether or not Windows would get away with them; where Windows
//!   itself ends (pool, waits, IRQL out of order) the machine does.
//! * Nobody is denied access to a file: only ports have security descriptors, and `ACCESS_STATE` holds masks only.
//! * Names are compared without regard to case always, as the object manager of every current Windows does.
//! * Debug output is shown whatever its component and level; a wait ends by its event or its time, never by an alert.
//! * `KUSER_SHARED_DATA` holds the clocks, the version and a few numbers; the rest of it is zero.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, OnceLock};

use crate::cpu::shared_data;
use crate::export::Export;
use crate::loader::Image;
use crate::namespace::Namespace;
use crate::status::NtStatus;
use crate::thread::Process;
use crate::wire::{Buffers, DriverSpec, MachineConfig, Refusal, WINDOWS_BUILD};
use crate::{bugcheck, fltmgr, symbols, thread, verifier};

pub(crate) mod attach;
pub(crate) mod away;
mod bitmap;
mod bits;
mod breakpoint;
pub(crate) mod cache;
mod calendar;
mod code_pages;
mod compare;
mod compress;
mod create_file;
mod crt;
pub(crate) mod device;
mod dos_error;
pub(crate) mod driver;
mod driver_extension;
mod duplicate;
pub(crate) mod etw;
mod etw_more;
mod fcb;
pub(crate) mod file;
mod filter_context;
mod formatted;
mod fsrtl;
mod fsrtl_more;
pub(crate) mod handle;
mod hard_error;
mod hash_table;
mod identity;
mod image_section;
mod io_misc;
pub(crate) mod iomgr;
pub(crate) mod irp;
pub(crate) mod irql;
pub(crate) mod lookaside;
mod mcb;
pub(crate) mod mdl;
pub(crate) mod memory;
pub(crate) mod name;
mod named;
mod names;
pub(crate) mod notify;
mod nt_services;
mod numerals;
pub(crate) mod object;
mod oem;
pub(crate) mod pool;
pub(crate) mod pool_api;
mod prefix;
pub(crate) mod print;
mod process_facts;
mod processors;
pub(crate) mod ps;
pub(crate) mod ps_query;
pub(crate) mod quota;
mod refused;
pub(crate) mod registry;
mod resident;
pub(crate) mod routines;
pub(crate) mod rtl;
pub(crate) mod section;
mod section_create;
mod secure;
mod security;
mod sharing;
mod silo;
pub(crate) mod slist;
pub(crate) mod special;
mod spellings;
mod splay;
pub(crate) mod strings;
pub(crate) mod sync;
pub(crate) mod syscall;
pub(crate) mod table;
mod table_full;
mod terminate;
mod text;
pub(crate) mod threads;
pub(crate) mod time;
pub(crate) mod transaction;
mod tunnel;
mod unmodelled;
mod variables;
mod version;
mod virtual_memory;
pub(crate) mod wide;
mod wmi;
mod work_item;
pub(crate) mod worker;
pub(crate) mod zw;
mod zw_attributes;

/// What the machine has, once it is up.
pub(crate) struct Machine {
    /// What can be opened.
    pub(crate) namespace: Namespace,
    /// The system process.
    pub(crate) system: Arc<Process>,
    /// Whether reads and writes are completed at `DISPATCH_LEVEL`, in another thread.
    pub(crate) raised_completions: bool,
    /// The build of Windows that it says it is.
    pub(crate) windows: u32,
    /// How file systems want buffers.
    pub(crate) buffers: Buffers,
}

/// The machine of this process.
pub(crate) static MACHINE: OnceLock<Machine> = OnceLock::new();

/// What this module lets drivers import.
pub(crate) fn tables() -> Vec<&'static [Export]> {
    let mut tables = vec![
        irql::exports(),
        attach::exports(),
        time::exports(),
        ps::exports(),
        ps_query::exports(),
        pool_api::exports(),
        rtl::exports(),
        slist::exports(),
        threads::exports(),
        lookaside::exports(),
        table::exports(),
        name::exports(),
        strings::exports(),
        wide::exports(),
        print::exports(),
        object::exports(),
        handle::exports(),
        mdl::exports(),
        device::exports(),
        names::exports(),
        io_misc::exports(),
        bitmap::exports(),
        create_file::exports(),
        crt::exports(),
        compare::exports(),
        secure::exports(),
        formatted::exports(),
        numerals::exports(),
        calendar::exports(),
        identity::exports(),
        text::exports(),
        code_pages::exports(),
        work_item::exports(),
        zw::exports(),
        routines::exports(),
        section::exports(),
        etw::exports(),
        transaction::exports(),
        cache::exports(),
        version::exports(),
        breakpoint::exports(),
        fsrtl::exports(),
        resident::exports(),
        variables::exports(),
        wmi::exports(),
        nt_services::exports(),
        section_create::exports(),
        driver_extension::exports(),
        filter_context::exports(),
        hard_error::exports(),
        image_section::exports(),
        process_facts::exports(),
        sharing::exports(),
        silo::exports(),
        table_full::exports(),
        compress::exports(),
        processors::exports(),
        duplicate::exports(),
        virtual_memory::exports(),
        zw_attributes::exports(),
        oem::exports(),
        dos_error::exports(),
        tunnel::exports(),
        prefix::exports(),
        mcb::exports(),
        mcb::base::exports(),
        mcb::small::exports(),
        bits::exports(),
        spellings::exports(),
        terminate::exports(),
        fsrtl_more::exports(),
        etw_more::exports(),
        hash_table::exports(),
        splay::exports(),
        unmodelled::exports(),
        unmodelled::filters::exports(),
        exports(),
    ];
    tables.extend(notify::tables());
    tables.extend(security::tables());
    tables.extend(refused::tables());
    tables.extend(registry::tables());
    tables.extend(sync::tables());
    tables.extend(irp::tables());
    tables
}

/// Sets the executive up. Runs on the system thread before anything else.
pub(crate) fn boot(config: &MachineConfig) -> Result<(), Refusal> {
    let namespace = Namespace::new(&config.namespace).map_err(Refusal::Config)?;
    etw::boot(&config.etw).map_err(Refusal::Config)?;
    fltmgr::boot(&namespace, config.buffers);
    time::interrupt_time();
    let windows = config.windows.unwrap_or(WINDOWS_BUILD);
    shared_data::set_build(windows);
    MACHINE
        .set(Machine {
            namespace,
            system: Arc::clone(&thread::current().process),
            raised_completions: config.raised_completions,
            windows,
            buffers: config.buffers,
        })
        .map_err(|_| Refusal::Config("the machine is up already".to_owned()))
}

/// Makes the driver object and the service key and calls `DriverEntry`. Runs on the system thread. Where it fails, the
/// caller unmaps the image.
pub(crate) fn load_driver(image: &Arc<Image>, spec: &DriverSpec) -> NtStatus {
    driver::load(image, spec)
}

/// Unloads the driver of that service, as `sc stop` does where `mandatory`, else as `fltmc unload`; `None`: there is none. After a success the caller unmaps the image.
pub(crate) fn unload_driver(service: &str, mandatory: bool) -> Option<NtStatus> {
    driver::unload(service, mandatory)
}

/// Looks for what is left over; findings go to the verifier. Runs on the system thread, last.
pub(crate) fn shutdown() {
    notify::tell_of_shutdown();
    crate::fltmgr::shut_down();
    pool::flush();
}

/// The state of a thread before it enters a driver's routine, to be the same after it.
pub(crate) struct Entered {
    irql: u8,
    kernel_apcs: i32,
    special_apcs: i32,
    locks: usize,
    attached: usize,
    regions: usize,
}

impl Entered {
    /// As it is now.
    pub(crate) fn now() -> Self {
        let thread = thread::current();
        Self {
            irql: thread.irql(),
            kernel_apcs: thread.kernel_apc_disable.load(Ordering::Relaxed),
            special_apcs: thread.special_apc_disable.load(Ordering::Relaxed),
            locks: sync::held(),
            attached: attach::depth(),
            regions: irql::regions(),
        }
    }

    /// The mutexes that the thread has come to own since.
    pub(crate) fn mutexes(&self) -> Vec<usize> {
        sync::mutexes_since(self.locks)
    }

    /// Compares; a callback must leave as it came.
    pub(crate) fn check(&self, routine: &str, filter: &str) {
        let now = Self::now();
        if now.irql != self.irql {
            // The documented first parameter: current, expected, and a value above 1 for "no APC".
            bugcheck::raise(
                0xC8,
                [
                    u64::from(now.irql) << 16 | u64::from(self.irql) << 8 | 2,
                    0,
                    0,
                    0,
                ],
                format!(
                    "{routine} of {filter} was entered at IRQL {} and returned at {}{}",
                    self.irql,
                    now.irql,
                    match irql::raised() {
                        0 => String::new(),
                        at => format!(
                            "; its IRQL was raised last at {}",
                            symbols::describe_call(at)
                        ),
                    }
                ),
            );
        }
        let _blame = verifier::blame(filter);
        let held = sync::held_since(self.locks);
        self.check_regions(&now, &held, routine, filter);
        if now.attached != self.attached {
            verifier::finding_at(
                "process-attached-at-return",
                attach::back_to(self.attached),
                format!("{routine} of {filter} returned attached to another process"),
            );
        }
        if now.locks > self.locks {
            for (lock, site) in held {
                verifier::finding_at(
                    "lock-held-at-return",
                    site,
                    format!(
                        "{routine} of {filter} returned holding the {lock}, which it took here"
                    ),
                );
            }
        }
    }

    /// Compares critical and guarded regions; one that has come with a lock in `held` is the lock's affair.
    fn check_regions(&self, now: &Self, held: &[(String, usize)], routine: &str, filter: &str) {
        let (kernel, special) = (
            now.kernel_apcs - self.kernel_apcs,
            now.special_apcs - self.special_apcs,
        );
        if kernel == 0 && special == 0 {
            return;
        }
        let with_locks = sync::regions_of(held, &irql::regions_since(self.regions));
        let entered = irql::forget_regions(self.regions);
        if kernel + special != with_locks {
            verifier::finding_at(
                "critical-region-imbalance",
                entered,
                format!(
                    "{routine} of {filter} returned {kernel} critical region(s) and {special} guarded region(s) deeper than it was entered"
                ),
            );
        }
        let thread = thread::current();
        thread
            .kernel_apc_disable
            .store(self.kernel_apcs, Ordering::Relaxed);
        thread
            .special_apc_disable
            .store(self.special_apcs, Ordering::Relaxed);
    }
}

/// An object type: drivers compare its address, and hand it back.
struct ObjectType {
    variable: usize,
    value: usize,
}

static FILE_TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static PROCESS_TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static THREAD_TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static KEY_TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static SECTION_TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static CALLBACK_TYPE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);

impl ObjectType {
    fn new() -> Self {
        let value = object::allocate(256);
        let variable = object::allocate(8);
        memory::Guest::at(variable).write(value);
        Self { variable, value }
    }
}

/// Whether that is the address of an object type that objects are made with.
fn is_object_type(address: usize) -> bool {
    let types = [&FILE_TYPE, &SECTION_TYPE, &KEY_TYPE, &CALLBACK_TYPE];
    types.iter().any(|known| known.value == address) || transaction::object_type() == address
}

/// `*IoFileObjectType`.
pub(crate) fn file_object_type() -> usize {
    FILE_TYPE.value
}

/// `*PsProcessType`.
pub(crate) fn process_type() -> usize {
    PROCESS_TYPE.value
}

/// `*PsThreadType`.
pub(crate) fn thread_type() -> usize {
    THREAD_TYPE.value
}

/// The type of registry keys.
pub(crate) fn key_type() -> usize {
    KEY_TYPE.value
}

/// The type of callback objects.
pub(crate) fn callback_type() -> usize {
    CALLBACK_TYPE.value
}

/// The type of sections.
pub(crate) fn section_type() -> usize {
    SECTION_TYPE.value
}

exports! { "ntoskrnl.exe";
    data IoFileObjectType = || FILE_TYPE.variable;
    data PsProcessType = || PROCESS_TYPE.variable;
    data PsThreadType = || THREAD_TYPE.variable;
    data CmKeyObjectType = || KEY_TYPE.variable;
    data MmSectionObjectType = || SECTION_TYPE.variable;
}
