//! Byte-range locks: mandatory, by open and key (`NtLockFile`, `FsRtlProcessFileLock`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

impl Lock {
    fn released(&self) -> Released {
        Released {
            owner: self.owner,
            range: (self.start, self.length),
            exclusive: self.exclusive,
        }
    }
}

/// A lock that is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Released {
    /// Whose it was.
    pub(crate) owner: Owner,
    /// Where it began, and how long it was.
    pub(crate) range: (u64, u64),
    pub(crate) exclusive: bool,
}

/// Who is told how a wait for a lock ended.
pub(crate) type Told = Box<dyn FnOnce(NtStatus) + Send>;

/// A lock that waits for others to go.
struct Waiting {
    number: usize,
    id: FileId,
    lock: Lock,
    told: Told,
}

#[derive(Default)]
struct Table {
    held: HashMap<FileId, Vec<Lock>>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

impl Table {
    /// Takes a lock, if nobody else's keeps it out.
    fn take(&mut self, id: FileId, lock: Lock) -> bool {
        let others = self.held.entry(id).or_default();
        // An exclusive lock overlaps nothing, its owner's locks included; shared ones overlap each other.
        let free = !others.iter().any(|other| {
            (lock.exclusive || other.exclusive) && overlap(other, lock.start, lock.length)
        });
        if free {
            others.push(lock);
        }
        free
    }

    /// Takes for a file what can be taken now of what waits; who is to be told.
    fn wake(&mut self, id: FileId) -> Vec<Told> {
        let mut told = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() {
            let (of, lock) = (self.waiting[at].id, self.waiting[at].lock);
            if of == id && self.take(id, lock) {
                told.push(self.waiting.remove(at).told);
            } else {
                at += 1;
            }
        }
        told
    }
}

/// The locks of one volume.
#[derive(Default)]
pub(crate) struct Locks(Mutex<Table>);

impl std::fmt::Debug for Locks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Locks").field(&self.lock().held).finish()
    }
}

fn overlap(lock: &Lock, start: u64, length: u64) -> bool {
    // A lock of no bytes lies between two bytes and keeps nobody out.
    lock.length != 0
        && length != 0
        && lock.start <= start.saturating_add(length - 1)
        && start <= lock.start.saturating_add(lock.length - 1)
}

impl Locks {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody has locked anything of a file.
    pub(crate) fn any(&self, id: FileId) -> bool {
        let table = self.lock();
        table.held.get(&id).is_some_and(|locks| !locks.is_empty())
    }

    /// Locks a range. Where somebody else holds some of it, `wait` is asked for who is told when nobody does any more, and
    /// the answer is `STATUS_PENDING`; the wait has a number, by which it is cancelled.
    pub(crate) fn acquire(
        &self,
        id: FileId,
        owner: Owner,
        (start, length): (u64, u64),
        exclusive: bool,
        wait: Option<impl FnOnce(usize) -> Result<Told, NtStatus>>,
    ) -> NtStatus {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        if length != 0 && start.checked_add(length - 1).is_none() {
            return status::INVALID_LOCK_RANGE;
        }
        let lock = Lock {
            owner,
            start,
            length,
            exclusive,
        };
        let mut table = self.lock();
        if table.take(id, lock) {
            return NtStatus::SUCCESS;
        }
        let Some(wait) = wait else {
            return status::LOCK_NOT_GRANTED;
        };
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        match wait(number) {
            Ok(told) => table.waiting.push(Waiting {
                number,
                id,
                lock,
                told,
            }),
            Err(status) => return status,
        }
        NtStatus::PENDING
    }

    /// Ends waits without the lock.
    fn give_up(&self, which: impl Fn(&Waiting) -> bool) {
        let mut table = self.lock();
        let gone: Vec<Waiting> = table
            .waiting
            .extract_if(.., |waiting| which(waiting))
            .collect();
        drop(table);
        for waiting in gone {
            (waiting.told)(NtStatus::CANCELLED);
        }
    }

    /// Ends the wait of that number.
    pub(crate) fn cancel(&self, number: usize) {
        self.give_up(|waiting| waiting.number == number);
    }

    /// A file object is cleaned up: its locks go, and it waits for no others.
    pub(crate) fn clean_up(&self, id: FileId, file: usize) {
        if !self.lock().waiting.is_empty() {
            self.give_up(|waiting| waiting.lock.owner.file == file);
        }
        self.release_all(id, |owner| owner.file == file);
    }

    /// Unlocks one range, which must be one that was locked.
    pub(crate) fn release(
        &self,
        id: FileId,
        owner: Owner,
        (start, length): (u64, u64),
    ) -> Result<Released, NtStatus> {
        let mut table = self.lock();
        let Some(locks) = table.held.get_mut(&id) else {
            return Err(status::RANGE_NOT_LOCKED);
        };
        let same =
            |lock: &Lock| lock.owner == owner && (lock.start, lock.length) == (start, length);
        let Some(index) = locks.iter().position(same) else {
            return Err(status::RANGE_NOT_LOCKED);
        };
        let gone = locks.remove(index).released();
        let told = table.wake(id);
        drop(table);
        told.into_iter().for_each(|told| told(NtStatus::SUCCESS));
        Ok(gone)
    }

    /// Unlocks whatever matches; gives it.
    pub(crate) fn release_all(
        &self,
        id: FileId,
        matches: impl Fn(&Owner) -> bool,
    ) -> Vec<Released> {
        let mut table = self.lock();
        let Some(locks) = table.held.get_mut(&id) else {
            return Vec::new();
        };
        let gone: Vec<Released> = locks
            .extract_if(.., |lock| matches(&lock.owner))
            .map(|lock| lock.released())
            .collect();
        if gone.is_empty() {
            return gone;
        }
        let told = table.wake(id);
        drop(table);
        told.into_iter().for_each(|told| told(NtStatus::SUCCESS));
        gone
    }

    /// Whether an open may read (or write) a range.
    pub(crate) fn allows(
        &self,
        id: FileId,
        owner: Owner,
        (start, length): (u64, u64),
        write: bool,
    ) -> bool {
        let table = self.lock();
        table.held.get(&id).is_none_or(|locks| {
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

    fn acquire(
        locks: &Locks,
        id: FileId,
        owner: Owner,
        range: (u64, u64),
        exclusive: bool,
    ) -> NtStatus {
        let never = None::<fn(usize) -> Result<Told, NtStatus>>;
        locks.acquire(id, owner, range, exclusive, never)
    }

    #[test]
    fn who_waits_is_given_the_lock_in_turn_or_gives_up() {
        let locks = Locks::default();
        let (told, heard) = std::sync::mpsc::channel();
        let wait = |file: usize| {
            let told = told.clone();
            let wait = move |number| -> Result<Told, NtStatus> {
                Ok(Box::new(move |status| {
                    told.send((file, number, status)).expect("heard");
                }))
            };
            locks.acquire(FILE, owner(file), (0, 10), true, Some(wait))
        };
        let heard = || heard.try_recv().ok();
        assert_eq!(wait(1), NtStatus::SUCCESS);
        for file in [2, 3, 4, 5] {
            assert_eq!(wait(file), NtStatus::PENDING);
        }
        locks.clean_up(FILE, 3);
        let third = heard().expect("given up");
        assert_eq!((third.0, third.2), (3, NtStatus::CANCELLED));
        locks.cancel(third.1 + 1);
        assert_eq!(heard(), Some((4, third.1 + 1, NtStatus::CANCELLED)));
        locks.clean_up(FILE, 1);
        assert_eq!(heard().map(|told| told.0), Some(2));
        assert_eq!(heard(), None, "the fifth waits for the second");
        assert_eq!(locks.release(FILE, owner(2), (0, 10)).err(), None);
        assert_eq!(heard().map(|told| told.0), Some(5));
    }

    #[test]
    fn an_exclusive_lock_keeps_others_out_and_a_shared_one_writers() {
        let locks = Locks::default();
        assert_eq!(
            acquire(&locks, FILE, owner(1), (10, 10), true),
            NtStatus::SUCCESS
        );
        assert_eq!(
            acquire(&locks, FILE, owner(2), (19, 1), false),
            status::LOCK_NOT_GRANTED
        );
        assert!(locks.allows(FILE, owner(1), (10, 1), true));
        assert!(!locks.allows(FILE, owner(2), (0, 11), false));
        assert!(locks.allows(FILE, owner(2), (20, 5), true));
        assert_eq!(
            locks.release(FILE, owner(1), (10, 9)).err(),
            Some(status::RANGE_NOT_LOCKED)
        );
        assert!(locks.release(FILE, owner(1), (10, 10)).is_ok());
        for file in [1, 2] {
            assert_eq!(
                acquire(&locks, FILE, owner(file), (0, 100), false),
                NtStatus::SUCCESS
            );
        }
        assert!(locks.allows(FILE, owner(3), (0, 1), false));
        assert!(!locks.allows(FILE, owner(1), (0, 1), true));
        locks.release_all(FILE, |owner| owner.file == 1);
        locks.release_all(FILE, |owner| owner.file == 2);
        assert!(locks.allows(FILE, owner(1), (0, 1), true));
        assert_eq!(
            acquire(&locks, FILE, owner(1), (u64::MAX, 2), true),
            status::INVALID_LOCK_RANGE
        );
    }
}
