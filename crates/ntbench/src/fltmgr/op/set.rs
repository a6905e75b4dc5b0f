//! `IRP_MJ_SET_INFORMATION`: times and attributes, lengths, position, deletion, rename and hard link (MS-FSCC 2.4).

use super::{Answer, Context};
use crate::abi::file::FILE_BASIC_INFORMATION_CLASS;
use crate::abi::io::FO_DELETE_ON_CLOSE;
use crate::abi::params::SetInformation;
use crate::namespace::contents::Basic;
use crate::namespace::open::OpenFile;
use crate::namespace::streams::StreamName;
use crate::ntos::object;
use crate::status::NtStatus;

pub(crate) const RENAME: u32 = 10;
pub(crate) const LINK: u32 = 11;
pub(crate) const DISPOSITION: u32 = 13;
pub(crate) const POSITION: u32 = 14;
pub(crate) const ALLOCATION: u32 = 19;
pub(crate) const END_OF_FILE: u32 = 20;
pub(crate) const DISPOSITION_EX: u32 = 64;
pub(crate) const RENAME_EX: u32 = 65;
pub(crate) const LINK_EX: u32 = 72;

/// `FILE_RENAME_REPLACE_IF_EXISTS`, and `FILE_RENAME_POSIX_SEMANTICS`, which no volume here has.
const REPLACE_IF_EXISTS: u32 = 1;
/// `FILE_DISPOSITION_DELETE`, `_POSIX_SEMANTICS`, `_ON_CLOSE`, `_IGNORE_READONLY_ATTRIBUTE`; with
/// `_FORCE_IMAGE_SECTION_CHECK` they are all.
const DISPOSITION_DELETE: u32 = 1;
const DISPOSITION_POSIX: u32 = 2;
const DISPOSITION_ON_CLOSE: u32 = 8;
const DISPOSITION_IGNORE_READ_ONLY: u32 = 0x10;
const DISPOSITION_KNOWN: u32 = 0x1F;

/// Whether a class needs the right to delete.
pub(crate) fn deletes(class: u32) -> bool {
    matches!(class, RENAME | RENAME_EX | DISPOSITION | DISPOSITION_EX)
}

/// Whether a class changes how long a file is.
pub(crate) fn resizes(class: u32) -> bool {
    matches!(class, ALLOCATION | END_OF_FILE)
}

/// Whether a class names a target, and in its extended form.
pub(crate) fn names_target(class: u32) -> Option<bool> {
    match class {
        RENAME | LINK => Some(false),
        RENAME_EX | LINK_EX => Some(true),
        _ => None,
    }
}

fn long(bytes: &[u8], at: usize) -> Result<i64, NtStatus> {
    let eight = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
    eight
        .map(i64::from_le_bytes)
        .ok_or(NtStatus::INFO_LENGTH_MISMATCH)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, NtStatus> {
    let four = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
    four.map(u32::from_le_bytes)
        .ok_or(NtStatus::INFO_LENGTH_MISMATCH)
}

/// The name in a rename's or link's information, and its flags.
pub(crate) fn target(bytes: &[u8], extended: bool) -> Result<(Vec<u16>, u64, bool), NtStatus> {
    let flags = word(bytes, 0)?;
    let replace = if extended {
        if flags & !REPLACE_IF_EXISTS != 0 {
            return Err(NtStatus::NOT_SUPPORTED);
        }
        flags & REPLACE_IF_EXISTS != 0
    } else {
        flags & 0xFF != 0
    };
    let root = long(bytes, 8)?.cast_unsigned();
    let length = word(bytes, 16)? as usize;
    let name = bytes
        .get(20..20 + length)
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    if length == 0 || !length.is_multiple_of(2) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let units = name
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    Ok((units.collect(), root, replace))
}

fn basic(bytes: &[u8]) -> Result<Basic, NtStatus> {
    let time = |at: usize| -> Result<Option<i64>, NtStatus> {
        match long(bytes, at)? {
            // 0: leave it; -1 and -2: whether this open's I/O changes it, which the host alone decides.
            -2..=0 => Ok(None),
            time if time > 0 => Ok(Some(time)),
            _ => Err(NtStatus::INVALID_PARAMETER),
        }
    };
    let attributes = word(bytes, 32)?;
    if bytes.len() < 40 {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    Ok(Basic {
        created: time(0)?,
        accessed: time(8)?,
        written: time(16)?,
        attributes: (attributes != 0).then_some(attributes),
    })
}

/// A rename or hard link: into the directory that the I/O manager (or the Filter Manager) opened for it, else beside the
/// file itself.
fn name(context: &Context<'_>, set: &SetInformation, bytes: &[u8]) -> Answer {
    let extended = matches!(set.class, RENAME_EX | LINK_EX);
    let (name, _, replace) = target(bytes, extended)?;
    if name.first() == Some(&u16::from(b':')) && matches!(set.class, RENAME | RENAME_EX) {
        let StreamName::Named(name) =
            StreamName::parse(&name).ok_or(NtStatus::OBJECT_NAME_INVALID)?
        else {
            return Err(NtStatus::INVALID_PARAMETER);
        };
        context.open.rename_stream(&name, replace)?;
        return Ok((NtStatus::SUCCESS, 0));
    }
    let parent = if set.parent_of_target == 0 {
        None
    } else {
        let file = object::file(set.parent_of_target, "a rename's ParentOfTarget");
        Some(file.opened().ok_or(NtStatus::INVALID_PARAMETER)?)
    };
    let last = match name.iter().rposition(|unit| *unit == u16::from(b'\\')) {
        Some(at) if parent.is_some() => &name[at + 1..],
        // Without a directory the name is a simple one.
        Some(_) => return Err(NtStatus::OBJECT_NAME_INVALID),
        None => &name[..],
    };
    let last = crate::namespace::names::one(last).ok_or(NtStatus::OBJECT_NAME_INVALID)?;
    let (open, parent) = (&context.open, parent.as_deref());
    match set.class {
        RENAME | RENAME_EX => open.rename(parent, &last, replace)?,
        _ => open.link(parent, &last, replace)?,
    }
    Ok((NtStatus::SUCCESS, 0))
}

pub(super) fn set(context: &Context<'_>) -> Answer {
    let set: SetInformation = context.arm();
    let bytes = context.get(set.buffer, 0, set.length as usize)?;
    let open: &OpenFile = &context.open;
    match set.class {
        FILE_BASIC_INFORMATION_CLASS => open.set_basic(basic(&bytes)?)?,
        RENAME | RENAME_EX | LINK | LINK_EX => return name(context, &set, &bytes),
        DISPOSITION => {
            let delete = *bytes.first().ok_or(NtStatus::INFO_LENGTH_MISMATCH)? != 0;
            delete_file(context, delete, 0)?;
        }
        DISPOSITION_EX => {
            let flags = word(&bytes, 0)?;
            if flags & !DISPOSITION_KNOWN != 0 {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            if flags & DISPOSITION_ON_CLOSE != 0 {
                // Only an open that was made with FILE_DELETE_ON_CLOSE has something to change.
                if context
                    .file
                    .object(|object| object.flags & FO_DELETE_ON_CLOSE == 0)
                {
                    return Err(NtStatus::NOT_SUPPORTED);
                }
                open.set_delete_on_close(flags & DISPOSITION_DELETE != 0);
            } else {
                delete_file(context, flags & DISPOSITION_DELETE != 0, flags)?;
            }
        }
        POSITION => {
            let position = long(&bytes, 0)?;
            if position < 0 {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            context
                .file
                .object(|object| object.current_byte_offset = position);
        }
        ALLOCATION => {
            let size = long(&bytes, 0)?;
            context.shorten(size)?;
            open.set_allocation(size)?;
        }
        END_OF_FILE => {
            let end = long(&bytes, 0)?;
            // The cache manager's own call moves the valid length up, never the end down.
            let (now, _) = open.size();
            if set.advance_only == 0 || end > now {
                context.shorten(end)?;
                open.set_end(end)?;
            }
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }
    Ok((NtStatus::SUCCESS, 0))
}

fn delete_file(context: &Context<'_>, delete: bool, flags: u32) -> Result<(), NtStatus> {
    let posix = flags & DISPOSITION_POSIX != 0;
    let even_read_only = flags & DISPOSITION_IGNORE_READ_ONLY != 0;
    context.open.set_delete(delete, posix, even_read_only)?;
    context
        .file
        .object(|object| object.delete_pending = u8::from(delete));
    Ok(())
}
