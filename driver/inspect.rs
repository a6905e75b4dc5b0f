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

use fltmgr::{EcpList, ExtraCreateParameter, File, OpenFrom, OpenRequest, Tag, zerocopy};
use kstack::Outcome;
use protocol::{AncestorScope, Flags, NtStatus, Record};
use recorder::Sample as Mark;
use uncpath::ShareKind;
use wdk_sys::{FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_VALID_FLAGS, GUID};

use crate::{
    Create,
    config::SETTINGS,
    create::{Sample, Visit},
    kernel, local,
    recorder::{HEADROOM_RECORDER, HEADROOM_WATERMARKS, IMAGE_NAMES},
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
    const TAG: Tag = Tag::new(b"HdrE");
}

/// As a record and the watermarks have it.
pub(crate) type ImageName = [u8; protocol::IMAGE_NAME_BYTES];

/// The record of an inspection, if one could be had: where it could not, the inspection is the same and unrecorded.
struct Note<'r> {
    record: Option<&'r mut Record>,
    /// The lowest stack pointer that was seen. What the kernel's own functions use below it is not known.
    lowest: usize,
    /// How deep the create is nested.
    depth: u32,
}

impl Note<'_> {
    fn put(&mut self, write: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            write(record);
        }
    }

    /// Looks where the stack pointer is, for the watermarks.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the stack pointer is to be that of the caller"
    )]
    fn look_down(&mut self) {
        self.lowest = self.lowest.min(kstack::stack_pointer());
    }

    fn flag(&mut self, flag: Flags) {
        self.put(|record| record.flags = record.flags.with(flag));
    }
}

/// Samples the stack, then inspects the create.
///
/// The record is claimed first and filled as things become known, so that a crash dump shows the inspections that were
/// under way.
#[inline(never)]
pub(crate) fn run(visit: &mut Visit<'_>) {
    let inside = Sample::here();
    // A worker's was described before the create was made to wait.
    let mut claim = visit.record.take();
    if !visit.asked {
        visit.asked = true;
        claim = HEADROOM_RECORDER.claim().map(|mut record| {
            describe(visit, &mut record);
            record
        });
    }
    let image = image_name(visit.create);
    let start = kstack::stack_pointer();
    let mut note = Note {
        record: claim.as_deref_mut(),
        lowest: start,
        depth: 0,
    };
    note.put(|record| {
        record.inside_low = inside.limits.low as u64;
        record.inside_high = inside.limits.high as u64;
        record.inside_remaining = inside.remaining;
        record.flags = record.flags.with(Flags::INSIDE_SAMPLED);
        record.outcome = outcome(visit, inside);
        record.image_name = image;
    });
    let inspected = inspect(visit.create, &mut note);
    note.put(|record| {
        if let Err(status) = inspected {
            record.inspect_status = NtStatus(status.0.cast_unsigned());
        }
        record.inspect_ticks = kernel::performance_counter().wrapping_sub(record.qpc);
    });
    let found = Mark {
        before: visit.before.remaining,
        inside: Some(inside.remaining),
        spent: u32::try_from(start.saturating_sub(note.lowest)).ok(),
        depth: note.depth,
    };
    visit.record = claim;
    // Also where there was no record to be had: the ring may be too small for a nest, whose deepest creates matter most.
    HEADROOM_WATERMARKS.note(&found, &image);
}

fn outcome(visit: &Visit<'_>, inside: Sample) -> protocol::Outcome {
    if visit.on_worker {
        return protocol::Outcome::WORKER;
    }
    if visit.reserved == 0 {
        return protocol::Outcome::NOT_EXPANDED;
    }
    match Outcome::classify(visit.before.limits, inside.limits) {
        Outcome::Direct => protocol::Outcome::DIRECT,
        Outcome::Grown => protocol::Outcome::GROWN,
        Outcome::Switched => protocol::Outcome::SWITCHED,
    }
}

/// What a record says of every create, whatever became of its inspection.
pub(crate) fn describe(visit: &Visit<'_>, record: &mut Record) {
    record.qpc = kernel::performance_counter();
    record.system_time = kernel::system_time();
    record.process_id = kernel::process_id();
    record.thread_id = kernel::thread_id();
    record.irql = kernel::irql();
    record.policy = visit.policy;
    record.ancestor_scope = SETTINGS.ancestors();
    record.reservation_bytes = visit.reserved;
    record.before_low = visit.before.limits.low as u64;
    record.before_high = visit.before.limits.high as u64;
    record.before_remaining = visit.before.remaining;
    record.flags = Flags::BEFORE_SAMPLED;
}

/// How deep the create is nested.
pub(crate) fn nest_depth(create: &Create<'_>) -> u32 {
    create
        .extra_parameter::<NestDepth>()
        .map_or(0, |depth| depth.0)
}

/// Says in a record how deep the create is nested.
pub(crate) fn note_depth(record: &mut Record, depth: u32) {
    record.nest_depth = depth;
    if depth > 0 {
        record.flags = record.flags.with(Flags::NESTED);
    }
}

/// The inspection itself.
///
/// # Errors
///
/// The first failure: of the name query, of the list that carries the depth, of an ancestor's open or query.
fn inspect(create: &Create<'_>, note: &mut Note<'_>) -> Result<(), fltmgr::NtStatus> {
    let depth = nest_depth(create);
    note.depth = depth;
    note.put(|record| note_depth(record, depth));
    if depth >= SETTINGS.max_nest_depth() {
        note.put(|record| record.set_path(create.given_name()));
        note.flag(Flags::SKIPPED_NEST_BOUND);
        return Ok(());
    }
    if create.opens_by_id() {
        note.flag(Flags::SKIPPED_BY_ID);
        return Ok(());
    }
    let name = create.opened_name()?;
    note.put(|record| record.set_path(&name));
    match uncpath::parse(&name) {
        Ok(path) => {
            note.flag(Flags::UNC);
            if path.share_kind() == ShareKind::Disk {
                return walk(create, note, depth, path.ancestors());
            }
            note.flag(Flags::SKIPPED_NOT_DISK);
        }
        Err(_) if SETTINGS.unc_only() => note.flag(Flags::SKIPPED_NOT_UNC),
        Err(_) => return walk(create, note, depth, local::ancestors(&name)),
    }
    Ok(())
}

/// Opens the ancestors, as the settings have it.
fn walk<'n>(
    create: &Create<'_>,
    note: &mut Note<'_>,
    depth: u32,
    ancestors: impl Iterator<Item = &'n [u16]>,
) -> Result<(), fltmgr::NtStatus> {
    if SETTINGS.ancestors() == AncestorScope::TOP {
        match ancestors.last() {
            Some(parent) => look_from_top(create, note, parent, depth.saturating_add(1)),
            None => {
                note.flag(Flags::SKIPPED_ROOT);
                Ok(())
            }
        }
    } else {
        let mut ancestors = ancestors.peekable();
        if ancestors.peek().is_none() {
            note.flag(Flags::SKIPPED_ROOT);
        }
        let below = OpenFrom::Below(create.instance());
        ancestors.try_for_each(|ancestor| look_at(create, note, below, ancestor, None))
    }
}

/// Opens a parent through the whole stack of filters, this one included: the depth travels with the open.
fn look_from_top(
    create: &Create<'_>,
    note: &mut Note<'_>,
    parent: &[u16],
    depth: u32,
) -> Result<(), fltmgr::NtStatus> {
    let mut ecps = EcpList::new(create.filter())?;
    ecps.insert(NestDepth(depth))?;
    look_at(create, note, OpenFrom::Top, parent, Some(&ecps))
}

/// Opens one ancestor and learns what it is: the object itself, a reparse point not followed.
///
/// Not inlined: once per call would make each of them pay for all.
#[inline(never)]
fn look_at(
    create: &Create<'_>,
    note: &mut Note<'_>,
    from: OpenFrom<'_>,
    name: &[u16],
    ecps: Option<&EcpList<'_>>,
) -> Result<(), fltmgr::NtStatus> {
    note.look_down();
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
    note.put(|record| record.ancestors_opened = record.ancestors_opened.saturating_add(1));
    let tag = file.attribute_tag(create.instance(), create.device())?;
    note.put(|record| {
        record.ancestor_attributes = tag.attributes;
        record.ancestor_reparse_tag = tag.reparse_tag;
    });
    Ok(())
}

/// The end of the name of the requestor's image, which the kernel is asked for once for most processes.
///
/// Not inlined: what it needs would lie below the whole inspection.
#[inline(never)]
pub(crate) fn image_name(create: &Create<'_>) -> ImageName {
    let mut name = [0; protocol::IMAGE_NAME_BYTES];
    let Some(process) = kernel::requestor(create) else {
        return name;
    };
    let identity = kernel::identity(process);
    if let Some(name) = IMAGE_NAMES.find(&identity) {
        return name;
    }
    // Where the kernel has no memory for it, the next create asks again.
    if kernel::with_image(process, |path| put_file_name(path, &mut name)).is_some() {
        IMAGE_NAMES.keep(&identity, &name);
    }
    name
}

/// The end of a path's last component; what is not ASCII becomes a question mark.
///
/// Not inlined: the kernel is asked for the path from a frame that has none of this.
#[inline(never)]
fn put_file_name(path: &[u16], name: &mut ImageName) {
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
}
