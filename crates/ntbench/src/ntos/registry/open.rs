//! Opening and making keys, whoever asks for it.

use std::sync::Arc;

use super::callback::{self, Operation};
use super::{KeyHandle, change, exists, handles};
use crate::abi::base::UnicodeString;
use crate::ntos::key_type;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

/// `REG_OPTION_VOLATILE`.
const VOLATILE: u32 = 1;
/// The other options that there are: create link, backup or restore, open link, do not virtualise.
pub(super) const OPTIONS: u32 = VOLATILE | 0x2 | 0x4 | 0x8 | 0x10;
const CREATED: u32 = 1;
const OPENED: u32 = 2;
/// `REG_…_KEY_INFORMATION_V1` of an open or create, in words, and where its `CallContext` is.
const OPEN_WORDS: usize = 17;
const OPEN_CALL_CONTEXT: usize = 10;

/// What a key is opened or made with.
pub(super) struct Open {
    /// The name as it was given.
    pub(super) name: Guest<UnicodeString>,
    /// `RootDirectory`.
    pub(super) root: Option<Arc<KeyHandle>>,
    pub(super) access: u32,
    /// `OBJECT_ATTRIBUTES.Attributes`.
    pub(super) attributes: u32,
    pub(super) mode: i8,
    /// Makes the key where it is not there: its class, `CreateOptions`, and where to say what was done.
    pub(super) create: Option<(Guest<UnicodeString>, u32, Guest<u32>)>,
}

impl Open {
    fn path(&self) -> Result<String, NtStatus> {
        let name = self.name.text();
        let path = match &self.root {
            None if !name.starts_with('\\') => return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD),
            None => name,
            Some(root) if name.is_empty() => root.path.clone(),
            Some(_) if name.starts_with('\\') => return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD),
            Some(root) => {
                root.with(|_| ())?;
                format!("{}\\{name}", root.path)
            }
        };
        Ok(path.trim_end_matches('\\').to_owned())
    }

    fn perform(&self, disposition: Guest<u32>) -> Result<Arc<KeyHandle>, NtStatus> {
        let path = self.path()?;
        if let Some((class, options, _)) = self.create {
            if options & !OPTIONS != 0 {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            let new = change::create(&path, &class.units(), options & VOLATILE != 0)?;
            disposition.write(if new { CREATED } else { OPENED });
        } else if !exists(&path) {
            return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
        }
        KeyHandle::make(&path).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)
    }

    /// As callbacks see it; `result` is where the key's object comes to be, `disposition` what was done.
    fn describe(&self, result: Guest<usize>, disposition: Guest<u32>) -> Operation {
        let mut words = vec![0; OPEN_WORDS];
        let (class, options, _) = self.create.unwrap_or((Guest::at(0), 0, Guest::at(0)));
        words[0] = self.name.address() as u64;
        words[1] = self.root.as_ref().map_or(0, |root| root.address()) as u64;
        words[2] = key_type() as u64;
        words[3] = options.into();
        words[4] = class.address() as u64;
        // DesiredAccess, GrantedAccess.
        words[7] = u64::from(self.access) | u64::from(self.access) << 32;
        words[8] = disposition.address() as u64;
        words[9] = result.address() as u64;
        // Version, RemainingName, Wow64Flags and Attributes, CheckAccessMode.
        words[13] = 1;
        words[14] = words[0];
        words[15] = u64::from(self.attributes) << 32;
        words[16] = u64::from(self.mode.cast_unsigned());
        Operation {
            // RegNtPreCreateKeyEx, RegNtPreOpenKeyEx and what follows each.
            classes: if self.create.is_some() {
                (26, 27)
            } else {
                (28, 29)
            },
            object: self.root.as_ref().map_or(0, |root| root.address()),
            words,
            call_context: OPEN_CALL_CONTEXT,
        }
    }

    /// Opens or makes the key, and gives a handle to it.
    pub(super) fn run(&self) -> Result<u64, NtStatus> {
        let mut slot = 0_usize;
        let result = Guest::<usize>::at((&raw mut slot).expose_provenance());
        let mut done = 0_u32;
        let disposition = Guest::<u32>::at((&raw mut done).expose_provenance());
        let made = std::cell::RefCell::new(None);
        let status = callback::run(
            || self.describe(result, disposition),
            || match self.perform(disposition) {
                Ok(key) => {
                    result.write(key.address());
                    *made.borrow_mut() = Some(key);
                    NtStatus::SUCCESS
                }
                Err(status) => status,
            },
            || Some(result.read()).filter(|object| *object != 0),
        );
        let made = made.into_inner();
        let handle = if status.is_success() {
            // A callback that does the open itself gives an object of its own.
            let key = made.clone().or_else(|| handles::of_object(result.read()));
            key.map(|key| key.open(self.access, self.attributes, self.mode))
        } else {
            None
        };
        if let (Some((_, _, to)), true) = (self.create, status.is_success()) {
            to.write_opt(disposition.read());
        }
        if let Some(made) = made {
            made.release();
        }
        handle.ok_or(if status.is_success() {
            NtStatus::INVALID_HANDLE
        } else {
            status
        })
    }
}
