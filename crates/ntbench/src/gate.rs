//! Where the host and the driver's code call each other.

/// Where the driver called from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    /// The address after the driver's call.
    pub(crate) return_address: usize,
    /// The driver's RSP at that place.
    pub(crate) rsp: usize,
    /// The import it called.
    pub(crate) import: &'static str,
}

/// Calls code of a driver on the current kernel stack, with the Windows ABI, and gives RAX.
///
/// # Safety
/// `entry` is a function of a mapped image that takes these arguments, each one slot.
pub(crate) unsafe fn call(entry: usize, arguments: &[u64]) -> u64 {
    let slot = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let function = std::ptr::with_exposed_provenance::<()>(entry);
    // SAFETY: the caller's promise.
    let function: extern "win64" fn(u64, u64, u64, u64, u64, u64) -> u64 =
        unsafe { std::mem::transmute(function) };
    function(slot(0), slot(1), slot(2), slot(3), slot(4), slot(5))
}

/// The driver's call of the import that is running now on this thread; `None` outside of one.
pub(crate) fn call_site() -> Option<CallSite> {
    None
}
