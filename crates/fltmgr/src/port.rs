//! A communication port: how programs talk to a filter.

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use fltmgr_sys::{
    FLT_FILTER, FLT_PORT, FLT_PORT_ALL_ACCESS, FltBuildDefaultSecurityDescriptor,
    FltCloseClientPort, FltCloseCommunicationPort, FltCreateCommunicationPort,
    FltFreeSecurityDescriptor, FltSendMessage, PFLT_PORT,
};
use wdk_sys::{
    _EVENT_TYPE, _KWAIT_REASON, KEVENT, LARGE_INTEGER, NTSTATUS, OBJ_CASE_INSENSITIVE,
    OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, PVOID, STATUS_SUCCESS,
    ntddk::{KeInitializeEvent, KeSetEvent, KeWaitForSingleObject},
};

use crate::{
    FilterRef, NtStatus, UnicodeStr,
    filter::keep_frame,
    irql,
    user::{UserInput, UserOutput},
};

/// What a filter answers at its port. All of it at `PASSIVE_LEVEL`, in the client's thread.
pub trait PortService: 'static {
    /// The port's name, from the root of the object manager's name space.
    const NAME: &'static [u16];

    /// The connections, for as many clients as there may be at one time.
    fn clients() -> &'static Clients;

    /// A client connects, and says `context`.
    ///
    /// # Errors
    ///
    /// What the client's connect returns.
    fn connect(context: UserInput<'_>) -> Result<(), NtStatus>;

    /// A client sends a message. Returns how many bytes were written to `output`.
    ///
    /// # Errors
    ///
    /// What the client's send returns.
    fn message(
        filter: FilterRef<'_>,
        input: UserInput<'_>,
        output: UserOutput<'_>,
    ) -> Result<usize, NtStatus>;
}

/// A server port; dropped, it is closed: no client connects any more, and those that are connected stay until the filter
/// is unregistered.
pub struct Port<S: PortService> {
    port: NonNull<FLT_PORT>,
    service: PhantomData<S>,
}

// SAFETY: a port can be closed from any thread.
unsafe impl<S: PortService> Send for Port<S> {}

impl<S: PortService> Port<S> {
    /// Opens the port to administrators and the system, nobody else. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// What the Filter Manager returned.
    pub fn open(filter: FilterRef<'_>) -> Result<Self, NtStatus> {
        irql::at_most(irql::PASSIVE_LEVEL);
        let name = UnicodeStr::new(S::NAME)?;
        let mut descriptor = ptr::null_mut();
        // SAFETY: the first argument is a writable local.
        let status =
            unsafe { FltBuildDefaultSecurityDescriptor(&raw mut descriptor, FLT_PORT_ALL_ACCESS) };
        NtStatus::check(status)?;
        let mut attributes = OBJECT_ATTRIBUTES {
            #[expect(clippy::cast_possible_truncation, reason = "48")]
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: ptr::null_mut(),
            ObjectName: name.as_raw(),
            Attributes: OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE,
            SecurityDescriptor: descriptor,
            SecurityQualityOfService: ptr::null_mut(),
        };
        let mut port = ptr::null_mut();
        // SAFETY: the filter is registered; every pointer is to a local; the callbacks are those of this type, and the
        // cookie of the server port is the filter.
        let status = unsafe {
            FltCreateCommunicationPort(
                filter.0,
                &raw mut port,
                &raw mut attributes,
                filter.0.cast(),
                Some(connect::<S>),
                Some(disconnect),
                Some(message::<S>),
                S::clients().most(),
            )
        };
        // SAFETY: built above, and freed once: the port has its own copy.
        unsafe { FltFreeSecurityDescriptor(descriptor) };
        NtStatus::check(status)?;
        NonNull::new(port)
            .map(|port| Self {
                port,
                service: PhantomData,
            })
            .ok_or(NtStatus::INVALID_PARAMETER)
    }
}

impl<S: PortService> Drop for Port<S> {
    fn drop(&mut self) {
        // SAFETY: this value owns the port, and closes it once.
        unsafe { FltCloseCommunicationPort(self.port.as_ptr()) };
        keep_frame();
    }
}

/// The connections to a port: a static.
pub struct Clients(&'static [Client]);

/// One connection, or the place for one.
///
/// A connection is closed when its last sender has left: none of them finds its port gone. Nobody waits long for that,
/// since the Filter Manager lets senders go before it tells the filter that their client has gone.
pub struct Client {
    /// Senders at work, and the flags below.
    state: AtomicU32,
    /// The last sender has left a connection that ends.
    idle: UnsafeCell<KEVENT>,
    port: UnsafeCell<PFLT_PORT>,
    /// Connected to which filter.
    filter: UnsafeCell<*mut FLT_FILTER>,
}

/// The place is taken: by a connection, or by one that begins or ends.
const TAKEN: u32 = 1 << 31;
/// Messages can be sent.
const OPEN: u32 = 1 << 30;

// SAFETY: the cells are written only by whoever has changed `state` from 0 to TAKEN, before OPEN is set, and by whoever
// ends the connection, after its last sender; the event is the kernel's to synchronise.
unsafe impl Sync for Client {}

impl Client {
    /// A free place.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            // SAFETY: numbers and pointers: zeros are an event, if one that has to be initialised before its use.
            idle: UnsafeCell::new(unsafe { core::mem::zeroed() }),
            port: UnsafeCell::new(ptr::null_mut()),
            filter: UnsafeCell::new(ptr::null_mut()),
        }
    }

    /// Takes the place, if it is free and no sender of an earlier connection is still at it.
    fn take(&self, filter: *mut FLT_FILTER, port: PFLT_PORT) -> bool {
        if self
            .state
            .compare_exchange(0, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        // SAFETY: the place is this caller's alone until OPEN is set.
        unsafe { self.port.get().write(port) };
        // SAFETY: as above.
        unsafe { self.filter.get().write(filter) };
        // SAFETY: as above; the event is not paged.
        unsafe { KeInitializeEvent(self.idle.get(), _EVENT_TYPE::NotificationEvent, 0) };
        self.state.fetch_or(OPEN, Ordering::Release);
        true
    }

    /// Ends the connection.
    fn end(&self) {
        let before = self.state.fetch_and(!OPEN, Ordering::AcqRel);
        if before & !(OPEN | TAKEN) != 0 {
            // SAFETY: the event is initialised and in a static; this is PASSIVE_LEVEL, where waiting is allowed.
            let _ = unsafe {
                KeWaitForSingleObject(
                    self.idle.get().cast(),
                    _KWAIT_REASON::Executive,
                    0,
                    0,
                    ptr::null_mut(),
                )
            };
        }
        // SAFETY: not changed while the place is taken.
        let filter = unsafe { self.filter.get().read() };
        // SAFETY: the filter is registered while callbacks of its port run; the port is this connection's.
        unsafe { FltCloseClientPort(filter, self.port.get()) };
        self.state.fetch_and(!TAKEN, Ordering::AcqRel);
    }

    /// Sends a message, if the client is connected, and waits at most so long until the client takes it. <= `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// `STATUS_PORT_DISCONNECTED`, and `STATUS_TIMEOUT` where the client did not take it in time.
    pub fn send(&self, message: &[u8], milliseconds: u32) -> Result<(), NtStatus> {
        irql::at_most(irql::APC_LEVEL);
        let length = u32::try_from(message.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?;
        let open = |state: u32| (state & OPEN != 0).then(|| state.wrapping_add(1));
        if self
            .state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, open)
            .is_err()
        {
            return Err(NtStatus::PORT_DISCONNECTED);
        }
        // SAFETY: not changed while a sender is at the place.
        let filter = unsafe { self.filter.get().read() };
        let mut timeout = LARGE_INTEGER {
            // Relative, in units of 100 ns.
            QuadPart: -10_000 * i64::from(milliseconds),
        };
        // SAFETY: the connection, and with it the filter, stays until its last sender has left. No reply is asked for.
        let status = unsafe {
            FltSendMessage(
                filter,
                self.port.get(),
                message.as_ptr().cast_mut().cast(),
                length,
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut timeout,
            )
        };
        if self.state.fetch_sub(1, Ordering::AcqRel) == TAKEN | 1 {
            // SAFETY: the event is initialised; whoever ends the connection waits for it.
            let _ = unsafe { KeSetEvent(self.idle.get(), 0, 0) };
        }
        // STATUS_TIMEOUT is a success code.
        if status == STATUS_SUCCESS {
            Ok(())
        } else {
            Err(NtStatus(status))
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Clients {
    /// Places for connections.
    #[must_use]
    pub const fn new(places: &'static [Client]) -> Self {
        Self(places)
    }

    /// Those that are connected now.
    pub fn connected(&self) -> impl Iterator<Item = &'static Client> {
        self.0
            .iter()
            .filter(|client| client.state.load(Ordering::Relaxed) & OPEN != 0)
    }

    fn most(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }
}

unsafe extern "C" fn connect<S: PortService>(
    port: PFLT_PORT,
    server_cookie: PVOID,
    context: PVOID,
    size: u32,
    cookie: *mut PVOID,
) -> NTSTATUS {
    // SAFETY: the Filter Manager's own arguments; the thread is the client's.
    let context = unsafe { UserInput::new(context.cast(), size) };
    if let Err(refused) = S::connect(context) {
        return refused.0;
    }
    let filter = server_cookie.cast();
    let taken = S::clients().0.iter().find(|place| place.take(filter, port));
    match taken {
        Some(client) => {
            // SAFETY: the Filter Manager passes a place for one pointer.
            unsafe { *cookie = ptr::from_ref(client).cast_mut().cast() };
            STATUS_SUCCESS
        }
        None => NtStatus::CONNECTION_COUNT_LIMIT.0,
    }
}

unsafe extern "C" fn disconnect(cookie: PVOID) {
    // SAFETY: the cookie is the one that `connect` left: a place among the clients, which are static.
    let client = unsafe { &*cookie.cast::<Client>() };
    client.end();
}

unsafe extern "C" fn message<S: PortService>(
    cookie: PVOID,
    input: PVOID,
    input_length: u32,
    output: PVOID,
    output_length: u32,
    written: *mut u32,
) -> NTSTATUS {
    // SAFETY: the Filter Manager has probed the client's buffers, and calls back in the client's thread.
    let input = unsafe { UserInput::new(input.cast(), input_length) };
    // SAFETY: as above.
    let output = unsafe { UserOutput::new(output.cast(), output_length) };
    // SAFETY: the cookie is the one that `connect` left: a place among the clients, which are static.
    let client = unsafe { &*cookie.cast::<Client>() };
    // SAFETY: not changed while the client is connected, and it stays connected during this callback.
    let filter = FilterRef(unsafe { client.filter.get().read() }, PhantomData);
    let (status, length) = match S::message(filter, input, output) {
        Ok(length) => (STATUS_SUCCESS, u32::try_from(length).unwrap_or(u32::MAX)),
        Err(status) => (status.0, 0),
    };
    // SAFETY: the Filter Manager passes a place for the number of bytes.
    unsafe { *written = length };
    status
}
