//! I/O request packets: their memory, whose they are, and what becomes of them.
//!
//! Followed: the reference pages of `IoAllocateIrp`, `IofCallDriver`, `IofCompleteRequest`, `IoCancelIrp` and their kin;
//! "Handling IRPs"; the bug check reference for 0x35, 0x44, 0x48 and 0xC9, whose causes are findings here unless the machine
//! could not go on.
//!
//! Packets lie in pool of the kernel's: one that a driver touches after it has completed it is a bug check, as under Driver
//! Verifier. A packet of the I/O manager's goes as soon as it is completed, where Windows keeps it a little longer.

mod build;
pub(super) mod call;
mod cancel;
mod check;
pub(super) mod complete;
mod csq;
mod fast;
mod inquire;
mod send;
mod shown;
mod volume;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

pub(crate) use cancel::thread as cancel_thread;
pub(crate) use fast::{device_control as fast_device_control, takes_controls};
pub(crate) use inquire::major_of;
pub(crate) use send::{create, send, shutdown};
pub(crate) use shown::Shown;

use self::check::Call;
use super::memory::Guest;
use super::{driver, irql, mdl, pool};
use crate::abi::io::IoStatusBlock;
use crate::abi::irp::{IO_TYPE_IRP, Irp, StackLocation};
use crate::export::{Coverage, Export, ExportKind};
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH_LEVEL};
use crate::{bugcheck, faults, verifier};

const TAG: u32 = u32::from_le_bytes(*b"Irp ");

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 7] {
    [
        exports(),
        call::exports(),
        complete::exports(),
        cancel::exports(),
        build::exports(),
        csq::exports(),
        inquire::exports(),
    ]
}

/// How a request of the I/O manager's own ended: the thread that made it waits for that.
#[derive(Default)]
pub(super) struct Done {
    block: Mutex<Option<IoStatusBlock>>,
    changed: Condvar,
}

impl Done {
    fn lock(&self) -> MutexGuard<'_, Option<IoStatusBlock>> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, block: IoStatusBlock) {
        *self.lock() = Some(block);
        self.changed.notify_all();
    }

    fn is_set(&self) -> bool {
        self.lock().is_some()
    }

    fn wait(&self) -> IoStatusBlock {
        let mut block = self.lock();
        loop {
            match *block {
                Some(block) => return block,
                None => {
                    block = self
                        .changed
                        .wait(block)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Whose a packet is once it is completed.
#[derive(Clone)]
enum Owner {
    /// A system call's, which waits.
    System(Arc<Done>),
    /// A driver's thread's: the I/O manager copies, signals and frees (`IoBuildSynchronousFsdRequest`).
    Thread,
    /// A driver's, which must take it back in its completion routine (`IoAllocateIrp`).
    Driver,
    /// As that, in memory of the driver's (`IoInitializeIrp`).
    Initialised,
}

struct Entry {
    owner: Owner,
    service: String,
    site: usize,
    /// The thread that it belongs to; 0: none.
    tid: u64,
    /// A system buffer that goes with it.
    buffer: Option<usize>,
    /// Dispatch routines that have it and are to be compared with how it ends.
    calls: Vec<Arc<Call>>,
}

static IRPS: LazyLock<Mutex<HashMap<usize, Entry>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Entry>> {
    IRPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A packet that is known to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet(usize);

impl Packet {
    /// The packet at that address; `None`: it is none, or not any more.
    fn at(address: usize) -> Option<Self> {
        let known = lock().contains_key(&address);
        (known && Self(address).read().kind == IO_TYPE_IRP).then_some(Self(address))
    }

    fn read(self) -> Irp {
        Guest::at(self.0).read()
    }

    /// Changes fields of it; others may be changing others meanwhile.
    fn change(self, change: impl FnOnce(&mut Irp)) {
        let irp: *mut Irp = Guest::at(self.0).0;
        // SAFETY: a packet in the table exists; pool is aligned enough for one.
        change(unsafe { &mut *irp });
    }

    /// Takes its cancel routine away, as `IoSetCancelRoutine` does in drivers: by an exchange.
    fn take_cancel_routine(self) -> usize {
        let field: *mut AtomicUsize =
            Guest::at(self.0 + std::mem::offset_of!(Irp, cancel_routine)).0;
        // SAFETY: a field of a packet in the table, which is aligned; everybody changes it by exchanges.
        unsafe { &*field }.swap(0, Ordering::AcqRel)
    }

    /// Where its stack location of that number is; they count from 1, and the highest is the first driver's.
    fn location_address(self, number: i8) -> usize {
        let before = usize::try_from(i32::from(number) - 1).unwrap_or(0);
        self.0 + size_of::<Irp>() + before * size_of::<StackLocation>()
    }

    fn location(self, number: i8) -> StackLocation {
        Guest::at(self.location_address(number)).read()
    }

    fn set_location(self, number: i8, location: StackLocation) {
        Guest::at(self.location_address(number)).write(location);
    }

    /// Fills in the stack location of the driver that comes next.
    fn set_next(self, location: StackLocation) {
        let number = self.read().current_location - 1;
        self.set_location(number, location);
    }

    /// Notes what it is completed with.
    fn set_status(self, block: IoStatusBlock) {
        self.change(|irp| irp.io_status = block);
    }
}

const fn bytes(stack_size: i8) -> usize {
    size_of::<Irp>() + stack_size.unsigned_abs() as usize * size_of::<StackLocation>()
}

/// Puts a packet of so many stack locations there.
fn initialise(address: usize, stack_size: i8) {
    Guest::<u8>::at(address).write_many(&vec![0; bytes(stack_size)]);
    let packet = Packet(address);
    let list = address + std::mem::offset_of!(Irp, thread_list_entry);
    packet.change(|irp| {
        irp.kind = IO_TYPE_IRP;
        irp.size = u16::try_from(bytes(stack_size)).unwrap_or(u16::MAX);
        irp.stack_count = stack_size;
        irp.current_location = stack_size + 1;
        irp.current_stack_location = packet.location_address(stack_size + 1);
        irp.thread_list_entry.flink = Guest::at(list).0;
        irp.thread_list_entry.blink = Guest::at(list).0;
    });
}

fn know(address: usize, owner: Owner) {
    let tid = match owner {
        Owner::System(_) | Owner::Thread => thread::current().tid,
        Owner::Driver | Owner::Initialised => 0,
    };
    let entry = Entry {
        owner,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site: verifier::here(),
        tid,
        buffer: None,
        calls: Vec::new(),
    };
    lock().insert(address, entry);
}

/// Makes a packet; `None`: there is no memory.
fn allocate(stack_size: i8, owner: Owner) -> Option<Packet> {
    let address = pool::lend(bytes(stack_size), TAG, true)?;
    initialise(address, stack_size);
    know(address, owner);
    Some(Packet(address))
}

/// Frees a packet with what the I/O manager made for it.
fn free(packet: Packet) {
    let Some(entry) = lock().remove(&packet.0) else {
        return;
    };
    if let Some(buffer) = entry.buffer {
        pool::free(buffer, None);
    }
    if !matches!(entry.owner, Owner::Initialised) {
        Guest::<i16>::at(packet.0).write(0);
        pool::free(packet.0, None);
    }
}

/// Unlocks and frees a packet's list of memory descriptor lists.
fn free_mdls(packet: Packet) {
    let mut mdl = packet.read().mdl_address;
    packet.change(|irp| irp.mdl_address = 0);
    while mdl != 0 && mdl::is_mdl(mdl) {
        let next = Guest::<usize>::at(mdl).read();
        mdl::free(mdl);
        mdl = next;
    }
}

/// Gives a packet a memory descriptor list: the only one, or one more at the end of its chain.
pub(super) fn describe(irp: usize, list: usize, secondary: bool) {
    let Some(packet) = Packet::at(irp) else {
        no_irp(0x3, "IoAllocateMdl", irp)
    };
    let mut at = packet.0 + std::mem::offset_of!(Irp, mdl_address);
    // A list begins with the pointer to the next one.
    while secondary && Guest::<usize>::at(at).read() != 0 {
        at = Guest::<usize>::at(at).read();
    }
    Guest::<usize>::at(at).write(list);
}

/// Reports the packets that a driver that goes away has left.
pub(crate) fn report_leaks(service: &str) {
    let mut left = Vec::new();
    lock().retain(|address, entry| {
        let leaks = entry.service == service && !matches!(entry.owner, Owner::System(_));
        if leaks && !matches!(entry.owner, Owner::Initialised) {
            left.push((*address, entry.site));
        }
        !leaks
    });
    left.sort_unstable();
    for (address, site) in left {
        verifier::finding_at(
            "irp-leak",
            site,
            format!("{service} went away with the IRP at {address:#x}"),
        );
    }
}

/// The stack locations that a driver asked for, if a packet can have so many.
fn checked_size(stack_size: i8) -> Option<i8> {
    (stack_size > 0).then_some(stack_size)
}

/// The number of a dispatch table's entry that its driver has not set: completes with `STATUS_INVALID_DEVICE_REQUEST`.
extern "win64" fn invalid_device_request(_device: usize, irp: usize) -> NtStatus {
    let status = NtStatus::INVALID_DEVICE_REQUEST;
    if let Some(packet) = Packet::at(irp) {
        packet.set_status(IoStatusBlock::new(status, 0));
    }
    complete::IofCompleteRequest(irp, 0);
    status
}

static INVALID: Export = Export {
    dll: "ntoskrnl.exe",
    name: "IopInvalidDeviceRequest",
    kind: ExportKind::Function {
        address: invalid_device_request as *const (),
        arguments: 2,
        status: false,
    },
    coverage: Coverage::Whole,
};

/// What every entry of a new driver's dispatch table is.
pub(crate) fn default_dispatch() -> usize {
    super::routines::stub(&INVALID).unwrap_or(0)
}

exports! { "ntoskrnl.exe";
    /// Makes a packet; NULL: there is no memory.
    fn IoAllocateIrp(stack_size: i8, _quota: u8) -> usize {
        irql::at_most("IoAllocateIrp", DISPATCH_LEVEL);
        if faults::check("IoAllocateIrp").is_some() {
            return 0;
        }
        let size = checked_size(stack_size);
        size.and_then(|size| allocate(size, Owner::Driver)).map_or(0, |packet| packet.0)
    }

    /// Makes a packet for a device; NULL: there is no memory.
    fn IoAllocateIrpEx(_device: usize, stack_size: i8, _quota: u8) -> usize {
        irql::at_most("IoAllocateIrpEx", DISPATCH_LEVEL);
        if faults::check("IoAllocateIrpEx").is_some() {
            return 0;
        }
        let size = checked_size(stack_size);
        size.and_then(|size| allocate(size, Owner::Driver)).map_or(0, |packet| packet.0)
    }

    /// Makes a packet of memory that the driver has.
    fn IoInitializeIrp(irp: usize, size: u16, stack_size: i8) {
        irql::at_most("IoInitializeIrp", DISPATCH_LEVEL);
        let again = lock().get(&irp).is_some_and(|entry| !matches!(entry.owner, Owner::Initialised));
        if again || usize::from(size) < bytes(stack_size) {
            verifier::finding(
                "irp-initialised",
                "IoInitializeIrp on an IRP of IoAllocateIrp, or in less memory than IoSizeOfIrp says",
            );
        }
        initialise(irp, stack_size);
        if !again {
            know(irp, Owner::Initialised);
        }
    }

    /// Makes a packet of the driver's own ready to be sent once more.
    fn IoReuseIrp(irp: usize, status: NtStatus) {
        irql::at_most("IoReuseIrp", DISPATCH_LEVEL);
        let Some(packet) = Packet::at(irp) else { no_irp(0x1, "IoReuseIrp", irp) };
        let before = packet.read();
        if !matches!(lock().get(&irp).map(|entry| entry.owner.clone()), Some(Owner::Driver | Owner::Initialised)) {
            verifier::finding("irp-reused", "IoReuseIrp on an IRP that is not the driver's own");
        }
        initialise(irp, before.stack_count);
        packet.change(|irp| {
            irp.allocation_flags = before.allocation_flags;
            irp.io_status = IoStatusBlock::new(status, 0);
        });
        if let Some(entry) = lock().get_mut(&irp) {
            entry.calls.clear();
        }
    }

    /// Frees a packet of the driver's own.
    fn IoFreeIrp(irp: usize) {
        irql::at_most("IoFreeIrp", DISPATCH_LEVEL);
        let Some(packet) = Packet::at(irp) else { no_irp(0x1, "IoFreeIrp", irp) };
        let owner = lock().get(&irp).map(|entry| entry.owner.clone());
        match owner {
            Some(Owner::System(_) | Owner::Thread) => bugcheck::raise(
                0xC9,
                [0x2, irp as u64, 0, 0],
                format!("IoFreeIrp on the IRP at {irp:#x}, which belongs to a thread: the I/O manager frees it"),
            ),
            Some(Owner::Initialised) => {
                verifier::finding("irp-freed", "IoFreeIrp on an IRP of IoInitializeIrp, whose memory is the driver's to free");
            }
            _ => free(packet),
        }
    }

    /// The process that asked for what a packet is about.
    fn IoGetRequestorProcess(irp: usize) -> usize {
        irql::at_most("IoGetRequestorProcess", DISPATCH_LEVEL);
        requestor(irp).map_or(0, |thread| thread.process.object)
    }

    /// Its id.
    fn IoGetRequestorProcessId(irp: usize) -> u32 {
        irql::at_most("IoGetRequestorProcessId", DISPATCH_LEVEL);
        requestor(irp).and_then(|thread| u32::try_from(thread.pid()).ok()).unwrap_or(0)
    }
}

/// The thread that a packet belongs to.
fn requestor(irp: usize) -> Option<&'static thread::Thread> {
    let packet = Packet::at(irp).unwrap_or_else(|| no_irp(0x3, "IoGetRequestorProcess", irp));
    let object = packet.read().thread;
    thread::all()
        .into_iter()
        .find(|thread| thread.object == object)
}

fn no_irp(violation: u64, function: &str, irp: usize) -> ! {
    bugcheck::raise(
        0xC9,
        [violation, irp as u64, 0, 0],
        format!("{function} on {irp:#x}, which is no IRP (any more)"),
    )
}
