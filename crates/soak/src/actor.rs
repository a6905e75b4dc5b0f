//! A program that opens files: what it does comes from its random numbers alone, so that two of the same seed do the same, whatever
//! their calls come to.

use std::fmt;

use fastrand::Rng;
use ntbench::wire::{CreateFile, FileCall};
use ntbench::{MachineError, NtStatus, Thread};

use crate::place::{LEVELS, SHARE, own};
use crate::seed::pick;

/// Files of its own that a program keeps at most, and handles that it leaves open.
const FILES: usize = 20;
const HELD: usize = 4;

const SYNCHRONIZE: u32 = 0x10_0000;
const READ: u32 = SYNCHRONIZE | 0x81;
const WRITE: u32 = SYNCHRONIZE | 0x83;
const DELETE: u32 = SYNCHRONIZE | 0x1_0080;
const OPEN: u32 = 1;
const CREATE: u32 = 2;
const DIRECTORY: u32 = 0x21;
const FILE: u32 = 0x60;
const DELETE_ON_CLOSE: u32 = 0x1020;

/// One thing that a program does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Opens a name for its attributes and closes it.
    Look(String),
    /// `NtQueryAttributesFile`.
    Query(String),
    /// Opens a file, reads it, closes it.
    Read(String),
    /// Opens a directory and lists it.
    List(String),
    /// Opens a directory, and a name relative to it.
    Relative(String, String),
    /// Opens a file and asks for its size and its name.
    Information(String),
    /// Opens a name and leaves it open.
    Hold(String),
    /// Closes the oldest handle that was left open.
    LetGo,
    /// Makes a file and writes to it.
    Make(String, Vec<u8>),
    /// Writes over a part of a file, or behind its end.
    Rewrite(String, i64, Vec<u8>),
    /// Renames a file.
    Rename(String, String),
    /// Deletes a file.
    Remove(String),
    /// Makes a directory, and deletes it.
    Directory(String),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(name, data) => write!(f, "make {name} of {} bytes", data.len()),
            Self::Rewrite(name, at, data) => {
                write!(f, "write {} bytes to {name} at {at}", data.len())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// What one call of an act came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) status: NtStatus,
    pub(crate) information: u64,
    /// A hash of what came back.
    pub(crate) data: u64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            information,
            data,
        } = self;
        write!(f, "{status}, information {information}")?;
        match data {
            0 => Ok(()),
            data => write!(f, ", contents {data:016x}"),
        }
    }
}

/// FNV-1a, for contents and digests.
pub(crate) fn hash(start: u64, bytes: &[u8]) -> u64 {
    let start = if start == 0 {
        0xcbf2_9ce4_8422_2325
    } else {
        start
    };
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A program with one thread.
pub(crate) struct Actor {
    thread: Thread,
    rng: Rng,
    directory: String,
    names: Vec<String>,
    made: u32,
    held: Vec<u64>,
    steps: Vec<Step>,
}

impl Actor {
    pub(crate) fn new(thread: Thread, rng: Rng, number: u64) -> Self {
        Self {
            thread,
            rng,
            directory: format!(r"{SHARE}\{}", own(number)),
            names: Vec::new(),
            made: 0,
            held: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The simulated thread that it calls on.
    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Does the next thing, and tells it with what its calls came to. `harmless`: only what changes nothing and does not depend on what
    /// was done before, because an open may be denied.
    pub(crate) fn act(&mut self, harmless: bool) -> Result<(Act, Vec<Step>), MachineError> {
        let act = self.choose(harmless);
        let steps = self.carry_out(&act)?;
        Ok((act, steps))
    }

    /// Does that, and tells what its calls came to.
    pub(crate) fn carry_out(&mut self, act: &Act) -> Result<Vec<Step>, MachineError> {
        self.steps = Vec::with_capacity(4);
        self.perform(act)?;
        Ok(std::mem::take(&mut self.steps))
    }

    /// Closes what was left open.
    pub(crate) fn finish(mut self) -> Result<(), MachineError> {
        while !self.held.is_empty() {
            self.let_go()?;
        }
        self.thread.end()
    }

    fn choose(&mut self, harmless: bool) -> Act {
        let kinds = if harmless { 10 } else { 20 };
        let kind = self.rng.u32(0..kinds);
        match kind {
            0..3 => Act::Look(self.name()),
            3 => Act::Query(self.name()),
            4..7 => Act::Read(self.file()),
            7 => Act::List(self.tree()),
            8 => Act::Information(self.file()),
            9 => Act::Relative(
                self.tree(),
                pick(&mut self.rng, &["file.txt", "d01", "absent", r"d02\d03"]).to_owned(),
            ),
            10 if self.held.len() < HELD => Act::Hold(self.file()),
            10 => Act::LetGo,
            11..14 if self.names.len() < FILES => {
                self.made += 1;
                let name = format!("file{:04}.txt", self.made);
                self.names.push(name.clone());
                Act::Make(name, self.bytes())
            }
            14 | 15 if !self.names.is_empty() => {
                let name = self.some();
                let at = if self.rng.bool() {
                    0
                } else {
                    self.rng.i64(0..5000)
                };
                Act::Rewrite(name, at, self.bytes())
            }
            16 if !self.names.is_empty() => {
                let index = self.rng.usize(0..self.names.len());
                self.made += 1;
                let to = format!("moved{:04}.txt", self.made);
                let from = std::mem::replace(&mut self.names[index], to.clone());
                Act::Rename(from, to)
            }
            17 | 11..14 if !self.names.is_empty() => {
                let index = self.rng.usize(0..self.names.len());
                Act::Remove(self.names.swap_remove(index))
            }
            18 => Act::Directory(format!("directory{}", self.rng.u32(0..4))),
            19 if !self.names.is_empty() => {
                let name = self.some();
                Act::Read(format!(r"{}\{name}", self.directory))
            }
            _ => Act::List(self.directory.clone()),
        }
    }

    fn some(&mut self) -> String {
        self.names[self.rng.usize(0..self.names.len())].clone()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.rng.usize(0..700);
        let rng = &mut self.rng;
        std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
    }

    /// A directory of the tree that everybody reads, on the share or on the local volume.
    fn tree(&mut self) -> String {
        let root = pick(
            &mut self.rng,
            &[
                r"\??\UNC\server\share",
                r"\??\UNC\server\share",
                r"\??\UNC\SERVER\Share",
                r"\??\C:",
            ],
        );
        let levels = self.rng.usize(0..=LEVELS);
        let path: String = (1..=levels).map(|level| format!(r"\d{level:02}")).collect();
        format!(r"{root}\shared{path}")
    }

    /// A file of that tree.
    fn file(&mut self) -> String {
        self.tree() + r"\file.txt"
    }

    /// A name, there or not.
    fn name(&mut self) -> String {
        match self.rng.u32(0..10) {
            0..4 => self.tree(),
            4..7 => self.file(),
            7 => self.tree() + r"\absent",
            8 => self.tree() + r"\absent\file.txt",
            _ => pick(
                &mut self.rng,
                &[
                    r"\??\UNC\server\nothing\file.txt",
                    r"\??\UNC\nobody\share\file.txt",
                    r"\??\UNC\server\share",
                    r"\??\UNC\server\IPC$\srvsvc",
                    r"\??\UNC\server\share\shared\file.txt\below",
                    r"\??\UNC\server\share\shared\fi*e.txt",
                    r"\??\C:\",
                ],
            )
            .to_owned(),
        }
    }

    fn perform(&mut self, act: &Act) -> Result<(), MachineError> {
        let inside = |name: &str| format!(r"{}\{name}", self.directory);
        match act {
            Act::Look(name) => {
                let handle = self.open(name, 0, READ & !1, OPEN, 0x20)?;
                self.close(handle)
            }
            Act::Query(name) => {
                let done = self.thread.query_attributes(name)?;
                self.step(done.status, done.attributes.into(), &[]);
                Ok(())
            }
            Act::Read(name) => {
                let handle = self.open(name, 0, READ, OPEN, FILE)?;
                if handle != 0 {
                    let read = self.thread.read(handle, Some(0), 8192)?;
                    self.step(read.status, read.information, &read.data);
                }
                self.close(handle)
            }
            Act::List(name) => {
                let handle = self.open(name, 0, READ, OPEN, DIRECTORY)?;
                if handle != 0 {
                    self.list(handle)?;
                }
                self.close(handle)
            }
            Act::Relative(directory, name) => {
                let root = self.open(directory, 0, READ, OPEN, DIRECTORY)?;
                if root != 0 {
                    let handle = self.open(name, root, READ & !1, OPEN, 0x20)?;
                    self.close(handle)?;
                }
                self.close(root)
            }
            Act::Information(name) => {
                let handle = self.open(name, 0, READ, OPEN, FILE)?;
                if handle != 0 {
                    // FileStandardInformation and FileNameInformation.
                    for class in [5, 9] {
                        let call = FileCall::QueryInformation {
                            class,
                            length: 1024,
                        };
                        let told = self.thread.file(handle, call)?;
                        self.step(told.status, told.information, &told.data);
                    }
                }
                self.close(handle)
            }
            Act::Hold(name) => {
                let handle = self.open(name, 0, READ, OPEN, FILE)?;
                // A place is taken however it ended, so that both programs go on alike.
                self.held.push(handle);
                Ok(())
            }
            Act::LetGo => self.let_go(),
            Act::Make(name, data) => {
                let handle = self.open(&inside(name), 0, WRITE, CREATE, FILE)?;
                self.write(handle, 0, data)
            }
            Act::Rewrite(name, at, data) => {
                let handle = self.open(&inside(name), 0, WRITE, OPEN, FILE)?;
                self.write(handle, *at, data)
            }
            Act::Rename(from, to) => {
                let (from, to) = (inside(from), inside(to));
                let handle = self.open(&from, 0, DELETE, OPEN, 0x20)?;
                if handle != 0 {
                    let done = self.thread.rename(handle, &to, 0, false)?;
                    self.step(done.status, done.information, &[]);
                }
                self.close(handle)
            }
            Act::Remove(name) => {
                let name = inside(name);
                let handle = self.open(&name, 0, DELETE, OPEN, DELETE_ON_CLOSE)?;
                self.close(handle)?;
                let done = self.thread.query_attributes(&name)?;
                self.step(done.status, 0, &[]);
                Ok(())
            }
            Act::Directory(name) => {
                let name = inside(name);
                let made = self.open(&name, 0, READ, CREATE, DIRECTORY)?;
                self.close(made)?;
                let handle = self.open(&name, 0, DELETE, OPEN, DELETE_ON_CLOSE | DIRECTORY)?;
                self.close(handle)
            }
        }
    }

    fn step(&mut self, status: NtStatus, information: u64, data: &[u8]) {
        self.steps.push(Step {
            status,
            information,
            data: if data.is_empty() { 0 } else { hash(0, data) },
        });
    }

    fn open(
        &mut self,
        name: &str,
        root: u64,
        access: u32,
        disposition: u32,
        options: u32,
    ) -> Result<u64, MachineError> {
        let done = self.thread.create_file(&CreateFile {
            name: name.to_owned(),
            root,
            access,
            disposition,
            options,
            ..CreateFile::default()
        })?;
        self.step(done.status, done.information, &[]);
        Ok(done.handle)
    }

    fn close(&mut self, handle: u64) -> Result<(), MachineError> {
        if handle != 0 {
            let done = self.thread.close(handle)?;
            self.step(done.status, 0, &[]);
        }
        Ok(())
    }

    fn let_go(&mut self) -> Result<(), MachineError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let handle = self.held.remove(0);
        self.close(handle)
    }

    fn write(&mut self, handle: u64, at: i64, data: &[u8]) -> Result<(), MachineError> {
        if handle != 0 {
            let done = self.thread.write(handle, Some(at), data)?;
            self.step(done.status, done.information, &[]);
        }
        self.close(handle)
    }

    /// What a listing says of each entry but its times and its number, which are the host's.
    fn list(&mut self, handle: u64) -> Result<(), MachineError> {
        let (done, mut entries) = self.thread.list_directory(handle, None)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let told: Vec<String> = entries
            .iter()
            .map(|entry| {
                format!(
                    "{} {:x} {}",
                    entry.name, entry.attributes, entry.end_of_file
                )
            })
            .collect();
        self.step(done, entries.len() as u64, told.join("\n").as_bytes());
        Ok(())
    }
}
