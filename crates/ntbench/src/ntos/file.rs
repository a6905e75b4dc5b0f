//! File objects: the driver sees a `FILE_OBJECT`, the host keeps beside it what the kernel would.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use super::device::Device;
use super::memory::{Guest, OwnedString};
use super::object::{self, Counted, Kind};
use super::{fcb, filter_context};
use crate::abi::base::Guid;
use crate::abi::io::{FO_CLEANUP_COMPLETE, FO_HANDLE_CREATED, FileObject, IO_TYPE_FILE};
use crate::fltmgr::{self, Volume, operation};
use crate::maps::HashMap;
use crate::namespace::DeviceId;
use crate::namespace::change::renames;
use crate::namespace::names::BACKSLASH;
use crate::namespace::open::OpenFile;
use crate::namespace::oplocks::Owner;
use crate::namespace::reparse::ReparseData;
use crate::namespace::sharing::FileId;
use crate::status::NtStatus;

/// A file object.
pub(crate) struct File {
    address: usize,
    /// The volume it is on.
    pub(crate) volume: Arc<Volume>,
    state: Mutex<State>,
    references: AtomicI64,
    handles: AtomicI64,
    cleaned: AtomicBool,
    /// The address of the transaction that it was opened in; 0: none. Each callback asks.
    in_transaction: AtomicUsize,
    /// Its oplock key; unset: it has none, and is like itself alone.
    oplock_key: OnceLock<Guid>,
    /// The driver's device that it is open on; unset: it is on a volume, or not open.
    device: OnceLock<Arc<Device>>,
}

#[derive(Default)]
struct State {
    /// `FileName`'s buffer.
    name: Option<OwnedString>,
    /// The name below the device, from its root.
    full: Vec<u16>,
    /// How much of `full` stands before `FileName`: what the file object is relative to.
    before_name: usize,
    /// What it has open below the filters.
    open: Option<Arc<OpenFile>>,
    /// The reparse point that its create ended at, and how many bytes of its name come after that.
    reparse: Option<(ReparseData, usize)>,
    /// Names that filters were given: by format and provider, and as of which rename.
    names: Vec<(NameKey, u64, Vec<u16>)>,
    /// The priority hint that was set for it.
    priority: Option<u32>,
    /// Keeps the file object that it was opened relative to.
    related: Option<Arc<File>>,
    /// In which transaction it was opened, and the `TXN_PARAMETER_BLOCK` that says so.
    transaction: Option<(Arc<Counted>, Box<[u64; 2]>)>,
}

/// A name's format, and the address of the provider that it came from.
pub(crate) type NameKey = (u32, usize);

/// A name that begins so is a stream's of the file that it is relative to.
const COLON: u16 = b':' as u16;

/// Bodies of deleted file objects, the oldest first. They come into use again only when many have gathered, so that a
/// pointer that a driver kept too long leads to nothing for a while.
static DELETED: Mutex<VecDeque<usize>> = Mutex::new(VecDeque::new());
const DELETED_KEPT: usize = 4096;

/// How often each stream and each file is open: the life of a filter's contexts with them.
#[derive(Default)]
struct Opens {
    streams: HashMap<FileId, usize>,
    files: HashMap<FileId, usize>,
}

static OPENS: LazyLock<Mutex<Opens>> = LazyLock::new(Mutex::default);

fn opens() -> MutexGuard<'static, Opens> {
    OPENS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a close; the id, if it was the last one.
fn closed(counts: &mut HashMap<FileId, usize>, id: Option<FileId>) -> Option<FileId> {
    let count = counts.get_mut(&id?)?;
    *count -= 1;
    if *count > 0 {
        return None;
    }
    counts.remove(&id?);
    id
}

/// What ends with a close: the stream's life, the file's.
fn last_of(open: &OpenFile) -> [Option<FileId>; 2] {
    let mut opens = opens();
    let Opens { streams, files } = &mut *opens;
    [closed(streams, open.id()), closed(files, open.file_id())]
}

/// After a close: what filters have hung on the stream and the file goes with their last one.
fn gone_with(file: &File, open: &OpenFile) {
    let last = last_of(open);
    fltmgr::file_gone(file, last);
    if let [Some(stream), _] = last {
        fcb::gone(stream);
    }
}

fn body() -> usize {
    let mut deleted = DELETED.lock().unwrap_or_else(PoisonError::into_inner);
    if deleted.len() > DELETED_KEPT
        && let Some(address) = deleted.pop_front()
    {
        return address;
    }
    drop(deleted);
    object::allocate_typed(size_of::<FileObject>(), super::file_object_type())
}

/// A name from its device's root, where it is relative to an open file.
fn joined(related: Option<&Arc<File>>, name: &[u16]) -> Vec<u16> {
    let Some(related) = related else {
        return name.to_vec();
    };
    let moved = related.opened().is_some_and(|open| open.was_moved());
    let mut full = if moved {
        // What was renamed meanwhile is opened below where it is now.
        fltmgr::op::name_now(related)
    } else {
        related.full()
    };
    if !name.is_empty() {
        if full.last() != Some(&BACKSLASH) && name.first() != Some(&COLON) {
            full.push(BACKSLASH);
        }
        full.extend_from_slice(name);
    }
    full
}

impl File {
    /// Makes a file object for a create of `name`, relative to `related` where that is given. It has one reference, the
    /// creator's.
    pub(crate) fn new(
        volume: &Arc<Volume>,
        name: &[u16],
        related: Option<&Arc<Self>>,
        flags: u32,
    ) -> Arc<Self> {
        let address = body();
        let full = joined(related, name);
        let file = Arc::new(Self {
            address,
            volume: Arc::clone(volume),
            state: Mutex::new(State {
                before_name: full.len() - name.len(),
                full,
                related: related.cloned(),
                ..State::default()
            }),
            references: AtomicI64::new(1),
            handles: AtomicI64::new(0),
            cleaned: AtomicBool::new(false),
            in_transaction: AtomicUsize::new(0),
            oplock_key: OnceLock::new(),
            device: OnceLock::new(),
        });
        let related = related.map_or(std::ptr::null_mut(), |related| Guest::at(related.address).0);
        // SAFETY: a FILE_OBJECT of zeroes is one: its fields are numbers and pointers.
        let mut object: FileObject = unsafe { std::mem::zeroed() };
        object.kind = IO_TYPE_FILE;
        object.size = i16::try_from(size_of::<FileObject>()).unwrap_or(0);
        object.device_object = Guest::at(volume.device_object).0;
        object.related_file_object = related;
        object.flags = flags;
        file.put(object);
        file.set_name(name);
        object::insert(address, Kind::File(Arc::clone(&file)));
        file
    }

    fn put(&self, object: FileObject) {
        let body: *mut FileObject = std::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the body is this object's own memory, large and aligned enough.
        unsafe { body.write(object) };
    }

    /// Runs `change` on the `FILE_OBJECT`.
    pub(crate) fn object<R>(&self, change: impl FnOnce(&mut FileObject) -> R) -> R {
        let body: *mut FileObject = std::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the body is this object's own memory; the host changes it on the thread whose operation it is.
        change(unsafe { &mut *body })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `PFILE_OBJECT`.
    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// The priority hint that was set for it.
    pub(crate) fn priority(&self) -> Option<u32> {
        self.lock().priority
    }

    /// Sets it.
    pub(crate) fn set_priority(&self, hint: u32) {
        self.lock().priority = Some(hint);
    }

    /// Gives it an oplock key, once.
    pub(crate) fn set_oplock_key(&self, key: Guid) {
        let _ = self.oplock_key.set(key);
    }

    /// Who it is where oplocks are concerned.
    pub(crate) fn oplock_owner(&self) -> Owner {
        Owner {
            file: self.address,
            key: self.oplock_key.get().copied(),
        }
    }

    /// Forgets the names that came from a provider.
    pub(crate) fn forget_names_from(&self, provider: usize) {
        self.lock()
            .names
            .retain(|((_, from), ..)| *from != provider);
    }

    /// Replaces `FileName`.
    pub(crate) fn set_name(&self, name: &[u16]) {
        let owned = OwnedString::new(name);
        self.object(|object| object.file_name = owned.string());
        self.lock().name = Some(owned);
    }

    /// `FileName` as it is now: a filter may have replaced it.
    pub(crate) fn name(&self) -> Vec<u16> {
        super::memory::units(self.object(|object| object.file_name))
    }

    /// The name from the device's root.
    pub(crate) fn full(&self) -> Vec<u16> {
        self.lock().full.clone()
    }

    /// Changes it: the file object came to stand for something else.
    pub(crate) fn set_full(&self, full: &[u16]) {
        let mut state = self.lock();
        state.full = full.to_vec();
        state.names.clear();
    }

    /// Before it is open: follows a filter that has put another name into the file object, or taken `RelatedFileObject` away, so
    /// that those below and the file system see the name that stands there.
    pub(crate) fn follow_name(&self) {
        let name = self.name();
        let pointer = self.object(|object| object.related_file_object);
        let mut state = self.lock();
        let related = state.related.clone();
        let kept = related
            .as_ref()
            .filter(|related| Guest::at(related.address).0 == pointer);
        let same_name = state.full.get(state.before_name..) == Some(name.as_slice());
        if state.open.is_some() || same_name && kept.is_some() == related.is_some() {
            return;
        }
        drop(state);
        let full = joined(kept, &name);
        state = self.lock();
        state.before_name = full.len() - name.len();
        state.full = full;
        state.names.clear();
    }

    /// The whole object name, as text.
    pub(crate) fn full_name(&self) -> String {
        format!(
            "{}{}",
            self.volume.name,
            String::from_utf16_lossy(&self.lock().full)
        )
    }

    /// Whether it stands on a driver's own device.
    pub(crate) fn on_device(&self) -> bool {
        self.volume.device == DeviceId::Driver
    }

    /// The driver's device that it is open on.
    pub(crate) fn device(&self) -> Option<Arc<Device>> {
        self.device.get().cloned()
    }

    /// Notes how its create on a driver's device ended, for which the device was opened.
    pub(crate) fn set_device(&self, device: &Arc<Device>, status: NtStatus) {
        let opened = status.is_success() && status != NtStatus::REPARSE;
        if !opened || self.device.set(Arc::clone(device)).is_err() {
            device.close();
        }
    }

    /// Puts what it has open.
    pub(crate) fn set_open(&self, open: Arc<OpenFile>) {
        let mut counts = opens();
        if let Some(id) = open.id() {
            *counts.streams.entry(id).or_default() += 1;
        }
        if let Some(id) = open.file_id() {
            *counts.files.entry(id).or_default() += 1;
        }
        let (header, sections) = fcb::of(&open, self.volume.address);
        drop(counts);
        self.object(|object| {
            object.fs_context = Guest::at(header).0;
            object.section_object_pointer = Guest::at(sections).0;
        });
        self.lock().open = Some(open);
    }

    /// What it has open.
    pub(crate) fn opened(&self) -> Option<Arc<OpenFile>> {
        self.lock().open.clone()
    }

    /// A name that was given before and still holds.
    pub(crate) fn cached_name(&self, key: NameKey) -> Option<Vec<u16>> {
        let now = renames();
        self.lock()
            .names
            .iter()
            .find(|(known, as_of, _)| *known == key && *as_of == now)
            .map(|(_, _, name)| name.clone())
    }

    /// Keeps a name.
    pub(crate) fn cache_name(&self, key: NameKey, name: &[u16]) {
        let now = renames();
        let mut state = self.lock();
        state
            .names
            .retain(|(known, as_of, _)| *known != key && *as_of == now);
        state.names.push((key, now, name.to_vec()));
    }

    /// Puts it into a transaction, which it holds a reference to.
    pub(crate) fn set_transaction(&self, transaction: &Arc<Counted>) {
        transaction.reference();
        let length = 16 | u64::from(super::transaction::DEFAULT_VIEW) << 16;
        let block = Box::new([length, transaction.address() as u64]);
        self.in_transaction
            .store(transaction.address(), Ordering::Release);
        self.lock().transaction = Some((Arc::clone(transaction), block));
    }

    /// The transaction that it was opened in; 0: none.
    pub(crate) fn transaction(&self) -> usize {
        self.in_transaction.load(Ordering::Acquire)
    }

    /// Its `TXN_PARAMETER_BLOCK`; 0: none.
    pub(crate) fn transaction_block(&self) -> usize {
        let state = self.lock();
        state
            .transaction
            .as_ref()
            .map_or(0, |(_, block)| block.as_ptr().expose_provenance())
    }

    /// Notes at which reparse point its create ended.
    pub(crate) fn set_reparse(&self, reparse: Option<(ReparseData, usize)>) {
        self.lock().reparse = reparse;
    }

    /// That.
    pub(crate) fn take_reparse(&self) -> Option<(ReparseData, usize)> {
        self.lock().reparse.take()
    }

    /// Runs `look` on what it has open; `None` while it has nothing open.
    pub(crate) fn with_open<R>(&self, look: impl FnOnce(&OpenFile) -> R) -> Option<R> {
        self.opened().map(|open| look(&open))
    }

    /// Takes a reference; gives the new count.
    pub(crate) fn reference(&self) -> i64 {
        self.references.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Gives a reference back; the last one closes the file. Gives the new count.
    pub(crate) fn dereference(self: &Arc<Self>) -> i64 {
        let left = self.references.fetch_sub(1, Ordering::AcqRel) - 1;
        if left < 0 || left < self.handles.load(Ordering::Acquire) {
            let what = format!("file object of {}", self.full_name());
            object::too_few(self.address, left, &what);
        }
        if left == 0 {
            self.delete();
        }
        left
    }

    /// Whether handles to it were made.
    pub(crate) fn has_handles(&self) -> bool {
        self.object(|object| object.flags & FO_HANDLE_CREATED != 0)
    }

    /// Undoes its open, before anybody has a handle.
    pub(crate) fn cancel_open(self: &Arc<Self>) {
        self.clean_up();
        operation::close(self);
        let open = self.lock().open.take();
        if let Some(open) = open {
            gone_with(self, &open);
        }
    }

    /// Notes that a handle to it was made; the handle holds a reference.
    pub(crate) fn add_handle(&self) {
        self.reference();
        self.handles.fetch_add(1, Ordering::AcqRel);
        self.object(|object| object.flags |= FO_HANDLE_CREATED);
    }

    /// A handle to it was closed; the last one sends `IRP_MJ_CLEANUP`.
    pub(crate) fn close_handle(self: &Arc<Self>) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.clean_up();
        }
        self.dereference();
    }

    fn clean_up(self: &Arc<Self>) {
        if self.cleaned.swap(true, Ordering::AcqRel) {
            return;
        }
        operation::cleanup(self);
        // The file system's to set; where a filter kept the operation from it, its share of the work is done at the close.
        self.object(|object| {
            object.flags |= FO_CLEANUP_COMPLETE;
            object.private_cache_map = std::ptr::null_mut();
        });
    }

    /// The last reference is gone: `IRP_MJ_CLOSE` for a file that was opened, and the body goes.
    fn delete(self: &Arc<Self>) {
        if let Some(open) = self.opened() {
            operation::close(self);
            gone_with(self, &open);
        }
        if let Some(device) = self.device.get() {
            operation::close(self);
            device.close();
        }
        let mut state = self.lock();
        let open = state.open.take();
        let related = state.related.take();
        let transaction = state.transaction.take();
        drop(state);
        drop(open);
        if let Some((transaction, _)) = transaction {
            transaction.dereference();
        }
        if let Some(related) = related {
            related.dereference();
        }
        object::remove(self.address);
        filter_context::file_object_gone(self.address);
        fltmgr::oplock_key::forget(self.address);
        let body: *mut u8 = std::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the body is this object's own memory and nobody's any more.
        unsafe { body.write_bytes(0xF1, size_of::<FileObject>()) };
        DELETED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(self.address);
    }
}

/// What `IRP_MJ_CLEANUP` does below the filters: nothing shared is left behind, and a file that is to be deleted goes.
pub(crate) fn clean_up_below(file: &File) -> NtStatus {
    // The share access, the locks and the deletion hang on what is open; attributes stay readable until the close.
    if let Some(open) = file.opened() {
        if let (Some(tree), Some(id)) = (open.tree(), open.id()) {
            tree.locks.clean_up(id, file.address());
            tree.watches.clean_up(file.address());
            tree.oplocks().close(id, file.oplock_owner());
        }
        open.clean_up();
    }
    // The file system's own mark, which post-operation callbacks see already.
    file.object(|object| object.flags |= FO_CLEANUP_COMPLETE);
    NtStatus::SUCCESS
}
