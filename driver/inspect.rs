//! The deep processing: what the reservation is for. It runs on the reserved stack.
//!
//! The name is queried, the path taken apart, and its ancestors are opened to learn what they are: where a path crosses
//! DFS links, symbolic links and mount points. With `Below` each ancestor is opened below this driver's instance, from the
//! share's root down to the parent. With `Top` only the immediate parent is opened, from the top of the stack of filters:
//! that open comes back to this driver, which opens the parent's parent, and so on, each create nested in the one before
//! on the same thread. An extra create parameter tells such a create from one that came from outside, and carries the
//! depth, which is bounded.
//!
//! `FltGetFileNameInformation` refuses where asking the file system is not safe (a top-level IRP, all APCs disabled), and
//! then nothing is opened either.

use fltmgr::{Create, EcpList, ExtraCreateParameter, File, OpenFrom, OpenRequest, zerocopy};
use kstack::Outcome;
use protocol::{AncestorScope, Flags, NtStatus, Record};
use uncpath::ShareKind;
use wdk_sys::{FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_VALID_FLAGS, GUID};

use crate::{
    config::CONFIG,
    create::{Sample, Visit},
    kernel, local,
    recorder::HEADROOM_RECORDER,
};

/// How many creates of this driver lie above a create, counting from 1 for one that its inspection issued.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[zerocopy(crate = "fltmgr::zerocopy")]
#[repr(transparent)]
struct NestDepth(u32);

impl ExtraCreateParameter for NestDepth {
    // {3AEE5B9C-5A2D-49A0-9585-D5C9F4DAE7B6}
    const TYPE: GUID = GUID {
        Data1: 0x3AEE_5B9C,
        Data2: 0x5A2D,
        Data3: 0x49A0,
        Data4: [0x95, 0x85, 0xD5, 0xC9, 0xF4, 0xDA, 0xE7, 0xB6],
    };
    const POOL_TAG: u32 = u32::from_ne_bytes(*b"Hdrm");
}

/// Samples the stack, then inspects the create.
///
/// The record is claimed first and filled as things become known, so that a crash dump shows the inspections that were
/// under way. Where no record is to be had the inspection is the same.
#[inline(never)]
pub(crate) fn run(visit: &mut Visit<'_>) {
    let inside = Sample::here();
    let started = kernel::performance_counter();
    let mut claim = HEADROOM_RECORDER.claim();
    let mut unrecorded;
    let record = match &mut claim {
        Some(record) => &mut **record,
        None => {
            unrecorded = Record::EMPTY;
            &mut unrecorded
        }
    };
    describe(visit, record);
    record.qpc = started;
    record.inside_low = inside.limits.low as u64;
    record.inside_high = inside.limits.high as u64;
    record.inside_remaining = inside.remaining;
    record.flags = record.flags.with(Flags::INSIDE_SAMPLED);
    record.outcome = if visit.reserved == 0 {
        protocol::Outcome::NOT_EXPANDED
    } else {
        match Outcome::classify(visit.before.limits, inside.limits) {
            Outcome::Direct => protocol::Outcome::DIRECT,
            Outcome::Grown => protocol::Outcome::GROWN,
            Outcome::Switched => protocol::Outcome::SWITCHED,
        }
    };
    image_name(record);
    if let Err(status) = inspect(visit.create, record) {
        record.inspect_status = NtStatus(status.0.cast_unsigned());
    }
    record.inspect_ticks = kernel::performance_counter().wrapping_sub(started);
    visit.record = claim;
}

/// What a record says of every create, whatever became of its inspection.
pub(crate) fn describe(visit: &Visit<'_>, record: &mut Record) {
    record.qpc = kernel::performance_counter();
    record.system_time = kernel::system_time();
    record.process_id = kernel::process_id();
    record.thread_id = kernel::thread_id();
    record.irql = kernel::irql();
    record.policy = visit.policy;
    record.ancestor_scope = CONFIG.ancestors();
    record.reservation_bytes = visit.reserved;
    record.before_low = visit.before.limits.low as u64;
    record.before_high = visit.before.limits.high as u64;
    record.before_remaining = visit.before.remaining;
    record.flags = Flags::BEFORE_SAMPLED;
}

/// Learns how deep the create is nested, and says so in the record.
pub(crate) fn nest_depth(create: &Create<'_>, record: &mut Record) -> u32 {
    let depth = create
        .extra_parameter::<NestDepth>()
        .map_or(0, |depth| depth.0);
    record.nest_depth = depth;
    if depth > 0 {
        record.flags = record.flags.with(Flags::NESTED);
    }
    depth
}

/// The inspection itself.
///
/// # Errors
///
/// The first failure: of the name query, of the list that carries the depth, of an ancestor's open or query.
fn inspect(create: &Create<'_>, record: &mut Record) -> Result<(), fltmgr::NtStatus> {
    let depth = nest_depth(create, record);
    if depth >= CONFIG.max_nest_depth() {
        record.set_path(create.given_name());
        return skipped(record, Flags::SKIPPED_NEST_BOUND);
    }
    if create.opens_by_id() {
        return skipped(record, Flags::SKIPPED_BY_ID);
    }
    let name = create.opened_name()?;
    record.set_path(&name);
    match uncpath::parse(&name) {
        Ok(path) => {
            record.flags = record.flags.with(Flags::UNC);
            match path.share_kind() {
                ShareKind::Disk => walk(create, record, depth, path.ancestors()),
                ShareKind::Ipc | ShareKind::Pipe | ShareKind::Mailslot => {
                    skipped(record, Flags::SKIPPED_NOT_DISK)
                }
            }
        }
        Err(_) if CONFIG.unc_only() => skipped(record, Flags::SKIPPED_NOT_UNC),
        Err(_) => walk(create, record, depth, local::ancestors(&name)),
    }
}

fn skipped(record: &mut Record, why: Flags) -> Result<(), fltmgr::NtStatus> {
    record.flags = record.flags.with(why);
    Ok(())
}

/// Opens the ancestors, as the settings have it.
fn walk<'n>(
    create: &Create<'_>,
    record: &mut Record,
    depth: u32,
    mut ancestors: impl Iterator<Item = &'n [u16]>,
) -> Result<(), fltmgr::NtStatus> {
    if record.ancestor_scope == AncestorScope::TOP {
        let Some(parent) = ancestors.last() else {
            return skipped(record, Flags::SKIPPED_ROOT);
        };
        let mut ecps = EcpList::new(create.filter())?;
        ecps.insert(NestDepth(depth.saturating_add(1)))?;
        look_at(create, record, OpenFrom::Top, parent, Some(&ecps))
    } else {
        let below = OpenFrom::Below(create.instance());
        let Some(root) = ancestors.next() else {
            return skipped(record, Flags::SKIPPED_ROOT);
        };
        look_at(create, record, below, root, None)?;
        ancestors.try_for_each(|ancestor| look_at(create, record, below, ancestor, None))
    }
}

/// Opens one ancestor and learns what it is: the object itself, a reparse point not followed.
fn look_at(
    create: &Create<'_>,
    record: &mut Record,
    from: OpenFrom<'_>,
    name: &[u16],
    ecps: Option<&EcpList<'_>>,
) -> Result<(), fltmgr::NtStatus> {
    let file = File::open(
        create.filter(),
        &OpenRequest {
            from,
            name,
            access: FILE_READ_ATTRIBUTES,
            share: FILE_SHARE_VALID_FLAGS,
            options: FILE_OPEN_REPARSE_POINT,
            ecps,
        },
    )?;
    record.ancestors_opened = record.ancestors_opened.saturating_add(1);
    let tag = file.attribute_tag(create.instance(), create.device())?;
    record.ancestor_attributes = tag.attributes;
    record.ancestor_reparse_tag = tag.reparse_tag;
    Ok(())
}

/// Keeps the end of the process's image name; what is not ASCII becomes a question mark.
fn image_name(record: &mut Record) {
    kernel::with_process_image(|path| {
        let mut name = [0; protocol::IMAGE_NAME_BYTES];
        let file_name = path
            .rsplit(|unit| *unit == u16::from(b'\\'))
            .next()
            .unwrap_or(path);
        let skip = file_name.len().saturating_sub(name.len());
        for (byte, unit) in name.iter_mut().zip(file_name.iter().skip(skip)) {
            *byte = u8::try_from(*unit)
                .ok()
                .filter(u8::is_ascii)
                .unwrap_or(b'?');
        }
        record.set_image_name(&name);
    });
}
