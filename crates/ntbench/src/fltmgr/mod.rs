//! The Filter Manager: filters registered by their drivers, attached to volumes by altitude, called around each
//! operation.
//!
//! It follows the reference pages of `fltkernel.h` and takes their stricter reading where they leave a choice.
//! Where Windows is known, or must be suspected, to differ:
//!
//! * Fast I/O is tried for reads and writes of cached files, locks, basic and standard information, attributes by name, transfers
//!   by lists and device controls. There is no cache manager, so reads and writes go to the file system as they come.
//! * What is left of a pended operation's way runs in the thread that completes it, unless it is completed before its
//!   callback has returned: then in its own.
//! * An instance that is detached stays an object while it is referenced; Windows delays the end of the teardown.
//! * Names are cached by file object, and every rename empties the cache. The Filter Manager's own opens for a normalized
//!   name on a remote volume are not sent through the filters below.
//! * `FltRegisterFilter` itself refuses an altitude that another filter has; the documents have that status only where
//!   instances are attached.
//! * A service stop goes on when the unload callback refuses, as the documents say that it cannot. A volume is
//!   dismounted by `FSCTL_DISMOUNT_VOLUME` or the removal of its device ([`op::mount`]).
//! * A local volume's file system charges no frames ([`below`]).

mod activity;
mod ascent;
mod attach;
mod attach_api;
mod attach_user;
mod below;
mod callback;
pub(crate) mod cancel;
mod cbdq;
pub(crate) mod context;
mod context_api;
pub(crate) mod create;
mod create_info;
mod depart;
mod descent;
mod drain;
mod ecp;
mod ecp_api;
mod ecp_kernel;
mod ecp_reuse;
mod enumerate;
mod extension;
mod fileio;
mod fileio_ex;
mod filelock;
mod flight;
mod frames;
mod info;
mod inquiries;
mod issue;
mod journey;
mod later;
mod load;
mod mdls;
mod name;
mod name_control;
mod name_query;
mod notify_list;
mod objects;
pub(crate) mod op;
mod open_reparse;
pub(crate) mod operation;
mod oplock;
pub(crate) mod oplock_key;
pub(crate) mod over;
mod pending;
pub(crate) mod port;
pub(crate) mod priority;
mod redirect;
mod register;
pub(crate) mod requests;
mod safe;
mod section;
mod support;
mod transaction;
pub(crate) mod transfers;
mod volume_api;
mod work;

use std::sync::{Arc, OnceLock};

pub(crate) use attach_user::{filter_names, instance_call};
pub(crate) use frames::frame;
pub(crate) use mdls::slots;
pub(crate) use operation::{
    CreateSecurity, Request, create_parameters, send, send_callback, send_fast, send_to_volume,
};
pub(crate) use oplock::MADE as OPLOCKS_MADE;
pub(crate) use volume_api::guid_name;

pub(crate) use objects::{Altitude, Instance, Volume};

use crate::abi::flt::{FSTYPE_MUP, FSTYPE_NTFS};
use crate::abi::io::{
    DeviceObject, FILE_DEVICE_DISK, FILE_DEVICE_DISK_FILE_SYSTEM, FILE_DEVICE_NETWORK_FILE_SYSTEM,
    FILE_REMOTE_DEVICE, IO_TYPE_DEVICE, IRP_MJ_SHUTDOWN,
};
use crate::export::Export;
use crate::namespace::sharing::FileId;
use crate::namespace::{DeviceId, Namespace};
use crate::ntos::driver::Driver;
use crate::ntos::file::File;
use crate::ntos::object;
use crate::status::NtStatus;
use crate::verifier::Leak;
use crate::wire::Buffers;

/// What this module lets drivers import.
pub(crate) fn tables() -> Vec<&'static [Export]> {
    let mut tables = vec![
        register::exports(),
        attach_api::exports(),
        create::exports(),
        ecp_api::exports(),
        name::exports(),
        name_control::exports(),
        info::exports(),
        inquiries::exports(),
        flight::exports(),
        pending::exports(),
        cancel::exports(),
        cbdq::exports(),
        context_api::exports(),
        work::exports(),
        mdls::exports(),
        issue::exports(),
        safe::exports(),
        fileio::exports(),
        fileio_ex::exports(),
        load::exports(),
        create_info::exports(),
        redirect::exports(),
        notify_list::exports(),
        notify_list::kernel::exports(),
        filelock::exports(),
        oplock::exports(),
        oplock_key::exports(),
        context_api::more::exports(),
        support::exports(),
        volume_api::exports(),
        section::exports(),
        transaction::exports(),
        enumerate::exports(),
        extension::exports(),
        priority::exports(),
        activity::exports(),
        activity::kernel::exports(),
        ecp_kernel::exports(),
        ecp_reuse::exports(),
        open_reparse::exports(),
    ];
    tables.extend(port::tables());
    tables
}

/// Makes a volume for each device that holds files.
pub(crate) fn boot(namespace: &Namespace, buffers: Buffers) {
    for (device, name) in namespace.devices() {
        let (device_type, file_system, characteristics) = match device {
            DeviceId::Mup => (
                FILE_DEVICE_NETWORK_FILE_SYSTEM,
                FSTYPE_MUP,
                FILE_REMOTE_DEVICE,
            ),
            // A local volume presents itself as NTFS, of which it has what the name space can show.
            DeviceId::Volume(_) | DeviceId::Driver => {
                (FILE_DEVICE_DISK_FILE_SYSTEM, FSTYPE_NTFS, 0)
            }
        };
        let disk = match device {
            DeviceId::Volume(_) => Some(device_object(FILE_DEVICE_DISK, 0, buffers)),
            DeviceId::Mup | DeviceId::Driver => None,
        };
        let own = device_object(device_type, characteristics, buffers);
        Volume::new(device, name, own, disk, device_type, file_system);
    }
}

/// A new device object.
fn device_object(device_type: u32, characteristics: u32, buffers: Buffers) -> usize {
    let address = object::allocate(size_of::<DeviceObject>());
    // SAFETY: a DEVICE_OBJECT of zeroes is one: its fields are numbers and pointers.
    let mut device_object: DeviceObject = unsafe { std::mem::zeroed() };
    device_object.kind = IO_TYPE_DEVICE;
    device_object.size = u16::try_from(size_of::<DeviceObject>()).unwrap_or(0);
    device_object.device_type = device_type;
    device_object.characteristics = characteristics;
    device_object.flags = buffers.flag();
    device_object.stack_size = 12;
    let body: *mut DeviceObject = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: freshly allocated for it.
    unsafe { body.write(device_object) };
    address
}

/// The control devices of the file systems that are there: those whose volumes are, the local one's before MUP's.
pub(crate) fn file_system_devices() -> Vec<usize> {
    static LOCAL: OnceLock<usize> = OnceLock::new();
    let local =
        || *LOCAL.get_or_init(|| device_object(FILE_DEVICE_DISK_FILE_SYSTEM, 0, Buffers::Neither));
    let volumes = objects::volumes();
    let any_local = volumes
        .iter()
        .any(|volume| matches!(volume.device, DeviceId::Volume(_)));
    let mup = volumes
        .iter()
        .find(|volume| volume.device == DeviceId::Mup)
        .map(|volume| volume.device_object);
    any_local.then(local).into_iter().chain(mup).collect()
}

/// The volume of a device.
pub(crate) fn volume(device: DeviceId) -> Option<Arc<Volume>> {
    objects::volume_where(|volume| volume.device == device)
}

/// The local volume of that device's name.
pub(crate) fn volume_named(name: &str) -> Option<Arc<Volume>> {
    let local = |volume: &Volume| matches!(volume.device, DeviceId::Volume(_));
    objects::volume_where(|volume| local(volume) && volume.name.eq_ignore_ascii_case(name))
}

/// The volume that has that device object, or that disk's.
pub(crate) fn volume_of_device(object: usize) -> Option<Arc<Volume>> {
    objects::volume_where(|volume| volume.device_object == object || volume.disk == Some(object))
}

/// A file object that had a file open goes; `last`: and with it the last open of that stream, of that file.
pub(crate) fn file_gone(file: &File, last: [Option<FileId>; 2]) {
    context::file_gone(file, last);
    op::mount::file_gone(file);
}

/// A transaction was committed or rolled back: the filters that are enlisted in it are told.
pub(crate) fn transaction_ended(address: usize, committed: bool) {
    if committed {
        transaction::committed(address);
    } else {
        transaction::rolled_back(address);
    }
}

/// The machine is shut down: the filters that are still there are told, volume by volume.
pub(crate) fn shut_down() {
    for volume in objects::volumes() {
        if volume.device != DeviceId::Driver {
            send_to_volume(&volume, IRP_MJ_SHUTDOWN, 0);
        }
    }
}

/// Cancels the operations that a thread waits for; false: there is none.
pub(crate) fn cancel(tid: u64) -> bool {
    cancel::thread(tid)
}

pub(crate) use pending::report_never_completed;

/// Whether a driver has registered a filter.
pub(crate) fn has_filter(driver: &Driver) -> bool {
    objects::filters()
        .iter()
        .any(|filter| filter.driver_object == driver.object())
}

/// Unloads the filter of a driver; `None`: it has none.
pub(crate) fn unload(driver: &Driver, mandatory: bool) -> Option<NtStatus> {
    register::unload(driver, mandatory)
}

/// What a driver that goes away has left with the Filter Manager; it is taken away.
pub(crate) fn leftovers(driver: &Driver) -> Vec<Leak> {
    let mut left = register::leftovers(driver);
    cbdq::driver_gone(&driver.service);
    left.extend(port::leftovers(&driver.service));
    left.extend(info::leftovers(&driver.service));
    left.extend(issue::leftovers(&driver.service));
    left.extend(work::leftovers(&driver.service));
    left.extend(context::leftovers(&driver.service));
    left.extend(name::leftovers(&driver.service));
    left.extend(open_reparse::leftovers(&driver.service));
    left.extend(ecp::leftovers(&driver.service));
    left
}
