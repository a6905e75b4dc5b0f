//! What a minifilter implements, and the table of callbacks made from it.

use core::{marker::PhantomData, ptr};

use fltmgr_sys::{
    FLT_FILESYSTEM_TYPE, FLT_FSTYPE_LANMAN, FLT_FSTYPE_MUP, FLT_FSTYPE_NFS, FLT_FSTYPE_RDPDR,
    FLT_FSTYPE_WEBDAV, FLT_PREOP_CALLBACK_STATUS, FLT_PREOP_COMPLETE,
    FLT_PREOP_SUCCESS_NO_CALLBACK, FLT_PREOP_SUCCESS_WITH_CALLBACK, FLT_REGISTRATION,
    FLT_REGISTRATION_VERSION_0203, FLT_RELATED_OBJECTS, FLTFL_FILTER_UNLOAD_MANDATORY,
    FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT, STATUS_FLT_DO_NOT_ATTACH,
};
use wdk_sys::{FILE_DEVICE_NETWORK_FILE_SYSTEM, NTSTATUS, PAGED_CODE, STATUS_SUCCESS};

use crate::{
    Create, NtStatus, Operations, Wait,
    context::{self, Contexts},
};

/// A minifilter. The tables that the Filter Manager asks for are made from the implementation when it is compiled.
pub trait Minifilter: Sized + 'static {
    /// What it looks at: a tuple of [`crate::Creates`], [`crate::Cleanups`].
    type Operations: Operations<Self>;

    /// What the filter keeps with each of its instances: `()` for nothing.
    type Instance: Send + Sync + 'static;

    /// Whether to attach to a volume, and what to keep with the instance; where there is no memory to keep it, the filter
    /// does not attach. `PASSIVE_LEVEL`.
    fn attach(volume: Volume) -> Attach<Self::Instance>;

    /// An instance is being torn down: creates that wait are to be let go soon. `PASSIVE_LEVEL`.
    fn detaching(_instance: &Self::Instance) {}

    /// The filter is asked to unload. `PASSIVE_LEVEL`. The implementation takes its [`crate::Filter`] and drops it; when
    /// that returns, no callback runs any more.
    fn unload(unload: Unload);
}

/// A volume that a filter may attach to.
#[derive(Clone, Copy)]
pub struct Volume {
    asked: bool,
    device_type: u32,
    file_system: FLT_FILESYSTEM_TYPE,
}

/// The kind of file system on a volume, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A network file system: the multiple UNC provider, or a redirector that registered itself.
    Network,
    /// Anything else.
    Other,
}

impl Volume {
    /// Whether somebody asked for this instance: a program, or the filter by [`crate::instances::attach`].
    #[must_use]
    pub const fn is_asked_for(self) -> bool {
        self.asked
    }

    /// The kind of file system.
    #[must_use]
    pub const fn file_system(self) -> FileSystem {
        match self.file_system {
            FLT_FSTYPE_MUP | FLT_FSTYPE_LANMAN | FLT_FSTYPE_WEBDAV | FLT_FSTYPE_RDPDR
            | FLT_FSTYPE_NFS => FileSystem::Network,
            _ if self.device_type == FILE_DEVICE_NETWORK_FILE_SYSTEM => FileSystem::Network,
            _ => FileSystem::Other,
        }
    }
}

/// What a filter says to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach<I> {
    /// Attach, and keep this with the instance.
    With(I),
    /// Do not attach.
    Decline,
}

/// What happens to a create next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, and the filter has no interest in what becomes of it.
    Pass,
    /// It goes on, and [`crate::OnCreate::post_create`] gets this number when it comes up.
    PassThen(usize),
    /// It goes no further: the opener gets this status, which is an error.
    Fail(NtStatus),
}

/// What happens to a create next, or who decides that later.
pub enum PreCreate<F: Minifilter> {
    /// It is decided.
    Now(Verdict),
    /// The create waits for a worker thread, see [`Create::defer`].
    Wait(Wait<F>),
}

impl<F: Minifilter> PreCreate<F> {
    /// [`Verdict::Pass`].
    pub const PASS: Self = Self::Now(Verdict::Pass);
}

impl Verdict {
    /// What the Filter Manager is told, and the number for the post-operation callback. A status that is no error would
    /// claim an open that never was: it becomes `STATUS_UNSUCCESSFUL`.
    #[inline]
    pub(crate) fn apply<F: Minifilter>(
        self,
        create: &Create<'_, F>,
    ) -> (FLT_PREOP_CALLBACK_STATUS, usize) {
        match self {
            Self::Pass => (FLT_PREOP_SUCCESS_NO_CALLBACK, 0),
            Self::PassThen(number) => (FLT_PREOP_SUCCESS_WITH_CALLBACK, number),
            Self::Fail(status) => {
                create.set_status(if NtStatus::check(status.0).is_ok() {
                    NtStatus::UNSUCCESSFUL
                } else {
                    status
                });
                (FLT_PREOP_COMPLETE, 0)
            }
        }
    }
}

/// The kind of unload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unload {
    /// Somebody asked for it (`fltmc unload`); a filter that implements [`Minifilter`] never refuses.
    Requested,
    /// The driver is being stopped (`sc stop`): it cannot be refused.
    Mandatory,
}

// Callbacks that run seldom, and at PASSIVE_LEVEL only, are paged code; those of a create are not: see the driver.

/// The static tables of `F`.
pub(crate) struct Table<F>(PhantomData<F>);

impl<F: Minifilter> Table<F> {
    const REGISTRATION: &'static FLT_REGISTRATION = &FLT_REGISTRATION {
        #[expect(clippy::cast_possible_truncation, reason = "112")]
        Size: size_of::<FLT_REGISTRATION>() as u16,
        Version: FLT_REGISTRATION_VERSION_0203,
        Flags: 0,
        ContextRegistration: Contexts::<F>::registration(),
        OperationRegistration: F::Operations::TABLE.as_ptr(),
        FilterUnloadCallback: Some(unload::<F>),
        InstanceSetupCallback: Some(instance_setup::<F>),
        // Without this callback nobody could detach an instance by hand.
        InstanceQueryTeardownCallback: Some(instance_query_teardown),
        InstanceTeardownStartCallback: Some(instance_teardown_start::<F>),
        InstanceTeardownCompleteCallback: None,
        GenerateFileNameCallback: ptr::null(),
        NormalizeNameComponentCallback: ptr::null(),
        NormalizeContextCleanupCallback: ptr::null(),
        TransactionNotificationCallback: ptr::null(),
        NormalizeNameComponentExCallback: ptr::null(),
        SectionNotificationCallback: ptr::null(),
    };

    pub(crate) const fn registration() -> *const FLT_REGISTRATION {
        ptr::from_ref(Self::REGISTRATION)
    }
}

#[unsafe(link_section = "PAGE")]
unsafe extern "C" fn instance_setup<F: Minifilter>(
    objects: *const FLT_RELATED_OBJECTS,
    flags: u32,
    device_type: u32,
    file_system: FLT_FILESYSTEM_TYPE,
) -> NTSTATUS {
    PAGED_CODE!();
    let volume = Volume {
        asked: flags & FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT != 0,
        device_type,
        file_system,
    };
    match F::attach(volume) {
        Attach::With(value) => {
            // SAFETY: valid until the callback returns.
            let objects = unsafe { &*objects };
            match context::keep::<F>(objects, value) {
                Ok(()) => STATUS_SUCCESS,
                // The only refusal that the documentation knows; the volume goes on without the filter.
                Err(_) => STATUS_FLT_DO_NOT_ATTACH,
            }
        }
        Attach::Decline => STATUS_FLT_DO_NOT_ATTACH,
    }
}

#[unsafe(link_section = "PAGE")]
unsafe extern "C" fn instance_teardown_start<F: Minifilter>(
    objects: *const FLT_RELATED_OBJECTS,
    _reason: u32,
) {
    PAGED_CODE!();
    // SAFETY: valid until the callback returns.
    let instance = unsafe { (*objects).Instance };
    // SAFETY: the Filter Manager calls this for instances of the filter that registered `F`.
    if let Some(context) = unsafe { context::get::<F>(instance) } {
        F::detaching(&context);
    }
}

#[unsafe(link_section = "PAGE")]
unsafe extern "C" fn instance_query_teardown(
    _objects: *const FLT_RELATED_OBJECTS,
    _flags: u32,
) -> NTSTATUS {
    STATUS_SUCCESS
}

#[unsafe(link_section = "PAGE")]
unsafe extern "C" fn unload<F: Minifilter>(flags: u32) -> NTSTATUS {
    PAGED_CODE!();
    F::unload(if flags & FLTFL_FILTER_UNLOAD_MANDATORY == 0 {
        Unload::Requested
    } else {
        Unload::Mandatory
    });
    STATUS_SUCCESS
}
