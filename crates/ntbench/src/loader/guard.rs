//! Control-flow guard: an indirect call of an instrumented image leads where the image says that one may.
//!
//! The image calls through two pointers of its load configuration, which the loader fills in: one checks a target, the other
//! checks it and goes there. Both run on the driver's stack and know the images by a table that only changes while images
//! come and go. A target in an image without such a table, or in none, is let through, as by Windows.

use std::arch::naked_asm;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An image with a table: where it lies, and a bit for each byte at which a function begins.
struct Guarded {
    base: AtomicUsize,
    size: AtomicUsize,
    targets: AtomicUsize,
}

const MOST: usize = 64;

static IMAGES: [Guarded; MOST] = [const {
    Guarded {
        base: AtomicUsize::new(0),
        size: AtomicUsize::new(0),
        targets: AtomicUsize::new(0),
    }
}; MOST];
static CHANGING: Mutex<()> = Mutex::new(());

/// `IMAGES` is walked in steps of this many bytes, to its end.
const STEP: usize = size_of::<Guarded>();
const BYTES: usize = STEP * MOST;

/// From now on indirect calls into that image are checked against these RVAs. Where there are more images than places the
/// last ones go unchecked.
pub(super) fn enforce(base: usize, size: usize, targets: &[u32]) {
    let mut bits = vec![0_u64; size / 64 + 1].into_boxed_slice();
    for target in targets {
        let target = *target as usize;
        if let Some(word) = bits.get_mut(target / 64) {
            *word |= 1 << (target % 64);
        }
    }
    let _guard = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let free = |image: &&Guarded| image.size.load(Ordering::Relaxed) == 0;
    if let Some(image) = IMAGES.iter().find(free) {
        // Never freed: a check may be under way when the image goes.
        let bits = Box::leak(bits).as_ptr().expose_provenance();
        image.base.store(base, Ordering::Release);
        image.targets.store(bits, Ordering::Release);
        image.size.store(size, Ordering::Release);
    }
}

/// An image goes.
pub(super) fn forget(base: usize) {
    let _guard = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    for image in &IMAGES {
        if image.base.load(Ordering::Relaxed) == base {
            image.size.store(0, Ordering::Release);
        }
    }
}

/// The routine that checks the target in RCX.
pub(super) fn check() -> usize {
    (check_icall as unsafe extern "win64" fn() as *const ()).addr()
}

/// The routine that checks the target in RAX and goes there.
pub(super) fn dispatch() -> usize {
    (dispatch_icall as unsafe extern "win64" fn() as *const ()).addr()
}

/// Preserves everything but RAX, R10, R11 and flags, as its callers expect.
#[unsafe(naked)]
unsafe extern "win64" fn check_icall() {
    naked_asm!(
        "lea r10, [rip + {images}]",
        "lea r11, [r10 + {bytes}]",
        "2: mov rax, rcx",
        "sub rax, [r10]",
        "cmp rax, [r10 + 8]",
        "jb 4f",
        "add r10, {step}",
        "cmp r10, r11",
        "jb 2b",
        "3: ret",
        "4: mov r10, [r10 + 16]",
        "bt qword ptr [r10], rax",
        "jc 3b",
        "mov ecx, 10", // FAST_FAIL_GUARD_ICALL_CHECK_FAILURE
        "int 0x29",
        images = sym IMAGES,
        bytes = const BYTES,
        step = const STEP,
    )
}

/// As [`check_icall`] for RAX, which it preserves with all arguments, and then the call itself.
#[unsafe(naked)]
unsafe extern "win64" fn dispatch_icall() {
    naked_asm!(
        "push rcx",
        "lea r10, [rip + {images}]",
        "lea r11, [r10 + {bytes}]",
        "2: mov rcx, rax",
        "sub rcx, [r10]",
        "cmp rcx, [r10 + 8]",
        "jb 4f",
        "add r10, {step}",
        "cmp r10, r11",
        "jb 2b",
        "3: pop rcx",
        "jmp rax",
        "4: mov r10, [r10 + 16]",
        "bt qword ptr [r10], rcx",
        "jc 3b",
        "pop rcx",
        "mov ecx, 10",
        "int 0x29",
        images = sym IMAGES,
        bytes = const BYTES,
        step = const STEP,
    )
}
