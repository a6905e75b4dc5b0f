//! What lay in memory for operations that are over. Under the verifier it stays unused for a while, filled with what is no address: who
//! completes an operation after its end must not meet another one at its place.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::abi::flt::{CallbackData, IoParameterBlock};
use crate::ntos::memory::Guest;
use crate::ntos::pool;

/// How many are kept.
const MOST: usize = 1024;
static KEPT: Mutex<VecDeque<(usize, usize)>> = Mutex::new(VecDeque::new());

/// Takes the memory of an operation that is over.
pub(super) fn keep(data: *mut CallbackData, iopb: *mut IoParameterBlock) {
    if !pool::keeps_freed() {
        return free(data, iopb);
    }
    fill(data);
    fill(iopb);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push_back((data.expose_provenance(), iopb.expose_provenance()));
    if kept.len() > MOST
        && let Some((data, iopb)) = kept.pop_front()
    {
        drop(kept);
        free(Guest::at(data).0, Guest::at(iopb).0);
    }
}

fn fill<T>(at: *mut T) {
    // SAFETY: made in `Flight::new` by Box::into_raw; the flight is gone, and nobody reads it again as what it was.
    unsafe { at.write_bytes(pool::FREED_BYTE, 1) };
}

fn free(data: *mut CallbackData, iopb: *mut IoParameterBlock) {
    // SAFETY: made in `Flight::new` by Box::into_raw; the flight is gone, and only it and the list above knew it.
    drop(unsafe { Box::from_raw(data) });
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(iopb) });
}
