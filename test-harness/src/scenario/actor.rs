//! One thread of a scenario: it makes calls, keeps what they came to, and leaves no handle open.

use fastrand::Rng;
use protocol::NtStatus;

use super::control::Control;
use super::root::Root;
use crate::backend::{Call, Link, Purpose, Stopped, System, Thread};
use crate::model::{Action, Counts, Open};

/// Of its calls a thread keeps so many in full, from the first on; the others are counted.
const KEPT: usize = 2048;
/// And so many more that came to something else than they had to.
const KEPT_WRONG: usize = 100;

/// What a call has to return: on Windows, and on what is not Windows where that is known to differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    status: NtStatus,
    differs: [Option<(System, NtStatus, &'static str)>; 2],
}

impl From<NtStatus> for Expected {
    fn from(status: NtStatus) -> Self {
        Self {
            status,
            differs: [None; 2],
        }
    }
}

impl Expected {
    /// Says that `system` is known to return another status, and why.
    pub(super) const fn but(mut self, system: System, status: NtStatus, why: &'static str) -> Self {
        let place = if self.differs[0].is_none() { 0 } else { 1 };
        self.differs[place] = Some((system, status, why));
        self
    }

    fn on(self, here: System) -> (NtStatus, Option<&'static str>) {
        let known = self.differs.into_iter().flatten();
        let mut known = known.filter(|(system, ..)| *system == here);
        known
            .next()
            .map_or((self.status, None), |(_, status, why)| (status, Some(why)))
    }
}

/// A thread of a scenario.
pub(super) struct Actor<'a> {
    thread: Box<dyn Thread>,
    control: &'a Control,
    /// What the opens go to.
    pub(super) root: &'a Root,
    /// What answers.
    pub(super) system: System,
    /// The thread's number, from 0.
    pub(super) index: u32,
    /// How many rounds it has played.
    pub(super) round: u32,
    /// Its own sequence of random numbers: the same for the same seed and thread.
    pub(super) random: Rng,
    handles: Vec<u64>,
    done: Done,
}

/// What a thread's calls came to.
#[derive(Default)]
pub(super) struct Done {
    pub(super) opens: Vec<Open>,
    pub(super) counts: Counts,
    wrong: usize,
}

impl<'a> Actor<'a> {
    pub(super) fn new(
        thread: Box<dyn Thread>,
        control: &'a Control,
        root: &'a Root,
        system: System,
        (index, seed): (u32, u64),
    ) -> Self {
        Self {
            thread,
            control,
            root,
            system,
            index,
            round: 0,
            random: Rng::with_seed(seed.wrapping_add(u64::from(index) << 32)),
            handles: Vec::new(),
            done: Done::default(),
        }
    }

    /// Closes what is still open, and gives what the calls came to.
    pub(super) fn finish(mut self) -> Done {
        for handle in std::mem::take(&mut self.handles) {
            // A machine that is dead has no handles; on one that lives the close is not what is looked at.
            let _ = self.thread.call(&Call::Close { handle });
        }
        self.done
    }

    /// Opens something for its attributes, links followed.
    pub(super) fn open(
        &mut self,
        name: &str,
        root: u64,
        expected: impl Into<Expected>,
    ) -> Result<u64, Stopped> {
        self.open_for(Purpose::Attributes, name, root, expected)
    }

    /// Opens or makes something. The handle is 0 where that failed.
    pub(super) fn open_for(
        &mut self,
        purpose: Purpose,
        name: &str,
        root: u64,
        expected: impl Into<Expected>,
    ) -> Result<u64, Stopped> {
        let action = match purpose {
            Purpose::MakeFile | Purpose::MakeDirectory => Action::Create,
            _ => Action::Open,
        };
        let call = Call::Open {
            name: name.to_owned(),
            root,
            purpose,
        };
        let returned = self.make(action, name, &call, expected.into())?;
        if returned.handle != 0 {
            self.handles.push(returned.handle);
        }
        Ok(returned.handle)
    }

    /// Opens something and closes it.
    pub(super) fn touch(
        &mut self,
        name: &str,
        expected: impl Into<Expected>,
    ) -> Result<(), Stopped> {
        let handle = self.open(name, 0, expected)?;
        self.close(handle)
    }

    /// `NtQueryAttributesFile`.
    pub(super) fn query_attributes(
        &mut self,
        name: &str,
        expected: impl Into<Expected>,
    ) -> Result<(), Stopped> {
        let call = Call::QueryAttributes {
            name: name.to_owned(),
            root: 0,
        };
        self.make(Action::QueryAttributes, name, &call, expected.into())?;
        Ok(())
    }

    /// Lists the directory `name` through its handle: it has to hold just these names.
    pub(super) fn list(
        &mut self,
        name: &str,
        handle: u64,
        mut expected: Vec<String>,
    ) -> Result<(), Stopped> {
        if handle == 0 {
            return Ok(()); // The open failed, which its status tells.
        }
        let call = Call::List { handle };
        let returned = self.make(Action::List, name, &call, NtStatus::SUCCESS.into())?;
        let mut names = returned.names;
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        expected.sort_unstable();
        if returned.status.is_success() && names != expected {
            self.wrong(format!("it holds {names:?}, and has to hold {expected:?}"));
        }
        Ok(())
    }

    /// Renames what is open.
    pub(super) fn rename(
        &mut self,
        handle: u64,
        to: &str,
        expected: impl Into<Expected>,
    ) -> Result<(), Stopped> {
        if handle == 0 {
            return Ok(());
        }
        let call = Call::Rename {
            handle,
            to: to.to_owned(),
        };
        self.make(Action::Rename, to, &call, expected.into())?;
        Ok(())
    }

    /// Makes what is open a link. Gives the status.
    pub(super) fn link(
        &mut self,
        name: &str,
        handle: u64,
        link: Link,
        expected: impl Into<Expected>,
    ) -> Result<(), Stopped> {
        if handle == 0 {
            return Ok(());
        }
        let call = Call::SetReparse { handle, link };
        self.make(Action::SetReparse, name, &call, expected.into())?;
        Ok(())
    }

    /// Expects of the last call what it came to after all, and says why.
    pub(super) fn excuse(&mut self, status: NtStatus, why: &str) {
        if let Some(open) = self.done.opens.last_mut() {
            open.expected = status;
            open.note = Some(why.to_owned());
        }
    }

    /// Closes what [`open`](Self::open) gave back, if that was a handle.
    pub(super) fn close(&mut self, handle: u64) -> Result<(), Stopped> {
        if handle == 0 {
            return Ok(());
        }
        self.handles.retain(|&open| open != handle);
        let call = Call::Close { handle };
        let status = self.thread.call(&call)?.status;
        if !status.is_success() {
            let name = format!("handle {handle:#x}");
            self.note(Action::Close, &name, NtStatus::SUCCESS.into());
            self.returned(status);
        }
        Ok(())
    }

    /// The last call's status.
    pub(super) fn last_status(&self) -> Option<NtStatus> {
        self.done.opens.last().and_then(|open| open.status)
    }

    /// Makes a call; what it was stays known whether or not it returns.
    fn make(
        &mut self,
        action: Action,
        name: &str,
        call: &Call,
        expected: Expected,
    ) -> Result<crate::backend::Returned, Stopped> {
        self.control.check()?;
        self.note(action, name, expected);
        let returned = self.thread.call(call)?;
        self.returned(returned.status);
        self.control.advance();
        Ok(returned)
    }

    fn note(&mut self, action: Action, name: &str, expected: Expected) {
        let (expected, note) = expected.on(self.system);
        self.done.push(Open {
            action,
            name: name.to_owned(),
            status: None,
            expected,
            thread: self.index,
            note: note.map(str::to_owned),
            problem: None,
        });
    }

    fn returned(&mut self, status: NtStatus) {
        if let Some(open) = self.done.opens.last_mut() {
            open.status = Some(status);
            self.done.counts.add(open.action, status);
        }
    }

    /// Says that the last call came to something else than it had to, though its status is right.
    fn wrong(&mut self, problem: String) {
        if let Some(open) = self.done.opens.last_mut() {
            open.problem = Some(problem);
        }
    }
}

impl Done {
    /// Keeps a call, in the place of the last one if there are enough and that one went well.
    fn push(&mut self, open: Open) {
        if let Some(last) = self.opens.last().filter(|_| self.opens.len() > KEPT) {
            if last.is_as_expected() || self.wrong >= KEPT_WRONG {
                self.opens.pop();
            } else {
                self.wrong += 1;
            }
        }
        self.opens.push(open);
    }
}
