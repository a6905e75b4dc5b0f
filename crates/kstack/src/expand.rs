//! `KeExpandKernelStackAndCalloutEx` with a closure.

use core::{
    ffi::c_void,
    mem::{ManuallyDrop, MaybeUninit},
    ptr,
};

use wdk_sys::{BOOLEAN, SIZE_T, ntddk::KeExpandKernelStackAndCalloutEx};

use crate::{ExpandError, RedZone, Reservation, remaining};

/// Whether an expansion may wait for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Fail at once where there is no memory. The only choice at `DISPATCH_LEVEL`, and on any path that paging itself
    /// may need.
    Never,
    /// Wait for memory. IRQL < `DISPATCH_LEVEL`.
    ForMemory,
}

/// What travels through the callout's parameter: the closure in, its result out.
///
/// It lies on the caller's segment. That stays valid while the callout runs on another one, so no copy of it is needed
/// and nothing is allocated.
union Block<F, R> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<R>,
}

/// Runs `work` with at least `reservation` bytes of kernel stack, and returns what it returns.
///
/// The system looks whether that much is left on the current segment; else it grows the segment or takes another one.
/// The caller pays one stack frame, the larger of the closure and its result: let the closure capture references, and
/// return little.
///
/// IRQL <= `DISPATCH_LEVEL`, and with [`Wait::ForMemory`] below it. `work` must return at the IRQL it was called at and
/// must not end the thread. It may use references into the caller's stack.
///
/// # Errors
///
/// The documented reasons for which the system does not run the callout. `work` has then not run: it has been dropped.
#[inline]
pub fn with_reservation<F, R>(
    reservation: Reservation,
    wait: Wait,
    work: F,
) -> Result<R, ExpandError>
where
    F: FnOnce() -> R,
{
    let mut block = Block::<F, R> {
        closure: ManuallyDrop::new(work),
    };
    // SAFETY: the callout has the required signature, and the parameter is what `run::<F, R>` expects: a `Block<F, R>`
    // that holds the closure and outlives the call, since the call is synchronous. The size is within the documented
    // maximum by the type of `reservation`; Context is reserved and NULL.
    let status = unsafe {
        KeExpandKernelStackAndCalloutEx(
            Some(run::<F, R>),
            (&raw mut block).cast(),
            reservation.bytes() as SIZE_T,
            BOOLEAN::from(wait == Wait::ForMemory),
            ptr::null_mut(),
        )
    };
    match ExpandError::from_status(status) {
        Ok(()) => {
            // SAFETY: STATUS_SUCCESS means that `run` has run to its end, and its last act is to put the result there.
            let result = unsafe { block.result };
            Ok(ManuallyDrop::into_inner(result))
        }
        Err(error) => {
            // SAFETY: every other status means that `run` has not been called, so the closure is still there.
            let closure = unsafe { block.closure };
            drop(ManuallyDrop::into_inner(closure));
            Err(error)
        }
    }
}

/// Runs `work` where it is if at least a red zone is left, else as [`with_reservation`] does.
///
/// A reservation of [`Reservation::KERNEL_STACK`] never fits an ordinary stack that is already in use, so an
/// unconditional expansion always moves there. This is the cheap path for work that is only sometimes deep.
///
/// # Errors
///
/// As [`with_reservation`]; `work` has then not run.
#[inline]
pub fn maybe_grow<F, R>(
    red_zone: RedZone,
    reservation: Reservation,
    wait: Wait,
    work: F,
) -> Result<R, ExpandError>
where
    F: FnOnce() -> R,
{
    if red_zone.entered(remaining()) {
        with_reservation(reservation, wait, work)
    } else {
        Ok(work())
    }
}

/// The callout: takes the closure out of the block, runs it, leaves the result in its place.
unsafe extern "C" fn run<F, R>(parameter: *mut c_void)
where
    F: FnOnce() -> R,
{
    let block: *mut Block<F, R> = parameter.cast();
    // SAFETY: the system passes on the pointer that `with_reservation` gave it. The block holds the closure, which is
    // moved out here, once: the system runs a callout once.
    let closure = unsafe { ptr::read(block.cast::<F>()) };
    let result = closure();
    // SAFETY: the block is valid for writes and large enough and aligned for either field; what it held was moved out.
    unsafe { ptr::write(block.cast::<R>(), result) };
}

// The casts above rely on both fields of the union starting where it does.
const _: () = assert!(core::mem::offset_of!(Block<u8, MaybeUninit<[u64; 4]>>, closure) == 0);
const _: () = assert!(core::mem::offset_of!(Block<u8, MaybeUninit<[u64; 4]>>, result) == 0);
