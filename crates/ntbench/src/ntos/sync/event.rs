//! Events.

use std::sync::atomic::Ordering;

use super::{change, order, signal_state, wait};
use crate::abi::base::KEvent;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::thread::DISPATCH_LEVEL;

fn set(event: usize, state: i32) -> i32 {
    change(event, || signal_state(event).swap(state, Ordering::SeqCst))
}

exports! { "ntoskrnl.exe";
    /// Initialises an event.
    fn KeInitializeEvent(event: Guest<KEvent>, kind: u32, state: u8) {
        let address = event.address();
        order::forget(address, size_of::<KEvent>());
        let kind = if kind == 0 { wait::NOTIFICATION_EVENT } else { wait::SYNCHRONIZATION_EVENT };
        wait::initialise(address, kind, size_of::<KEvent>(), i32::from(state));
    }

    /// Signals an event; gives its former state.
    partial "Wait is as FALSE; no priority boost"
    fn KeSetEvent(event: Guest<KEvent>, _increment: i32, _wait: u8) -> i32 {
        irql::at_most("KeSetEvent", DISPATCH_LEVEL);
        wait::check(event.address(), "KeSetEvent");
        set(event.address(), 1)
    }

    /// Resets an event; gives its former state.
    fn KeResetEvent(event: Guest<KEvent>) -> i32 {
        irql::at_most("KeResetEvent", DISPATCH_LEVEL);
        set(event.address(), 0)
    }

    /// Resets an event.
    fn KeClearEvent(event: Guest<KEvent>) {
        irql::at_most("KeClearEvent", DISPATCH_LEVEL);
        set(event.address(), 0);
    }

    /// An event's state.
    fn KeReadStateEvent(event: Guest<KEvent>) -> i32 {
        signal_state(event.address()).load(Ordering::SeqCst)
    }
}
