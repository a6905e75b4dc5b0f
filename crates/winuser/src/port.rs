//! A minifilter's communication port, from the client's side.
//!
//! A port handle is opened for overlapped use, so that a wait for a message can have a limit and can be ended from another thread. No call
//! returns before the kernel is done with its buffers. Messages and replies lie at addresses that are multiples of 8, as a driver may demand
//! of raw user buffers.

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle, RawHandle};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use protocol::NtStatus;
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, ERROR_OPERATION_ABORTED, HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::InstallableFileSystems::{
    FILTER_MESSAGE_HEADER, FILTER_REPLY_HEADER, FilterConnectCommunicationPort, FilterGetMessage,
    FilterReplyMessage, FilterSendMessage,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects,
};

use crate::error::{hresult, truth};
use crate::{Code, Error, Result, Wide, wine};

/// A connection to a port.
#[derive(Debug)]
pub struct Port {
    handle: OwnedHandle,
    stop: Arc<OwnedHandle>,
}

/// A message from the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Names it in a reply.
    pub id: u64,
    /// How many bytes of reply the driver waits for, its header included; 0: it does not wait.
    pub reply_length: u32,
    /// What the driver said.
    pub body: Vec<u8>,
}

/// What a wait for a message came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A message.
    Message(Message),
    /// The time is over.
    TimedOut,
    /// A [`Stopper`] ended it.
    Stopped,
}

/// Ends the waits of a [`Port`], from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<OwnedHandle>);

const MESSAGE_HEADER: usize = size_of::<FILTER_MESSAGE_HEADER>();
const REPLY_HEADER: usize = size_of::<FILTER_REPLY_HEADER>();

impl Port {
    /// Connects to the port with that name (`\NamePort`), giving the driver `context` to look at.
    ///
    /// # Errors
    /// ERROR_FILE_NOT_FOUND: no driver has made such a port. ERROR_ACCESS_DENIED: its security descriptor forbids it. Else what the driver's
    /// connect callback returned, as the Win32 error for that status.
    pub fn connect(name: &Wide, context: &[u8]) -> Result<Self> {
        const CALL: &str = "FilterConnectCommunicationPort";
        if wine::version().is_some() {
            return Err(Error::NoFilterManager);
        }
        let Ok(length) = u16::try_from(context.len()) else {
            let what = "a connection context has at most 65,535 bytes";
            return Err(Error::Malformed { call: CALL, what });
        };
        let context = Words::holding(context);
        let mut handle: HANDLE = ptr::null_mut();
        // SAFETY: the name is NUL-terminated, `context` holds `length` bytes, `handle` is written.
        let code = unsafe {
            FilterConnectCommunicationPort(
                name.ptr(),
                0,
                context.ptr(),
                length,
                ptr::null(),
                &raw mut handle,
            )
        };
        hresult(CALL, code)?;
        // SAFETY: the call has succeeded and given a handle that is ours to close.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        let stop = Arc::new(event()?);
        Ok(Self { handle, stop })
    }

    /// Sends a message and waits for the driver's answer; gives the answer's length.
    ///
    /// # Errors
    /// What the driver's message callback returned, as the Win32 error for that status.
    pub fn send(&self, message: &[u8], reply: &mut [u8]) -> Result<usize> {
        const CALL: &str = "FilterSendMessage";
        let message_words = Words::holding(message);
        let mut reply_words = Words::zeroed(reply.len());
        let mut written = 0;
        // SAFETY: both buffers hold as many bytes as is said, and live until the call, which waits, has returned.
        let code = unsafe {
            FilterSendMessage(
                self.raw(),
                message_words.ptr(),
                length(message)?,
                reply_words.ptr_mut(),
                length(reply)?,
                &raw mut written,
            )
        };
        hresult(CALL, code)?;
        let written = usize::try_from(written).unwrap_or(usize::MAX);
        let (Some(from), Some(to)) = (reply_words.bytes().get(..written), reply.get_mut(..written))
        else {
            let what = "an answer longer than its buffer";
            return Err(Error::Malformed { call: CALL, what });
        };
        to.copy_from_slice(from);
        Ok(written)
    }

    /// Waits for a message with a body of at most `most` bytes; without a limit if there is none.
    ///
    /// # Errors
    /// ERROR_INSUFFICIENT_BUFFER where `most` is too little for the next message; ERROR_INVALID_HANDLE or the like when the driver has gone.
    pub fn wait(&self, most: usize, limit: Option<Duration>) -> Result<Waited> {
        const CALL: &str = "FilterGetMessage";
        let mut buffer = Words::zeroed(MESSAGE_HEADER + most);
        let done = event()?;
        let mut overlapped = OVERLAPPED {
            hEvent: done.as_raw_handle(),
            ..OVERLAPPED::default()
        };
        let size = length(buffer.bytes())?;
        // SAFETY: buffer and block live until `finish` below has seen the operation end.
        let code = unsafe {
            FilterGetMessage(
                self.raw(),
                buffer.ptr_mut().cast(),
                size,
                &raw mut overlapped,
            )
        };
        let mut ended = None;
        match hresult(CALL, code) {
            Ok(()) => {}
            Err(error) if error.win32() == Some(ERROR_IO_PENDING) => {
                ended = self.wait_or_cancel(&done, &overlapped, limit);
            }
            Err(error) => return Err(error),
        }
        let mut got = 0;
        // SAFETY: `overlapped` is the operation's; with TRUE this returns only when the operation has ended, so that no buffer is in use
        // any more whatever came of it.
        let held =
            unsafe { GetOverlappedResult(self.raw(), &raw const overlapped, &raw mut got, 1) };
        match (truth(CALL, held), ended) {
            (Ok(()), _) => message(&buffer, usize::try_from(got).unwrap_or(usize::MAX)),
            (Err(error), Some(ended)) if error.win32() == Some(ERROR_OPERATION_ABORTED) => {
                Ok(ended)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Waits until the operation has ended, or cancels it and says why.
    fn wait_or_cancel(
        &self,
        done: &OwnedHandle,
        overlapped: &OVERLAPPED,
        limit: Option<Duration>,
    ) -> Option<Waited> {
        let handles = [done.as_raw_handle(), self.stop.as_raw_handle()];
        let limit = limit.map_or(INFINITE, |limit| {
            u32::try_from(limit.as_millis())
                .unwrap_or(INFINITE - 1)
                .min(INFINITE - 1)
        });
        // SAFETY: two handles of live events.
        let woken = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, limit) };
        let why = match woken {
            WAIT_OBJECT_0 => return None,
            WAIT_TIMEOUT => Waited::TimedOut,
            // Two live events cannot fail to be waited for; if they do, stop rather than hang.
            WAIT_FAILED => Waited::Stopped,
            _ => Waited::Stopped,
        };
        // It fails only where the operation has just ended, which the caller sees.
        // SAFETY: the handle is the port's; the block is the pending operation's.
        let _ = unsafe { CancelIoEx(self.raw(), overlapped) };
        Some(why)
    }

    /// Answers a message that waits for it.
    ///
    /// # Errors
    /// ERROR_FLT_NO_WAITER_FOR_REPLY: the driver has stopped waiting.
    pub fn reply(&self, to: &Message, status: NtStatus, body: &[u8]) -> Result<()> {
        let header = FILTER_REPLY_HEADER {
            Status: status.0.cast_signed(),
            MessageId: to.id,
        };
        let mut whole = Words::zeroed(REPLY_HEADER + body.len());
        // SAFETY: there is room for a header, and words are aligned as it is.
        unsafe { whole.ptr_mut().cast::<FILTER_REPLY_HEADER>().write(header) };
        whole.bytes_mut()[REPLY_HEADER..].copy_from_slice(body);
        let size = length(whole.bytes())?;
        // SAFETY: the buffer starts with a header and holds `size` bytes.
        let code = unsafe { FilterReplyMessage(self.raw(), whole.ptr().cast(), size) };
        hresult("FilterReplyMessage", code)
    }

    /// What ends this port's waits.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stop))
    }

    fn raw(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }
}

impl Stopper {
    /// Ends the wait that is under way and every later one.
    pub fn stop(&self) {
        // It cannot fail for a live event.
        // SAFETY: the handle is a live event's.
        let _ = unsafe { SetEvent(self.0.as_raw_handle()) };
    }
}

/// What was received, taken apart.
fn message(buffer: &Words, got: usize) -> Result<Waited> {
    let body = buffer.bytes().get(MESSAGE_HEADER..got);
    let Some(body) = body else {
        let call = "FilterGetMessage";
        let what = "a message shorter than its header, or longer than its buffer";
        return Err(Error::Malformed { call, what });
    };
    // SAFETY: the buffer holds a header, aligned as words are; every pattern of bits is one.
    let header = unsafe { buffer.ptr().cast::<FILTER_MESSAGE_HEADER>().read() };
    Ok(Waited::Message(Message {
        id: header.MessageId,
        reply_length: header.ReplyLength,
        body: body.to_vec(),
    }))
}

/// An event that stays set until it is reset.
fn event() -> Result<OwnedHandle> {
    // SAFETY: no security attributes, no name.
    let handle = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if handle.is_null() {
        return Err(Error::last("CreateEventW"));
    }
    // SAFETY: a new handle, ours to close.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn length(bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| Error::Refused {
        call: "a message of more than 4 GB",
        code: Code::Win32(24),
    })
}

/// Bytes at an address that is a multiple of 8.
struct Words {
    words: Vec<u64>,
    bytes: usize,
}

impl Words {
    fn zeroed(bytes: usize) -> Self {
        // One at least, so that no address is a dangling one.
        let words = vec![0; bytes.div_ceil(8).max(1)];
        Self { words, bytes }
    }

    fn holding(bytes: &[u8]) -> Self {
        let mut words = Self::zeroed(bytes.len());
        words.bytes_mut().copy_from_slice(bytes);
        words
    }

    fn ptr(&self) -> *const c_void {
        self.words.as_ptr().cast()
    }

    fn ptr_mut(&mut self) -> *mut c_void {
        self.words.as_mut_ptr().cast()
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: there are at least that many bytes of initialised words; bytes have no alignment.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and exclusively borrowed; every byte is a part of some word.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_header_and_its_body() {
        let mut buffer = Words::zeroed(MESSAGE_HEADER + 8);
        let bytes = buffer.bytes_mut();
        bytes[0] = 24;
        bytes[8] = 7;
        bytes[MESSAGE_HEADER..MESSAGE_HEADER + 3].copy_from_slice(b"abc");
        let Ok(Waited::Message(told)) = message(&buffer, MESSAGE_HEADER + 3) else {
            panic!("no message");
        };
        assert_eq!(
            (told.id, told.reply_length, &*told.body),
            (7, 24, &b"abc"[..])
        );
        message(&buffer, MESSAGE_HEADER - 1).unwrap_err();
        message(&buffer, MESSAGE_HEADER + 9).unwrap_err();
    }

    #[test]
    fn a_port_that_nobody_has_made_is_an_error_and_no_more() {
        let name = Wide::new(r"\NoSuchPortOfAnybody").unwrap();
        let error = Port::connect(&name, b"").unwrap_err();
        if wine::version().is_some() {
            assert_eq!(error, Error::NoFilterManager);
        } else {
            // Without the right to ask, or without such a port.
            assert!(matches!(error.win32(), Some(2 | 5)), "{error}");
        }
    }
}
