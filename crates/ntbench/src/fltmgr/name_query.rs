//! Where names come from: the cache, name providers, the file system.
//!
//! The cache keeps, by file object, the names that a requestor at one place in the stack was given; every rename on the
//! machine empties it. A name provider is a filter with a `PFLT_GENERATE_FILE_NAME` routine: it is asked when a filter
//! above it wants a name ("Managing File Names in a Minifilter"), and for a normalized name its component routine is
//! called for each component behind the volume or share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::callback::{self, About};
use super::flight::Operation;
use super::name_control::{NameControl, expand};
use super::objects::{Instance, Volume};
use super::op;
use crate::abi::base::UnicodeString;
use crate::abi::flt::{NAME_FORMAT_NORMALIZED, NAME_FORMAT_OPENED, NAME_FORMAT_SHORT};
use crate::abi::io::{FO_CLEANUP_COMPLETE, IRP_MJ_CREATE};
use crate::namespace::DeviceId;
use crate::namespace::names::BACKSLASH;
use crate::ntos::driver::{self, status_of};
use crate::ntos::file::File;
use crate::ntos::memory::wide;
use crate::ntos::{MACHINE, irql};
use crate::status::NtStatus;
use crate::verifier;

const FORMAT_MASK: u32 = 0xFF;
const METHOD_MASK: u32 = 0xFF00;
const METHOD_CACHE_ONLY: u32 = 0x200;
const METHOD_FILESYSTEM_ONLY: u32 = 0x300;
const METHOD_ALWAYS_ALLOW_CACHE: u32 = 0x400;
/// `FLT_FILE_NAME_QUERY_DEFAULT`, `_CACHE_ONLY`, `_FILESYSTEM_ONLY`, `_ALWAYS_ALLOW_CACHE_LOOKUP`.
const METHODS: [u32; 4] = [
    0x100,
    METHOD_CACHE_ONLY,
    METHOD_FILESYSTEM_ONLY,
    METHOD_ALWAYS_ALLOW_CACHE,
];
/// `FLT_FILE_NAME_REQUEST_FROM_CURRENT_PROVIDER`.
const FROM_CURRENT_PROVIDER: u32 = 0x0100_0000;
/// `FLT_FILE_NAME_DO_NOT_CACHE`.
const DO_NOT_CACHE: u32 = 0x0200_0000;
/// `FLT_FILE_NAME_ALLOW_QUERY_ON_REPARSE`.
const ALLOW_QUERY_ON_REPARSE: u32 = 0x0400_0000;
const FLAGS: u32 = FROM_CURRENT_PROVIDER | DO_NOT_CACHE | ALLOW_QUERY_ON_REPARSE;

/// The options' format, if the options are any.
pub(super) fn format_of(options: u32) -> Result<u32, NtStatus> {
    let format = options & FORMAT_MASK;
    let known = matches!(
        format,
        NAME_FORMAT_NORMALIZED | NAME_FORMAT_OPENED | NAME_FORMAT_SHORT
    );
    if !known
        || !METHODS.contains(&(options & METHOD_MASK))
        || options & !(FORMAT_MASK | METHOD_MASK | FLAGS) != 0
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(format)
}

/// Who asks for which name.
pub(super) struct Asked<'a> {
    /// The file.
    pub(super) file: &'a Arc<File>,
    /// The operation's callback data; 0: none.
    pub(super) data: usize,
    /// The instance that asks, where it is known.
    pub(super) instance: Option<Arc<Instance>>,
    /// `FLT_FILE_NAME_…`.
    pub(super) options: u32,
}

/// The name of an operation's file, where the documentation says that it can be asked for.
pub(super) fn of_operation(
    operation: &Operation,
    data: usize,
    status: NtStatus,
    options: u32,
) -> Result<Vec<u16>, NtStatus> {
    let format = format_of(options)?;
    let after = operation.after.load(Ordering::Acquire);
    let invalid = match operation.major {
        IRP_MJ_CREATE if after => {
            status == NtStatus::REPARSE && options & ALLOW_QUERY_ON_REPARSE == 0
        }
        IRP_MJ_CREATE => format == NAME_FORMAT_SHORT || operation.by_file_id,
        _ => false,
    };
    if invalid {
        return Err(NtStatus::FLT_INVALID_NAME_REQUEST);
    }
    if operation.shown().is_none() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    of_file(&Asked {
        file: &operation.file,
        data,
        instance: asking(&operation.file.volume, operation.current()),
        options,
    })
}

/// The instance that asks: the calling driver's on that volume, which may be a provider that was asked itself.
pub(super) fn asking(volume: &Volume, current: Option<Arc<Instance>>) -> Option<Arc<Instance>> {
    let Some(driver) = driver::calling() else {
        return current;
    };
    let mine = |instance: &Arc<Instance>| instance.filter.service == driver.service;
    current
        .filter(|instance| mine(instance))
        .or_else(|| volume.instances().iter().find(|other| mine(other)).cloned())
}

/// The whole name of a file.
pub(super) fn of_file(asked: &Asked<'_>) -> Result<Vec<u16>, NtStatus> {
    let (file, options) = (asked.file, asked.options);
    let format = format_of(options)?;
    let method = options & METHOD_MASK;
    let provider = provider(asked);
    let key = (
        format,
        provider.as_ref().map_or(0, |provider| provider.address),
    );
    let cached = || file.cached_name(key);
    // Documented: the file system is not asked while all APC delivery is disabled, nor once a file has been cleaned up.
    let unsafe_now =
        irql::all_apcs_disabled() || file.object(|object| object.flags & FO_CLEANUP_COMPLETE != 0);
    if unsafe_now {
        return match method {
            METHOD_ALWAYS_ALLOW_CACHE => cached().ok_or(NtStatus::FLT_INVALID_NAME_REQUEST),
            METHOD_CACHE_ONLY => cached().ok_or(NtStatus::FLT_NAME_CACHE_MISS),
            _ => Err(NtStatus::FLT_INVALID_NAME_REQUEST),
        };
    }
    if method == METHOD_CACHE_ONLY {
        return cached().ok_or(NtStatus::FLT_NAME_CACHE_MISS);
    }
    if method != METHOD_FILESYSTEM_ONLY
        && let Some(name) = cached()
    {
        return Ok(name);
    }
    let (name, mut keep) = match &provider {
        Some(provider) => generated(asked, provider, format)?,
        None => (below(file, format)?, true),
    };
    keep &= options & DO_NOT_CACHE == 0 && method != METHOD_FILESYSTEM_ONLY;
    if keep {
        file.cache_name(key, &name);
    }
    Ok(name)
}

/// The highest name provider below the filter that asks.
fn provider(asked: &Asked<'_>) -> Option<Arc<Instance>> {
    let from_current = asked.options & FROM_CURRENT_PROVIDER != 0;
    let is_below = |other: &&Arc<Instance>| {
        asked.instance.as_ref().is_none_or(|asking| {
            other.altitude < asking.altitude || (from_current && other.altitude == asking.altitude)
        })
    };
    asked
        .file
        .volume
        .instances()
        .iter()
        .filter(|other| other.filter.registration.generate_file_name != 0)
        .find(is_below)
        .cloned()
}

/// What the file system says.
fn below(file: &File, format: u32) -> Result<Vec<u16>, NtStatus> {
    // An open file has the name that it was renamed to.
    let moved = file.opened().is_some_and(|open| open.was_moved());
    let full = if moved {
        op::name_now(file)
    } else {
        file.follow_name();
        file.full()
    };
    let path = match format {
        NAME_FORMAT_OPENED => full,
        NAME_FORMAT_NORMALIZED => MACHINE
            .get()
            .ok_or(NtStatus::DEVICE_NOT_READY)?
            .namespace
            .canonical(file.volume.device, &full)?,
        // Volumes of this bench have no short names.
        _ => return Err(NtStatus::OBJECT_NAME_NOT_FOUND),
    };
    let mut name = wide(&file.volume.name);
    name.extend(path);
    Ok(name)
}

fn about<'a>(provider: &'a Instance, asked: &Asked<'_>, phase: &'static str) -> About<'a> {
    About {
        filter: &provider.filter.service,
        phase,
        operation: "",
        path: asked.file.full_name(),
    }
}

/// What a name provider says, and whether it may be kept.
fn generated(
    asked: &Asked<'_>,
    provider: &Arc<Instance>,
    format: u32,
) -> Result<(Vec<u16>, bool), NtStatus> {
    if !provider.rundown.enter() {
        return below(asked.file, format).map(|name| (name, false));
    }
    let control = NameControl::new()?;
    let keep = Box::new(1_u8);
    let slot = callback::argument(&*keep);
    let arguments = [
        provider.address as u64,
        asked.file.address() as u64,
        asked.data as u64,
        u64::from(asked.options),
        slot,
        control.address() as u64,
    ];
    let routine = provider.filter.registration.generate_file_name;
    let about = about(provider, asked, "generate name");
    let status = status_of(callback::call(about, routine, &arguments));
    let keep = crate::ntos::memory::Guest::<u8>::at(usize::try_from(slot).unwrap_or(0)).read() != 0;
    let name = control.units();
    let volume = wide(&provider.volume.name);
    if !control.is_whole() {
        let _blame = verifier::blame_routine(routine);
        verifier::finding(
            "name-control-buffer",
            format!(
                "{} put another buffer into the name control that it was to fill in: the Filter Manager frees its own, and nobody frees that one",
                provider.filter.service
            ),
        );
    }
    let result = if !status.is_success() {
        Err(status)
    } else if !name.starts_with(&volume) {
        let _blame = verifier::blame_routine(routine);
        verifier::finding(
            "generated-name",
            format!(
                "{} generated the name {:?}, which does not begin with its volume's name",
                provider.filter.service,
                String::from_utf16_lossy(&name)
            ),
        );
        Err(NtStatus::FLT_INVALID_NAME_REQUEST)
    } else if format == NAME_FORMAT_NORMALIZED {
        normalized(asked, provider, name, volume.len())
    } else {
        Ok(name)
    };
    provider.rundown.leave();
    result.map(|name| (name, keep))
}

/// Has a provider normalize each component of a name, where it has a routine for that.
fn normalized(
    asked: &Asked<'_>,
    provider: &Arc<Instance>,
    name: Vec<u16>,
    volume: usize,
) -> Result<Vec<u16>, NtStatus> {
    let registration = &provider.filter.registration;
    let (plain, extended) = (
        registration.normalize_name_component,
        registration.normalize_name_component_ex,
    );
    if plain == 0 && extended == 0 {
        return Ok(name);
    }
    let start = super::name::root_of(&name, volume, provider.volume.device == DeviceId::Mup);
    let mut done: Vec<u16> = name[..start].to_vec();
    let components: Vec<&[u16]> = name[start..]
        .split(|unit| *unit == BACKSLASH)
        .skip(1)
        .collect();
    let context = Box::new(0_usize);
    let mut failed = None;
    for (index, component) in components.iter().enumerate() {
        done.push(BACKSLASH);
        if component.is_empty() {
            continue;
        }
        let last = index + 1 == components.len();
        let expanded = expand(component, |component, out, length| {
            let parent = string(&done);
            let parent_at = callback::argument(&parent);
            let device = u64::try_from(volume * 2).unwrap_or(0);
            let instance = provider.address as u64;
            let slot = callback::argument(&*context);
            let length = u64::from(length);
            let (routine, arguments) = if extended == 0 {
                (
                    plain,
                    vec![instance, parent_at, device, component, out, length, 0, slot],
                )
            } else {
                let file = asked.file.address() as u64;
                let all = [
                    instance, file, parent_at, device, component, out, length, 0, slot,
                ];
                (extended, all.to_vec())
            };
            let about = about(provider, asked, "normalize component");
            status_of(callback::call(about, routine, &arguments))
        });
        match expanded {
            Ok(units) => done.extend(units),
            // What is not there yet has no other spelling.
            Err(NtStatus::OBJECT_NAME_NOT_FOUND | NtStatus::NO_SUCH_FILE) if last => {
                done.extend_from_slice(component);
            }
            Err(status) => {
                failed = Some(status);
                break;
            }
        }
    }
    let cleanup = registration.normalize_context_cleanup;
    let slot = callback::argument(&*context);
    let left = crate::ntos::memory::Guest::<usize>::at(usize::try_from(slot).unwrap_or(0)).read();
    if left != 0 && cleanup != 0 {
        callback::call(
            about(provider, asked, "normalize clean-up"),
            cleanup,
            &[slot],
        );
    }
    match failed {
        Some(status) => Err(status),
        None => Ok(done),
    }
}

/// A counted string over units that live as long as it is used.
fn string(units: &[u16]) -> UnicodeString {
    let length = u16::try_from(units.len() * 2).unwrap_or(u16::MAX - 1);
    UnicodeString {
        length,
        maximum_length: length,
        buffer: units.as_ptr().cast_mut(),
    }
}
