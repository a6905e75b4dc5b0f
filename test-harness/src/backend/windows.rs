//! Windows as the machine, or Wine: the calls are the real ones, each thread's on its own.
//!
//! What the driver found of the stack is read through its port. Without a driver the calls are made all the same, and their statuses
//! checked.

use std::collections::HashMap;

use protocol::NtStatus;
use winuser::Wide;
use winuser::nt::{self, File, How, Reparse};

use super::recording::{Recording, refused};
use super::{Call, Link, Machine, Purpose, Returned, Setup, Stopped, System, Thread, Told};
use crate::link::LinkError;

/// This computer.
pub struct Windows {
    system: System,
    recording: Option<Recording>,
    counted: bool,
}

/// A thread of this process. Its handles are files, so that none is closed that is not ours.
#[derive(Default)]
struct Opener {
    files: HashMap<u64, File>,
}

impl Windows {
    /// Makes ready for the calls: the run's settings are in force from here on. Where no driver is asked for, one that is loaded
    /// inspects nothing meanwhile.
    ///
    /// # Errors
    /// [`Stopped`]: a driver is asked for and none answers.
    pub fn start(setup: Setup) -> Result<Self, Stopped> {
        let system = match winuser::wine::version() {
            Some(_) => System::Wine,
            None => System::Windows,
        };
        let driver = setup.driver;
        let recording = match Recording::start(driver.as_ref()) {
            Ok(recording) => Some(recording),
            Err(error) if driver.is_some() => return Err(refused(&error).into()),
            Err(LinkError::NotLoaded | LinkError::System(_)) => None,
            Err(error) => return Err(refused(&error).into()),
        };
        // Symbolic links need it; where it cannot be had, the calls say so.
        let _ = winuser::system::enable_privilege(winuser::system::CREATE_SYMBOLIC_LINK);
        Ok(Self {
            system,
            recording,
            counted: driver.is_some(),
        })
    }
}

impl Machine for Windows {
    fn system(&self) -> System {
        self.system
    }

    fn thread(&self) -> Result<Box<dyn Thread>, Stopped> {
        Ok(Box::<Opener>::default())
    }

    fn finish(self: Box<Self>) -> Result<Told, Stopped> {
        let ours = std::process::id();
        match self.recording {
            Some(recording) => {
                let told = recording.finish(|record| record.process_id == ours)?;
                Ok(if self.counted { told } else { Told::default() })
            }
            None => Ok(Told::default()),
        }
    }
}

impl Thread for Opener {
    fn call(&mut self, call: &Call) -> Result<Returned, Stopped> {
        let returned = self.make(call);
        Ok(returned.unwrap_or_else(Returned::from))
    }
}

/// A handle that is none of ours.
const INVALID_HANDLE: NtStatus = NtStatus(0xc000_0008);

const OBJECT_NAME_INVALID: NtStatus = NtStatus(0xc000_0033);

impl Opener {
    fn make(&mut self, call: &Call) -> Result<Returned, NtStatus> {
        let mut returned = Returned::from(NtStatus::SUCCESS);
        match call {
            Call::Open {
                name,
                root,
                purpose,
            } => {
                let root = self.root(*root)?;
                let opened = nt::create(&wide(name)?, root, &how(*purpose))?;
                returned.status = opened.status;
                returned.handle = opened.file.number();
                self.files.insert(returned.handle, opened.file);
            }
            Call::QueryAttributes { name, root } => {
                returned.attributes = nt::query_attributes(&wide(name)?, self.root(*root)?)?;
            }
            Call::List { handle } => {
                let entries = self.file(*handle)?.list(None)?;
                returned.names = entries.into_iter().map(|entry| entry.name).collect();
            }
            Call::Rename { handle, to } => {
                self.file(*handle)?.rename(&wide(to)?, None, false)?;
            }
            Call::SetReparse { handle, link } => {
                let reparse = match link {
                    Link::Relative(target) => Reparse::Symlink {
                        target: wide(target)?,
                        relative: true,
                    },
                    Link::Absolute(target) => Reparse::Symlink {
                        target: wide(target)?,
                        relative: false,
                    },
                    Link::Junction(target) => Reparse::Junction {
                        target: wide(target)?,
                    },
                };
                self.file(*handle)?.set_reparse_point(&reparse)?;
            }
            Call::Close { handle } => {
                self.files.remove(handle).ok_or(INVALID_HANDLE)?.close()?;
            }
        }
        Ok(returned)
    }

    fn file(&self, handle: u64) -> Result<&File, NtStatus> {
        self.files.get(&handle).ok_or(INVALID_HANDLE)
    }

    fn root(&self, handle: u64) -> Result<Option<&File>, NtStatus> {
        match handle {
            0 => Ok(None),
            handle => self.file(handle).map(Some),
        }
    }
}

/// A name that no counted string holds is one that the call would refuse.
fn wide(name: &str) -> Result<Wide, NtStatus> {
    Wide::new(name).map_err(|_| OBJECT_NAME_INVALID)
}

fn how(purpose: Purpose) -> How {
    let parameters = purpose.parameters();
    How {
        access: parameters.access,
        disposition: parameters.disposition,
        options: parameters.options,
        ..How::existing()
    }
}
