//! The machine's process: its main loop, its threads, its images.

mod buffers;
mod fuzz;
mod lives;
mod measure;
mod modules;
mod ports;
mod requests;
mod worker;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::cpu::{fault, shared_data};
use crate::wire::{Envelope, Message, Reply};

pub(crate) use fuzz::sending;
pub(crate) use lives::terminate;
pub(crate) use modules::{all as modules, in_code, in_image, module_at, unloaded_at};
pub(crate) use requests::{Load, load_installed, unload_filter, unload_later};

/// The machine's exit status when the bench itself failed.
const HOST_FAULT_STATUS: i32 = 70;

static CLIENT: OnceLock<Mutex<UnixStream>> = OnceLock::new();

/// Runs the machine that this process is: its standard input is the socket to whoever asks.
pub(crate) fn run() -> ! {
    std::panic::set_hook(Box::new(|info| host_fault(&info.to_string())));
    let stream = match connect() {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!(
                "ntbench: this process was started as a simulated machine, but without its socket: {error}"
            );
            exit(HOST_FAULT_STATUS)
        }
    };
    return_what_is_freed();
    if let Err(error) = fault::install() {
        host_fault(&format!("signal handlers: {error}"));
    }
    if let Err(error) = shared_data::install() {
        host_fault(&format!("KUSER_SHARED_DATA: {error}"));
    }
    for line in BufReader::new(stream).lines() {
        // A client that is gone needs no machine.
        let Ok(line) = line else { break };
        match serde_json::from_str::<Envelope>(&line) {
            Ok(Envelope { id, request }) => requests::dispatch(id, request),
            Err(error) => host_fault(&format!("a request that makes no sense ({error}): {line}")),
        }
    }
    exit(0)
}

/// The size from which a block is mapped by itself, and what may stay free at the end of a heap: above the buffers that come and go, far below a trace.
const LARGE: i32 = 2 << 20;

/// Has large blocks mapped and unmapped one by one. By default glibc learns to keep what was freed, up to 64 MB for each thread that allocates, and
/// the process's size, which `usage` tells, would say little of what the machine holds.
fn return_what_is_freed() {
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: both take a number of bytes; setting one ends the learning.
        unsafe { libc::mallopt(parameter, LARGE) };
    }
}

fn connect() -> std::io::Result<UnixStream> {
    // SAFETY: whoever starts a machine gives it the socket as standard input, and nothing else here reads that.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::STDIN_FILENO) };
    let stream = UnixStream::from(socket);
    stream.local_addr()?;
    let writer = UnixStream::from(stream.as_fd().try_clone_to_owned()?);
    let _ = CLIENT.set(Mutex::new(writer));
    Ok(stream)
}

/// Tells the client something.
pub(crate) fn send(message: &Message) {
    let Some(client) = CLIENT.get() else { return };
    let Ok(mut line) = serde_json::to_vec(message) else {
        return;
    };
    line.push(b'\n');
    // A client that is gone learns nothing; the main loop ends then.
    let _ = client
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(&line);
}

/// Answers a request.
fn reply(id: u64, reply: Reply) {
    send(&Message::Reply { id, reply });
}

/// Ends the machine because the bench itself failed. No verdict on any driver.
pub(crate) fn host_fault(text: &str) -> ! {
    let on = crate::thread::try_current().map_or_else(String::new, |thread| {
        let site = crate::gate::call_site();
        let site = site.map_or_else(String::new, |site| {
            format!(
                ", in {} called from {}",
                site.import,
                crate::symbols::describe_call(site.return_address)
            )
        });
        format!(" (thread {:#x}{site})", thread.tid)
    });
    send(&Message::HostFault(format!("{text}{on}")));
    exit(HOST_FAULT_STATUS)
}

/// Ends the process at once: drivers' frames are abandoned, nothing of theirs may run any more.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: ending the process has no preconditions.
    unsafe { libc::_exit(status) }
}
