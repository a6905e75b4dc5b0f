//! The operations that a filter registers for, each with the trait that handles it.
//!
//! A filter names them as a tuple of types, [`crate::Minifilter::Operations`]; the array that the Filter Manager reads is
//! made from it when the filter is compiled. An operation that is named and not handled does not compile.

use core::ptr;

use fltmgr_sys::{
    FLT_CALLBACK_DATA, FLT_OPERATION_REGISTRATION, FLT_POSTOP_CALLBACK_STATUS,
    FLT_POSTOP_FINISHED_PROCESSING, FLT_PREOP_CALLBACK_STATUS, FLT_PREOP_SUCCESS_NO_CALLBACK,
    FLT_RELATED_OBJECTS, FLTFL_POST_OPERATION_DRAINING, IRP_MJ_OPERATION_END,
};
use wdk_sys::{IRP_MJ_CLEANUP, IRP_MJ_CREATE, PVOID};

use crate::{Cleanup, Create, Minifilter, PreCreate};

/// A filter that looks at creates.
pub trait OnCreate: Minifilter {
    /// Before a create goes down. `PASSIVE_LEVEL`, in the opener's thread, and on the opener's kernel stack.
    fn pre_create(create: &Create<'_, Self>) -> PreCreate<Self>;

    /// After a create has come up, where [`crate::Verdict::PassThen`] asked for it. `PASSIVE_LEVEL`, in the opener's thread.
    ///
    /// Not called where the instance is torn down while the create is still below: nothing is known of it then, and a
    /// context is a number that nobody has to free.
    fn post_create(_create: &Create<'_, Self>, _context: usize) {}
}

/// A filter that looks at cleanups: the last handle to an open file is closed.
pub trait OnCleanup: Minifilter {
    /// Before a cleanup goes down; it always does, since a handle that is closed is closed. `PASSIVE_LEVEL`.
    fn pre_cleanup(cleanup: &Cleanup<'_, Self>);
}

/// An operation that `F` registers for.
pub trait Operation<F: Minifilter> {
    /// Its entry in the array.
    #[doc(hidden)]
    const ENTRY: FLT_OPERATION_REGISTRATION;
}

/// All operations that `F` registers for.
pub trait Operations<F: Minifilter> {
    /// The array, with its end.
    #[doc(hidden)]
    const TABLE: &'static [FLT_OPERATION_REGISTRATION];
}

/// `IRP_MJ_CREATE`, see [`OnCreate`].
pub struct Creates;

/// `IRP_MJ_CLEANUP`, see [`OnCleanup`].
pub struct Cleanups;

const END: FLT_OPERATION_REGISTRATION = FLT_OPERATION_REGISTRATION {
    MajorFunction: IRP_MJ_OPERATION_END,
    Flags: 0,
    PreOperation: None,
    PostOperation: None,
    Reserved1: ptr::null_mut(),
};

impl<F: OnCreate> Operation<F> for Creates {
    const ENTRY: FLT_OPERATION_REGISTRATION = FLT_OPERATION_REGISTRATION {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "major functions are one byte"
        )]
        MajorFunction: IRP_MJ_CREATE as u8,
        PreOperation: Some(pre_create::<F>),
        PostOperation: Some(post_create::<F>),
        ..END
    };
}

impl<F: OnCleanup> Operation<F> for Cleanups {
    const ENTRY: FLT_OPERATION_REGISTRATION = FLT_OPERATION_REGISTRATION {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "major functions are one byte"
        )]
        MajorFunction: IRP_MJ_CLEANUP as u8,
        PreOperation: Some(pre_cleanup::<F>),
        ..END
    };
}

impl<F: Minifilter, A: Operation<F>> Operations<F> for (A,) {
    const TABLE: &'static [FLT_OPERATION_REGISTRATION] = &[A::ENTRY, END];
}

impl<F: Minifilter, A: Operation<F>, B: Operation<F>> Operations<F> for (A, B) {
    const TABLE: &'static [FLT_OPERATION_REGISTRATION] = &[A::ENTRY, B::ENTRY, END];
}

unsafe extern "C" fn pre_create<F: OnCreate>(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    context: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    // SAFETY: the Filter Manager's own arguments, valid until this callback returns, for the operation registered.
    let create = unsafe { Create::new(data, objects) };
    match F::pre_create(&create) {
        PreCreate::Now(verdict) => {
            let (status, number) = verdict.apply(&create);
            // SAFETY: the Filter Manager passes a place for one pointer, which it hands on without looking at it.
            unsafe { *context = ptr::without_provenance_mut(number) };
            status
        }
        PreCreate::Wait(wait) => wait.begin(&create, context),
    }
}

unsafe extern "C" fn post_create<F: OnCreate>(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    context: PVOID,
    flags: u32,
) -> FLT_POSTOP_CALLBACK_STATUS {
    if flags & FLTFL_POST_OPERATION_DRAINING == 0 {
        // SAFETY: the Filter Manager's own arguments, valid until this callback returns, for the operation registered.
        let create = unsafe { Create::new(data, objects) };
        F::post_create(&create, context.addr());
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "C" fn pre_cleanup<F: OnCleanup>(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    _context: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    // SAFETY: the Filter Manager's own arguments, valid until this callback returns, for the operation registered.
    let cleanup = unsafe { Cleanup::new(data, objects) };
    F::pre_cleanup(&cleanup);
    FLT_PREOP_SUCCESS_NO_CALLBACK
}
