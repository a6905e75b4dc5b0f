//! Opportunistic locks on streams: who holds which, what breaks them, and who waits for a break to be acknowledged.
//!
//! The pages followed are the WDK's "Granting Oplocks", "Breaking Oplocks" with its page for each operation, and "Acknowledging
//! Oplock Breaks". Who holds one and who breaks it are the same where their keys are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::oplock_rules::{Act, Level, NONE, READ};
use super::sharing::FileId;
use crate::abi::base::Guid;
use crate::abi::status::{self, NtStatus};
use crate::maps::HashMap;

/// How a request for an oplock ends, which is pended while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Broken, to what is left; whether the break is to be acknowledged.
    Broken {
        level: Level,
        to: u32,
        acknowledge: bool,
    },
    /// The handle is closed.
    Closed(Level),
    /// The same handle has asked for another one, which takes its place.
    Switched,
    /// The request is cancelled.
    Cancelled,
}

/// Who is told how a request ended.
pub(crate) type Told = Box<dyn FnOnce(Ended) + Send>;
/// Who is told that a break is over, or that its wait is cancelled.
pub(crate) type Go = Box<dyn FnOnce(NtStatus) + Send>;

/// How an owner acknowledges a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledge {
    /// What the break left is taken (`FSCTL_OPLOCK_BREAK_ACKNOWLEDGE`).
    Accept,
    /// Nothing is (`FSCTL_OPLOCK_BREAK_ACK_NO_2`).
    Nothing,
    /// The handle is about to be closed (`FSCTL_OPBATCH_ACK_CLOSE_PENDING`).
    ClosePending,
    /// So much of it is (`FSCTL_REQUEST_OPLOCK`).
    Caches(u32),
}

/// What an operation has to do because of oplocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It goes on.
    Go,
    /// It goes on, though a break that it would have to wait for is under way.
    InProgress,
    /// It waits.
    Wait,
}

/// Who holds an oplock, or does what may break one: a file object, and the oplock key that it was opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    /// The file object's address; 0: one that is like no other.
    pub(crate) file: usize,
    /// Its key; `None`: it is like itself alone.
    pub(crate) key: Option<Guid>,
}

impl Owner {
    /// Whether one's doings break nothing that the other holds.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.file == other.file || (self.key.is_some() && self.key == other.key)
    }
}

struct Holder {
    number: usize,
    owner: Owner,
    level: Level,
    told: Option<Told>,
    /// What a break that is to be acknowledged left.
    breaking: Option<u32>,
    /// It was granted to a create, before its handle asks for one.
    reserved: bool,
}

#[derive(Default)]
struct Stream {
    holders: Vec<Holder>,
    waiting: Vec<(usize, Go)>,
}

/// The oplocks of one volume, or of filters.
#[derive(Default)]
pub(crate) struct Oplocks {
    streams: Mutex<HashMap<FileId, Stream>>,
    /// On how many streams there are any: most operations need look no further.
    count: AtomicUsize,
}

impl std::fmt::Debug for Oplocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "oplocks on {} streams",
            self.count.load(Ordering::Relaxed)
        )
    }
}

fn number() -> usize {
    static NUMBERS: AtomicUsize = AtomicUsize::new(0);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// What is to be told when nothing is locked any more.
#[derive(Default)]
struct Due {
    ended: Vec<(Told, Ended)>,
    go: Vec<Go>,
}

impl Due {
    fn end(&mut self, holder: &mut Holder, ended: Ended) {
        if let Some(told) = holder.told.take() {
            self.ended.push((told, ended));
        }
    }

    fn give(self) {
        for (told, ended) in self.ended {
            told(ended);
        }
        for go in self.go {
            go(NtStatus::SUCCESS);
        }
    }
}

impl Stream {
    /// Lets whoever waits go on, once no break is under way.
    fn settle(&mut self, due: &mut Due) {
        if self.holders.iter().all(|holder| holder.breaking.is_none()) {
            due.go.extend(self.waiting.drain(..).map(|(_, go)| go));
        }
    }
}

impl Oplocks {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody holds one.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Does something with a stream, then tells whoever is to be told.
    fn with<R>(&self, id: FileId, work: impl FnOnce(&mut Stream, &mut Due) -> R) -> R {
        let mut due = Due::default();
        let mut streams = self.lock();
        let stream = streams.entry(id).or_default();
        let result = work(stream, &mut due);
        stream.settle(&mut due);
        if stream.holders.is_empty() && stream.waiting.is_empty() {
            streams.remove(&id);
        }
        self.count.store(streams.len(), Ordering::Release);
        drop(streams);
        due.give();
        result
    }

    /// Asks for one. `alone`: no other handle is open on the stream; `locked`: somebody has locked a range of it. Where it is
    /// granted, `hold` gives whom to tell of its end.
    pub(crate) fn request(
        &self,
        id: FileId,
        owner: Owner,
        level: Level,
        (alone, locked): (bool, bool),
        hold: impl FnOnce(usize) -> Result<Told, NtStatus>,
    ) -> Result<(), NtStatus> {
        self.with(id, |stream, due| {
            let redeemed = |holder: &Holder| holder.reserved && holder.owner.file == owner.file;
            stream.holders.retain(|holder| !redeemed(holder));
            let fits = if level.is_shared() { !locked } else { alone };
            let coexists = |holder: &Holder| {
                holder.breaking.is_none()
                    && level.may_join(holder.level, holder.owner.is_like(owner))
            };
            if !fits || !stream.holders.iter().all(coexists) {
                return Err(status::OPLOCK_NOT_GRANTED);
            }
            let number = number();
            let told = hold(number)?;
            // What the same handle holds by the newer kind gives way; Level 2 gives way to what is exclusive.
            let goes = |holder: &mut Holder| {
                let own =
                    holder.owner.is_like(owner) && level.is_cache() && holder.level.is_cache();
                own || !level.is_shared()
            };
            for mut holder in stream.holders.extract_if(.., goes) {
                let ended = if holder.level.is_cache() {
                    Ended::Switched
                } else {
                    Ended::Broken {
                        level: holder.level,
                        to: NONE,
                        acknowledge: false,
                    }
                };
                due.end(&mut holder, ended);
            }
            stream.holders.push(Holder {
                number,
                owner,
                level,
                told: Some(told),
                breaking: None,
                reserved: false,
            });
            Ok(())
        })
    }

    /// Grants a Filter oplock to a create, until its handle asks for one or is closed.
    pub(crate) fn reserve(&self, id: FileId, owner: Owner) -> Result<(), NtStatus> {
        self.with(id, |stream, _| {
            if !stream.holders.is_empty() {
                return Err(status::OPLOCK_NOT_GRANTED);
            }
            stream.holders.push(Holder {
                number: number(),
                owner,
                level: Level::Filter,
                told: None,
                breaking: None,
                reserved: true,
            });
            Ok(())
        })
    }

    /// Answers a break. `Ok(None)`: done; else the answer itself is pended as the request for what is left, for which `hold`
    /// gives whom to tell.
    pub(crate) fn acknowledge(
        &self,
        id: FileId,
        owner: Owner,
        how: Acknowledge,
        hold: impl FnOnce(usize) -> Result<Told, NtStatus>,
    ) -> Result<Option<()>, NtStatus> {
        self.with(id, |stream, _| {
            let theirs =
                |holder: &Holder| holder.owner.file == owner.file && holder.breaking.is_some();
            let at = stream.holders.iter().position(theirs);
            let at = at.ok_or(status::INVALID_OPLOCK_PROTOCOL)?;
            let holder = &mut stream.holders[at];
            let left = holder.breaking.unwrap_or(NONE);
            let cache = holder.level.is_cache();
            let kept = match how {
                Acknowledge::Caches(_) if !cache => return Err(status::INVALID_OPLOCK_PROTOCOL),
                Acknowledge::Caches(wanted) if wanted & !left != 0 => {
                    return Err(status::INVALID_OPLOCK_PROTOCOL);
                }
                Acknowledge::Caches(NONE) | Acknowledge::Nothing => None,
                Acknowledge::Caches(wanted) => Some(Level::Cache(wanted)),
                _ if cache => return Err(status::INVALID_OPLOCK_PROTOCOL),
                Acknowledge::Accept => (left == READ).then_some(Level::Level2),
                Acknowledge::ClosePending if holder.level == Level::Level1 => None,
                // The break is over when the handle is closed.
                Acknowledge::ClosePending => return Ok(None),
            };
            let Some(level) = kept else {
                stream.holders.remove(at);
                return Ok(None);
            };
            let number = number();
            holder.told = Some(hold(number)?);
            (holder.number, holder.level, holder.breaking) = (number, level, None);
            Ok(Some(()))
        })
    }

    /// Breaks what an operation is not compatible with. `patient`: it waits where it has to, and then `wait` gives whom to
    /// tell.
    pub(crate) fn check(
        &self,
        id: FileId,
        owner: Owner,
        act: Act,
        patient: bool,
        wait: impl FnOnce(usize) -> Result<Go, NtStatus>,
    ) -> Result<Checked, NtStatus> {
        if !self.any() {
            return Ok(Checked::Go);
        }
        self.with(id, |stream, due| {
            let mut waits = false;
            for holder in &mut stream.holders {
                let own = holder.owner.is_like(owner);
                let Some(verdict) = holder.level.broken_by(act, own) else {
                    continue;
                };
                waits |= verdict.wait;
                match &mut holder.breaking {
                    Some(left) => *left &= verdict.to,
                    None => {
                        let acknowledge = holder.level.is_acknowledged();
                        let ended = Ended::Broken {
                            level: holder.level,
                            to: verdict.to,
                            acknowledge,
                        };
                        holder.breaking = Some(verdict.to);
                        due.end(holder, ended);
                    }
                }
            }
            // What nobody has to acknowledge is gone.
            stream
                .holders
                .retain(|holder| holder.breaking.is_none() || holder.level.is_acknowledged());
            if !waits {
                return Ok(Checked::Go);
            }
            if !patient {
                return Ok(Checked::InProgress);
            }
            let number = number();
            let go = wait(number)?;
            stream.waiting.push((number, go));
            Ok(Checked::Wait)
        })
    }

    /// Whether an operation would break something.
    pub(crate) fn breaks(&self, id: FileId, owner: Owner, act: Act) -> bool {
        let streams = self.lock();
        let broken = |holder: &Holder| {
            let own = holder.owner.is_like(owner);
            holder.level.broken_by(act, own).is_some()
        };
        streams
            .get(&id)
            .is_some_and(|stream| stream.holders.iter().any(broken))
    }

    /// Tells when no break is under way (`FSCTL_OPLOCK_BREAK_NOTIFY`); true: none is.
    pub(crate) fn notify(
        &self,
        id: FileId,
        wait: impl FnOnce(usize) -> Result<Go, NtStatus>,
    ) -> Result<bool, NtStatus> {
        self.with(id, |stream, _| {
            if stream
                .holders
                .iter()
                .all(|holder| holder.breaking.is_none())
            {
                return Ok(true);
            }
            let number = number();
            let go = wait(number)?;
            stream.waiting.push((number, go));
            Ok(false)
        })
    }

    /// A request, or a wait, is cancelled.
    pub(crate) fn cancel(&self, id: FileId, cancelled: usize) {
        let waited = self.with(id, |stream, due| {
            let held = |holder: &mut Holder| holder.number == cancelled && holder.told.is_some();
            for mut holder in stream.holders.extract_if(.., held) {
                due.end(&mut holder, Ended::Cancelled);
            }
            let at = stream
                .waiting
                .iter()
                .position(|(number, _)| *number == cancelled);
            at.map(|at| stream.waiting.remove(at).1)
        });
        if let Some(go) = waited {
            go(NtStatus::CANCELLED);
        }
    }

    /// A handle is closed: what it holds is gone, and a break of it acknowledged.
    pub(crate) fn close(&self, id: FileId, owner: Owner) {
        if !self.any() {
            return;
        }
        self.with(id, |stream, due| {
            let theirs = |holder: &mut Holder| holder.owner.file == owner.file;
            for mut holder in stream.holders.extract_if(.., theirs) {
                let level = holder.level;
                due.end(&mut holder, Ended::Closed(level));
            }
        });
    }

    /// Forgets a stream; whoever waits goes on.
    pub(crate) fn forget(&self, id: FileId) {
        self.with(id, |stream, due| {
            for mut holder in stream.holders.drain(..) {
                let level = holder.level;
                due.end(&mut holder, Ended::Closed(level));
            }
        });
    }

    /// Whether nobody holds one that keeps fast I/O away: what is exclusive, or being broken.
    pub(crate) fn allow_fast(&self, id: FileId) -> bool {
        let streams = self.lock();
        let quiet = |holder: &Holder| holder.level.is_shared() && holder.breaking.is_none();
        streams
            .get(&id)
            .is_none_or(|stream| stream.holders.iter().all(quiet))
    }

    /// Whether somebody holds one of those.
    pub(crate) fn holds(&self, id: FileId, wanted: impl Fn(Level) -> bool) -> bool {
        let streams = self.lock();
        streams
            .get(&id)
            .is_some_and(|stream| stream.holders.iter().any(|holder| wanted(holder.level)))
    }
}
