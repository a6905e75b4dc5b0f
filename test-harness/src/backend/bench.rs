//! ntbench as the machine: a Linux process that runs the driver's own code on guarded kernel stacks.

mod told;

use std::path::Path;

use ntbench::wire::{
    Completion, CreateFile, DfsLink, DfsNamespace, DriverSpec, InstanceSpec, MachineConfig,
    NamespaceConfig, RegistryValue, Server, Share, StackKind, SystemCall, ThreadSpec, TraceEvent,
    Volume,
};
use ntbench::{Machine as Simulated, MachineError, ReparsePoint, Thread as SimulatedThread};
use protocol::{ANCHOR_SYMBOL, Anchor, DecodeError, NtStatus, Record, SlotView};

use super::{
    Call, Driver, Environment, Link, Machine, Parameters, Returned, Setup, Stopped, System, Thread,
    Told,
};
use crate::model::{BugCheck, Losses, RecordView};
use crate::settings;

/// The driver's service, module and filter.
pub const SERVICE: &str = "headroom";

/// The instance that the driver's INF writes: its name and its altitude, a placeholder (docs/altitude.md).
pub const INSTANCE: (&str, &str) = ("Headroom Instance", "378600.5");

/// The process that opens.
const PROCESS: &str = "headroom.exe";

/// Trace events that a create leaves: its callbacks, and room for what else is traced.
const EVENTS_PER_CREATE: usize = 4;
const FEWEST_EVENTS: usize = 0x1_0000;
/// Some 300 MB.
const MOST_EVENTS: usize = 0x10_0000;

/// A simulated machine.
pub struct Bench {
    machine: Simulated,
    stack: StackKind,
    driver: Option<Driver>,
}

/// A simulated thread of the opener.
struct Opener {
    thread: SimulatedThread,
}

impl Bench {
    /// Boots a machine and loads the driver.
    ///
    /// # Errors
    /// [`Stopped`]: no such image, an image that is refused, a `DriverEntry` that fails or kills the machine.
    pub fn start(setup: Setup) -> Result<Self, Stopped> {
        let events = (setup.creates as usize).saturating_mul(EVENTS_PER_CREATE);
        let mut config = MachineConfig {
            namespace: namespace(&setup),
            snapshot_at: setup.list_stack_at,
            crash_dump: setup.crash_dump,
            trace_capacity: Some(events.clamp(FEWEST_EVENTS, MOST_EVENTS)),
            ..MachineConfig::default()
        };
        if let Some(limit) = setup.segment_limit {
            config.stack.segment_limit = limit;
        }
        let machine = Simulated::boot(config)
            .map_err(|error| stopped("starting the simulated machine", error))?;
        if let Some(driver) = &setup.driver {
            load(&machine, driver)?;
        }
        let stack = if setup.large_stack {
            StackKind::Large
        } else {
            StackKind::Ordinary
        };
        Ok(Self {
            machine,
            stack,
            driver: setup.driver,
        })
    }
}

impl Thread for Opener {
    fn call(&mut self, call: &Call) -> Result<Returned, Stopped> {
        make(&self.thread, call).map_err(|error| stopped(&doing(call), error))
    }
}

/// Makes a call on a simulated thread.
///
/// # Errors
/// The machine died of it. A call that fails is no error but a status.
pub(crate) fn make(thread: &SimulatedThread, call: &Call) -> Result<Returned, MachineError> {
    Ok(match call {
        Call::Open {
            name,
            root,
            purpose,
        } => {
            let Parameters {
                access,
                disposition,
                options,
            } = purpose.parameters();
            returned(thread.create_file(&CreateFile {
                name: name.clone(),
                root: *root,
                access: access | SYNCHRONIZE,
                disposition,
                options: options | SYNCHRONOUS_IO_NONALERT,
                ..CreateFile::default()
            })?)
        }
        Call::QueryAttributes { name, root } => {
            let (name, root) = (name.clone(), *root);
            returned(thread.call(SystemCall::QueryAttributes { name, root })?)
        }
        Call::List { handle } => {
            let (done, entries) = thread.list_directory(*handle, None)?;
            Returned {
                names: entries.into_iter().map(|entry| entry.name).collect(),
                ..Returned::from(status(done))
            }
        }
        Call::Rename { handle, to } => status(thread.rename(*handle, to, 0, false)?.status).into(),
        Call::SetReparse { handle, link } => {
            status(thread.set_reparse(*handle, &reparse_point(link))?.status).into()
        }
        Call::Close { handle } => returned(thread.close(*handle)?),
    })
}

/// What a call is, in words.
pub(crate) fn doing(call: &Call) -> String {
    match call {
        Call::Open { name, .. } => format!("opening {name}"),
        Call::QueryAttributes { name, .. } => format!("querying the attributes of {name}"),
        Call::List { .. } => "listing a directory".to_owned(),
        Call::Rename { to, .. } => format!("renaming to {to}"),
        Call::SetReparse { .. } => "making a link".to_owned(),
        Call::Close { .. } => "closing a handle".to_owned(),
    }
}

fn reparse_point(link: &Link) -> ReparsePoint {
    let target = match link {
        Link::Relative(target) | Link::Absolute(target) | Link::Junction(target) => target.clone(),
    };
    match link {
        Link::Relative(_) | Link::Absolute(_) => ReparsePoint::Symlink {
            target,
            relative: matches!(link, Link::Relative(_)),
        },
        Link::Junction(_) => ReparsePoint::MountPoint { target },
    }
}

/// What a call in ntbench's terms came to.
fn returned(completion: Completion) -> Returned {
    Returned {
        handle: completion.handle,
        attributes: completion.attributes,
        ..Returned::from(status(completion.status))
    }
}

const SYNCHRONIZE: u32 = 0x10_0000;
const SYNCHRONOUS_IO_NONALERT: u32 = 0x20;

fn status(status: ntbench::NtStatus) -> NtStatus {
    NtStatus(status.0.cast_unsigned())
}

/// Reads the driver's ring as a debugger would: the anchor by its symbol, the slots where it points. Records in order.
///
/// # Errors
/// [`Stopped`]: there is no such driver, or what stands there is no ring of this version.
pub fn read_ring(machine: &Simulated) -> Result<(Anchor, Vec<Record>), Stopped> {
    let symbol = format!("{SERVICE}!{ANCHOR_SYMBOL}");
    let read = |address, length| {
        machine
            .read(address, length)
            .map_err(|error| stopped("reading the driver's records", error))
    };
    let address = machine
        .symbol(&symbol)
        .map_err(|error| stopped(&format!("looking up {symbol}"), error))?;
    let anchor =
        Anchor::decode(&read(address, size_of::<Anchor>())?).map_err(Environment::Records)?;
    let length = anchor
        .ring_bytes()
        .and_then(|bytes| usize::try_from(bytes).ok());
    let length = length.ok_or(Environment::Records(DecodeError::Capacity {
        found: anchor.capacity,
    }))?;
    let ring = if anchor.ring == 0 {
        Vec::new()
    } else {
        read(anchor.ring, length)?
    };
    let mut records = Vec::new();
    for slot in ring.chunks(protocol::SLOT_BYTES) {
        let slot = SlotView::decode(slot).map_err(Environment::Records)?;
        records.extend(slot.whole().copied());
    }
    records.sort_by_key(|record| record.sequence);
    Ok((anchor, records))
}

impl Machine for Bench {
    fn system(&self) -> System {
        System::Ntbench
    }

    fn thread(&self) -> Result<Box<dyn Thread>, Stopped> {
        let spec = ThreadSpec {
            process_image: PROCESS.to_owned(),
            process: 0,
            stack: self.stack,
        };
        let thread = self
            .machine
            .thread(spec)
            .map_err(|error| stopped("starting a thread of the opener's", error))?;
        Ok(Box::new(Opener { thread }))
    }

    fn finish(self: Box<Self>) -> Result<Told, Stopped> {
        let mut told = Told::default();
        if self.driver.is_some() {
            let (anchor, records) = read_ring(&self.machine)?;
            told.losses = Some(Losses::from(&anchor));
            told.records = records.iter().map(RecordView::from).collect();
            let status = self
                .machine
                .unload_driver(SERVICE)
                .map_err(|error| stopped("unloading the driver", error))?;
            if !status.is_success() {
                let why = format!("the unload returned {status}");
                return Err(Environment::Machine {
                    doing: "unloading the driver".to_owned(),
                    why,
                }
                .into());
            }
        }
        let trace = self
            .machine
            .trace()
            .map_err(|error| stopped("reading the trace", error))?;
        let report = self
            .machine
            .shutdown()
            .map_err(|error| stopped("ending the machine", error))?;
        told.tell(&trace);
        told.tell(&report.trace);
        told.findings = report.findings.iter().map(ToString::to_string).collect();
        Ok(told)
    }
}

fn namespace(setup: &Setup) -> NamespaceConfig {
    let mut config = NamespaceConfig::default();
    for (server, share, folder) in &setup.shares {
        let share = Share {
            name: share.clone(),
            folder: folder.clone(),
        };
        match config
            .servers
            .iter_mut()
            .find(|known| known.name == *server)
        {
            Some(known) => known.shares.push(share),
            None => config.servers.push(Server {
                name: server.clone(),
                shares: vec![share],
            }),
        }
    }
    for (index, (letter, folder)) in setup.volumes.iter().enumerate() {
        config.volumes.push(Volume {
            device: format!(r"\Device\HarddiskVolume{}", index + 1),
            letter: Some(*letter),
            folder: folder.clone(),
        });
    }
    for [namespace, root, link, server, share] in &setup.dfs_links {
        config.dfs.push(DfsNamespace {
            server: namespace.clone(),
            root: root.clone(),
            links: vec![DfsLink {
                path: link.clone(),
                server: server.clone(),
                share: share.clone(),
                folder: String::new(),
            }],
        });
    }
    config
}

/// Loads the driver with its settings, and starts it.
///
/// # Errors
/// [`Stopped`]: no such image, an image that is refused, a `DriverEntry` that fails or kills the machine.
pub fn load(machine: &Simulated, driver: &Driver) -> Result<(), Stopped> {
    let text = |name: &str, value: &str| (name.to_owned(), RegistryValue::Sz(value.to_owned()));
    let number = |name: &str, value| (name.to_owned(), RegistryValue::Dword(value));
    let mut parameters = vec![
        text("ExpandPolicy", driver.expand.name()),
        text(
            "AncestorOpens",
            if driver.ancestors_from_top {
                "Top"
            } else {
                "Below"
            },
        ),
        number("MaxNestDepth", driver.max_nest_depth),
        number("LogCapacity", driver.log_capacity),
    ];
    parameters.extend(
        driver
            .reservation_bytes
            .map(|bytes| number("ReservationBytes", bytes)),
    );
    parameters.extend(
        driver
            .red_zone_bytes
            .map(|bytes| number("RedZoneBytes", bytes)),
    );
    parameters.extend(driver.settings.iter().map(|(name, value)| {
        let words = settings::named(name).map_or(&[][..], protocol::Setting::words);
        let word = words.iter().find(|(_, number)| number == value);
        word.map_or_else(|| number(name, *value), |(word, _)| text(name, word))
    }));
    load_with(machine, &driver.image, parameters)
}

/// Loads the driver with just these values below its `Parameters` key, and starts it.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    machine: &Simulated,
    image: &Path,
    parameters: Vec<(String, RegistryValue)>,
) -> Result<(), Stopped> {
    if !image.is_file() {
        return Err(Environment::NoDriver(image.to_owned()).into());
    }
    let spec = DriverSpec {
        image: image.to_owned(),
        service: SERVICE.to_owned(),
        parameters,
        instances: vec![InstanceSpec {
            name: INSTANCE.0.to_owned(),
            altitude: INSTANCE.1.to_owned(),
            flags: 0,
        }],
        ..DriverSpec::default()
    };
    let loaded = machine
        .load_driver(spec)
        .map_err(|error| stopped("loading the driver", error))?;
    if loaded.status.is_success() {
        return Ok(());
    }
    let trace = machine
        .trace()
        .map_err(|error| stopped("reading the trace", error))?;
    let messages: Vec<&str> = trace
        .events
        .iter()
        .filter_map(|event| match event {
            TraceEvent::DbgPrint { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    Err(Environment::DriverEntry {
        image: image.to_owned(),
        status: loaded.status.to_string(),
        messages: messages.join("\n"),
    }
    .into())
}

fn stopped(doing: &str, error: MachineError) -> Stopped {
    match error {
        MachineError::BugCheck(report) => {
            let mut told = Told::default();
            told.tell(&report.trace);
            told.findings = report.findings.iter().map(ToString::to_string).collect();
            Stopped::BugCheck(Box::new(BugCheck::from(&*report)), Box::new(told))
        }
        other => Environment::Machine {
            doing: doing.to_owned(),
            why: other.to_string(),
        }
        .into(),
    }
}
