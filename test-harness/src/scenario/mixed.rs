//! Mixed operations: each thread works in a directory of its own beside the others': it makes files, queries their attributes,
//! lists the directory, renames files (onto free and onto taken names) and deletes them, in an order that the seed decides, and
//! knows at each step what is there. In the end the directory is emptied and removed.

use protocol::NtStatus;

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, status};
use crate::backend::{Environment, Purpose, Setup, Stopped};

/// Operations for each file.
const STEPS: u32 = 6;
/// Creates that an operation takes at most.
const CREATES: u32 = 2;

pub(super) struct Mixed {
    /// Files in a round.
    pub(super) files: u32,
}

impl Scenario for Mixed {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        // Those, and what empties the directory.
        self.files * (STEPS * CREATES + 2) + 4
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let directory = format!(r"{}\thread{:02}", actor.root.name(), actor.index);
        let made = actor.open_for(Purpose::MakeDirectory, &directory, 0, NtStatus::SUCCESS)?;
        actor.close(made)?;
        let mut work = Work {
            directory,
            there: Vec::new(),
            made: 0,
        };
        for _ in 0..self.files * STEPS {
            work.step(actor, self.files)?;
        }
        work.list(actor)?;
        while let Some(name) = work.there.pop() {
            work.delete(actor, &name)?;
        }
        actor.query_attributes(&work.path("gone.txt"), status::OBJECT_NAME_NOT_FOUND)?;
        let directory = actor.open_for(Purpose::Delete, &work.directory, 0, NtStatus::SUCCESS)?;
        actor.close(directory)
    }
}

/// A directory, and what has to be in it.
struct Work {
    directory: String,
    there: Vec<String>,
    /// Names given so far: none is given twice.
    made: u32,
}

impl Work {
    fn path(&self, name: &str) -> String {
        format!(r"{}\{name}", self.directory)
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("file{:03}.txt", self.made)
    }

    /// One of the names that are there.
    fn some(&self, actor: &mut Actor<'_>) -> Option<usize> {
        (!self.there.is_empty()).then(|| actor.random.usize(0..self.there.len()))
    }

    fn step(&mut self, actor: &mut Actor<'_>, most: u32) -> Result<(), Stopped> {
        let crowded = self.there.len() >= most as usize;
        let Some(index) = self.some(actor) else {
            return self.make(actor);
        };
        match actor.random.u32(0..10) {
            0..3 if !crowded => self.make(actor),
            0..3 => {
                let name = self.there.swap_remove(index);
                self.delete(actor, &name)
            }
            3 => {
                let taken = self.path(&self.there[index]);
                let none =
                    actor.open_for(Purpose::MakeFile, &taken, 0, status::OBJECT_NAME_COLLISION)?;
                actor.close(none)
            }
            4..6 => {
                let path = self.path(&self.there[index]);
                actor.query_attributes(&path, NtStatus::SUCCESS)
            }
            6 => self.list(actor),
            7 if self.there.len() > 1 => {
                let other = (index + 1) % self.there.len();
                let to = self.there[other].clone();
                self.rename(actor, index, &to)
            }
            _ => {
                let to = self.fresh();
                self.rename(actor, index, &to)
            }
        }
    }

    fn make(&mut self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let name = self.fresh();
        let file = actor.open_for(Purpose::MakeFile, &self.path(&name), 0, NtStatus::SUCCESS)?;
        self.there.push(name);
        actor.close(file)
    }

    fn delete(&self, actor: &mut Actor<'_>, name: &str) -> Result<(), Stopped> {
        let path = self.path(name);
        let file = actor.open_for(Purpose::Delete, &path, 0, NtStatus::SUCCESS)?;
        actor.close(file)?;
        actor.query_attributes(&path, status::OBJECT_NAME_NOT_FOUND)
    }

    fn list(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let handle = actor.open_for(Purpose::List, &self.directory, 0, NtStatus::SUCCESS)?;
        actor.list(&self.directory, handle, self.there.clone())?;
        actor.close(handle)
    }

    /// Renames one of the files; onto a name that is taken it fails.
    fn rename(&mut self, actor: &mut Actor<'_>, index: usize, to: &str) -> Result<(), Stopped> {
        let from = self.path(&self.there[index]);
        let taken = self.there.iter().any(|name| name == to);
        let expected = if taken {
            status::OBJECT_NAME_COLLISION
        } else {
            NtStatus::SUCCESS
        };
        let handle = actor.open_for(Purpose::Move, &from, 0, NtStatus::SUCCESS)?;
        actor.rename(handle, &self.path(to), expected)?;
        actor.close(handle)?;
        if !taken {
            to.clone_into(&mut self.there[index]);
        }
        Ok(())
    }
}
