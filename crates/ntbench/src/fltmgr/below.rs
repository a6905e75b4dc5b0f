//! Below the filters: the redirector with its DFS client, and local file systems.
//!
//! Their work is done on the host; what they would put on the kernel stack is charged from the cost model.
//! A local file system's frames are in no model yet, so its creates cost the driver's stack nothing
//! below the Filter Manager: on a local volume the bench is kinder than Windows.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use super::flight::Flight;
use super::frames::frames;

use super::{op, open_reparse, section};
use crate::abi::file::{
    FILE_CREATED, FILE_DELETE_ON_CLOSE, FILE_NO_EA_KNOWLEDGE, FILE_OPEN, FILE_OPEN_BY_FILE_ID,
    FILE_OPEN_REPARSE_POINT, FILE_OPEN_REQUIRING_OPLOCK, FILE_OVERWRITE, FILE_OVERWRITE_IF,
    FILE_OVERWRITTEN, FILE_READ_ATTRIBUTES, FILE_RESERVE_OPFILTER, FILE_SUPERSEDE, FILE_SUPERSEDED,
    FILE_VALID_OPTIONS, IO_REPARSE,
};
use crate::abi::io::{
    FO_VOLUME_OPEN, IO_IGNORE_SHARE_ACCESS_CHECK, IoStatusBlock, SL_CASE_SENSITIVE,
    SL_OPEN_TARGET_DIRECTORY,
};
use crate::abi::params::CreateParameters;
use crate::abi::status;
use crate::namespace::eas;
use crate::namespace::mup::Referral;
use crate::namespace::names::BACKSLASH;
use crate::namespace::open::{self, OpenFile, Request};
use crate::namespace::oplock_rules::Act;
use crate::namespace::oplocks::Owner;
use crate::namespace::{DeviceId, Namespace, Outcome};
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{MACHINE, Machine, iomgr};
use crate::status::NtStatus;
use crate::{cost, stack};

/// Does `IRP_MJ_CREATE` as the parameters now say.
pub(super) fn create(flight: &Flight, flags: u32) -> IoStatusBlock {
    let (file, parameters) = (&flight.operation.file, flight.parameters());
    let Some(machine) = MACHINE.get() else {
        return IoStatusBlock::new(NtStatus::DEVICE_NOT_READY, 0);
    };
    let arm: CreateParameters = parameters.parameters.get();
    let access = Guest(arm.security_context)
        .read_opt()
        .map_or(0, |context| context.desired_access);
    let target_directory = parameters.operation_flags & SL_OPEN_TARGET_DIRECTORY != 0;
    let request = Request {
        access,
        share: u32::from(arm.share_access),
        disposition: arm.options >> 24,
        options: arm.options & FILE_VALID_OPTIONS,
        attributes: u32::from(arm.file_attributes),
        case_sensitive: parameters.operation_flags & SL_CASE_SENSITIVE != 0,
        ignore_share_access: flags & IO_IGNORE_SHARE_ACCESS_CHECK != 0,
        target_directory,
        transaction: file.transaction(),
    };
    file.follow_name();
    let full = file.full();
    op::oplock::take_key(&flight.operation);
    let mut found_by_id = None;
    let eas = eas(file, machine, &full, &request, &arm);
    let refused = eas.as_ref().map(drop).map_err(|status| *status);
    let refused = refused
        .and_then(|()| way(flight, machine, &full, &request))
        .and_then(|()| op::mount::may_open(file))
        .and_then(|()| break_oplocks(flight, machine, &full, &request))
        .and_then(|under_way| {
            may_reserve(flight, machine, &full, &request)?;
            Ok(under_way)
        });
    let under_way = refused.as_ref().is_ok_and(|under_way| *under_way);
    let outcome = if let Err(status) = refused {
        Err(status)
    } else if file.transaction() != 0 && file.volume.device == DeviceId::Mup {
        // What TxF does not reach.
        Err(NtStatus::TRANSACTIONS_UNSUPPORTED_REMOTE)
    } else if request.options & FILE_OPEN_BY_FILE_ID != 0 {
        by_id(file).and_then(|id| {
            let device = file.volume.device;
            let (outcome, name) = machine.namespace.create_by_id(device, id, &request)?;
            found_by_id = Some(name);
            Ok(outcome)
        })
    } else {
        let open = |request: &Request| match file.volume.device {
            DeviceId::Mup => mup(&machine.namespace, &full, request),
            device @ (DeviceId::Volume(_) | DeviceId::Driver) => {
                machine.namespace.create(device, &full, request)
            }
        };
        let ecps = flight.operation.ecps.load(Ordering::Acquire);
        match open(&request) {
            Ok(Outcome::Reparse(data, rest)) if open_reparse::matches(ecps, &data, rest) => {
                open(&Request {
                    options: request.options | FILE_OPEN_REPARSE_POINT,
                    ..request
                })
            }
            outcome => outcome,
        }
    };
    match outcome {
        Ok(Outcome::Opened(opened, information)) => {
            if request.options & FILE_RESERVE_OPFILTER != 0
                && let (Some(tree), Some(id)) = (opened.tree(), opened.id())
                && let Err(status) = tree.oplocks().reserve(id, file.oplock_owner())
            {
                return IoStatusBlock::new(status, 0);
            }
            if matches!(
                information,
                FILE_CREATED | FILE_OVERWRITTEN | FILE_SUPERSEDED
            ) && file.volume.device != DeviceId::Mup
            {
                // They were looked at before.
                let _ = opened.replace_eas(&eas.unwrap_or_default());
            }
            let rights = open::granted(access);
            let volume = full.is_empty() && matches!(file.volume.device, DeviceId::Volume(_));
            file.object(|object| {
                object.read_access = u8::from(rights & 0x21 != 0);
                object.write_access = u8::from(rights & 0x6 != 0);
                object.delete_access = u8::from(rights & 0x1_0000 != 0);
                object.shared_read = u8::from(request.share & 1 != 0);
                object.shared_write = u8::from(request.share & 2 != 0);
                object.shared_delete = u8::from(request.share & 4 != 0);
                if volume {
                    object.flags |= FO_VOLUME_OPEN;
                }
            });
            if target_directory {
                // The file object stands for the directory now; its name is the last component of what was asked for.
                let at = full.iter().rposition(|unit| *unit == BACKSLASH);
                let (directory, last) = full.split_at(at.unwrap_or(0));
                file.set_name(last.get(1..).unwrap_or_default());
                let root = [BACKSLASH];
                file.set_full(if directory.is_empty() {
                    &root
                } else {
                    directory
                });
            }
            if let Some(name) = &found_by_id {
                file.set_full(name);
            }
            file.set_open(opened);
            let status = if under_way {
                NtStatus::OPLOCK_BREAK_IN_PROGRESS
            } else {
                NtStatus::SUCCESS
            };
            IoStatusBlock::new(status, information)
        }
        Ok(Outcome::Renamed(name)) => {
            file.set_name(&name);
            IoStatusBlock::new(NtStatus::REPARSE, IO_REPARSE)
        }
        Ok(Outcome::Reparse(data, unparsed)) => {
            flight.set_tag(&data, unparsed);
            IoStatusBlock::new(NtStatus::REPARSE, data.tag() as usize)
        }
        Err(NtStatus::SHARING_VIOLATION) if under_way => {
            IoStatusBlock::new(NtStatus::SHARING_VIOLATION, op::oplock::BREAK_UNDERWAY)
        }
        Err(status) => IoStatusBlock::new(status, 0),
    }
}

/// The extended attributes that a create comes with: for a file that it makes or replaces.
fn eas_of(file: &File, arm: &CreateParameters) -> Result<Vec<u8>, NtStatus> {
    if arm.ea_buffer.is_null() || arm.ea_length == 0 {
        return Ok(Vec::new());
    }
    if file.volume.device == DeviceId::Mup {
        return Err(status::EAS_NOT_SUPPORTED);
    }
    if arm.options & FILE_NO_EA_KNOWLEDGE != 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let address = arm.ea_buffer.expose_provenance();
    let bytes = Guest::<u8>::at(address).read_many(arm.ea_length as usize);
    eas::check_names(&bytes)?;
    Ok(bytes)
}

/// The same before anything is done. Whoever knows nothing of extended attributes opens no file that is not understood
/// without them.
fn eas(
    file: &File,
    machine: &Machine,
    full: &[u16],
    request: &Request,
    arm: &CreateParameters,
) -> Result<Vec<u8>, NtStatus> {
    let bytes = eas_of(file, arm)?;
    let device = file.volume.device;
    if request.options & FILE_NO_EA_KNOWLEDGE != 0
        && device != DeviceId::Mup
        && look(device, machine, full, request).is_some_and(|there| there.needs_eas())
    {
        return Err(NtStatus::ACCESS_DENIED);
    }
    Ok(bytes)
}

/// What a create would open, without any effect.
fn look(
    device: DeviceId,
    machine: &Machine,
    full: &[u16],
    request: &Request,
) -> Option<Arc<OpenFile>> {
    let look = Request {
        access: FILE_READ_ATTRIBUTES,
        disposition: FILE_OPEN,
        options: request.options & !FILE_DELETE_ON_CLOSE,
        ..*request
    };
    match machine.namespace.create(device, full, &look) {
        Ok(Outcome::Opened(there, _)) => Some(there),
        _ => None,
    }
}

/// A create breaks the oplocks on what it opens, and waits until that is acknowledged; true: it does not wait, and a break is
/// under way.
fn break_oplocks(
    flight: &Flight,
    machine: &Machine,
    full: &[u16],
    request: &Request,
) -> Result<bool, NtStatus> {
    let file = &flight.operation.file;
    let block = flight.parameters();
    let device = file.volume.device;
    if !machine.namespace.has_oplocks(device) {
        return Ok(false);
    }
    let Some(there) = look(device, machine, full, request) else {
        return Ok(false);
    };
    let (Some(tree), Some(id), Some(mut act)) = (there.tree(), there.id(), op::oplock::act(&block))
    else {
        return Ok(false);
    };
    if let Act::Create { violates, .. } = &mut act {
        *violates = tree.conflicts(id, request.access, request.share);
    }
    let oplocks = tree.oplocks();
    drop(there);
    let patient = !op::oplock::is_impatient(&block);
    let who = (id, file.oplock_owner());
    if request.options & FILE_OPEN_REQUIRING_OPLOCK != 0 && oplocks.breaks(id, who.1, act) {
        return Err(status::CANNOT_BREAK_OPLOCK);
    }
    op::oplock::break_and_wait(&flight.operation, oplocks, who, act, patient)
}

/// Whether the file system may have an operation wait: for an oplock's break, which it does in the thread that it is given.
pub(super) fn may_wait(file: &File) -> bool {
    MACHINE
        .get()
        .is_some_and(|machine| machine.namespace.has_oplocks(file.volume.device))
}

/// A create may reserve a Filter oplock where no handle is open yet: `STATUS_OPLOCK_NOT_GRANTED` else ("NtCreateFile").
fn may_reserve(
    flight: &Flight,
    machine: &Machine,
    full: &[u16],
    request: &Request,
) -> Result<(), NtStatus> {
    if request.options & FILE_RESERVE_OPFILTER == 0 {
        return Ok(());
    }
    let file = &flight.operation.file;
    // Whoever has it open, with whatever key.
    let owner = Owner {
        key: None,
        ..file.oplock_owner()
    };
    let there = look(file.volume.device, machine, full, request);
    let id = there.and_then(|there| there.id());
    let alone = id.is_none_or(|id| op::oplock::is_alone(id, owner));
    if alone && op::oplock::may_reserve(&flight.parameters().parameters.get()) {
        Ok(())
    } else {
        Err(status::OPLOCK_NOT_GRANTED)
    }
}

/// A create that empties a file has whoever scans its data asked first to give it up.
fn way(
    flight: &Flight,
    machine: &Machine,
    full: &[u16],
    request: &Request,
) -> Result<(), NtStatus> {
    let empties = matches!(
        request.disposition,
        FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF
    );
    if !empties || !section::in_use() {
        return Ok(());
    }
    let there = look(flight.operation.file.volume.device, machine, full, request);
    match there.and_then(|there| there.id()) {
        Some(id) => section::make_way(flight, id, 0),
        None => Ok(()),
    }
}

/// The id that a create by one has for its name, with or without a backslash before it.
fn by_id(file: &File) -> Result<u64, NtStatus> {
    if file.volume.device == DeviceId::Mup {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let name = file.name();
    let units = match (name.len() % 2, name.split_first()) {
        (1, Some((&BACKSLASH, rest))) => rest,
        _ => name.as_slice(),
    };
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    match <[u8; 8]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
        // An object id: no file here has one.
        Err(_) if bytes.len() == 16 => Err(NtStatus::OBJECT_NAME_NOT_FOUND),
        Err(_) => Err(NtStatus::INVALID_PARAMETER),
    }
}

/// MUP: first the DFS client, as a surrogate provider, then the redirector.
fn mup(namespace: &Namespace, name: &[u16], request: &Request) -> Result<Outcome, NtStatus> {
    match namespace.mup.referral(name) {
        Referral::None => {}
        Referral::Ask => stack::with_frames(cost::chain("mup.dfs"), || {}),
        Referral::Connect(server) => {
            let connected = stack::with_frames(cost::chain("mup.dfs"), || connect_ipc(&server));
            if let Err(status) = connected {
                namespace.mup.forget_referral(name);
                return Err(status);
            }
        }
    }
    stack::with_frames(cost::chain("mup.provider"), || {
        if namespace.mup.connects(name) {
            // A new connection: the redirector waits for the server.
            stack::with_frames(cost::chain("redirector.connect"), || {});
        }
        // Then the create itself goes to the server and is waited for.
        stack::with_frames(&frames(["rdbss!RxCreateFromNetRoot"]), || {});
        namespace.create(DeviceId::Mup, name, request)
    })
}

/// What an operation other than a create passes below the filters: for the redirector its dispatch, as in a create.
pub(super) fn dispatch<R>(file: &File, work: impl FnOnce() -> R) -> R {
    static REDIRECTOR: LazyLock<Vec<stack::Frame>> = LazyLock::new(|| {
        let functions = [
            "mrxsmb!MRxSmbFsdDispatch",
            "rdbss!RxFsdDispatch",
            "rdbss!RxFsdCommonDispatch",
        ];
        let dispatches = |frame: &&stack::Frame| {
            functions.contains(&frame.symbol.split('+').next().unwrap_or(""))
        };
        cost::chain("mup.provider")
            .iter()
            .filter(dispatches)
            .copied()
            .collect()
    });
    match file.volume.device {
        DeviceId::Mup => stack::with_frames(&REDIRECTOR, work),
        DeviceId::Volume(_) | DeviceId::Driver => work(),
    }
}

/// `DfscGetIpcConnection`: the DFS client guards itself with an expansion and opens `IPC$` on the same thread, from the
/// top of the whole stack.
fn connect_ipc(server: &str) -> Result<(), NtStatus> {
    /// The reservation that the DFS client asks for: KERNEL_STACK_SIZE.
    const RESERVATION: u64 = 0x6000;
    let opened = stack::expand(RESERVATION, false, || {
        stack::with_frames(cost::chain("dfs.callout"), || {
            stack::with_frames(cost::chain("zw_create"), || {
                let created = iomgr::open_for_kernel(&format!("\\Device\\Mup\\{server}\\IPC$"));
                if let Some(file) = created.file {
                    // The connection outlives the file.
                    file.add_handle();
                    file.close_handle();
                    file.dereference();
                }
                created.status
            })
        })
    });
    let status = match opened {
        Ok(status) => status,
        // The expansion failed: the client cannot ask for the referral.
        Err(_) => NtStatus::INSUFFICIENT_RESOURCES,
    };
    if status.is_success() {
        Ok(())
    } else {
        Err(status)
    }
}
