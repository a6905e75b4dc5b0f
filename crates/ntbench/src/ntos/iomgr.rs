//! The I/O manager's part of a create: `IopCreateFile` to `IopParseDevice`.

use std::sync::Arc;

use super::device::Device;
use super::file::File;
use super::memory::{Guest, wide};
use super::names::{self, Place};
use super::object::Counted;
use super::syscall::SystemBuffer;
use super::{MACHINE, handle, irp};
use crate::abi::base::Guid;
use crate::abi::file::{
    DELETE, FILE_APPEND_DATA, FILE_CREATE, FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE,
    FILE_NO_INTERMEDIATE_BUFFERING, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_BY_FILE_ID,
    FILE_OPEN_IF, FILE_OVERWRITE_IF, FILE_RANDOM_ACCESS, FILE_SEQUENTIAL_ONLY,
    FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT, FILE_VALID_OPTIONS,
    FILE_WRITE_THROUGH, IO_REPARSE, SYNCHRONIZE,
};
use crate::abi::flt::USER_MODE;
use crate::abi::io::{
    FO_ALERTABLE_IO, FO_DELETE_ON_CLOSE, FO_NO_INTERMEDIATE_BUFFERING, FO_RANDOM_ACCESS,
    FO_SEQUENTIAL_ONLY, FO_SYNCHRONOUS_IO, FO_VOLUME_OPEN, FO_WRITE_THROUGH,
    IRP_MJ_NETWORK_QUERY_OPEN, IoStatusBlock,
};
use crate::abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_VALID_ATTRIBUTES};
use crate::abi::params::{NetworkQueryOpen, Parameters};
use crate::abi::status;
use crate::fltmgr::{self, Instance, Request, operation};
use crate::namespace::names::BACKSLASH;
use crate::namespace::{DeviceId, eas};
use crate::status::NtStatus;
use crate::{cost, stack};

/// How often a name may be replaced before the create fails.
const MOST_REPARSES: usize = 63;

/// A create, whoever asks for it.
#[derive(Clone)]
pub(crate) struct Create {
    /// The object name.
    pub(crate) name: Vec<u16>,
    /// `RootDirectory`.
    pub(crate) root: Option<Arc<File>>,
    /// `OBJECT_ATTRIBUTES.Attributes`.
    pub(crate) object_attributes: u32,
    /// `DesiredAccess`.
    pub(crate) access: u32,
    /// `ShareAccess`.
    pub(crate) share: u32,
    /// `CreateDisposition`.
    pub(crate) disposition: u32,
    /// `CreateOptions`.
    pub(crate) options: u32,
    /// `FileAttributes`.
    pub(crate) attributes: u32,
    /// `AllocationSize`.
    pub(crate) allocation: i64,
    /// `IO_IGNORE_SHARE_ACCESS_CHECK` and its kind.
    pub(crate) flags: u32,
    /// Who asks: kernel or user mode.
    pub(crate) mode: i8,
    /// The filter instance below which the create starts; `None`: at the top.
    pub(crate) below: Option<Arc<Instance>>,
    /// The list of extra create parameters; 0: none.
    pub(crate) ecps: usize,
    /// Whether a filter's call of `FltCreateFile` made it.
    pub(crate) generated: bool,
    /// Whether the directory of the last component is to be opened, for a rename to there.
    pub(crate) target_directory: bool,
    /// The transaction that the file is opened in.
    pub(crate) transaction: Option<Arc<Counted>>,
    /// The extended attributes for a file that is made.
    pub(crate) eas: Option<Arc<Eas>>,
}

/// A create's list of extended attributes in the system's memory, checked.
pub(crate) struct Eas {
    buffer: SystemBuffer,
    length: u32,
}

impl Eas {
    /// Copies the list that a create was given; an error: it is none, and where in it that is seen.
    pub(crate) fn of(bytes: &[u8]) -> Result<Option<Arc<Self>>, IoStatusBlock> {
        if bytes.is_empty() {
            return Ok(None);
        }
        eas::check(bytes)
            .map_err(|offset| IoStatusBlock::new(status::EA_LIST_INCONSISTENT, offset))?;
        let buffer = SystemBuffer::new(bytes.len(), bytes)
            .map_err(|status| IoStatusBlock::new(status, 0))?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Some(Arc::new(Self { buffer, length })))
    }
}

impl Create {
    /// Opens an existing file by its object name for the kernel, sharing it with all.
    pub(crate) fn open(name: Vec<u16>) -> Self {
        Self {
            name,
            root: None,
            object_attributes: OBJ_CASE_INSENSITIVE,
            access: SYNCHRONIZE | 0x80,
            share: 7,
            disposition: FILE_OPEN,
            options: FILE_SYNCHRONOUS_IO_NONALERT,
            attributes: 0x80,
            allocation: 0,
            flags: 0,
            mode: crate::abi::flt::KERNEL_MODE,
            below: None,
            ecps: 0,
            generated: false,
            target_directory: false,
            transaction: None,
            eas: None,
        }
    }
}

impl Create {
    /// Where its extended attributes are, and how long their list is.
    pub(crate) fn ea_buffer(&self) -> (usize, u32) {
        let eas = self.eas.as_ref();
        eas.map_or((0, 0), |eas| (eas.buffer.address(), eas.length))
    }
}

/// What a create comes to: the file object with the creator's reference, and the status block.
pub(crate) struct Created {
    /// The file; `None`: it failed.
    pub(crate) file: Option<Arc<File>>,
    /// The status.
    pub(crate) status: NtStatus,
    /// `IoStatus.Information`.
    pub(crate) information: usize,
}

impl Created {
    fn failed(status: NtStatus) -> Self {
        Self {
            file: None,
            status,
            information: 0,
        }
    }
}

/// The file object that a `RootDirectory` handle refers to.
pub(crate) fn root(root: u64, mode: i8) -> Result<Option<Arc<File>>, NtStatus> {
    if root == 0 {
        return Ok(None);
    }
    match handle::look_up(root, mode)? {
        (handle::Target::File(file), _) => Ok(Some(file)),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

/// The checks that `NtCreateFile` documents for its parameters.
fn check(create: &Create) -> Result<(), NtStatus> {
    let options = create.options;
    let set = |bits: u32| options & bits != 0;
    let synchronous = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    let bad = options & !FILE_VALID_OPTIONS != 0
        || create.object_attributes & !OBJ_VALID_ATTRIBUTES != 0
        || create.disposition > FILE_OVERWRITE_IF
        || create.share & !7 != 0
        || create.attributes & !0x0007_FFB7 != 0
        || options & synchronous == synchronous
        || (set(synchronous) && create.access & SYNCHRONIZE == 0)
        || (set(FILE_DELETE_ON_CLOSE) && create.access & DELETE == 0)
        || (set(FILE_DIRECTORY_FILE)
            && (set(FILE_NON_DIRECTORY_FILE)
                || !matches!(create.disposition, FILE_CREATE | FILE_OPEN | FILE_OPEN_IF)))
        || (set(FILE_NO_INTERMEDIATE_BUFFERING) && create.access & FILE_APPEND_DATA != 0)
        || create.allocation < 0;
    if bad {
        Err(NtStatus::INVALID_PARAMETER)
    } else {
        Ok(())
    }
}

fn file_flags(options: u32) -> u32 {
    [
        (
            FILE_SYNCHRONOUS_IO_ALERT,
            FO_SYNCHRONOUS_IO | FO_ALERTABLE_IO,
        ),
        (FILE_SYNCHRONOUS_IO_NONALERT, FO_SYNCHRONOUS_IO),
        (FILE_NO_INTERMEDIATE_BUFFERING, FO_NO_INTERMEDIATE_BUFFERING),
        (FILE_WRITE_THROUGH, FO_WRITE_THROUGH),
        (FILE_SEQUENTIAL_ONLY, FO_SEQUENTIAL_ONLY),
        (FILE_RANDOM_ACCESS, FO_RANDOM_ACCESS),
        (FILE_DELETE_ON_CLOSE, FO_DELETE_ON_CLOSE),
    ]
    .into_iter()
    .filter(|(option, _)| options & option != 0)
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// Opens or creates. The caller has charged the frames down to `nt!IopParseDevice`.
pub(crate) fn create(create: &Create) -> Created {
    if let Err(status) = check(create) {
        return Created::failed(status);
    }
    let mut name = create.name.clone();
    let mut related = create.root.clone();
    for _ in 0..=MOST_REPARSES {
        let by_id = create.options & FILE_OPEN_BY_FILE_ID != 0;
        let (device, volume, rest) = match parse(&name, related.as_ref(), by_id) {
            Ok(found) => found,
            Err(status) => return Created::failed(status),
        };
        if let Err(status) = fltmgr::op::mount::mount(&volume) {
            return Created::failed(status);
        }
        if let Some(below) = &create.below
            && !Arc::ptr_eq(&below.volume, &volume)
        {
            // STATUS_INVALID_DEVICE_OBJECT_PARAMETER: the name is not on the volume of the instance given.
            return Created::failed(NtStatus(0xC000_0369_u32.cast_signed()));
        }
        if let Some(Err(status)) = device.as_ref().map(|device| device.open()) {
            return Created::failed(status);
        }
        if let Some(related) = &related {
            related.reference();
        }
        // Filters see before the open that it is the volume's own.
        let itself =
            rest.is_empty() && related.is_none() && matches!(volume.device, DeviceId::Volume(_));
        let flags = file_flags(create.options) | if itself { FO_VOLUME_OPEN } else { 0 };
        let file = File::new(&volume, &rest, related.as_ref(), flags);
        if let Some(transaction) = &create.transaction {
            if let Err(status) = super::transaction::active(transaction.address()) {
                if let Some(device) = &device {
                    device.close();
                }
                file.dereference();
                return Created::failed(status);
            }
            file.set_transaction(transaction);
        }
        let done = match device {
            Some(device) => {
                let done = irp::create(&file, create);
                file.set_device(&device, done.status);
                done
            }
            None => operation::create(&file, create),
        };
        match done.status {
            NtStatus::REPARSE => {
                let next = reparsed(&file, done.information);
                related = None;
                file.dereference();
                match next {
                    Ok(next) => name = next,
                    Err(status) => return Created::failed(status),
                }
            }
            status if status.is_success() => {
                return Created {
                    file: Some(file),
                    status,
                    information: done.information,
                };
            }
            status => {
                file.dereference();
                return Created {
                    file: None,
                    status,
                    information: done.information,
                };
            }
        }
    }
    Created::failed(status::REPARSE_POINT_NOT_RESOLVED)
}

/// Tries to learn a file's attributes without a create (`IRP_MJ_NETWORK_QUERY_OPEN`); `None`: it takes one. It is not offered
/// where no filter wants to see it: the create is what filters see of such a question.
pub(crate) fn query_open(create: &Create) -> Option<u32> {
    const ATTRIBUTES_AT: usize = 48;
    let root = create.root.as_ref();
    let (device, volume, rest) = parse(&create.name, root, false).ok()?;
    let filtered = || {
        let instances = volume.instances();
        let wants = |instance: &Arc<Instance>| {
            let registered = instance.filter.operation(IRP_MJ_NETWORK_QUERY_OPEN);
            registered.is_some()
        };
        instances.iter().any(wants)
    };
    if device.is_some() || rest.is_empty() || !filtered() {
        return None;
    }
    fltmgr::op::mount::mount(&volume).ok()?;
    if let Some(root) = root {
        root.reference();
    }
    let file = File::new(&volume, &rest, root, 0);
    let information = SystemBuffer::new(56, &[]).ok();
    let done = information.as_ref().and_then(|information| {
        let irp = irp::Shown::create(&file, create)?;
        let parameters = Parameters::of(NetworkQueryOpen {
            irp: irp.address(),
            information: information.address(),
            pad0: [0; 4],
        });
        let request = Request {
            user: true,
            ..Request::new(IRP_MJ_NETWORK_QUERY_OPEN, parameters)
        };
        fltmgr::send_fast(&file, &request)
    });
    file.dereference();
    let information = information?;
    done.filter(|done| done.status.is_success())?;
    Some(Guest::at(information.address() + ATTRIBUTES_AT).read())
}

/// The name to start again with from the object manager, after `STATUS_REPARSE`: `FileName` where the information is
/// `IO_REPARSE`; else the information is the tag of a reparse point, and the system knows two.
fn reparsed(file: &File, information: usize) -> Result<Vec<u16>, NtStatus> {
    if information == IO_REPARSE {
        return Ok(file.name());
    }
    let (data, unparsed) = file
        .take_reparse()
        .filter(|(data, _)| data.tag() as usize == information)
        .ok_or(NtStatus::IO_REPARSE_TAG_NOT_HANDLED)?;
    let target = data.target().ok_or(NtStatus::IO_REPARSE_TAG_NOT_HANDLED)?;
    let full = file.full();
    let rest = full.len().saturating_sub(unparsed / 2);
    let (link, rest) = full.split_at(rest);
    let mut name = if target.relative {
        relative(file, link, &target.name)?
    } else {
        target.name
    };
    if name.last() == Some(&BACKSLASH) && rest.first() == Some(&BACKSLASH) {
        name.pop();
    }
    name.extend_from_slice(rest);
    Ok(name)
}

/// A relative link's target: from the directory that the link is in, `.` and `..` resolved. One that begins with a
/// backslash begins at the volume's root.
fn relative(file: &File, link: &[u16], target: &[u16]) -> Result<Vec<u16>, NtStatus> {
    const DOT: u16 = b'.' as u16;
    let mut components: Vec<&[u16]> = Vec::new();
    if target.first() != Some(&BACKSLASH) {
        components.extend(
            link.split(|unit| *unit == BACKSLASH)
                .filter(|part| !part.is_empty()),
        );
        components.pop();
    }
    for part in target.split(|unit| *unit == BACKSLASH) {
        match part {
            [] | [DOT] => {}
            [DOT, DOT] => drop(components.pop().ok_or(status::IO_REPARSE_DATA_INVALID)?),
            part => components.push(part),
        }
    }
    let mut name = wide(&file.volume.name);
    for part in &components {
        name.push(BACKSLASH);
        name.extend_from_slice(part);
    }
    if components.is_empty() {
        name.push(BACKSLASH);
    }
    Ok(name)
}

/// Opens the directory that a rename or hard link of `file` goes to (`SL_OPEN_TARGET_DIRECTORY`); `None`: the name is a
/// simple one, in the directory where the file is. The caller has charged its own frames.
pub(crate) fn open_target(
    file: &File,
    name: &[u16],
    root: Option<Arc<File>>,
    mode: i8,
    below: Option<&Arc<Instance>>,
) -> Result<Option<Arc<File>>, NtStatus> {
    if root.is_none() && !name.contains(&BACKSLASH) {
        return Ok(None);
    }
    let directory = file
        .opened()
        .is_some_and(|open| crate::namespace::open::OpenFile::is_directory(&open));
    // The right to make a file there, or a directory.
    let add = if directory {
        FILE_APPEND_DATA
    } else {
        crate::abi::file::FILE_WRITE_DATA
    };
    let created = stack::with_frames(&cost::chain("create")[1..], || {
        create(&Create {
            root,
            access: SYNCHRONIZE | add,
            share: 3,
            options: 0,
            mode,
            below: below.cloned(),
            generated: below.is_some(),
            target_directory: true,
            ..Create::open(name.to_vec())
        })
    });
    let Some(target) = created.file else {
        return Err(created.status);
    };
    target.add_handle();
    target.dereference();
    if !Arc::ptr_eq(&target.volume, &file.volume) {
        target.close_handle();
        return Err(NtStatus::NOT_SAME_DEVICE);
    }
    Ok(Some(target))
}

/// What a name leads to: a driver's device, the volume, and the name that is left.
type Parsed = (Option<Arc<Device>>, Arc<fltmgr::Volume>, Vec<u16>);

/// Finds the device and the name that is left for its driver or file system.
fn parse(name: &[u16], related: Option<&Arc<File>>, by_id: bool) -> Result<Parsed, NtStatus> {
    if let Some(related) = related {
        // The bytes of an id may be anything.
        if !by_id && name.first() == Some(&BACKSLASH) {
            return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
        }
        return Ok((related.device(), Arc::clone(&related.volume), name.to_vec()));
    }
    let machine = MACHINE.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    let name = match names::resolve(name) {
        Place::Device(device, rest) => {
            let volume = Arc::clone(&device.volume);
            return Ok((Some(device), volume, rest));
        }
        Place::Elsewhere(name) => name,
    };
    let (device, rest) = machine.namespace.look_up(&name)?;
    let volume = fltmgr::volume(device).ok_or(NtStatus::NO_SUCH_DEVICE)?;
    Ok((None, volume, rest))
}

/// Opens a file for kernel code that the bench models itself (the DFS client), from the top of the stack.
pub(crate) fn open_for_kernel(name: &str) -> Created {
    create(&Create::open(wide(name)))
}

/// Whether a create's requestor is user mode.
pub(crate) fn from_user(create: &Create) -> bool {
    create.mode == USER_MODE
}

/// A GUID for messages.
pub(crate) fn guid(guid: Guid) -> String {
    let [a, b, rest @ ..] = guid.data4;
    let tail: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{{{:08x}-{:04x}-{:04x}-{a:02x}{b:02x}-{tail}}}",
        guid.data1, guid.data2, guid.data3
    )
}
