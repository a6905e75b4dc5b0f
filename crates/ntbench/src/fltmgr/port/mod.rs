//! Communication ports: how programs talk to a filter.
//!
//! A filter makes a server port with a name and a security descriptor; a program's connection to it is a client port,
//! which the filter knows by a pointer and the program by a handle. The server port, the handle and the filter's hold on
//! the client port end apart from each other:
//!
//! * Closing the server port refuses new connections and leaves those that there are.
//! * Closing the handle, or unregistering the filter, ends a connection: calls of the message callback end first, then the
//!   disconnect callback is called, once.
//! * The filter's hold ends with `FltCloseClientPort`, which belongs into the disconnect callback.
//!
//! What the documentation leaves open: a message longer than a client's buffer stays in the queue and the client is told
//! `STATUS_BUFFER_TOO_SMALL`; of a reply longer than the driver's buffer what fits arrives, and both are told
//! `STATUS_BUFFER_OVERFLOW`. The frames that the I/O manager and the Filter Manager put below a port's callbacks
//! are assumed.

mod client;
mod queue;
mod security;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

pub(crate) use client::{close_all, connect, disconnect, get, reply, send, wake_process};

use super::objects::{self, Filter, FilterState, Rundown};
use crate::abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::export::Export;
use crate::ntos::memory::Guest;
use crate::ntos::{irql, time};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults};
use queue::Queue;
use security::Dacl;

/// A port that programs connect to.
struct Server {
    /// The `PFLT_PORT`.
    address: usize,
    /// Where it was made.
    site: usize,
    name: String,
    case_insensitive: bool,
    filter: Arc<Filter>,
    dacl: Dacl,
    cookie: usize,
    connect: usize,
    disconnect: usize,
    message: usize,
    /// How many connections there may be.
    most: usize,
    connections: AtomicUsize,
}

/// A connection to it.
struct Client {
    /// What the program knows it by.
    handle: u64,
    /// The program's process.
    pid: u64,
    /// The `PFLT_PORT`.
    address: usize,
    server: Arc<Server>,
    /// What the connect callback gave for it.
    cookie: AtomicUsize,
    /// Whether the connect callback let it be.
    established: AtomicBool,
    /// Callbacks that are running for it.
    rundown: Rundown,
    /// Held from the beginning until the filter has been told of the end.
    ending: Rundown,
    queue: Queue,
}

#[derive(Default)]
struct Ports {
    servers: HashMap<usize, Arc<Server>>,
    /// By the program's handle, while that is open.
    handles: HashMap<u64, Arc<Client>>,
    /// By the filter's pointer, until it has closed it.
    clients: HashMap<usize, Arc<Client>>,
    last_handle: u64,
}

static PORTS: LazyLock<RwLock<Ports>> = LazyLock::new(RwLock::default);

fn read() -> std::sync::RwLockReadGuard<'static, Ports> {
    PORTS.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> std::sync::RwLockWriteGuard<'static, Ports> {
    PORTS.write().unwrap_or_else(PoisonError::into_inner)
}

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 2] {
    [exports(), security::exports()]
}

/// The names of the ports that programs can connect to.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = read()
        .servers
        .values()
        .map(|server| server.name.clone())
        .collect();
    names.sort();
    names
}

/// A filter is being unregistered: its connections end.
pub(super) fn filter_goes(filter: &Arc<Filter>) {
    let mine = |server: &Server| Arc::ptr_eq(&server.filter, filter);
    let open: Vec<(String, usize)> = {
        let mut ports = write();
        let gone = ports.servers.extract_if(|_, server| mine(server));
        gone.map(|(_, server)| (server.name.clone(), server.site))
            .collect()
    };
    for (name, site) in open {
        verifier::finding_at(
            "server-port-open-at-unregister",
            site,
            format!(
                "{} called FltUnregisterFilter with its server port {name} open, which makes the unload hang",
                filter.service
            ),
        );
    }
    // Those whose programs are just closing them among them: the filter stays until it has been told.
    let mut connected: Vec<Arc<Client>> = {
        let ports = read();
        let clients = ports.handles.values().chain(ports.clients.values());
        let clients = clients.filter(|client| mine(&client.server));
        clients.cloned().collect()
    };
    // In the order in which they came, whatever the maps' is: a schedule has to be the same again.
    connected.sort_by_key(|client| client.handle);
    for client in connected {
        client::sever(&client);
    }
    // What the filter has let in, and nothing else, is its own to close.
    let its_own = |client: &Client| client.established.load(Ordering::Acquire);
    for client in forgotten(|client| mine(&client.server) && its_own(client)) {
        verifier::finding_at(
            "fltmgr-leak",
            client.server.site,
            format!(
                "{} called FltUnregisterFilter with a client port of {} left open; call FltCloseClientPort in the \
                 disconnect callback",
                filter.service, client.server.name
            ),
        );
    }
}

/// Takes away what client ports a filter did not close.
fn forgotten(mine: impl Fn(&Client) -> bool) -> Vec<Arc<Client>> {
    let mut ports = write();
    let gone = ports.clients.extract_if(|_, client| mine(client));
    gone.map(|(_, client)| client).collect()
}

/// What a driver that goes away has left of ports; it is taken away without a callback.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut left = security::leftovers(service);
    let mine = |filter: &Filter| filter.service == service;
    {
        let mut ports = write();
        for (_, server) in ports.servers.extract_if(|_, server| mine(&server.filter)) {
            let text = format!(
                "its server port {} is still open; call FltCloseCommunicationPort",
                server.name
            );
            left.push(Leak {
                text,
                site: server.site,
            });
        }
        for (_, client) in ports
            .handles
            .extract_if(|_, client| mine(&client.server.filter))
        {
            client.queue.disconnect();
        }
    }
    for client in forgotten(|client| mine(&client.server.filter)) {
        let text = format!(
            "a client port of {} is still open; call FltCloseClientPort",
            client.server.name
        );
        left.push(Leak {
            text,
            site: client.server.site,
        });
    }
    left
}

/// The client port in a variable of the driver's.
fn client_at(variable: Guest<usize>, function: &str) -> Arc<Client> {
    let address = variable.read();
    read().clients.get(&address).cloned().unwrap_or_else(|| {
        bugcheck::no_such(
            address,
            format!("{function} was given {address:#x}, which is no client port (any more)"),
        )
    })
}

/// The attributes and callbacks of a new server port.
struct New {
    attributes: Guest<ObjectAttributes>,
    cookie: usize,
    connect: usize,
    disconnect: usize,
    message: usize,
    most: i32,
}

fn create(filter: Arc<Filter>, new: &New) -> Result<usize, NtStatus> {
    let attributes = new
        .attributes
        .read_opt()
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    let most = usize::try_from(new.most).unwrap_or(0);
    if new.connect == 0 || new.disconnect == 0 || most == 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if attributes.length as usize != size_of::<ObjectAttributes>() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if attributes.attributes & OBJ_KERNEL_HANDLE == 0 {
        verifier::finding(
            "port-attributes",
            "FltCreateCommunicationPort without OBJ_KERNEL_HANDLE, which its documentation wants",
        );
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let name = Guest(attributes.object_name).text();
    if !name.starts_with('\\') || name.len() == 1 {
        return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
    }
    if name.matches('\\').count() > 1 {
        // Ports have no directories of their own.
        return Err(NtStatus::OBJECT_PATH_NOT_FOUND);
    }
    let dacl = Dacl::copy(attributes.security_descriptor as usize)?;
    if *filter.state.lock().unwrap_or_else(PoisonError::into_inner) == FilterState::Unregistered {
        return Err(NtStatus::FLT_DELETING_OBJECT);
    }
    let server = Arc::new(Server {
        address: objects::opaque(),
        site: verifier::here(),
        case_insensitive: attributes.attributes & OBJ_CASE_INSENSITIVE != 0,
        name,
        filter,
        dacl,
        cookie: new.cookie,
        connect: new.connect,
        disconnect: new.disconnect,
        message: new.message,
        most,
        connections: AtomicUsize::new(0),
    });
    let mut ports = write();
    if ports
        .servers
        .values()
        .any(|other| other.is_called(&server.name) || server.is_called(&other.name))
    {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    let address = server.address;
    ports.servers.insert(address, server);
    Ok(address)
}

impl Server {
    fn is_called(&self, name: &str) -> bool {
        if self.case_insensitive {
            self.name.to_lowercase() == name.to_lowercase()
        } else {
            self.name == name
        }
    }
}

/// How long a driver is ready to wait; `None`: for ever.
fn limit(timeout: Guest<i64>) -> Option<Duration> {
    let timeout = timeout.read_opt()?;
    let units = if timeout < 0 {
        timeout.unsigned_abs()
    } else {
        u64::try_from(timeout - time::system_time()).unwrap_or(0)
    };
    Some(Duration::from_nanos(units.saturating_mul(100)))
}

exports! { "fltmgr.sys";
    /// Makes a port that programs can connect to.
    fn FltCreateCommunicationPort(
        filter: usize,
        port: Guest<usize>,
        attributes: Guest<ObjectAttributes>,
        cookie: usize,
        connect: usize,
        disconnect: usize,
        message: usize,
        most: i32,
    ) -> NtStatus {
        irql::at_most("FltCreateCommunicationPort", PASSIVE_LEVEL);
        if let Some(status) = faults::check("FltCreateCommunicationPort") {
            return status;
        }
        let filter = objects::filter(filter, "FltCreateCommunicationPort");
        let new = New { attributes, cookie, connect, disconnect, message, most };
        match create(filter, &new) {
            Ok(address) => {
                port.write(address);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Closes it: nobody else can connect.
    fn FltCloseCommunicationPort(port: usize) {
        irql::at_most("FltCloseCommunicationPort", PASSIVE_LEVEL);
        if write().servers.remove(&port).is_none() {
            bugcheck::no_such(port, format!("FltCloseCommunicationPort was given {port:#x}, which is no server port (any more)"),
            );
        }
    }

    /// Gives a connection up and clears the driver's variable.
    fn FltCloseClientPort(filter: usize, port: Guest<usize>) {
        irql::at_most("FltCloseClientPort", PASSIVE_LEVEL);
        let _ = objects::filter(filter, "FltCloseClientPort");
        let client = client_at(port, "FltCloseClientPort");
        port.write(0);
        write().clients.remove(&client.address);
        client.queue.disconnect();
    }

    /// Sends a message to a client and waits until it is taken, and replied to where a reply is asked for.
    fn FltSendMessage(
        filter: usize,
        port: Guest<usize>,
        message: Guest<u8>,
        length: u32,
        reply: Guest<u8>,
        reply_length: Guest<u32>,
        timeout: Guest<i64>,
    ) -> NtStatus {
        irql::at_most("FltSendMessage", APC_LEVEL);
        let _ = objects::filter(filter, "FltSendMessage");
        let limit = limit(timeout);
        let room = if reply.is_null() {
            None
        } else if reply_length.is_null() {
            return NtStatus::INVALID_PARAMETER;
        } else {
            Some(reply_length.read())
        };
        if let Some(status) = faults::check("FltSendMessage") {
            return status;
        }
        // The variable is NULL once the client port is closed.
        if port.read() == 0 {
            return NtStatus::PORT_DISCONNECTED;
        }
        let client = client_at(port, "FltSendMessage");
        let body = message.read_many(length as usize);
        let (status, answer) = client.queue.send(body, room, limit);
        if room.is_some() {
            reply.write_many(&answer);
            reply_length.write(u32::try_from(answer.len()).unwrap_or(0));
        }
        status
    }
}
