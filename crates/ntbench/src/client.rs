//! The asking side: starts a machine, talks to it, survives its death.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::MACHINE_MARKER;
use crate::wire::{
    BugCheckReport, Completion, CreateFile, DriverSpec, Envelope, FaultRule, FinalReport,
    LoadedDriver, MachineConfig, Message, ModuleInfo, NtStatus, Refusal, Reply, Request,
    StackListing, SystemCall, ThreadInfo, ThreadSpec, Trace,
};

const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);
const DEATH_GRACE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(5);

/// Why a machine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MachineError {
    /// The machine's process could not be started.
    #[error("the machine could not be started from {path}: {error}")]
    Start {
        /// The executable.
        path: String,
        /// The host's error.
        error: String,
    },
    /// The machine bug-checked; it is dead.
    #[error("bug check {:#04X} {}: {}", .0.code, .0.name, .0.text)]
    BugCheck(Box<BugCheckReport>),
    /// The bench itself failed: a defect of the bench, not a verdict on the driver.
    #[error("the bench failed, not the driver: {0}")]
    HostFault(String),
    /// No reply came in time; the machine was stopped.
    #[error(
        "no answer to {request} within {limit:?}: the machine was stopped ({})",
        whereabouts(stacks)
    )]
    TimeLimit {
        /// What was asked.
        request: String,
        /// The limit.
        limit: Duration,
        /// Where the machine's busy threads were, as far as they could still tell.
        stacks: Vec<StackListing>,
    },
    /// The process ended without a word.
    #[error("the machine's process ended without a report ({0})")]
    Died(String),
    /// The request was refused; the machine lives.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The reply was not one that the request has: two versions of the bench talk to each other.
    #[error("the machine's reply to {request} made no sense: {reply}")]
    Protocol {
        /// What was asked.
        request: String,
        /// What came.
        reply: String,
    },
}

/// A simulated machine: one child process.
#[derive(Clone)]
pub struct Machine {
    link: Arc<Link>,
}

/// A thread of the simulated machine.
#[derive(Clone)]
pub struct Thread {
    link: Arc<Link>,
    info: ThreadInfo,
}

struct Link {
    sender: Mutex<UnixStream>,
    shared: Arc<Shared>,
    next_id: AtomicU64,
    limit: Duration,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    waiting: HashMap<u64, SyncSender<Result<Reply, MachineError>>>,
    dead: Option<MachineError>,
    /// Somebody has lost patience: the end of the stream is no news.
    stopping: bool,
    closed: bool,
    stuck: Vec<StackListing>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the first cause of death and tells everybody who waits.
    fn die(&self, cause: MachineError) -> MachineError {
        let mut state = self.lock();
        let cause = state.dead.get_or_insert(cause).clone();
        for (_, waiter) in state.waiting.drain() {
            let _ = waiter.try_send(Err(cause.clone()));
        }
        cause
    }

    fn reap(&self) -> Option<ExitStatus> {
        let mut child = self.lock().child.take()?;
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Machine {
    /// Starts a machine.
    ///
    /// # Errors
    /// When the process cannot be started or refuses the configuration.
    pub fn boot(config: MachineConfig) -> Result<Self, MachineError> {
        let host = match &config.host {
            Some(path) => path.clone(),
            None => std::path::PathBuf::from("/proc/self/exe"),
        };
        if std::env::var_os(MACHINE_MARKER).is_some() {
            return Err(MachineError::Start {
                path: host.display().to_string(),
                error: "this process was itself started to be a machine: its main must begin with ntbench::host_main()"
                    .to_owned(),
            });
        }
        let start = |error: std::io::Error| MachineError::Start {
            path: host.display().to_string(),
            error: error.to_string(),
        };
        let (ours, theirs) = UnixStream::pair().map_err(start)?;
        let child = Command::new(&host)
            .env(MACHINE_MARKER, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(start)?;
        let shared = Arc::new(Shared::default());
        shared.lock().child = Some(child);
        let reader = ours.try_clone().map_err(start)?;
        let limit = config
            .time_limit_ms
            .map_or(DEFAULT_TIME_LIMIT, Duration::from_millis);
        let link = Link {
            sender: Mutex::new(ours),
            shared: Arc::clone(&shared),
            next_id: AtomicU64::new(1),
            limit,
        };
        std::thread::Builder::new()
            .name("ntbench-replies".to_owned())
            .spawn(move || receive(&shared, reader))
            .map_err(start)?;
        let machine = Self {
            link: Arc::new(link),
        };
        machine.link.done(Request::Boot(Box::new(config)))?;
        Ok(machine)
    }

    /// Maps a driver and runs its `DriverEntry`.
    ///
    /// # Errors
    /// [`Refusal::Image`] names what is wrong with an image; a `DriverEntry` that fails is no error here but a status.
    pub fn load_driver(&self, spec: DriverSpec) -> Result<LoadedDriver, MachineError> {
        match self.link.ask(Request::LoadDriver(spec))? {
            Reply::Loaded(loaded) => Ok(loaded),
            other => Err(protocol("LoadDriver", &other)),
        }
    }

    /// Unloads a driver by its service name.
    ///
    /// # Errors
    /// When there is no such driver. A refused unload is no error but a status.
    pub fn unload_driver(&self, service: &str) -> Result<NtStatus, MachineError> {
        match self.link.ask(Request::UnloadDriver {
            service: service.to_owned(),
        })? {
            Reply::Unloaded(status) => Ok(status),
            other => Err(protocol("UnloadDriver", &other)),
        }
    }

    /// Starts a thread. Threads run at the same time: call each from a thread of your own.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn thread(&self, spec: ThreadSpec) -> Result<Thread, MachineError> {
        match self.link.ask(Request::StartThread(spec))? {
            Reply::Thread(info) => Ok(Thread {
                link: Arc::clone(&self.link),
                info,
            }),
            other => Err(protocol("StartThread", &other)),
        }
    }

    /// The address of `module!name`.
    ///
    /// # Errors
    /// When the symbol is not known.
    pub fn symbol(&self, name: &str) -> Result<u64, MachineError> {
        match self.link.ask(Request::Symbol {
            name: name.to_owned(),
        })? {
            Reply::Address(address) => Ok(address),
            other => Err(protocol("Symbol", &other)),
        }
    }

    /// Reads memory as a debugger would.
    ///
    /// # Errors
    /// When some of it is not mapped.
    pub fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, MachineError> {
        match self.link.ask(Request::Read { address, length })? {
            Reply::Memory(bytes) => Ok(bytes),
            other => Err(protocol("Read", &other)),
        }
    }

    /// Takes the trace gathered so far.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn trace(&self) -> Result<Trace, MachineError> {
        match self.link.ask(Request::Trace)? {
            Reply::Trace(trace) => Ok(trace),
            other => Err(protocol("Trace", &other)),
        }
    }

    /// The images now mapped.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn modules(&self) -> Result<Vec<ModuleInfo>, MachineError> {
        match self.link.ask(Request::Modules)? {
            Reply::Modules(modules) => Ok(modules),
            other => Err(protocol("Modules", &other)),
        }
    }

    /// Replaces the fault rules; their counts start afresh.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn set_faults(&self, rules: Vec<FaultRule>) -> Result<(), MachineError> {
        self.link.done(Request::SetFaults(rules))
    }

    /// Ends the machine and takes its report. Drivers still loaded are not unloaded.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn shutdown(self) -> Result<FinalReport, MachineError> {
        let reply = self.link.ask(Request::Shutdown)?;
        self.link
            .shared
            .die(MachineError::Died("it was shut down".to_owned()));
        self.link.shared.reap();
        match reply {
            Reply::Final(report) => Ok(report),
            other => Err(protocol("Shutdown", &other)),
        }
    }
}

impl Thread {
    /// What the thread is.
    #[must_use]
    pub fn info(&self) -> &ThreadInfo {
        &self.info
    }

    /// `NtCreateFile`.
    ///
    /// # Errors
    /// When the machine dies of it. A failed create is no error but a status.
    pub fn create_file(&self, create: &CreateFile) -> Result<Completion, MachineError> {
        self.call(SystemCall::CreateFile(create.clone()))
    }

    /// `NtQueryAttributesFile`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn query_attributes(&self, name: &str) -> Result<Completion, MachineError> {
        self.call(SystemCall::QueryAttributes {
            name: name.to_owned(),
            root: 0,
        })
    }

    /// `NtClose`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn close(&self, handle: u64) -> Result<Completion, MachineError> {
        self.call(SystemCall::Close { handle })
    }

    /// Any system call.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn call(&self, call: SystemCall) -> Result<Completion, MachineError> {
        match self.link.ask(Request::SystemCall {
            thread: self.info.thread,
            call,
        })? {
            Reply::Completion(completion) => Ok(completion),
            other => Err(protocol("SystemCall", &other)),
        }
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn end(self) -> Result<(), MachineError> {
        self.link.done(Request::EndThread {
            thread: self.info.thread,
        })
    }
}

impl Link {
    fn done(&self, request: Request) -> Result<(), MachineError> {
        let what = label(&request);
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(protocol(&what, &other)),
        }
    }

    fn ask(&self, request: Request) -> Result<Reply, MachineError> {
        let what = label(&request);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::sync_channel(1);
        {
            let mut state = self.shared.lock();
            if let Some(cause) = &state.dead {
                return Err(cause.clone());
            }
            state.waiting.insert(id, sender);
        }
        let mut line = serde_json::to_vec(&Envelope { id, request }).map_err(|error| {
            MachineError::Protocol {
                request: what.clone(),
                reply: error.to_string(),
            }
        })?;
        line.push(b'\n');
        // A failed write means that the machine is gone: the reader thread learns why and answers below.
        let _ = self
            .sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&line);
        match receiver.recv_timeout(self.limit) {
            Ok(Ok(Reply::Refused(refusal))) => Err(MachineError::Refused(refusal)),
            Ok(reply) => reply,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(self.stop(what)),
        }
    }

    /// Stops a machine that does not answer; asks it first where its threads are.
    fn stop(&self, request: String) -> MachineError {
        self.shared.lock().stopping = true;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut line) = serde_json::to_vec(&Envelope {
            id,
            request: Request::Interrogate,
        }) {
            line.push(b'\n');
            let _ = self
                .sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(&line);
        }
        let mut waited = Duration::ZERO;
        while waited < DEATH_GRACE && !self.shared.lock().closed {
            std::thread::sleep(STEP);
            waited += STEP;
        }
        let stacks = std::mem::take(&mut self.shared.lock().stuck);
        let cause = self.shared.die(MachineError::TimeLimit {
            request,
            limit: self.limit,
            stacks,
        });
        self.shared.reap();
        cause
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared
            .die(MachineError::Died("it was dropped".to_owned()));
        self.shared.reap();
    }
}

/// Hands replies to whoever waits for them, until the machine is gone.
fn receive(shared: &Shared, stream: UnixStream) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Message::Reply { id, reply }) => {
                if let Some(waiter) = shared.lock().waiting.remove(&id) {
                    let _ = waiter.try_send(Ok(reply));
                }
            }
            Ok(Message::BugCheck(report)) => {
                shared.die(MachineError::BugCheck(report));
            }
            Ok(Message::Stuck(listing)) => shared.lock().stuck.push(*listing),
            Ok(Message::HostFault(text)) => {
                shared.die(MachineError::HostFault(text));
            }
            Err(error) => {
                let reply = format!("{error}: {line}");
                shared.die(MachineError::Protocol {
                    request: "a line".to_owned(),
                    reply,
                });
            }
        }
    }
    let mut child = {
        let mut state = shared.lock();
        state.closed = true;
        if state.stopping {
            return;
        }
        state.child.take()
    };
    let how = child
        .as_mut()
        .map_or_else(|| "it was stopped".to_owned(), ended);
    shared.die(MachineError::Died(how));
}

/// Waits a moment for a process that has closed its end, so that its exit status can be told.
fn ended(child: &mut Child) -> String {
    let mut waited = Duration::ZERO;
    while waited < DEATH_GRACE {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) => std::thread::sleep(STEP),
            Err(error) => return error.to_string(),
        }
        waited += STEP;
    }
    let _ = child.kill();
    child
        .wait()
        .map_or_else(|error| error.to_string(), |status| status.to_string())
}

fn whereabouts(stacks: &[StackListing]) -> String {
    let newest = |listing: &StackListing| {
        let frame = listing
            .frames
            .first()
            .map_or("no frame", |frame| frame.symbol.as_str());
        format!("thread {:#x} in {frame}", listing.tid)
    };
    match stacks {
        [] => "no thread could tell where it was".to_owned(),
        stacks => stacks.iter().map(newest).collect::<Vec<_>>().join(", "),
    }
}

fn label(request: &Request) -> String {
    match request {
        Request::Boot(_) => "Boot".to_owned(),
        Request::LoadDriver(spec) => format!("LoadDriver({})", spec.image.display()),
        Request::UnloadDriver { service } => format!("UnloadDriver({service})"),
        Request::SystemCall {
            call: SystemCall::CreateFile(create),
            ..
        } => format!("NtCreateFile({})", create.name),
        Request::SystemCall {
            call: SystemCall::QueryAttributes { name, .. },
            ..
        } => {
            format!("NtQueryAttributesFile({name})")
        }
        other => format!("{other:?}"),
    }
}

fn protocol(request: &str, reply: &Reply) -> MachineError {
    MachineError::Protocol {
        request: request.to_owned(),
        reply: format!("{reply:?}"),
    }
}
