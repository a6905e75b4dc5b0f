//! The line to a machine's process: requests out, replies to whoever waits for them, and what is left when it ends.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::DEFAULT_TIME_LIMIT;
use super::error::MachineError;
use crate::wire::{
    Envelope, FileCall, Finding, Message, PortCall, Reply, Request, StackListing, SystemCall,
};

/// What a machine is given to say why it ends: longer than it gives its own threads to say where they are.
const DEATH_GRACE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);

/// A machine, as everybody who holds a part of it shares it.
pub(super) struct Link {
    pub(super) sender: Mutex<UnixStream>,
    pub(super) shared: Arc<Shared>,
    pub(super) next_id: AtomicU64,
    /// How long an answer may take, in milliseconds.
    pub(super) limit_ms: AtomicU64,
}

/// What the thread that reads replies shares with those who wait for them.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) child: Option<Child>,
    waiting: HashMap<u64, SyncSender<Result<Reply, MachineError>>>,
    dead: Option<MachineError>,
    /// Somebody has lost patience: the end of the stream is no news.
    stopping: bool,
    closed: bool,
    stuck: Vec<StackListing>,
    found: Vec<Finding>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the first cause of death and tells everybody who waits.
    pub(super) fn die(&self, cause: MachineError) -> MachineError {
        let mut state = self.lock();
        let cause = state.dead.get_or_insert(cause).clone();
        for (_, waiter) in state.waiting.drain() {
            let _ = waiter.try_send(Err(cause.clone()));
        }
        cause
    }

    pub(super) fn reap(&self) -> Option<ExitStatus> {
        let mut child = self.lock().child.take()?;
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Link {
    pub(super) fn done(&self, request: Request) -> Result<(), MachineError> {
        let what = label(&request);
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(protocol(&what, &other)),
        }
    }

    pub(super) fn ask(&self, request: Request) -> Result<Reply, MachineError> {
        let what = label(&request);
        let limit = self.limit(&request);
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
        let answer = match limit {
            None => receiver.recv().map_err(RecvTimeoutError::from),
            Some(limit) => receiver.recv_timeout(limit),
        };
        match answer {
            Ok(Ok(Reply::Refused(refusal))) => Err(MachineError::Refused(refusal)),
            Ok(reply) => reply,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(self.stop(what)),
        }
    }

    fn usual_limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms.load(Ordering::Relaxed))
    }

    /// How long the answer to this may take; `None`: for ever.
    fn limit(&self, request: &Request) -> Option<Duration> {
        let usual = self.usual_limit();
        match request {
            // No driver is there yet whose time this could be: a short limit is not for the host's own work.
            Request::Boot(_) => Some(usual.max(DEFAULT_TIME_LIMIT)),
            // A program may wait for a filter's message for as long as none comes.
            Request::Port {
                call: PortCall::Get { limit_ms: None, .. },
                ..
            } => None,
            _ => Some(usual),
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
        let (stacks, findings) = {
            let mut state = self.shared.lock();
            (
                std::mem::take(&mut state.stuck),
                std::mem::take(&mut state.found),
            )
        };
        let cause = self.shared.die(MachineError::TimeLimit {
            request,
            limit: self.usual_limit(),
            stacks,
            findings,
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
pub(super) fn receive(shared: &Shared, stream: UnixStream) {
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
            Ok(Message::Found(findings)) => shared.lock().found = findings,
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

fn label(request: &Request) -> String {
    match request {
        Request::Boot(_) => "Boot".to_owned(),
        Request::LoadDriver(spec) => format!("LoadDriver({})", spec.image.display()),
        Request::UnloadDriver { service, mandatory } => {
            format!("UnloadDriver({service}, mandatory: {mandatory})")
        }
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
        Request::SystemCall {
            call: SystemCall::File(io),
            ..
        } => file_label(&io.call).to_owned(),
        Request::Port { call, .. } => port_label(call),
        other => format!("{other:?}"),
    }
}

fn file_label(call: &FileCall) -> &'static str {
    match call {
        FileCall::Read { .. } => "NtReadFile",
        FileCall::Write { .. } => "NtWriteFile",
        FileCall::QueryInformation { .. } => "NtQueryInformationFile",
        FileCall::SetInformation { .. } => "NtSetInformationFile",
        FileCall::QueryDirectory { .. } => "NtQueryDirectoryFile",
        FileCall::FsControl { .. } => "NtFsControlFile",
        FileCall::DeviceControl { .. } => "NtDeviceIoControlFile",
        FileCall::QueryVolume { .. } => "NtQueryVolumeInformationFile",
        FileCall::SetVolume { .. } => "NtSetVolumeInformationFile",
        FileCall::Flush => "NtFlushBuffersFile",
        FileCall::Lock { .. } => "NtLockFile",
        FileCall::Unlock { .. } => "NtUnlockFile",
        FileCall::QuerySecurity { .. } => "NtQuerySecurityObject",
        FileCall::SetSecurity { .. } => "NtSetSecurityObject",
        FileCall::QueryEa { .. } => "NtQueryEaFile",
        FileCall::SetEa { .. } => "NtSetEaFile",
        FileCall::QueryQuota { .. } => "NtQueryQuotaInformationFile",
        FileCall::SetQuota { .. } => "NtSetQuotaInformationFile",
        FileCall::MappedRead { .. } | FileCall::MappedWrite { .. } => "a mapped view",
        FileCall::MdlRead { .. } | FileCall::MdlWrite { .. } => "a file server's transfer",
        FileCall::NotifyDirectory { .. } => "NtNotifyChangeDirectoryFile",
        #[allow(unreachable_patterns, reason = "calls are added")]
        _ => "a call on an open file",
    }
}

fn port_label(call: &PortCall) -> String {
    match call {
        PortCall::Connect { name, .. } => format!("FilterConnectCommunicationPort({name})"),
        PortCall::Send(message) => format!("FilterSendMessage({} bytes)", message.input.len()),
        PortCall::Get { .. } => "FilterGetMessage".to_owned(),
        PortCall::Reply { .. } => "FilterReplyMessage".to_owned(),
        PortCall::Close { .. } => "CloseHandle(a port)".to_owned(),
        PortCall::Fuzz(fuzz) => format!(
            "{} fuzzed messages from {} on, seed {:#x}",
            fuzz.count, fuzz.first, fuzz.seed
        ),
    }
}

/// A reply that the request does not have.
pub(super) fn protocol(request: &str, reply: &Reply) -> MachineError {
    MachineError::Protocol {
        request: request.to_owned(),
        reply: format!("{reply:?}"),
    }
}
