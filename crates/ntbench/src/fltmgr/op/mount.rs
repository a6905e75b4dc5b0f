//! Locking, unlocking and dismounting a volume (`FSCTL_LOCK_VOLUME` and its kin), on a handle of the volume itself.
//!
//! A volume can be locked while nothing else on it is open; then nobody else opens anything. A dismount makes what is
//! open useless (`STATUS_VOLUME_DISMOUNTED`); when the last of it is closed the filters' instances go
//! (`FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT`), and the next create mounts the volume anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::{Answer, Context};
use crate::abi::flt::{
    FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT, FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME,
    FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT,
};
use crate::abi::io::{
    FO_CLEANUP_COMPLETE, FO_VOLUME_OPEN, IRP_MN_CANCEL_REMOVE_DEVICE, IRP_MN_QUERY_REMOVE_DEVICE,
    IRP_MN_REMOVE_DEVICE, IRP_MN_SURPRISE_REMOVAL, IoStatusBlock,
};
use crate::fltmgr::attach;
use crate::fltmgr::objects::{self, FilterState, Volume};
use crate::ntos::file::File;
use crate::ntos::object;
use crate::status::NtStatus;

pub(super) const LOCK_VOLUME: u32 = 0x0009_0018;
pub(super) const UNLOCK_VOLUME: u32 = 0x0009_001C;
pub(super) const DISMOUNT_VOLUME: u32 = 0x0009_0020;
pub(super) const IS_VOLUME_MOUNTED: u32 = 0x0009_0028;

/// What is known of volumes that are locked or dismounted, by their addresses.
#[derive(Default)]
struct State {
    /// The file object by which a volume is locked.
    locked: HashMap<usize, usize>,
    /// Volumes that are dismounted, and the file objects that were open when that was done.
    dismounted: HashMap<usize, Vec<usize>>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

/// Whether any volume was ever locked or dismounted: until then no operation looks.
static USED: AtomicBool = AtomicBool::new(false);

fn used() -> bool {
    USED.load(Ordering::Acquire)
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files that are open on a volume.
fn open_on(volume: &Arc<Volume>) -> Vec<Arc<File>> {
    let there = |file: &Arc<File>| Arc::ptr_eq(&file.volume, volume) && file.opened().is_some();
    object::files().into_iter().filter(there).collect()
}

pub(super) fn control(context: &Context<'_>, code: u32) -> Answer {
    let file = &context.file;
    let volume = &file.volume;
    if file.object(|object| object.flags & FO_VOLUME_OPEN == 0) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    USED.store(true, Ordering::Release);
    match code {
        LOCK_VOLUME => {
            let uses = |other: &Arc<File>| {
                !Arc::ptr_eq(other, file)
                    && other.object(|object| object.flags & FO_CLEANUP_COMPLETE == 0)
            };
            let used = open_on(volume).iter().any(uses);
            let mut state = lock();
            if used || state.locked.contains_key(&volume.address) {
                return Err(NtStatus::ACCESS_DENIED);
            }
            state.locked.insert(volume.address, file.address());
        }
        UNLOCK_VOLUME => {
            let mut state = lock();
            if state.locked.get(&volume.address) != Some(&file.address()) {
                return Err(NtStatus::NOT_LOCKED);
            }
            state.locked.remove(&volume.address);
        }
        DISMOUNT_VOLUME => {
            let open = open_on(volume).iter().map(|file| file.address()).collect();
            let mut state = lock();
            if state.dismounted.contains_key(&volume.address) {
                return Err(NtStatus::VOLUME_DISMOUNTED);
            }
            state.dismounted.insert(volume.address, open);
        }
        _ => {}
    }
    Ok((NtStatus::SUCCESS, 0))
}

/// Whether a create may reach the volume.
pub(crate) fn may_open(file: &File) -> Result<(), NtStatus> {
    if !used() {
        return Ok(());
    }
    match lock().locked.get(&file.volume.address) {
        Some(by) if *by != file.address() => Err(NtStatus::ACCESS_DENIED),
        _ => Ok(()),
    }
}

/// Whether a file was open when its volume was dismounted.
pub(super) fn is_dismounted(file: &File) -> bool {
    if !used() {
        return false;
    }
    let state = lock();
    let open = state.dismounted.get(&file.volume.address);
    open.is_some_and(|open| open.contains(&file.address()))
}

/// The clean-up of a file by which its volume is locked unlocks it.
pub(super) fn cleaned_up(file: &File) {
    if !used() {
        return;
    }
    let mut state = lock();
    if state.locked.get(&file.volume.address) == Some(&file.address()) {
        state.locked.remove(&file.volume.address);
    }
}

/// A file object is gone; the last one of a dismounted volume takes the instances there with it.
pub(crate) fn file_gone(file: &File) {
    if !used() {
        return;
    }
    let volume = &file.volume;
    let last = {
        let mut state = lock();
        state
            .dismounted
            .get_mut(&volume.address)
            .is_some_and(|open| {
                let before = open.len();
                open.retain(|other| *other != file.address());
                before > 0 && open.is_empty()
            })
    };
    if last {
        tear_down(volume);
    }
}

/// `IRP_MJ_PNP`: a volume's device is to go, stays after all, or is gone.
///
/// What is open keeps a device from being removed in order; a surprise leaves what is open useless.
pub(crate) fn plug_and_play(volume: &Arc<Volume>, minor: u8) -> IoStatusBlock {
    USED.store(true, Ordering::Release);
    let open: Vec<usize> = open_on(volume).iter().map(|file| file.address()).collect();
    let status = match minor {
        IRP_MN_QUERY_REMOVE_DEVICE if !open.is_empty() => NtStatus::ACCESS_DENIED,
        IRP_MN_QUERY_REMOVE_DEVICE => {
            // By nobody's handle, so that nobody opens anything meanwhile.
            lock().locked.insert(volume.address, 0);
            NtStatus::SUCCESS
        }
        IRP_MN_CANCEL_REMOVE_DEVICE => {
            let mut state = lock();
            if state.locked.get(&volume.address) == Some(&0) {
                state.locked.remove(&volume.address);
            }
            NtStatus::SUCCESS
        }
        IRP_MN_REMOVE_DEVICE | IRP_MN_SURPRISE_REMOVAL => {
            let mut state = lock();
            state.locked.remove(&volume.address);
            let first = !state.dismounted.contains_key(&volume.address);
            if first {
                state.dismounted.insert(volume.address, open.clone());
            }
            drop(state);
            if first && open.is_empty() {
                tear_down(volume);
            }
            NtStatus::SUCCESS
        }
        _ => NtStatus::NOT_SUPPORTED,
    };
    IoStatusBlock::new(status, 0)
}

fn tear_down(volume: &Volume) {
    for instance in volume.instances().iter() {
        attach::tear_down(instance, FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT);
    }
}

/// Before a create: a volume that was dismounted is mounted, and offered to the filters, once nothing of before is open.
/// Windows mounts it beside what is still open; here the create fails until that is closed.
pub(crate) fn mount(volume: &Arc<Volume>) -> Result<(), NtStatus> {
    if !used() {
        return Ok(());
    }
    {
        let mut state = lock();
        match state.dismounted.get(&volume.address) {
            None => return Ok(()),
            Some(open) if !open.is_empty() => return Err(NtStatus::VOLUME_DISMOUNTED),
            Some(_) => drop(state.dismounted.remove(&volume.address)),
        }
    }
    let setup =
        FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT | FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME;
    for filter in objects::filters() {
        let state = *filter.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state == FilterState::Filtering {
            attach::to_volume(&filter, volume, setup);
        }
    }
    Ok(())
}
