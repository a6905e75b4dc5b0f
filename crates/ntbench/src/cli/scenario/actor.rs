//! One of a program's threads: what it holds open, and how it does a step.

use std::collections::HashMap;

use ntbench::wire::{Completion, CreateFile, FileCall, PortFuzz, ProcessSpec, Refusal};
use ntbench::{DirectoryChange, MachineError, NtStatus, Thread};

use super::Site;
use super::answer::Connection;
use super::model::{Act, Step};
use super::play::Play;

/// A value that no handle has.
const NO_HANDLE: u64 = 0x7FFF_FFFC;

/// What came of a step.
pub(super) struct Done {
    /// Its status.
    pub(super) status: NtStatus,
    /// What was read, as far as it is text.
    pub(super) text: Option<String>,
}

impl From<NtStatus> for Done {
    fn from(status: NtStatus) -> Self {
        Self { status, text: None }
    }
}

/// A thread's handles, by the names that a scenario gives them.
#[derive(Clone, Default)]
pub(super) struct Handles {
    files: HashMap<String, u64>,
    ports: HashMap<String, Connection>,
    processes: HashMap<String, Thread>,
}

impl Handles {
    fn file(&self, name: &str) -> u64 {
        // A handle that is not there is none: the system call answers that it is invalid.
        self.files.get(name).copied().unwrap_or(0)
    }

    /// The first thread of a process that was started under that name.
    pub(super) fn process(&self, name: &str) -> Option<&Thread> {
        self.processes.get(name)
    }

    /// Closes whatever is open and was not in `before`.
    pub(super) fn close_all(&mut self, thread: &Thread, before: &Self) -> Result<(), MachineError> {
        for (name, handle) in std::mem::take(&mut self.files) {
            if before.files.get(&name) != Some(&handle) {
                thread.close(handle)?;
            }
        }
        for (name, port) in std::mem::take(&mut self.ports) {
            if !before.ports.contains_key(&name) {
                port.close(thread)?;
            }
        }
        for (name, process) in std::mem::take(&mut self.processes) {
            if !before.processes.contains_key(&name) {
                process.end()?;
            }
        }
        Ok(())
    }

    fn transaction(&self, name: &str) -> u64 {
        // One that is not there must not stand for none.
        self.files.get(name).copied().unwrap_or(NO_HANDLE)
    }

    /// Keeps a handle under the step's name. If the name is used again, what it stood for is closed, as by a program that assigns to its
    /// variable.
    fn keep(
        &mut self,
        step: &Step,
        thread: &Thread,
        done: Completion,
    ) -> Result<Done, MachineError> {
        if done.handle != 0
            && let Some(left) = self.files.insert(step.file.clone(), done.handle)
        {
            thread.close(left)?;
        }
        Ok(done.status.into())
    }

    /// Does a step on a thread.
    pub(super) fn act(
        &mut self,
        step: &Step,
        with: &Play<'_>,
        thread: &Thread,
        site: &Site,
    ) -> Result<Done, MachineError> {
        let handle = self.file(&step.file);
        Ok(match &step.act {
            Act::Create {
                create,
                transaction,
            } => {
                let done = thread.create_file(&CreateFile {
                    name: site.name(&create.name),
                    transaction: transaction
                        .as_ref()
                        .map_or(0, |name| self.transaction(name)),
                    ..create.clone()
                })?;
                self.keep(step, thread, done)?
            }
            Act::Begin => {
                let done = thread.create_transaction()?;
                self.keep(step, thread, done)?
            }
            Act::End { commit } => thread.end_transaction(handle, *commit)?.status.into(),
            Act::Close => match self.ports.remove(&step.file) {
                Some(port) => port.close(thread)?.into(),
                None => {
                    self.files.remove(&step.file);
                    thread.close(handle)?.status.into()
                }
            },
            Act::Attributes(path) => thread.query_attributes(&site.name(path))?.status.into(),
            Act::Call(call, _) => {
                let done = thread.file(handle, call.clone())?;
                let text = match call {
                    FileCall::NotifyDirectory { .. } => changes(&done.data),
                    _ => String::from_utf8_lossy(&done.data).into_owned(),
                };
                Done {
                    status: done.status,
                    text: Some(text),
                }
            }
            Act::Rename { to, replace } => {
                let done = thread.rename(handle, &site.name(to), 0, *replace)?;
                done.status.into()
            }
            Act::Link { to, replace } => {
                let done = thread.hard_link(handle, &site.name(to), 0, *replace)?;
                done.status.into()
            }
            Act::Delete(delete) => thread.set_delete(handle, *delete)?.status.into(),
            Act::List(pattern) => {
                let (status, entries) = thread.list_directory(handle, pattern.as_deref())?;
                let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
                names.sort();
                Done {
                    status,
                    text: Some(names.join(" ")),
                }
            }
            Act::SetReparse(point) => {
                let point = match point.clone() {
                    ntbench::ReparsePoint::Symlink { target, relative } => {
                        ntbench::ReparsePoint::Symlink {
                            target: site.fill_in(&target),
                            relative,
                        }
                    }
                    ntbench::ReparsePoint::MountPoint { target } => {
                        ntbench::ReparsePoint::MountPoint {
                            target: site.fill_in(&target),
                        }
                    }
                    other => other,
                };
                thread.set_reparse(handle, &point)?.status.into()
            }
            Act::DeleteReparse(tag) => thread.delete_reparse(handle, *tag)?.status.into(),
            Act::Connect {
                port,
                context,
                answer,
                then,
            } => match thread.connect_port(
                &site.fill_in(port),
                context.as_deref().unwrap_or(with.context),
            )? {
                Ok(port) => {
                    let connection = Connection::answer(port, with, answer, then)?;
                    self.ports.insert(step.file.clone(), connection);
                    NtStatus::SUCCESS.into()
                }
                Err(status) => status.into(),
            },
            Act::Send { input, output } => match self.ports.get(&step.file) {
                Some(port) => port.on(thread).send(input, *output)?.0.into(),
                None => NtStatus::INVALID_HANDLE.into(),
            },
            Act::Fuzz { count } => match self.ports.get(&step.file) {
                Some(port) => {
                    let fuzz = PortFuzz {
                        port: 0,
                        seed: 1,
                        first: 0,
                        count: *count,
                        corpus: Vec::new(),
                        longest: 512,
                        hostile_per_mille: 200,
                    };
                    port.on(thread).fuzz(&fuzz, |_| {})?;
                    NtStatus::SUCCESS.into()
                }
                None => NtStatus::INVALID_HANDLE.into(),
            },
            Act::Registry { key, act, .. } => thread.registry(key, act.clone())?.status.into(),
            Act::Instance(call) => thread.instance(site.instance(call))?.status.into(),
            Act::Start {
                image,
                command_line,
            } => self.start(step, with, thread, image, command_line.as_ref())?,
            Act::Exit => match self.processes.remove(&step.file) {
                Some(process) => {
                    process.end()?;
                    NtStatus::SUCCESS.into()
                }
                None => NtStatus::INVALID_HANDLE.into(),
            },
            // Its threads are started by whoever plays the scenario.
            Act::Together { .. } => NtStatus::SUCCESS.into(),
        })
    }
}

impl Handles {
    /// Starts a process; one that a driver forbids ends with the driver's status.
    fn start(
        &mut self,
        step: &Step,
        with: &Play<'_>,
        thread: &Thread,
        image: &str,
        command_line: Option<&String>,
    ) -> Result<Done, MachineError> {
        let spec = ProcessSpec {
            image: image.to_owned(),
            command_line: command_line.cloned(),
            stack: with.stack,
        };
        match thread.start_process(spec) {
            Ok(process) => {
                if let Some(before) = self.processes.insert(step.file.clone(), process) {
                    before.end()?;
                }
                Ok(NtStatus::SUCCESS.into())
            }
            Err(MachineError::Refused(Refusal::Process { status, .. })) => Ok(status.into()),
            Err(error) => Err(error),
        }
    }
}

/// What a notification tells of.
fn changes(data: &[u8]) -> String {
    let changes = DirectoryChange::list(data, false);
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    told.join(", ")
}
