//! The asking side: starts a machine, talks to it, survives its death.

mod error;
mod failures;
mod file;
mod link;
mod measure;
mod notify;
mod port;
mod reparse;
mod threads;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::MACHINE_MARKER;
use crate::wire::{
    Completion, CreateFile, DriverSpec, FaultRule, FinalReport, InstanceCall, LoadedDriver,
    MachineConfig, ModuleInfo, NtStatus, PlugAndPlay, ProcessSpec, RegistryAct, RegistryCall,
    Reply, Request, SYSTEM_THREAD, SystemCall, ThreadInfo, ThreadSpec, Trace, Usage,
};
pub use error::MachineError;
pub use failures::{Failure, Failures, Progress, each_failure, each_failure_with};
pub use file::DirectoryEntry;
use link::{Link, Shared, protocol, receive};
pub use notify::DirectoryChange;
pub use port::Port;
pub use reparse::ReparsePoint;

const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
            // A terminal's Ctrl-C is for whoever asks, who may still want the machine's report.
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let shared = Arc::new(Shared::default());
        shared.lock().child = Some(child);
        let reader = ours.try_clone().map_err(start)?;
        let limit = config
            .time_limit_ms
            .map_or(DEFAULT_TIME_LIMIT, Duration::from_millis);
        let limit_ms = AtomicU64::new(milliseconds(limit));
        let link = Link {
            sender: Mutex::new(ours),
            shared: Arc::clone(&shared),
            next_id: AtomicU64::new(1),
            limit_ms,
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

    /// From now on the machine is stopped where an answer takes longer than this. For a test that knows which call never returns:
    /// those before it are not to be held to a limit that is short for its sake.
    pub fn set_time_limit(&self, limit: Duration) {
        self.link
            .limit_ms
            .store(milliseconds(limit), Ordering::Relaxed);
    }

    /// Maps a driver and runs its `DriverEntry`.
    ///
    /// # Errors
    /// [`Refusal::Image`](crate::wire::Refusal::Image) names what is wrong with an image; a `DriverEntry` that fails is no error here but a status.
    pub fn load_driver(&self, spec: DriverSpec) -> Result<LoadedDriver, MachineError> {
        match self.link.ask(Request::LoadDriver(spec))? {
            Reply::Loaded(loaded) => Ok(loaded),
            other => Err(protocol("LoadDriver", &other)),
        }
    }

    /// Ends a process with all its threads, whatever they wait for: its handles are closed, its ports disconnected.
    ///
    /// # Errors
    /// When it has no threads.
    pub fn end_process(&self, pid: u64) -> Result<(), MachineError> {
        match self.link.ask(Request::EndProcess { pid })? {
            Reply::Done => Ok(()),
            other => Err(protocol("EndProcess", &other)),
        }
    }

    /// Installs a driver without starting it: another filter may have it loaded (`FltLoadFilter`).
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn install_driver(&self, spec: DriverSpec) -> Result<(), MachineError> {
        match self.link.ask(Request::InstallDriver(spec))? {
            Reply::Done => Ok(()),
            other => Err(protocol("InstallDriver", &other)),
        }
    }

    /// Unloads a driver by its service name, as `fltmc unload` does: its filter may refuse.
    ///
    /// # Errors
    /// When there is no such driver. A refused unload is no error but a status.
    pub fn unload_driver(&self, service: &str) -> Result<NtStatus, MachineError> {
        self.unload(service, false)
    }

    /// Stops a driver by its service name, as `sc stop` does: its filter cannot refuse.
    ///
    /// # Errors
    /// When there is no such driver.
    pub fn stop_driver(&self, service: &str) -> Result<NtStatus, MachineError> {
        self.unload(service, true)
    }

    fn unload(&self, service: &str, mandatory: bool) -> Result<NtStatus, MachineError> {
        match self.link.ask(Request::UnloadDriver {
            service: service.to_owned(),
            mandatory,
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

    /// What memory is in use now. Other threads may be at it meanwhile.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn usage(&self) -> Result<Usage, MachineError> {
        match self.link.ask(Request::Usage)? {
            Reply::Usage(usage) => Ok(usage),
            other => Err(protocol("Usage", &other)),
        }
    }

    /// The names of the communication ports that filters offer now, in alphabetical order.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn ports(&self) -> Result<Vec<String>, MachineError> {
        match self.link.ask(Request::Ports)? {
            Reply::Names(names) => Ok(names),
            other => Err(protocol("Ports", &other)),
        }
    }

    /// The names of the filters that are registered now, in alphabetical order.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn filters(&self) -> Result<Vec<String>, MachineError> {
        match self.link.ask(Request::Filters)? {
            Reply::Names(names) => Ok(names),
            other => Err(protocol("Filters", &other)),
        }
    }

    /// These threads are about to make calls at the same time. Under a seeded schedule ([`MachineConfig::schedule`]) nothing of the machine
    /// goes on while one of them is between two calls, so that how quick their callers are changes nothing; each says by
    /// [`Thread::leave_together`] that it makes no more. Without such a schedule this does nothing.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn schedule_together(&self, threads: &[Thread]) -> Result<(), MachineError> {
        let threads = threads.iter().map(|thread| thread.info.thread).collect();
        self.link.done(Request::Together { threads })
    }

    /// Has the machine itself do something, load or unload a driver, on behalf of a thread that makes calls together with others
    /// ([`schedule_together`](Self::schedule_together)). Under a seeded schedule the others go on meanwhile, and at which of their points
    /// it begins and ends is the seed's choice alone.
    ///
    /// # Errors
    /// As `act`; or when the machine is dead.
    pub fn on_behalf_of<T>(
        &self,
        thread: &Thread,
        act: impl FnOnce(&Self) -> Result<T, MachineError>,
    ) -> Result<T, MachineError> {
        // Until the system thread has what it is to do nobody has a turn; then it takes the place of the one that waits for it.
        self.change_places(thread.info.thread, SYSTEM_THREAD)?;
        let done = act(self);
        self.change_places(SYSTEM_THREAD, thread.info.thread)?;
        done
    }

    fn change_places(&self, from: u32, to: u32) -> Result<(), MachineError> {
        self.link.done(Request::Together { threads: vec![to] })?;
        self.link.done(Request::Leave { thread: from })
    }

    /// Replaces the fault rules; their counts start afresh.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn set_faults(&self, rules: Vec<FaultRule>) -> Result<(), MachineError> {
        self.link.done(Request::SetFaults(rules))
    }

    /// What happens to the device of a local volume: its filters are told (`IRP_MJ_PNP`), and lose their instances when it is gone.
    ///
    /// # Errors
    /// When the machine dies of it, or has no such volume. A refusal is no error but a status.
    pub fn plug_and_play(&self, device: &str, what: PlugAndPlay) -> Result<NtStatus, MachineError> {
        let device = device.to_owned();
        match self.link.ask(Request::PlugAndPlay { device, what })? {
            Reply::Completion(done) => Ok(done.status),
            other => Err(protocol("PlugAndPlay", &other)),
        }
    }

    /// Ends the machine and takes its report. Drivers still loaded are told that the machine is shut down (`IRP_MJ_SHUTDOWN`), and not
    /// unloaded.
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

    /// `NtCreateTransaction`; the handle is in the answer, for [`CreateFile::transaction`]. Closing it without a commit
    /// rolls the transaction back.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn create_transaction(&self) -> Result<Completion, MachineError> {
        self.call(SystemCall::CreateTransaction)
    }

    /// `NtCommitTransaction`, or `NtRollbackTransaction`.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn end_transaction(&self, handle: u64, commit: bool) -> Result<Completion, MachineError> {
        self.call(SystemCall::EndTransaction { handle, commit })
    }

    /// `NtOpenProcess`: a handle to the process with that id, and (as information) the access that it has.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn open_process(&self, pid: u64, access: u32) -> Result<Completion, MachineError> {
        self.call(SystemCall::OpenProcess { pid, access })
    }

    /// What a program does to a registry key.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn registry(&self, key: &str, act: RegistryAct) -> Result<Completion, MachineError> {
        let key = key.to_owned();
        self.call(SystemCall::Registry(RegistryCall { key, act }))
    }

    /// Attaches an instance of a filter, or detaches one, as a program does.
    ///
    /// # Errors
    /// When the machine dies of it. A filter's refusal is no error but a status.
    pub fn instance(&self, call: InstanceCall) -> Result<Completion, MachineError> {
        self.call(SystemCall::Instance(call))
    }

    /// `NtCancelSynchronousIoFile`: cancels what the thread `of` is waiting for.
    ///
    /// # Errors
    /// When the machine dies of it.
    pub fn cancel_io(&self, of: &Self) -> Result<Completion, MachineError> {
        self.call(SystemCall::CancelIo { tid: of.info.tid })
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

    /// Makes no more calls together with others ([`Machine::schedule_together`]).
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn leave_together(&self) -> Result<(), MachineError> {
        self.link.done(Request::Leave {
            thread: self.info.thread,
        })
    }

    /// Starts a process (`NtCreateUserProcess`); gives its first thread.
    ///
    /// # Errors
    /// [`Refusal::Process`](crate::wire::Refusal::Process) where a driver does not let it be created.
    pub fn start_process(&self, spec: ProcessSpec) -> Result<Self, MachineError> {
        match self.link.ask(Request::StartProcess {
            thread: self.info.thread,
            spec,
        })? {
            Reply::Thread(info) => Ok(Self {
                link: Arc::clone(&self.link),
                info,
            }),
            other => Err(protocol("StartProcess", &other)),
        }
    }

    /// Ends the thread, and its process with the last one: what that has open is closed.
    ///
    /// # Errors
    /// When the machine is dead.
    pub fn end(self) -> Result<(), MachineError> {
        self.link.done(Request::EndThread {
            thread: self.info.thread,
        })
    }
}
