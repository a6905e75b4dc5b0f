//! Byte-range locks: mandatory, by open and key (`NtLockFile`, `FsRtlProcessFileLock`).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::sharing::FileId;
use crate::abi::status::{self, NtStatus};
use crate::maps::HashMap;

/// Who holds a lock: the file object, and the caller's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The `PFILE_OBJECT`.
    pub(crate) file: usize,
    /// The process.
    pub(crate) process: usize,
    /// `Key`.
    pub(crate) key: u32,
}

#[derive(Clone, Copy, Debug)]
struct Lock {
    owner: Owner,
    start: u64,
    length: u64,
    exclusive: bool,
}

/// The locks of one volume.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Mutex<HashMap<FileId, Vec<Lock>>>,
    released: Condvar,
}

fn overlap(lock: &Lock, start: u64, length: u64) -> bool {
    // A lock of no bytes lies between two bytes and keeps nobody out.
    lock.length != 0
        && length != 0
        && lock.start <= start.saturating_add(length - 1)
        && start <= lock.start.saturating_add(lock.length - 1)
}

impl Locks {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Vec<Lock>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody has locked anything of a file.
    pub(crate) fn any(&self, id: FileId) -> bool {
        self.lock().get(&id).is_some_and(|locks| !locks.is_empty())
    }

    /// Locks a range. `wait`: until nobody else holds any of it.
    pub(crate) fn acquire(
        &self,
        id: FileId,
        owner: Owner,
        (start, length): (u64, u64),
        exclusive: bool,
        wait: bool,
    ) -> NtStatus {
        if length != 0 && start.checked_add(length - 1).is_none() {
            return status::INVALID_LOCK_RANGE;
        }
        let mut held = self.lock();
        loop {
            let others = held.entry(id).or_default();
            // An exclusive lock overlaps nothing, its owner's locks included; shared ones overlap each other.
            let free = !others
                .iter()
                .any(|lock| (exclusive || lock.exclusive) && overlap(lock, start, length));
            if free {
                others.push(Lock {
                    owner,
                    start,
                    length,
                    exclusive,
                });
                return NtStatus::SUCCESS;
            }
            if !wait {
                return status::LOCK_NOT_GRANTED;
            }
            held = crate::schedule::wait(&self.released, &self.held, held, None);
        }
    }

    /// Unlocks one range, which must be one that was locked.
    pub(crate) fn release(
        &self,
        id: FileId,
        owner: Owner,
        (start, length): (u64, u64),
    ) -> NtStatus {
        let mut held = self.lock();
        let Some(locks) = held.get_mut(&id) else {
            return status::RANGE_NOT_LOCKED;
        };
        let same =
            |lock: &Lock| lock.owner == owner && (lock.start, lock.length) == (start, length);
        let Some(index) = locks.iter().position(same) else {
            return status::RANGE_NOT_LOCKED;
        };
        locks.remove(index);
        drop(held);
        self.released.notify_all();
        NtStatus::SUCCESS
    }

    /// Unlocks whatever matches.
    pub(crate) fn release_all(&self, id: FileId, matches: impl Fn(&Owner) -> bool) {
        let released = self.lock().get_mut(&id).is_some_and(|locks| {
            let before = locks.len();
            locks.retain(|lock| !matches(&lock.owner));
            locks.len() < before
        });
        // Most files are closed without a lock, and telling nobody costs a call of the host's kernel.
        if released {
            self.released.notify_all();
        }
    }

    /// Whether an open may read (or write) a range.
    pub(crate) fn allows(
        &self,
        id: FileId,
        owner: Owner,
        (start, length): (u64, u64),
        write: bool,
    ) -> bool {
        let held = self.lock();
        held.get(&id).is_none_or(|locks| {
            !locks.iter().any(|lock| {
                let own = lock.owner == owner;
                let keeps_out = if lock.exclusive { !own } else { write };
                keeps_out && overlap(lock, start, length)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = (1, 1);

    fn owner(file: usize) -> Owner {
        Owner {
            file,
            process: 1,
            key: 0,
        }
    }

    #[test]
    fn an_exclusive_lock_keeps_others_out_and_a_shared_one_writers() {
        let locks = Locks::default();
        assert_eq!(
            locks.acquire(FILE, owner(1), (10, 10), true, false),
            NtStatus::SUCCESS
        );
        assert_eq!(
            locks.acquire(FILE, owner(2), (19, 1), false, false),
            status::LOCK_NOT_GRANTED
        );
        assert!(locks.allows(FILE, owner(1), (10, 1), true));
        assert!(!locks.allows(FILE, owner(2), (0, 11), false));
        assert!(locks.allows(FILE, owner(2), (20, 5), true));
        assert_eq!(
            locks.release(FILE, owner(1), (10, 9)),
            status::RANGE_NOT_LOCKED
        );
        assert_eq!(locks.release(FILE, owner(1), (10, 10)), NtStatus::SUCCESS);
        for file in [1, 2] {
            assert_eq!(
                locks.acquire(FILE, owner(file), (0, 100), false, false),
                NtStatus::SUCCESS
            );
        }
        assert!(locks.allows(FILE, owner(3), (0, 1), false));
        assert!(!locks.allows(FILE, owner(1), (0, 1), true));
        locks.release_all(FILE, |owner| owner.file == 1);
        locks.release_all(FILE, |owner| owner.file == 2);
        assert!(locks.allows(FILE, owner(1), (0, 1), true));
        assert_eq!(
            locks.acquire(FILE, owner(1), (u64::MAX, 2), true, false),
            status::INVALID_LOCK_RANGE
        );
    }
}
