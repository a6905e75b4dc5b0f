//! The communication port `\HeadroomPort`: settings, records and watermarks for programs, and instances on demand.
//!
//! Administrators and the system may connect, a few at a time, in a version of the protocol that the driver speaks. A
//! message is copied once, judged, and answered with one copy; what the client's memory does meanwhile cannot be seen. All
//! of it runs at `PASSIVE_LEVEL` in the client's thread, on a stack that is nearly empty.
//!
//! Clients that wait for news get it from a worker: a create asks for it and goes on. A client that does not take its
//! message within [`PUSH_MILLISECONDS`] gets the next one when there is a next record, or when it has sent a request.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fltmgr::{
    Client, Clients, FilterRef, NtStatus, PoolBytes, PortService, Tag, Task, UserInput, UserOutput,
    instances::{self, InstanceHandle, InstanceNames},
    zerocopy::{FromBytes, Immutable, IntoBytes},
};
use protocol::{
    Flags, Record, Watermarks,
    port::{
        Drain, DrainReply, Hello, InstanceInfo, InstanceName, InstancesReply, MAXIMUM_CLIENTS,
        MAXIMUM_DRAIN_RECORDS, MAXIMUM_REQUEST_BYTES, Notification, NotificationKind,
        PORT_NAME_UNITS, ReplyHeader, Request, StatusReply, VERSION_MAJOR, VERSION_MINOR,
    },
};

use crate::{
    config,
    config::SETTINGS,
    recorder::{HEADROOM_RECORDER, HEADROOM_WATERMARKS},
};

const TAG: Tag = Tag::new(b"HdrP");

/// How long a push waits for one client.
const PUSH_MILLISECONDS: u32 = 250;

/// With less stack left than this, a create leaves the push to the next one.
const PUSH_STACK: usize = 0x800;

/// Instances that a reply lists at most.
const MAXIMUM_INSTANCES: usize = 64;

static PLACES: [Client; MAXIMUM_CLIENTS as usize] =
    [const { Client::new() }; MAXIMUM_CLIENTS as usize];
static CLIENTS: Clients = Clients::new(&PLACES);

/// Tells clients that wait that there are new records.
pub(crate) static PUSH: Task = Task::new(push);

/// The newest record that clients were told of.
static TOLD: AtomicU64 = AtomicU64::new(0);

/// See the module.
pub(crate) struct HeadroomPort;

impl PortService for HeadroomPort {
    const NAME: &'static [u16] = &PORT_NAME_UNITS;

    fn clients() -> &'static Clients {
        &CLIENTS
    }

    fn connect(context: UserInput<'_>) -> Result<(), NtStatus> {
        // A longer one is no Hello of any version.
        let mut copy = [0; 4 * size_of::<Hello>()];
        let hello = context.copy_to(&mut copy)?;
        Hello::judge(hello)
            .map(drop)
            .map_err(|refusal| native(refusal.status()))
    }

    fn message(
        filter: FilterRef<'_>,
        input: UserInput<'_>,
        output: UserOutput<'_>,
    ) -> Result<usize, NtStatus> {
        let mut message = Message([0; MAXIMUM_REQUEST_BYTES]);
        let done = if input.len() > MAXIMUM_REQUEST_BYTES {
            status(output, protocol::NtStatus::INFO_LENGTH_MISMATCH)
        } else {
            match Request::decode(input.copy_to(&mut message.0)?) {
                Ok(request) => answer(filter, &request, output),
                Err(bad) => status(output, bad.status()),
            }
        };
        // The client is alive: what it was not told in time it may be told now.
        if HEADROOM_RECORDER.counters().head() > TOLD.load(Relaxed) {
            PUSH.ask(filter);
        }
        done
    }
}

/// A message of the driver's own, aligned so that every request can be read where it lies.
#[repr(C, align(8))]
struct Message([u8; MAXIMUM_REQUEST_BYTES]);

/// A record has been filed: clients that wait are to know of it. On the caller's stack, where there is enough.
#[inline]
pub(crate) fn news(filter: FilterRef<'_>) {
    if CLIENTS.connected().next().is_some() && kstack::remaining() >= PUSH_STACK {
        PUSH.ask(filter);
    }
}

/// On a worker thread.
fn push(_: FilterRef<'_>) {
    let newest = HEADROOM_RECORDER.counters().head();
    let notification = Notification {
        kind: NotificationKind::RECORDS,
        #[expect(clippy::cast_possible_truncation, reason = "16")]
        bytes: size_of::<Notification>() as u32,
        newest,
    };
    let mut all_told = true;
    for client in CLIENTS.connected() {
        all_told &= client
            .send(notification.as_bytes(), PUSH_MILLISECONDS)
            .is_ok();
    }
    if all_told {
        TOLD.fetch_max(newest, Relaxed);
    }
}

/// The status in the kernel's type.
const fn native(status: protocol::NtStatus) -> NtStatus {
    NtStatus(status.0.cast_signed())
}

/// The status in the protocol's type.
const fn foreign(status: NtStatus) -> protocol::NtStatus {
    protocol::NtStatus(status.0.cast_unsigned())
}

fn header(status: protocol::NtStatus, bytes: usize) -> ReplyHeader {
    ReplyHeader {
        status,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
    }
}

/// Writes a header and what follows it to the start of a reply.
fn put<B: IntoBytes + Immutable>(reply: &mut [u8], header: ReplyHeader, body: &B) {
    let parts = [header.as_bytes(), body.as_bytes()];
    for (to, from) in reply.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
}

/// Answers with a status and nothing else.
fn status(output: UserOutput<'_>, status: protocol::NtStatus) -> Result<usize, NtStatus> {
    output.copy_from(header(status, size_of::<ReplyHeader>()).as_bytes())
}

/// Answers with a small body.
fn body<B: IntoBytes + Immutable>(
    output: UserOutput<'_>,
    code: protocol::NtStatus,
    body: &B,
) -> Result<usize, NtStatus> {
    const ROOM: usize = 96;
    const { assert!(size_of::<ReplyHeader>() + size_of::<B>() <= ROOM) };
    let bytes = size_of::<ReplyHeader>() + size_of::<B>();
    if output.len() < bytes {
        return status(output, protocol::NtStatus::BUFFER_TOO_SMALL);
    }
    let mut reply = [0; ROOM];
    put(&mut reply, header(code, bytes), body);
    output.copy_from(reply.get(..bytes).unwrap_or(&[]))
}

fn answer(
    filter: FilterRef<'_>,
    request: &Request<'_>,
    output: UserOutput<'_>,
) -> Result<usize, NtStatus> {
    match request {
        Request::GetConfig => body(output, protocol::NtStatus::SUCCESS, &SETTINGS.current()),
        Request::SetConfig(new) => {
            match new.validate_change(&SETTINGS.current(), config::MAXIMUM_EXPANSION) {
                Ok(()) => {
                    SETTINGS.put(new);
                    status(output, protocol::NtStatus::SUCCESS)
                }
                Err(rejection) => body(output, protocol::NtStatus::INVALID_PARAMETER, &rejection),
            }
        }
        Request::Drain(asked) => drain(asked, output),
        Request::Watermarks => watermarks(output),
        Request::ResetWatermarks => {
            HEADROOM_WATERMARKS.reset();
            status(output, protocol::NtStatus::SUCCESS)
        }
        Request::Attach(name) => with_names(filter, name, output, instances::attach),
        Request::Detach(name) => with_names(filter, name, output, instances::detach),
        Request::Instances => list(filter, output),
        Request::Status => body(output, protocol::NtStatus::SUCCESS, &standing()),
    }
}

/// A part of the driver's version, as Cargo has it.
const fn number(part: &str) -> u16 {
    match u16::from_str_radix(part, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// How the driver stands now. The counters are read one after the other while creates go on.
fn standing() -> StatusReply {
    let counters = HEADROOM_RECORDER.counters();
    StatusReply {
        driver: [
            number(env!("CARGO_PKG_VERSION_MAJOR")),
            number(env!("CARGO_PKG_VERSION_MINOR")),
            number(env!("CARGO_PKG_VERSION_PATCH")),
            0,
        ],
        protocol: [VERSION_MAJOR, VERSION_MINOR],
        clients: u32::try_from(CLIENTS.connected().count()).unwrap_or(u32::MAX),
        capacity: SETTINGS.log_capacity() as u64,
        qpc_frequency: crate::kernel::performance_frequency(),
        head: counters.head(),
        written: counters.written(),
        overwritten: counters.overwritten(),
        skipped: counters.skipped(),
        skipped_low_stack: counters.skipped_low_stack(),
        voided: counters.voided(),
        abandoned: counters.abandoned(),
    }
}

fn with_names(
    filter: FilterRef<'_>,
    name: &InstanceName,
    output: UserOutput<'_>,
    act: impl FnOnce(FilterRef<'_>, &[u16], &[u16]) -> Result<(), NtStatus>,
) -> Result<usize, NtStatus> {
    let code = match act(filter, name.volume(), name.instance()) {
        Ok(()) => NtStatus::SUCCESS,
        Err(status) => status,
    };
    status(output, foreign(code))
}

/// Room for a reply of at most so many bytes, or the status that says why there is none.
fn room(output: &UserOutput<'_>, least: usize, most: usize) -> Result<PoolBytes, NtStatus> {
    let bytes = output.len().min(most);
    if bytes < least {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    PoolBytes::try_zeroed(TAG, bytes).ok_or(NtStatus::INSUFFICIENT_RESOURCES)
}

#[inline(never)]
fn drain(asked: &Drain, output: UserOutput<'_>) -> Result<usize, NtStatus> {
    const HEAD: usize = size_of::<ReplyHeader>() + size_of::<DrainReply>();
    const MOST: usize = HEAD + MAXIMUM_DRAIN_RECORDS as usize * size_of::<Record>();
    let mut reply = match room(&output, HEAD, MOST) {
        Ok(reply) => reply,
        Err(why) => return status(output, foreign(why)),
    };
    let Some((head_bytes, records)) = reply.split_at_mut_checked(HEAD) else {
        return status(output, protocol::NtStatus::BUFFER_TOO_SMALL);
    };
    let head = HEADROOM_RECORDER.counters().head();
    let oldest = head
        .saturating_add(1)
        .saturating_sub(SETTINGS.log_capacity() as u64)
        .max(1);
    let mut next = if asked.from <= 1 { oldest } else { asked.from };
    let first = next.max(oldest);
    let mut places = records
        .chunks_exact_mut(size_of::<Record>())
        .take(asked.limit as usize);
    let drained = HEADROOM_RECORDER.drain(&mut next, |record, create_status| {
        let Some(Ok(place)) = places.next().map(Record::mut_from_bytes) else {
            return false;
        };
        *place = *record;
        if let Some(status) = create_status {
            place.create_status = status;
            place.flags = place.flags.with(Flags::CREATE_STATUS_KNOWN);
        }
        true
    });
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most MAXIMUM_DRAIN_RECORDS, and 496"
    )]
    let told = DrainReply {
        first,
        next,
        lost: drained.lost,
        head,
        count: drained.taken as u32,
        record_bytes: size_of::<Record>() as u32,
    };
    #[expect(clippy::cast_possible_truncation, reason = "64-bit systems only")]
    let bytes = HEAD.saturating_add((drained.taken as usize).saturating_mul(size_of::<Record>()));
    put(
        head_bytes,
        header(protocol::NtStatus::SUCCESS, bytes),
        &told,
    );
    output.copy_from(reply.get(..bytes).unwrap_or(&[]))
}

fn watermarks(output: UserOutput<'_>) -> Result<usize, NtStatus> {
    const HEAD: usize = size_of::<ReplyHeader>();
    const BYTES: usize = HEAD + size_of::<Watermarks>();
    if output.len() < BYTES {
        return status(output, protocol::NtStatus::BUFFER_TOO_SMALL);
    }
    let Some(mut reply) = PoolBytes::try_zeroed(TAG, BYTES) else {
        return status(output, foreign(NtStatus::INSUFFICIENT_RESOURCES));
    };
    let Some((head, marks)) = reply.split_at_mut_checked(HEAD) else {
        return status(output, protocol::NtStatus::BUFFER_TOO_SMALL);
    };
    let Ok(marks) = Watermarks::mut_from_bytes(marks) else {
        return status(output, protocol::NtStatus::DATATYPE_MISALIGNMENT);
    };
    HEADROOM_WATERMARKS.copy_to(marks);
    head.copy_from_slice(header(protocol::NtStatus::SUCCESS, BYTES).as_bytes());
    output.copy_from(&reply)
}

/// A frame of its own, since it is the largest.
#[inline(never)]
fn list(filter: FilterRef<'_>, output: UserOutput<'_>) -> Result<usize, NtStatus> {
    const HEAD: usize = size_of::<ReplyHeader>() + size_of::<InstancesReply>();
    const MOST: usize = HEAD + MAXIMUM_INSTANCES * size_of::<InstanceInfo>();
    let mut reply = match room(&output, HEAD, MOST) {
        Ok(reply) => reply,
        Err(why) => return status(output, foreign(why)),
    };
    let mut instances = [const { None::<InstanceHandle> }; MAXIMUM_INSTANCES];
    let total = match instances::list(filter, &mut instances) {
        Ok(total) => total,
        Err(why) => return status(output, foreign(why)),
    };
    let Some((head_bytes, entries)) = reply.split_at_mut_checked(HEAD) else {
        return status(output, protocol::NtStatus::BUFFER_TOO_SMALL);
    };
    let mut names = InstanceNames::new();
    let mut count: usize = 0;
    for (instance, place) in instances
        .iter()
        .flatten()
        .zip(entries.chunks_exact_mut(size_of::<InstanceInfo>()))
    {
        // One that goes meanwhile is left out.
        let Ok(file_system) = instance.file_system() else {
            continue;
        };
        if instance.names(&mut names).is_err() {
            continue;
        }
        let info = InstanceInfo::new(names.volume(), names.instance(), file_system);
        place.copy_from_slice(info.as_bytes());
        count = count.saturating_add(1);
    }
    let bytes = HEAD.saturating_add(count.saturating_mul(size_of::<InstanceInfo>()));
    let told = InstancesReply {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        total: u32::try_from(total).unwrap_or(u32::MAX),
    };
    put(
        head_bytes,
        header(protocol::NtStatus::SUCCESS, bytes),
        &told,
    );
    output.copy_from(reply.get(..bytes).unwrap_or(&[]))
}
