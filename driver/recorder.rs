//! The driver's one recorder.
//!
//! A static under a name of its own, so that a debugger finds it with `x headroom!HEADROOM_RECORDER`; it starts with a
//! signature, so that a search of a crash dump finds it without symbols.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fltmgr::{NtStatus, POOL_ALIGNMENT, PoolBytes, Tag};
use recorder::{Recorder, Watermarks, images::ImageNames};

use crate::kernel;

/// What was left of the stack, create by create.
#[used]
#[unsafe(no_mangle)]
pub(crate) static HEADROOM_RECORDER: Recorder = Recorder::new();

/// The least stack that was ever left, and the most that was ever used.
#[used]
#[unsafe(no_mangle)]
pub(crate) static HEADROOM_WATERMARKS: Watermarks = Watermarks::new();

/// What the images of processes are called that opened something lately.
pub(crate) static IMAGE_NAMES: ImageNames = ImageNames::new();

/// Slots of the ring that is attached, to say how much memory goes back.
static SLOTS: AtomicUsize = AtomicUsize::new(0);

const TAG: Tag = Tag::new(b"HdrR");
const _: () = assert!(Recorder::ALIGN <= POOL_ALIGNMENT);

/// The recorder's memory; dropped, it goes back to the pool.
pub(crate) struct Records(());

impl Records {
    /// Allocates the ring and attaches it. <= `DISPATCH_LEVEL`.
    pub(crate) fn start(slots: usize) -> Result<Self, NtStatus> {
        let bytes = Recorder::ring_bytes(slots).ok_or(NtStatus::INVALID_PARAMETER)?;
        let memory = PoolBytes::try_zeroed(TAG, bytes)
            .ok_or(NtStatus::INSUFFICIENT_RESOURCES)?
            .into_raw();
        SLOTS.store(slots, Relaxed);
        // SAFETY: the memory is as long and as aligned as a ring of that many slots has to be, non-paged, and nobody
        // else's. Set-up is single-threaded.
        let attached =
            unsafe { HEADROOM_RECORDER.attach(memory, slots, kernel::performance_frequency()) };
        match attached {
            Ok(()) => Ok(Self(())),
            Err(_) => {
                // SAFETY: given away above; the recorder has not taken it.
                drop(unsafe { PoolBytes::from_raw(TAG, memory, bytes) });
                Err(NtStatus::INVALID_PARAMETER)
            }
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // SAFETY: dropped where no filter is registered (any more): nobody claims, reads or completes a record.
        let memory = unsafe { HEADROOM_RECORDER.detach() };
        let bytes = Recorder::ring_bytes(SLOTS.load(Relaxed));
        if let (Some(memory), Some(bytes)) = (memory, bytes) {
            // SAFETY: given away by `start` with this length, and detached once.
            drop(unsafe { PoolBytes::from_raw(TAG, memory, bytes) });
        }
    }
}
