//! The process in the background: boots the machine, and serves whoever connects.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ntbench::wire::{BugCheckReport, ThreadSpec};
use ntbench::{Machine, MachineError as BenchError, Port, Thread};
use protocol::port::PORT_NAME;

use super::wire::{self, Answer, Ask, Standing, Unloaded};
use super::{MachineError, Options, Place, start, traffic};
use crate::backend::Call;
use crate::backend::bench::{SERVICE, make};

/// The longest that one wait for a message takes, so that a client which has gone is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// STATUS_TIMEOUT: a success code, and no message.
const TIMEOUT: u32 = 0x102;

/// What the connections share.
struct Server {
    machine: Machine,
    standing: Standing,
    place: Place,
    /// Numbers the connections' processes.
    processes: AtomicU32,
    /// Held while the machine is ended: only one can do that.
    ending: Mutex<()>,
    /// The driver was unloaded, and the machine ends.
    over: AtomicBool,
}

/// Boots a machine and serves it until it is unloaded; says on standard output whether it came up.
///
/// # Errors
/// [`MachineError`]: it did not, and standard output has said so.
pub fn serve(options: &Options) -> Result<(), MachineError> {
    let up = come_up(options);
    let word = match &up {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let mut said = serde_json::to_vec(&word).unwrap_or_default();
    said.push(b'\n');
    // Whoever started this may have lost patience; the machine is up all the same.
    let _ = std::io::stdout().write_all(&said);
    let (listener, server, _lock) = up?;
    let server = Arc::new(server);
    if options.traffic > 0 {
        traffic::start(&server.machine, options.traffic, &options.share);
    }
    if let Some(seconds) = options.lifetime_seconds {
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            server.end();
        });
    }
    for stream in listener.incoming().flatten() {
        let server = Arc::clone(&server);
        std::thread::spawn(move || Session::new(&server).run(stream));
    }
    Ok(())
}

fn come_up(options: &Options) -> Result<(UnixListener, Server, fs::File), MachineError> {
    // A session of its own: closing the terminal that started it does not end it.
    let _ = rustix::process::setsid();
    let place = Place::at(&options.place);
    place.prepare()?;
    let lock = place
        .lock()?
        .ok_or(MachineError::Taken(options.place.clone()))?;
    let machine = start::boot(options)?;
    // Nobody serves it: the lock is ours.
    let socket = place.socket();
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(MachineError::files("removing", socket)(error));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&socket).map_err(MachineError::files("listening on", &socket))?;
    let server = Server {
        machine,
        standing: Standing {
            pid: std::process::id(),
            driver: options.driver.clone(),
            share: (start::share_root(), options.share.clone()),
            volume: (format!("{}:", super::VOLUME.1), place.volume()),
            since: SystemTime::now(),
            traffic: options.traffic,
        },
        place,
        processes: AtomicU32::new(1),
        ending: Mutex::new(()),
        over: AtomicBool::new(false),
    };
    Ok((listener, server, lock))
}

impl Server {
    /// Unloads the driver and ends the machine. `Err`: the driver's refusal.
    fn unload(&self) -> Result<Unloaded, Answer> {
        let _ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        match self.machine.unload_driver(SERVICE) {
            Ok(status) if !status.is_success() => return Err(Answer::Stays(status.to_string())),
            Ok(_) => {}
            Err(error) => return ended_by(error),
        }
        self.over.store(true, Ordering::Release);
        match self.machine.clone().shutdown() {
            Ok(report) => Ok(Unloaded {
                findings: report.findings.iter().map(ToString::to_string).collect(),
                bug_check: None,
            }),
            Err(error) => ended_by(error),
        }
    }

    /// Ends the process.
    fn end(&self) -> ! {
        let _ = fs::remove_file(self.place.socket());
        // Dropped, the machine's process is ended; here nothing is dropped any more.
        let _ = self.machine.clone().shutdown();
        std::process::exit(0)
    }
}

/// What is to be told of a machine that an error has ended.
fn ended_by(error: BenchError) -> Result<Unloaded, Answer> {
    match error {
        BenchError::BugCheck(report) => Ok(Unloaded {
            findings: report.findings.iter().map(ToString::to_string).collect(),
            bug_check: Some(Box::new(told(*report))),
        }),
        // It is gone, whatever was the matter: there is nothing left to unload.
        other => Ok(Unloaded {
            findings: vec![other.to_string()],
            bug_check: None,
        }),
    }
}

/// A report without its trace, which is long and not shown.
fn told(report: BugCheckReport) -> BugCheckReport {
    BugCheckReport {
        trace: ntbench::wire::Trace::default(),
        ..report
    }
}

/// A connection, and what the simulated process behind it has.
struct Session<'s> {
    server: &'s Server,
    process: u32,
    threads: Vec<Thread>,
    open: HashSet<(usize, u64)>,
    port: Option<Port>,
}

impl<'s> Session<'s> {
    fn new(server: &'s Server) -> Self {
        Self {
            server,
            process: server.processes.fetch_add(1, Ordering::Relaxed),
            threads: Vec::new(),
            open: HashSet::new(),
            port: None,
        }
    }

    fn run(mut self, mut stream: UnixStream) {
        while let Ok(Some((ask, bytes))) = wire::read::<Ask>(&mut stream) {
            let last = matches!(ask, Ask::Unload);
            let answered = self.answer(ask, &bytes);
            // For whoever asks while the machine ends its end is no failure: their connection is over, as everybody else's.
            if answered.is_err() && self.server.over.load(Ordering::Acquire) {
                break;
            }
            let (answer, bytes) = answered.unwrap_or_else(failed);
            let over = last && matches!(answer, Answer::Unloaded(_));
            if over {
                // Before it is said that it is over: nobody is to find this socket any more.
                let _ = fs::remove_file(self.server.place.socket());
            }
            let written = wire::write(&mut stream, &answer, &bytes);
            if over {
                self.server.end();
            }
            if written.is_err() {
                break;
            }
        }
        self.exit();
    }

    /// What Windows does when a process ends.
    fn exit(self) {
        if let Some(port) = self.port {
            let _ = port.close();
        }
        for (thread, handle) in self.open {
            if let Some(thread) = self.threads.get(thread) {
                let _ = thread.close(handle);
            }
        }
        for thread in self.threads {
            let _ = thread.end();
        }
    }

    fn answer(&mut self, ask: Ask, bytes: &[u8]) -> Result<(Answer, Vec<u8>), BenchError> {
        let answer = match ask {
            Ask::Standing => {
                // Whether it still lives.
                self.server.machine.modules()?;
                Answer::Standing(Box::new(self.server.standing.clone()))
            }
            Ask::Connect => self.connect(bytes)?,
            Ask::Send { room } => {
                let Some(port) = &self.port else {
                    return Ok(no_port());
                };
                let (status, reply) = port.send(bytes, room)?;
                return Ok(replied(status, reply));
            }
            Ask::Next { room, limit_ms } => {
                let Some(port) = &self.port else {
                    return Ok(no_port());
                };
                let limit = Duration::from_millis(limit_ms).min(LONGEST_WAIT);
                let answer = port.get_message(room, Some(limit))?;
                return Ok(replied(answer.status, answer.bytes));
            }
            Ask::Thread(spec) => self.thread(spec)?,
            Ask::Call { thread, call } => self.call(thread, &call)?,
            Ask::Trace => Answer::Trace(Box::new(self.server.machine.trace()?)),
            Ask::Unload => match self.server.unload() {
                Ok(unloaded) => Answer::Unloaded(Box::new(unloaded)),
                Err(refusal) => refusal,
            },
        };
        Ok((answer, Vec::new()))
    }

    fn connect(&mut self, context: &[u8]) -> Result<Answer, BenchError> {
        let thread = self.server.machine.thread(ThreadSpec {
            process_image: "headroom.exe".to_owned(),
            process: self.process,
            stack: ntbench::wire::StackKind::Ordinary,
        })?;
        let answer = match thread.connect_port(PORT_NAME, context)? {
            Ok(port) => {
                self.port = Some(port);
                Answer::Done
            }
            Err(refused) => Answer::Status(refused.0.cast_unsigned()),
        };
        self.threads.push(thread);
        Ok(answer)
    }

    fn thread(&mut self, spec: ThreadSpec) -> Result<Answer, BenchError> {
        let process = self.process;
        let thread = self.server.machine.thread(ThreadSpec { process, ..spec })?;
        self.threads.push(thread);
        Ok(Answer::Thread(self.threads.len() - 1))
    }

    fn call(&mut self, number: usize, call: &Call) -> Result<Answer, BenchError> {
        let Some(thread) = self.threads.get(number) else {
            return Ok(Answer::Failed(format!("there is no thread {number}")));
        };
        let returned = make(thread, call)?;
        if returned.handle != 0 {
            self.open.insert((number, returned.handle));
        }
        if let Call::Close { handle } = call
            && returned.status.is_success()
        {
            self.open.retain(|(_, known)| known != handle);
        }
        Ok(Answer::Returned(returned))
    }
}

fn no_port() -> (Answer, Vec<u8>) {
    let why = "this connection is not connected to the port";
    (Answer::Failed(why.to_owned()), Vec::new())
}

fn replied(status: ntbench::NtStatus, bytes: Vec<u8>) -> (Answer, Vec<u8>) {
    match status.0.cast_unsigned() {
        TIMEOUT => (Answer::Nothing, Vec::new()),
        _ if status.is_success() => (Answer::Done, bytes),
        status => (Answer::Status(status), Vec::new()),
    }
}

fn failed(error: BenchError) -> (Answer, Vec<u8>) {
    let answer = match error {
        BenchError::BugCheck(report) => Answer::BugCheck(Box::new(told(*report))),
        other => Answer::Failed(other.to_string()),
    };
    (answer, Vec::new())
}
