//! What can be opened on the machine: `\Device\Mup` with its servers, shares and DFS namespaces, and local volumes, each
//! backed by a folder of the host.
//!
//! This half knows files and statuses, and nothing of drivers: it is the file system *below* the filters. Which kernel
//! frames lie on the stack meanwhile is the I/O manager's affair.
//!
//! Where Windows differs: files have one stream and no short name; a symbolic link with an absolute target, or one that
//! climbs out of its share, leads nowhere; nothing is read or written; a referral and a connection last for ever.

pub(crate) mod folder;
pub(crate) mod mup;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod sharing;
#[cfg(test)]
mod tests;

use self::{
    folder::Folder,
    mup::{Mup, Target},
    names::{BACKSLASH, Path},
    open::{OpenFile, Opened, Request, Tree},
};
use crate::{
    abi::{
        file::{FILE_CREATE, FILE_NON_DIRECTORY_FILE, FILE_OPENED},
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
    tree: Tree,
}

/// How a create ended in the file system.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It opened a file; the second is `IoStatus.Information`.
    Opened(OpenFile, usize),
    /// It met a symbolic link that leads to this name on the same device: `STATUS_REPARSE`.
    Reparse(Vec<u16>),
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
                    tree: Tree::new(folder),
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
                    return Ok(Outcome::Opened(OpenFile::virtual_directory(), FILE_OPENED));
                }
                let path = Path::parse(name)?;
                finish(volume.tree.create(&path, request)?, &[], &path)
            }
            DeviceId::Mup => match self.mup.resolve(name)? {
                Target::Share { tree, share, path } => {
                    finish(tree.create(&path, request)?, &share, &path)
                }
                Target::Device | Target::Ipc => {
                    Ok(Outcome::Opened(OpenFile::virtual_directory(), FILE_OPENED))
                }
                Target::DfsDirectory => open_virtual(request),
            },
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
        };
        let mut spelled: Vec<u16> = path
            .components
            .iter()
            .flat_map(|part| std::iter::once(BACKSLASH).chain(part.encode_utf16()))
            .collect();
        if path.trailing_backslash || (spelled.is_empty() && !name.is_empty()) {
            spelled.push(BACKSLASH);
        }
        Ok(spelled)
    }
}

fn open_virtual(request: &Request) -> Result<Outcome, NtStatus> {
    if request.disposition == FILE_CREATE {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    if request.options & FILE_NON_DIRECTORY_FILE != 0 {
        return Err(NtStatus::FILE_IS_A_DIRECTORY);
    }
    Ok(Outcome::Opened(OpenFile::virtual_directory(), FILE_OPENED))
}

/// Turns a symbolic link that was met into the name to go on with: what a client does when a server answers
/// `STATUS_STOPPED_ON_SYMLINK`. Only relative targets lead anywhere; one that climbs out of the share is refused.
fn finish(opened: Opened, share: &[String], path: &Path) -> Result<Outcome, NtStatus> {
    let (consumed, target) = match opened {
        Opened::File(file, information) => return Ok(Outcome::Opened(file, information)),
        Opened::Link(consumed, target) => (consumed, target),
    };
    let (before, after) = path.components.split_at(consumed);
    let mut components: Vec<&str> = before.iter().map(String::as_str).collect();
    components.pop();
    if target.starts_with('\\') {
        return Err(status::IO_REPARSE_DATA_INVALID);
    }
    for part in target.split('\\') {
        match part {
            "" | "." => {}
            ".." => drop(components.pop().ok_or(status::IO_REPARSE_DATA_INVALID)?),
            part => components.push(part),
        }
    }
    components.extend(after.iter().map(String::as_str));
    let whole = share.iter().map(String::as_str).chain(components);
    let mut name: Vec<u16> = whole
        .flat_map(|part| std::iter::once(BACKSLASH).chain(part.encode_utf16()))
        .collect();
    if name.is_empty() || path.trailing_backslash {
        name.push(BACKSLASH);
    }
    Ok(Outcome::Reparse(name))
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
