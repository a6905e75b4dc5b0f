//! Open keys: each has an object, which a handle and whoever references it keep.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::{Key, callback, full_name, lock, watch};
use crate::maps::HashMap;
use crate::namespace::names;
use crate::ntos::handle::{self, Target};
use crate::ntos::key_type;
use crate::ntos::object::Counted;
use crate::status::NtStatus;

/// An open key.
pub(crate) struct KeyHandle {
    /// Its full path.
    pub(crate) path: String,
    id: u64,
    object: Arc<Counted>,
}

/// Open keys by their objects' addresses.
static OPEN: LazyLock<Mutex<HashMap<usize, Arc<KeyHandle>>>> = LazyLock::new(Mutex::default);

fn open_keys() -> MutexGuard<'static, HashMap<usize, Arc<KeyHandle>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeyHandle {
    /// An object for a key, with one reference, the caller's; None: there is no such key.
    pub(super) fn make(path: &str) -> Option<Arc<Self>> {
        let id = lock().get(&names::key(path))?.id;
        let made = Arc::new(Self {
            path: path.to_owned(),
            id,
            object: Counted::make("key", key_type(), gone),
        });
        open_keys().insert(made.address(), Arc::clone(&made));
        Some(made)
    }

    /// Where its object is.
    pub(super) fn address(&self) -> usize {
        self.object.address()
    }

    /// What tells its key from all others, also once it is deleted.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Its object.
    pub(crate) fn object(&self) -> &Arc<Counted> {
        &self.object
    }

    /// Gives the reference back that [`make`](Self::make) gave.
    pub(super) fn release(&self) {
        self.object.dereference();
    }

    /// Makes a handle to it.
    pub(super) fn open(self: &Arc<Self>, access: u32, attributes: u32, mode: i8) -> u64 {
        self.object.add_handle();
        handle::open(Target::Key(Arc::clone(self)), access, attributes, mode)
    }

    /// Looks at the key, or changes it.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Key) -> R) -> Result<R, NtStatus> {
        let mut keys = lock();
        let key = keys.get_mut(&names::key(&self.path));
        key.filter(|key| key.id == self.id)
            .map(look)
            .ok_or(NtStatus::KEY_DELETED)
    }
}

/// The last reference to a key's object is gone.
fn gone(address: usize) {
    callback::object_gone(address);
    let key = open_keys().remove(&address);
    drop(key);
}

/// The key of a handle.
pub(super) fn of_handle(handle: u64, mode: i8) -> Result<Arc<KeyHandle>, NtStatus> {
    match handle::look_up(handle, mode)? {
        (Target::Key(key), _) => Ok(key),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

/// The key of an object.
pub(super) fn of_object(address: usize) -> Option<Arc<KeyHandle>> {
    open_keys().get(&address).cloned()
}

/// A handle to a key was closed.
pub(crate) fn closed(key: &KeyHandle) {
    watch::closed(key.address());
    callback::closing(key.address(), || {
        key.object.close_handle();
        NtStatus::SUCCESS
    });
}

/// The name of a key, by its object; `None`: it is none.
pub(crate) fn name_of(address: usize) -> Option<String> {
    of_object(address).map(|key| full_name(&key.path))
}
