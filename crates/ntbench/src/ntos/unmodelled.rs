//! Small functions that minifilters import and that belong to nothing else here: addresses as text, and what is NULL always.

use std::net::{Ipv4Addr, Ipv6Addr};

use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::Guest;
use super::{irql, time};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{faults, verifier};

/// Puts a terminated text where there is room for it, and says how many characters it takes, the terminating one among them.
fn put(text: &str, out: Guest<u8>, length: Guest<u32>) -> NtStatus {
    let needed = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
    let room = length.read();
    length.write(needed);
    if out.is_null() || room < needed {
        return NtStatus::INVALID_PARAMETER;
    }
    let bytes: Vec<u8> = text.bytes().chain([0]).collect();
    out.write_many(&bytes);
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// An IPv4 address as text, with its port unless that is 0; both come in network byte order.
    fn RtlIpv4AddressToStringExA(address: Guest<[u8; 4]>, port: u16, out: Guest<u8>, length: Guest<u32>) -> NtStatus {
        let address = Ipv4Addr::from(address.read());
        let text = match u16::from_be(port) {
            0 => address.to_string(),
            port => format!("{address}:{port}"),
        };
        put(&text, out, length)
    }

    /// An IPv6 address as text, with its scope and port unless they are 0; the port comes in network byte order.
    partial "addresses that hold an IPv4 address are written as the host's library writes them"
    fn RtlIpv6AddressToStringExA(
        address: Guest<[u8; 16]>, scope: u32, port: u16, out: Guest<u8>, length: Guest<u32>,
    ) -> NtStatus {
        let address = Ipv6Addr::from(address.read());
        let scoped = match scope {
            0 => address.to_string(),
            scope => format!("{address}%{scope}"),
        };
        let text = match u16::from_be(port) {
            0 => scoped,
            port => format!("[{scoped}]:{port}"),
        };
        put(&text, out, length)
    }

    /// A UUID that nobody else has: by the time, as version 1 is made.
    partial "by time and a count alone: there is no network adapter"
    fn ExUuidCreate(uuid: Guest<[u8; 16]>) -> NtStatus {
        irql::at_most("ExUuidCreate", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ExUuidCreate") {
            return status;
        }
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let time = time::system_time().cast_unsigned().wrapping_add(count);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&time.to_le_bytes());
        // Version 1 in the highest four bits of the time, then variant 10 and a node that is no adapter's.
        bytes[7] = bytes[7] & 0x0F | 0x10;
        bytes[8] = 0x80;
        bytes[10] = 0x01;
        bytes[14..].copy_from_slice(&count.to_le_bytes()[..2]);
        uuid.write(bytes);
        NtStatus::SUCCESS
    }

    /// Makes an asynchronous procedure call.
    refused "a finding: drivers' own APCs are not delivered"
    fn KeInitializeApc(
        _apc: usize, _thread: usize, _environment: u32, _kernel: usize, _rundown: usize, _normal: usize, _mode: i8, _context: usize,
    ) {
        verifier::finding("refused", "KeInitializeApc is not modelled: drivers' own APCs are not delivered");
    }

    /// Queues one.
    refused "FALSE: drivers' own APCs are not delivered"
    fn KeInsertQueueApc(_apc: usize, _first: usize, _second: usize, _increment: i32) -> u8 {
        verifier::finding("refused", "KeInsertQueueApc is not modelled: drivers' own APCs are not delivered");
        0
    }
}

/// The Filter Manager's part.
pub(crate) mod filters {
    exports! { "fltmgr.sys";
        /// The system buffer that a file system has put in the place of the one that it was given: none does here, and
        /// `FLTFL_CALLBACK_DATA_NEW_SYSTEM_BUFFER`, without which this is NULL, is never set.
        partial "NULL always: the file systems here allocate no system buffers"
        fn FltGetNewSystemBufferAddress(_data: usize) -> usize {
            0
        }
    }
}
