//! Named streams of a file: what a name says of one, and where their data lie.
//!
//! The host's file systems keep none, so a stream is memory of the machine's, for as long as that runs. A stream has its
//! own data, length, share access, locks and deletion; times, attributes and names are its file's (MS-FSA 2.1.1.5).

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, MemfdFlags};

use super::names;
use super::notes::Notes;
use super::sharing::FileId;
use crate::abi::status::NtStatus;

const COLON: u16 = b':' as u16;
/// The longest name of a stream, in UTF-16 units.
const LONGEST: usize = 255;

/// Which stream of a file a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamName {
    /// `::$DATA`: the file's own data.
    Data,
    /// `::$INDEX_ALLOCATION`: a directory's entries.
    Index,
    /// `:name` or `:name:$DATA`.
    Named(String),
}

impl StreamName {
    /// Reads what comes after a file's name, with its colon (MS-FSCC 2.1.5).
    pub(crate) fn parse(suffix: &[u16]) -> Option<Self> {
        let rest = suffix.strip_prefix(&[COLON])?;
        let mut parts = rest.split(|unit| *unit == COLON);
        let (name, kind) = (parts.next()?, parts.next());
        if parts.next().is_some() || name.len() > LONGEST {
            return None;
        }
        let name = String::from_utf16(name).ok()?;
        let kind = kind.map(String::from_utf16).transpose().ok()?;
        let index = |kind: &str| kind.eq_ignore_ascii_case("$INDEX_ALLOCATION");
        match (name.as_str(), kind.as_deref()) {
            ("", Some(kind)) if kind.eq_ignore_ascii_case("$DATA") => Some(Self::Data),
            ("", Some(kind)) if index(kind) => Some(Self::Index),
            ("$I30", Some(kind)) if index(kind) => Some(Self::Index),
            ("", _) => None,
            (_, Some(kind)) if !kind.eq_ignore_ascii_case("$DATA") => None,
            (name, _) if name.contains(['\0', '/', '\\']) => None,
            _ => Some(Self::Named(name)),
        }
    }
}

/// A named stream.
#[derive(Debug)]
pub(crate) struct Stream {
    name: Mutex<String>,
    /// Its data.
    pub(super) data: OwnedFd,
    /// What tells it from other streams and files.
    pub(super) id: FileId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opens: usize,
    delete: bool,
}

impl Stream {
    fn new(name: &str) -> Result<Self, NtStatus> {
        let none = |_| NtStatus::INSUFFICIENT_RESOURCES;
        let data = fs::memfd_create("ntbench-stream", MemfdFlags::CLOEXEC).map_err(none)?;
        let stat = fs::fstat(&data).map_err(none)?;
        Ok(Self {
            name: Mutex::new(name.to_owned()),
            data,
            id: (stat.st_dev, stat.st_ino),
            state: Mutex::default(),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        self.name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an open; refused while the stream is to be deleted.
    pub(super) fn enter(&self) -> Result<(), NtStatus> {
        let mut state = self.lock();
        if state.delete {
            return Err(NtStatus::DELETE_PENDING);
        }
        state.opens += 1;
        Ok(())
    }

    /// An open ends; whether the stream is to go now.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        state.opens = state.opens.saturating_sub(1);
        state.opens == 0 && state.delete
    }

    /// Whether it is to be deleted.
    pub(super) fn delete_pending(&self) -> bool {
        self.lock().delete
    }

    /// Asks for its deletion, or takes that back.
    pub(super) fn set_delete(&self, delete: bool) {
        self.lock().delete = delete;
    }

    /// How long it is, and how many bytes it takes.
    pub(super) fn size(&self) -> (i64, i64) {
        fs::fstat(&self.data).map_or((0, 0), |stat| (stat.st_size, stat.st_blocks * 512))
    }

    /// Empties it.
    pub(super) fn truncate(&self) -> Result<(), NtStatus> {
        fs::ftruncate(&self.data, 0).map_err(super::folder::refused)
    }
}

impl Notes {
    /// The named streams of a file, in the order of their making.
    pub(super) fn streams(&self, file: FileId) -> Vec<Arc<Stream>> {
        self.get(file).streams
    }

    /// A file's stream of that name.
    pub(super) fn stream(&self, file: FileId, name: &str) -> Option<Arc<Stream>> {
        let streams = self.streams(file);
        streams
            .into_iter()
            .find(|stream| names::same(&stream.name(), name))
    }

    /// Makes a stream that is not there yet.
    pub(super) fn make_stream(&self, file: FileId, name: &str) -> Result<Arc<Stream>, NtStatus> {
        let made = Arc::new(Stream::new(name)?);
        self.change(file, |note| note.streams.push(Arc::clone(&made)));
        Ok(made)
    }

    /// Takes a stream away.
    pub(super) fn remove_stream(&self, file: FileId, stream: &Arc<Stream>) {
        self.change(file, |note| {
            note.streams.retain(|other| !Arc::ptr_eq(other, stream));
        });
    }

    /// Gives a stream another name.
    pub(super) fn rename_stream(
        &self,
        file: FileId,
        stream: &Arc<Stream>,
        name: &str,
        replace: bool,
    ) -> Result<(), NtStatus> {
        if let Some(there) = self.stream(file, name)
            && !Arc::ptr_eq(&there, stream)
        {
            if !replace {
                return Err(NtStatus::OBJECT_NAME_COLLISION);
            }
            if there.lock().opens > 0 {
                return Err(NtStatus::ACCESS_DENIED);
            }
            self.remove_stream(file, &there);
        }
        name.clone_into(&mut stream.name.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(suffix: &str) -> Option<StreamName> {
        StreamName::parse(&suffix.encode_utf16().collect::<Vec<_>>())
    }

    #[test]
    fn a_suffix_names_a_stream_and_its_type() {
        let named = Some(StreamName::Named("s".to_owned()));
        assert_eq!(parse(":s"), named);
        assert_eq!(parse(":s:$data"), named);
        assert_eq!(parse("::$DATA"), Some(StreamName::Data));
        assert_eq!(parse("::$INDEX_ALLOCATION"), Some(StreamName::Index));
        assert_eq!(parse(":$I30:$INDEX_ALLOCATION"), Some(StreamName::Index));
        for wrong in [
            ":",
            "::",
            ":s:",
            ":s:$DATA:",
            ":s:$EA",
            "::x",
            ":a/b",
            ":s:$INDEX_ALLOCATION",
            "s",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(&format!(":{}", "x".repeat(256))), None);
    }
}
