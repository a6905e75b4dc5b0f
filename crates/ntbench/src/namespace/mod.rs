//! What can be opened on the machine: `\Device\Mup` with its servers, shares and DFS namespaces, and local volumes, each
//! backed by a folder of the host.
//!
//! This half knows files and statuses, and nothing of drivers: it is the file system *below* the filters. Which kernel
//! frames lie on the stack meanwhile is the I/O manager's affair.
//!
//! Where Windows differs: named streams last as long as the machine runs; files have no short name; a symbolic link that climbs out of its share leads
//! nowhere; every class of symbolic link is followed (Windows follows those that begin on a server only where it is told
//! to); a mount point on a share, which its server would follow, leads nowhere; a referral and a connection last for
//! ever; the time of creation is that of the last write unless it was set.

pub(crate) mod change;
pub(crate) mod contents;
pub(crate) mod eas;
pub(crate) mod folder;
pub(crate) mod links;
pub(crate) mod listing;
pub(crate) mod locks;
pub(crate) mod mup;
pub(crate) mod names;
pub(crate) mod notes;
pub(crate) mod open;
mod opened;
pub(crate) mod oplock_rules;
pub(crate) mod oplocks;
pub(crate) mod reparse;
pub(crate) mod sharing;
pub(crate) mod streams;
#[cfg(test)]
mod tests;
pub(crate) mod undo;
pub(crate) mod watch;

use self::{
    folder::Folder,
    mup::{Mup, Target},
    names::{BACKSLASH, Path},
    open::{OpenFile, Opened, Request, Tree},
    reparse::ReparseData,
};
use std::sync::Arc;

use crate::{
    abi::{
        file::{
            FILE_CREATE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_IF, FILE_OPENED,
            IO_REPARSE_TAG_SYMLINK,
        },
        status::{self, NtStatus},
    },
    wire::NamespaceConfig,
};

/// A device that holds files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DeviceId {
    /// `\Device\Mup`.
    Mup,
    /// A local volume, by its number.
    Volume(usize),
    /// A driver's own device, which holds no files: none of the name space's.
    Driver,
}

/// All devices that hold files.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) mup: Mup,
    volumes: Vec<LocalVolume>,
}

#[derive(Debug)]
struct LocalVolume {
    device: String,
    letter: Option<char>,
    tree: Arc<Tree>,
}

/// How a create ended in the file system.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It opened a file; the second is `IoStatus.Information`.
    Opened(Arc<OpenFile>, usize),
    /// A redirector followed a symbolic link: the whole object name to go on with.
    Renamed(Vec<u16>),
    /// A local file system met a reparse point: what it holds, and how many bytes of the name come after it.
    Reparse(ReparseData, usize),
}

impl Namespace {
    /// Opens the folders behind the configuration.
    pub(crate) fn new(config: &NamespaceConfig) -> Result<Self, String> {
        let volumes = config
            .volumes
            .iter()
            .map(|volume| {
                let folder = Folder::open(&volume.folder).map_err(|error| {
                    format!(
                        "volume {}: cannot open the folder {}: {error}",
                        volume.device,
                        volume.folder.display()
                    )
                })?;
                Ok(LocalVolume {
                    device: volume.device.clone(),
                    letter: volume.letter,
                    tree: Arc::new(Tree::new(folder)),
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            mup: Mup::new(config)?,
            volumes,
        })
    }

    /// Every device, with its object's name.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (DeviceId, &str)> {
        let volumes = self
            .volumes
            .iter()
            .enumerate()
            .map(|(index, volume)| (DeviceId::Volume(index), &*volume.device));
        std::iter::once((DeviceId::Mup, "\\Device\\Mup")).chain(volumes)
    }

    /// A local volume's drive letter.
    pub(crate) fn letter(&self, index: usize) -> Option<char> {
        self.volumes.get(index).and_then(|volume| volume.letter)
    }

    /// Finds the device that an object name leads to and the rest of the name: what `ObpLookupObjectName` does with
    /// `\Device\…` and with the symbolic links below `\??` (`\DosDevices`, `\GLOBAL??`).
    pub(crate) fn look_up(&self, name: &[u16]) -> Result<(DeviceId, Vec<u16>), NtStatus> {
        if name.first() != Some(&BACKSLASH) {
            return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
        }
        for directory in ["\\??\\", "\\DosDevices\\", "\\GLOBAL??\\"] {
            let Some(rest) = strip(name, directory) else {
                continue;
            };
            if let Some(rest) = strip(rest, "UNC")
                && matches!(rest.first(), None | Some(&BACKSLASH))
            {
                return Ok((DeviceId::Mup, rest.to_vec()));
            }
            // The mount manager's names of local volumes.
            let volumes = strip(rest, "Volume{").map_or(0, |_| self.volumes.len());
            for index in 0..volumes {
                let guid = crate::fltmgr::guid_name(index);
                if let Some(rest) = strip(rest, guid.trim_start_matches("\\??\\"))
                    && matches!(rest.first(), None | Some(&BACKSLASH))
                {
                    return Ok((DeviceId::Volume(index), rest.to_vec()));
                }
            }
            let mut letters = rest.iter().copied();
            if let (Some(letter), Some(0x3A)) = (letters.next(), letters.next())
                && let Some(index) = self.volumes.iter().position(|volume| {
                    volume.letter.is_some_and(|known| {
                        names::key(&known.to_string()) == [names::upcase(letter)]
                    })
                })
            {
                return Ok((DeviceId::Volume(index), letters.collect()));
            }
            return Err(missing(rest));
        }
        for (id, device) in self.devices() {
            if let Some(rest) = strip(name, device)
                && matches!(rest.first(), None | Some(&BACKSLASH))
            {
                return Ok((id, rest.to_vec()));
            }
        }
        Err(missing(strip(name, "\\Device\\").unwrap_or(&name[1..])))
    }

    /// Whether anybody holds an oplock on a local volume. The redirector's are its server's.
    pub(crate) fn has_oplocks(&self, device: DeviceId) -> bool {
        let DeviceId::Volume(index) = device else {
            return false;
        };
        let volume = self.volumes.get(index);
        volume.is_some_and(|volume| volume.tree.oplocks().any())
    }

    /// Opens `name`, the rest of the name after the device, on a device.
    pub(crate) fn create(
        &self,
        device: DeviceId,
        name: &[u16],
        request: &Request,
    ) -> Result<Outcome, NtStatus> {
        match device {
            DeviceId::Volume(index) => {
                let volume = self.volumes.get(index).ok_or(NtStatus::NO_SUCH_DEVICE)?;
                if name.is_empty() {
                    // The volume itself, not its root directory.
                    let volume = OpenFile::virtual_directory(Vec::new());
                    return Ok(Outcome::Opened(volume, FILE_OPENED));
                }
                let path = Path::parse(name)?;
                Ok(match volume.tree.create(&path, request)? {
                    Opened::File(file, information) => Outcome::Opened(file, information),
                    Opened::Link(consumed, data) => {
                        Outcome::Reparse(data, unparsed(&path, consumed))
                    }
                })
            }
            DeviceId::Mup => match self.mup.resolve(name)? {
                Target::Share { tree, share, path } => {
                    finish(tree.create(&path, request)?, &share, &path)
                }
                Target::Device | Target::Ipc => Ok(Outcome::Opened(
                    OpenFile::virtual_directory(Vec::new()),
                    FILE_OPENED,
                )),
                Target::DfsDirectory(names) => open_virtual(request, names),
            },
            DeviceId::Driver => Err(NtStatus::NO_SUCH_DEVICE),
        }
    }
}

impl Namespace {
    /// What a normalized name is: `name` with each component as the volume spells it, all but the last of which must
    /// exist.
    pub(crate) fn canonical(&self, device: DeviceId, name: &[u16]) -> Result<Vec<u16>, NtStatus> {
        let path = match device {
            DeviceId::Volume(index) => {
                let volume = self.volumes.get(index).ok_or(NtStatus::NO_SUCH_DEVICE)?;
                let path = Path::parse(name)?;
                Path {
                    components: volume.tree.canonical(&path)?,
                    ..path
                }
            }
            DeviceId::Mup => self.mup.canonical(name)?,
            DeviceId::Driver => return Err(NtStatus::NO_SUCH_DEVICE),
        };
        let mut spelled: Vec<u16> = path
            .components
            .iter()
            .flat_map(|part| std::iter::once(BACKSLASH).chain(part.encode_utf16()))
            .collect();
        if path.trailing_backslash || (spelled.is_empty() && !name.is_empty()) {
            spelled.push(BACKSLASH);
        }
        if let Some((_, suffix)) = &path.stream {
            spelled.extend_from_slice(suffix);
        }
        Ok(spelled)
    }
}

impl Namespace {
    /// The name of an open file below its device as it is now: the one that it was opened by, with the components of the
    /// volume or share as they are spelled there, whatever the file was renamed to meanwhile.
    pub(crate) fn name_of(
        &self,
        device: DeviceId,
        opened: &[u16],
        open: &OpenFile,
    ) -> Option<Vec<u16>> {
        let place = open.place()?;
        let mut name: Vec<u16> = Vec::new();
        if device == DeviceId::Mup {
            append(&mut name, self.mup.head(opened)?);
        }
        append(&mut name, self.mup.below(device, opened, &place.components));
        if let Some(stream) = open.stream_name() {
            name.extend(format!(":{stream}").encode_utf16());
        }
        Some(name)
    }
}

impl Namespace {
    /// Opens the file of that id, on a local volume; gives the name that it has there too.
    pub(crate) fn create_by_id(
        &self,
        device: DeviceId,
        id: u64,
        request: &Request,
    ) -> Result<(Outcome, Vec<u16>), NtStatus> {
        let DeviceId::Volume(index) = device else {
            return Err(NtStatus::NOT_SUPPORTED);
        };
        let volume = self.volumes.get(index).ok_or(NtStatus::NO_SUCH_DEVICE)?;
        if !matches!(request.disposition, FILE_OPEN | FILE_OPEN_IF) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        // What NTFS answers where no file has that number (any more).
        let components = volume
            .tree
            .folder
            .find_id(id)?
            .ok_or(NtStatus::INVALID_PARAMETER)?;
        let path = Path {
            components,
            trailing_backslash: false,
            stream: None,
        };
        let mut name = Vec::new();
        append(&mut name, &path.components);
        if name.is_empty() {
            name.push(BACKSLASH);
        }
        let outcome = match volume.tree.create(&path, request)? {
            Opened::File(file, information) => Outcome::Opened(file, information),
            Opened::Link(consumed, data) => Outcome::Reparse(data, unparsed(&path, consumed)),
        };
        Ok((outcome, name))
    }
}

fn open_virtual(request: &Request, names: Vec<String>) -> Result<Outcome, NtStatus> {
    if request.disposition == FILE_CREATE {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    if request.options & FILE_NON_DIRECTORY_FILE != 0 {
        return Err(NtStatus::FILE_IS_A_DIRECTORY);
    }
    Ok(Outcome::Opened(
        OpenFile::virtual_directory(names),
        FILE_OPENED,
    ))
}

/// How many bytes of a name come after the component that is a reparse point.
fn unparsed(path: &Path, consumed: usize) -> usize {
    let rest = path.components.get(consumed..).unwrap_or_default();
    let units: usize = rest
        .iter()
        .map(|part| 1 + part.encode_utf16().count())
        .sum();
    2 * (units + usize::from(path.trailing_backslash))
}

/// Turns a symbolic link that a server met into the name to go on with: what a client does when it is answered
/// `STATUS_STOPPED_ON_SYMLINK` (MS-SMB2 2.2.2.2.1). A relative one that climbs out of the share is refused.
fn finish(opened: Opened, share: &[String], path: &Path) -> Result<Outcome, NtStatus> {
    let (consumed, data) = match opened {
        Opened::File(file, information) => return Ok(Outcome::Opened(file, information)),
        Opened::Link(consumed, data) => (consumed, data),
    };
    if data.tag() != IO_REPARSE_TAG_SYMLINK {
        return Err(NtStatus::IO_REPARSE_TAG_NOT_HANDLED);
    }
    let target = data.target().ok_or(status::IO_REPARSE_DATA_INVALID)?;
    let (before, after) = path.components.split_at(consumed);
    if !target.relative {
        let mut name = target.name;
        append(&mut name, after);
        if path.trailing_backslash {
            name.push(BACKSLASH);
        }
        return Ok(Outcome::Renamed(name));
    }
    let text = String::from_utf16(&target.name).map_err(|_| status::IO_REPARSE_DATA_INVALID)?;
    let mut components: Vec<&str> = before.iter().map(String::as_str).collect();
    components.pop();
    if text.starts_with('\\') {
        return Err(status::IO_REPARSE_DATA_INVALID);
    }
    for part in text.split('\\') {
        match part {
            "" | "." => {}
            ".." => drop(components.pop().ok_or(status::IO_REPARSE_DATA_INVALID)?),
            part => components.push(part),
        }
    }
    components.extend(after.iter().map(String::as_str));
    let whole = share.iter().map(String::as_str).chain(components);
    let mut name: Vec<u16> = "\\Device\\Mup".encode_utf16().collect();
    append(&mut name, whole);
    if path.trailing_backslash {
        name.push(BACKSLASH);
    }
    Ok(Outcome::Renamed(name))
}

fn append<S: AsRef<str>>(name: &mut Vec<u16>, components: impl IntoIterator<Item = S>) {
    for part in components {
        name.push(BACKSLASH);
        name.extend(part.as_ref().encode_utf16());
    }
}

fn strip<'a>(name: &'a [u16], prefix: &str) -> Option<&'a [u16]> {
    let length = prefix.encode_utf16().count();
    let head = name.get(..length)?;
    head.iter()
        .copied()
        .map(names::upcase)
        .eq(prefix.encode_utf16().map(names::upcase))
        .then(|| &name[length..])
}

/// An object that is not there: the last component is a name that was not found, an earlier one a path.
fn missing(rest: &[u16]) -> NtStatus {
    if rest.contains(&BACKSLASH) {
        NtStatus::OBJECT_PATH_NOT_FOUND
    } else {
        NtStatus::OBJECT_NAME_NOT_FOUND
    }
}
