//! Writing events in other forms, and the activity that a thread is in: `EtwWriteEx`, `EtwWriteString`, `EtwActivityIdControl`.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::etw::{USER_DATA, write};
use super::irql;
use super::memory::{Guest, terminated_wide};
use crate::abi::base::Guid;
use crate::abi::etw::{Data, Descriptor};
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH_LEVEL};

/// `EVENT_ACTIVITY_CTRL_GET_ID`, `_SET_ID`, `_CREATE_ID`, `_GET_SET_ID`, `_CREATE_SET_ID`.
const GET: u32 = 1;
const SET: u32 = 2;
const CREATE: u32 = 3;
const GET_SET: u32 = 4;
const CREATE_SET: u32 = 5;

const NOBODY: Guid = Guid {
    data1: 0,
    data2: 0,
    data3: 0,
    data4: [0; 8],
};

thread_local! {
    static ACTIVITY: Cell<Guid> = const { Cell::new(NOBODY) };
}

/// An id that no other activity of the machine has: by the thread and a count, as Windows makes them.
fn create() -> Guid {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Guid {
        data1: u32::try_from(count & 0xFFFF_FFFF).unwrap_or(0),
        data2: 0,
        data3: 0,
        data4: thread::current().tid.to_le_bytes(),
    }
}

exports! { "ntoskrnl.exe";
    /// Writes an event for the sessions that a filter leaves.
    partial "the related activity is not kept; filters and flags change nothing"
    fn EtwWriteEx(
        handle: u64, descriptor: Guest<Descriptor>, _filter: u64, _flags: u32, activity: Guest<Guid>, _related: Guest<Guid>,
        count: u32, data: Guest<Data>,
    ) -> NtStatus {
        write(handle, descriptor, activity, count, data)
    }

    /// Writes an event that is a terminated text.
    fn EtwWriteString(handle: u64, level: u8, keyword: u64, activity: Guest<Guid>, text: Guest<u16>) -> NtStatus {
        let bytes = 2 * (terminated_wide(text).len() + 1);
        let descriptor = Box::new(Descriptor {
            id: 0, version: 0, channel: 0, level, opcode: 0, task: 0, keyword,
        });
        let data = Box::new(Data {
            address: text.address() as u64,
            size: u32::try_from(bytes).unwrap_or(u32::MAX),
            kind: USER_DATA,
            reserved: [0; 3],
        });
        let descriptor = Guest::at(std::ptr::from_ref(&*descriptor).expose_provenance());
        write(handle, descriptor, activity, 1, Guest::at(std::ptr::from_ref(&*data).expose_provenance()))
    }

    /// Makes the id of an activity, and says or sets which one the thread is in.
    partial "events that name no activity are told without the thread's"
    fn EtwActivityIdControl(code: u32, id: Guest<Guid>) -> NtStatus {
        irql::at_most("EtwActivityIdControl", DISPATCH_LEVEL);
        match code {
            GET => id.write(ACTIVITY.get()),
            SET => ACTIVITY.set(id.read()),
            CREATE => id.write(create()),
            GET_SET => id.write(ACTIVITY.replace(id.read())),
            CREATE_SET => id.write(ACTIVITY.replace(create())),
            _ => return NtStatus::INVALID_PARAMETER,
        }
        NtStatus::SUCCESS
    }
}
