//! What a program does with a port: connect, send, get a message, reply, close. Each runs in its thread's system call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::queue::{PortMessage, Queue};
use super::{Client, Server, read, write};
use crate::fltmgr::callback::{self, About};
use crate::fltmgr::frames::frames;
use crate::fltmgr::objects::{self, Rundown};
use crate::ntos::driver::status_of;
use crate::ntos::memory::Guest;
use crate::ntos::pool;
use crate::stack::Frame;
use crate::status::NtStatus;
use crate::user::{UserBuffer, probe_for_read, probe_for_write};
use crate::{cost, stack, thread, trace, verifier};

const TAG: u32 = u32::from_le_bytes(*b"FMcc");

/// What a control code passes on its way to the Filter Manager; looked up once, since fuzzers come by the million.
static CONTROL: LazyLock<[Frame; 3]> = LazyLock::new(|| {
    frames([
        "nt!NtDeviceIoControlFile",
        "nt!IopXxxControlFile",
        "fltmgr!FltpMsgDispatch",
    ])
});

/// Calls a routine of the port's filter.
fn call(server: &Server, phase: &'static str, routine: usize, arguments: &[u64]) -> u64 {
    if trace::quiet() {
        return callback::call_unseen(&server.filter.service, phase, routine, arguments);
    }
    let about = About {
        filter: &server.filter.service,
        phase,
        operation: "",
        path: server.name.clone(),
    };
    callback::call(about, routine, arguments)
}

/// `FilterConnectCommunicationPort`. The context was captured as the I/O manager captures it.
pub(crate) fn connect(name: &str, context: &[u8]) -> Result<u64, NtStatus> {
    stack::with_frames(cost::chain("create"), || {
        stack::with_frames(&frames(["fltmgr!FltpMsgDispatch"]), || {
            let size = u16::try_from(context.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?;
            let client = enter(name)?;
            let status = ask(&client, context, size);
            if status.is_success() {
                client.established.store(true, Ordering::Release);
            }
            client.rundown.leave();
            if status.is_success() {
                return Ok(client.handle);
            }
            sever(&client);
            write().clients.remove(&client.address);
            Err(status)
        })
    })
}

/// Finds the port and takes one of its connections.
fn enter(name: &str) -> Result<Arc<Client>, NtStatus> {
    if !name.starts_with('\\') {
        return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
    }
    let mut ports = write();
    let server = ports
        .servers
        .values()
        .find(|server| server.is_called(name))
        .cloned()
        .ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    if !server.dacl.allows_connection() {
        return Err(NtStatus::ACCESS_DENIED);
    }
    if server.connections.load(Ordering::Acquire) >= server.most {
        return Err(NtStatus::CONNECTION_COUNT_LIMIT);
    }
    server.connections.fetch_add(1, Ordering::AcqRel);
    ports.last_handle += 4;
    let client = Arc::new(Client {
        handle: ports.last_handle,
        pid: thread::current().pid(),
        address: objects::opaque(),
        server,
        cookie: AtomicUsize::new(0),
        established: AtomicBool::new(false),
        rundown: Rundown::default(),
        ending: Rundown::default(),
        queue: Queue::default(),
    });
    client.rundown.enter();
    client.ending.enter();
    ports.handles.insert(client.handle, Arc::clone(&client));
    ports.clients.insert(client.address, Arc::clone(&client));
    Ok(client)
}

/// Asks the filter whether it wants the connection.
fn ask(client: &Client, context: &[u8], size: u16) -> NtStatus {
    let server = &client.server;
    let block = if context.is_empty() {
        0
    } else {
        let Some(block) = pool::lend(context.len(), TAG, false) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        Guest::<u8>::at(block).write_many(context);
        block
    };
    let mut cookie: usize = 0;
    let slot = (&raw mut cookie).expose_provenance();
    let arguments = [
        client.address as u64,
        server.cookie as u64,
        block as u64,
        u64::from(size),
        slot as u64,
    ];
    let status = status_of(call(server, "connect", server.connect, &arguments));
    client
        .cookie
        .store(Guest::<usize>::at(slot).read(), Ordering::Release);
    if block != 0 {
        pool::free(block, None);
    }
    status
}

/// Ends a connection: no callbacks any more, everybody who waits is told, then the filter is. Returns when the filter has been told,
/// whoever tells it.
pub(super) fn sever(client: &Arc<Client>) {
    if write().handles.remove(&client.handle).is_none() {
        client.ending.close();
        client.ending.wait();
        return;
    }
    client.queue.disconnect();
    client.rundown.close();
    client.rundown.wait();
    let server = &client.server;
    if client.established.load(Ordering::Acquire) {
        let cookie = client.cookie.load(Ordering::Acquire) as u64;
        call(server, "disconnect", server.disconnect, &[cookie]);
    }
    server.connections.fetch_sub(1, Ordering::AcqRel);
    client.ending.leave();
}

fn of_process(pid: u64) -> Vec<Arc<Client>> {
    let ports = read();
    let theirs = |client: &&Arc<Client>| client.pid == pid;
    ports.handles.values().filter(theirs).cloned().collect()
}

/// A process is ended: whoever of it waits for a message waits no more.
pub(crate) fn wake_process(pid: u64) {
    for client in of_process(pid) {
        client.queue.disconnect();
    }
}

/// A process's handles are closed: its connections end, and their filters are told.
pub(crate) fn close_all(pid: u64) {
    for client in of_process(pid) {
        sever(&client);
    }
}

fn of_handle(port: u64) -> Result<Arc<Client>, NtStatus> {
    read()
        .handles
        .get(&port)
        .cloned()
        .ok_or(NtStatus::INVALID_HANDLE)
}

/// `FilterSendMessage`: the filter's message callback in this thread, with the program's own addresses. Gives the status
/// and `ReturnOutputBufferLength`.
pub(crate) fn send(port: u64, input: UserBuffer, output: UserBuffer) -> (NtStatus, u32) {
    let client = match of_handle(port) {
        Ok(client) => client,
        Err(status) => return (status, 0),
    };
    stack::with_frames(&*CONTROL, || {
        if client.queue.disconnected() || !client.rundown.enter() {
            return (NtStatus::PORT_DISCONNECTED, 0);
        }
        let answer = message(&client, input, output);
        client.rundown.leave();
        answer
    })
}

fn as_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn message(client: &Client, input: UserBuffer, output: UserBuffer) -> (NtStatus, u32) {
    let server = &client.server;
    if server.message == 0 {
        return (NtStatus::INVALID_DEVICE_REQUEST, 0);
    }
    // A length without a buffer counts for nothing. Alignment is the filter's affair.
    let given = |buffer: UserBuffer| {
        if buffer.address == 0 {
            (0, 0)
        } else {
            (buffer.address, u64::from(buffer.length))
        }
    };
    let (input, output) = (given(input), given(output));
    let probed = if input.0 == 0 {
        Ok(())
    } else {
        probe_for_read(as_usize(input.0), as_usize(input.1), 1)
    }
    .and_then(|()| {
        if output.0 == 0 {
            Ok(())
        } else {
            probe_for_write(as_usize(output.0), as_usize(output.1), 1)
        }
    });
    if let Err(status) = probed {
        return (status, 0);
    }
    let mut returned: u32 = 0;
    let slot = (&raw mut returned).expose_provenance();
    let cookie = client.cookie.load(Ordering::Acquire) as u64;
    let arguments = [cookie, input.0, input.1, output.0, output.1, slot as u64];
    let status = status_of(call(server, "message", server.message, &arguments));
    let returned: u32 = Guest::at(slot).read();
    let _blame = verifier::blame_routine(server.message);
    if u64::from(returned) > output.1 {
        verifier::finding(
            "port-output-length",
            format!(
                "the message callback of {} says that it wrote {returned} bytes into a buffer of {}",
                server.filter.service, output.1
            ),
        );
    }
    if status == NtStatus::PENDING {
        verifier::finding(
            "port-message-pending",
            format!(
                "the message callback of {} returned STATUS_PENDING, which a message cannot be",
                server.filter.service
            ),
        );
    }
    (status, returned)
}

/// `FilterGetMessage`: waits for the filter's `FltSendMessage`.
pub(crate) fn get(
    port: u64,
    capacity: u32,
    limit: Option<Duration>,
) -> Result<PortMessage, NtStatus> {
    let client = of_handle(port)?;
    stack::with_frames(&*CONTROL, || client.queue.get(capacity, limit))
}

/// `FilterReplyMessage`.
pub(crate) fn reply(port: u64, message_id: u64, status: NtStatus, body: &[u8]) -> NtStatus {
    match of_handle(port) {
        Ok(client) => {
            stack::with_frames(&*CONTROL, || client.queue.reply(message_id, status, body))
        }
        Err(status) => status,
    }
}

/// `CloseHandle` on a client port.
pub(crate) fn disconnect(port: u64) -> NtStatus {
    match of_handle(port) {
        Ok(client) => stack::with_frames(&frames(["fltmgr!FltpMsgDispatch"]), || {
            sever(&client);
            NtStatus::SUCCESS
        }),
        Err(status) => status,
    }
}
