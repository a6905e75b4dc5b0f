//! Kernel stacks: segments with guard pages, frames charged from the cost model, expansion.

pub(crate) use crate::cost::Frame;
use crate::status::NtStatus;

/// What `IoGetStackLimits` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The lowest usable address of the current segment.
    pub(crate) low: u64,
    /// One past its highest.
    pub(crate) high: u64,
}

/// The current segment's limits.
pub(crate) fn limits() -> Limits {
    Limits { low: 0, high: 0 }
}

/// Bytes between the current kernel stack pointer and the current segment's low limit.
pub(crate) fn remaining() -> u64 {
    0
}

/// Forgets the lowest stack pointer seen.
pub(crate) fn reset_lowest() {}

/// The lowest kernel stack pointer seen on this segment since [`reset_lowest`].
pub(crate) fn lowest() -> Option<u64> {
    None
}

/// Runs `f` with these frames, oldest first, charged to the current kernel stack. Where they do not fit the machine
/// ends with bug check 0x7F (8).
pub(crate) fn with_frames<R>(frames: &[Frame], f: impl FnOnce() -> R) -> R {
    let _ = frames;
    f()
}

/// Runs `f` as a system call does: from the top of the thread's stack, in `nt!KiSystemServiceCopyEnd`'s frame.
pub(crate) fn system_call<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// `KeExpandKernelStackAndCalloutEx` for kernel code that the bench models: runs `callout` with `size` bytes of stack.
/// The frame of the function itself is charged here.
///
/// # Errors
/// The documented statuses; `callout` has not run then.
pub(crate) fn expand<R>(size: u64, wait: bool, callout: impl FnOnce() -> R) -> Result<R, NtStatus> {
    let _ = (size, wait);
    Ok(callout())
}

exports! { "ntoskrnl.exe";
    /// The current segment's limits.
    fn IoGetStackLimits(low: *mut u64, high: *mut u64) {
        let limits = limits();
        // SAFETY: a driver that passes a bad pointer faults here, as it does in Windows.
        unsafe { low.write(limits.low) };
        // SAFETY: as above.
        unsafe { high.write(limits.high) };
    }
}
