//! Simulated machines to measure on: a volume and a share over one folder, and the filters that are asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ntbench::wire::{
    CreateFile, DriverSpec, FaultRule, InstanceSpec, MachineConfig, NamespaceConfig, RegistryValue,
    Server, Share, StackConfig, ThreadSpec, Timing, TraceEvent, VerifierConfig, Volume, When,
};
use ntbench::{Machine, NtStatus, Port, Thread};
use protocol::port::{Hello, PORT_NAME, Request, StatusReply};
use protocol::{Config, Setting};
use zerocopy::IntoBytes as _;

/// The driver's service.
const HEADROOM: &str = "headroom";
/// The empty filter's module.
pub(crate) const YARDSTICK: &str = "yardstick";
/// The file that is opened, at the root of the volume and of the share.
pub(crate) const FILE: &str = "file.txt";
/// The folder as a local volume.
pub(crate) const LOCAL: &str = r"\??\C:\";
/// The folder as a share.
pub(crate) const REMOTE: &str = r"\??\UNC\server\share\";
/// Rounds of the largest curves take longer than an ordinary request may.
const TIME_LIMIT_MS: u64 = 120_000;

/// The images, and the folder that machines show.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    pub(crate) headroom: PathBuf,
    pub(crate) yardstick: PathBuf,
    pub(crate) folder: PathBuf,
}

/// A filter on a machine.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    /// One that does nothing; so many of them may be loaded.
    Empty,
    /// The driver, with these settings.
    Headroom(Vec<(Setting, u32)>),
}

/// How a machine is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) filters: Vec<Filter>,
    /// Driver Verifier's dear checks.
    pub(crate) verifier: bool,
    /// Every expansion fails.
    pub(crate) no_expansion: bool,
    /// Segments kept for the next use; `None`: the machine's default.
    pub(crate) pooled_segments: Option<u32>,
    /// Segments that there may be; `None`: the machine's default.
    pub(crate) segment_limit: Option<u32>,
    /// Once the driver has attached everywhere, it is told to leave local volumes alone: it then asks for a name and
    /// opens nothing.
    pub(crate) names_only: bool,
}

impl Plan {
    /// A machine with these filters.
    pub(crate) fn with(filters: impl Into<Vec<Filter>>) -> Self {
        Self {
            filters: filters.into(),
            ..Self::default()
        }
    }
}

/// A machine with a thread that opens.
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) thread: Thread,
    /// A client of the driver's, where one was needed.
    pub(crate) port: Option<Port>,
}

impl Rig {
    /// Boots a machine and loads the filters.
    pub(crate) fn start(workshop: &Workshop, plan: &Plan) -> Result<Self> {
        let machine = Machine::boot(config(&workshop.folder, plan)).context("booting a machine")?;
        for (number, filter) in plan.filters.iter().enumerate() {
            let loaded = machine.load_driver(driver(workshop, number, filter)?)?;
            if !loaded.status.is_success() {
                bail!("DriverEntry of {filter:?} returned {}", loaded.status);
            }
        }
        let thread = opener(&machine)?;
        let mut rig = Self {
            machine,
            thread,
            port: None,
        };
        if plan.names_only {
            rig.configure(|config| config.unc_only = 1)?;
            // A client that stays is told of every record.
            if let Some(port) = rig.port.take() {
                port.close()?;
            }
        }
        Ok(rig)
    }

    /// Another thread of the same process.
    pub(crate) fn another_thread(&self) -> Result<Thread> {
        opener(&self.machine)
    }

    /// A connection to the driver's port.
    pub(crate) fn client(&mut self) -> Result<&Port> {
        let port = match self.port.take() {
            Some(port) => port,
            None => connect(&self.thread)?,
        };
        Ok(self.port.insert(port))
    }

    /// How many creates the driver has recorded, those included for which there was no record to be had.
    pub(crate) fn records(&mut self) -> Result<u64> {
        let client = self.client()?;
        let (status, reply) = client.send(&encode(&Request::Status)?, 4096)?;
        let reply = protocol::port::Reply::decode(&reply)
            .with_context(|| format!("the driver's counts: {status}"))?;
        let counts: StatusReply = reply.body()?;
        Ok(counts.written + counts.skipped)
    }

    /// Changes the driver's settings while it runs.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Config)) -> Result<()> {
        let client = self.client()?;
        let (status, reply) = client.send(&encode(&Request::GetConfig)?, 4096)?;
        let reply = protocol::port::Reply::decode(&reply)
            .with_context(|| format!("the driver's settings: {status}"))?;
        let mut config: Config = reply.body()?;
        change(&mut config);
        let (status, reply) = client.send(&encode(&Request::SetConfig(&config))?, 4096)?;
        let reply = protocol::port::Reply::decode(&reply)
            .with_context(|| format!("new settings: {status}"))?;
        if reply.status != protocol::NtStatus(0) {
            bail!("the driver refuses {config:?}: {}", reply.status);
        }
        Ok(())
    }

    /// Creates of one file, which have to end with `expected`.
    pub(crate) fn creates(
        &self,
        create: &CreateFile,
        times: u64,
        expected: NtStatus,
    ) -> Result<Timing> {
        checked(&self.thread, create, times, expected)
    }

    /// One create with the trace on: bytes of the caller's stack that each filter's pre-operation callback took at its
    /// deepest, the kernel's functions that it called included, and how deep an expansion went on the reserved stack.
    pub(crate) fn stack_of(&self, create: &CreateFile) -> Result<StackUse> {
        drop(self.machine.trace()?);
        let opened = self.thread.create_file(create)?;
        self.thread.close(opened.handle)?;
        let trace = self.machine.trace()?;
        let mut uses = StackUse::default();
        for event in trace.events {
            let TraceEvent::Callback(event) = event else {
                continue;
            };
            if event.phase != "pre" || event.operation != "IRP_MJ_CREATE" || event.nest != 1 {
                continue;
            }
            let entered = event.segment_low + event.remaining;
            let caller = event.lowest_sp.map_or(0, |low| entered.saturating_sub(low));
            uses.caller = uses.caller.max(caller);
            uses.reserved = uses.reserved.max(event.elsewhere);
        }
        Ok(uses)
    }

    /// Ends the machine; what it found wrong is an error, since a number from a machine that broke a rule is none.
    pub(crate) fn finish(self) -> Result<()> {
        drop(self.port);
        let report = self.machine.shutdown()?;
        if let Some(finding) = report.findings.first() {
            bail!("the machine found: {}: {}", finding.rule, finding.text);
        }
        Ok(())
    }
}

/// Bytes of kernel stack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackUse {
    pub(crate) caller: u64,
    pub(crate) reserved: u64,
}

/// Creates on a thread, which have to end with `expected`.
pub(crate) fn checked(
    thread: &Thread,
    create: &CreateFile,
    times: u64,
    expected: NtStatus,
) -> Result<Timing> {
    let timing = thread.measure_creates(create, times)?;
    if timing.status != expected {
        bail!(
            "{} ended with {} and not with {expected}",
            create.name,
            timing.status
        );
    }
    Ok(timing)
}

/// The open of that name that everything here measures: an existing file, for its attributes.
pub(crate) fn open(name: impl Into<String>) -> CreateFile {
    CreateFile {
        name: name.into(),
        ..CreateFile::default()
    }
}

/// A message to the driver.
pub(crate) fn encode(request: &Request<'_>) -> Result<Vec<u8>> {
    let mut room = [0; protocol::port::MAXIMUM_REQUEST_BYTES];
    let message = request
        .encode(&mut room)
        .context("a request that has no room")?;
    Ok(message.to_vec())
}

/// Connects a client.
pub(crate) fn connect(thread: &Thread) -> Result<Port> {
    thread
        .connect_port(PORT_NAME, Hello::CURRENT.as_bytes())?
        .map_err(|status| anyhow::anyhow!("the driver's port answers {status}"))
}

fn opener(machine: &Machine) -> Result<Thread> {
    Ok(machine.thread(ThreadSpec {
        process_image: "bench.exe".to_owned(),
        process: 0,
        stack: ntbench::wire::StackKind::Ordinary,
    })?)
}

fn config(folder: &Path, plan: &Plan) -> MachineConfig {
    let mut stack = StackConfig::default();
    if let Some(pooled) = plan.pooled_segments {
        stack.pooled_segments = pooled;
    }
    if let Some(limit) = plan.segment_limit {
        stack.segment_limit = limit;
    }
    let fail = FaultRule {
        call: "KeExpandKernelStackAndCalloutEx".to_owned(),
        status: NtStatus::NO_MEMORY,
        when: When::Always,
    };
    MachineConfig {
        time_limit_ms: Some(TIME_LIMIT_MS),
        stack,
        namespace: NamespaceConfig {
            servers: vec![Server {
                name: "server".to_owned(),
                shares: vec![Share {
                    name: "share".to_owned(),
                    folder: folder.to_owned(),
                }],
            }],
            dfs: Vec::new(),
            volumes: vec![Volume {
                device: r"\Device\HarddiskVolume1".to_owned(),
                letter: Some('C'),
                folder: folder.to_owned(),
            }],
        },
        faults: plan.no_expansion.then_some(fail).into_iter().collect(),
        verifier: if plan.verifier {
            VerifierConfig::default()
        } else {
            VerifierConfig::OFF
        },
        ..MachineConfig::default()
    }
}

fn driver(workshop: &Workshop, number: usize, filter: &Filter) -> Result<DriverSpec> {
    let (image, service, parameters) = match filter {
        Filter::Empty => (&workshop.yardstick, format!("empty{number}"), Vec::new()),
        Filter::Headroom(settings) => (&workshop.headroom, HEADROOM.to_owned(), {
            let values = settings
                .iter()
                .map(|&(setting, value)| parameter(setting, value));
            values.collect::<Result<_>>()?
        }),
    };
    Ok(DriverSpec {
        image: image.clone(),
        service,
        parameters,
        instances: vec![InstanceSpec {
            name: "Default".to_owned(),
            altitude: format!("{}", 378_600 - number),
            flags: 0,
        }],
        ..DriverSpec::default()
    })
}

/// A setting as the registry has it.
fn parameter(setting: Setting, value: u32) -> Result<(String, RegistryValue)> {
    let name = setting.name().context("a setting without a name")?;
    let word = setting.words().iter().find(|(_, number)| *number == value);
    let value = match word {
        Some((word, _)) => RegistryValue::Sz((*word).to_owned()),
        None => RegistryValue::Dword(value),
    };
    Ok((name.to_owned(), value))
}
