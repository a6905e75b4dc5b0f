//! The create's packet that a question for attributes comes with: filters look into it, and no driver is sent it.

use std::sync::Arc;

use super::{Done, Owner, Packet, allocate, free};
use crate::abi::io::{
    IRP_CREATE_OPERATION, IRP_DEFER_IO_COMPLETION, IRP_MJ_CREATE, IRP_SYNCHRONOUS_API,
    SL_FORCE_ACCESS_CHECK,
};
use crate::abi::irp::StackLocation;
use crate::fltmgr;
use crate::ntos::file::File;
use crate::ntos::iomgr::{self, Create};
use crate::thread;

/// A create's packet at its first stack location, and what its parameters point to.
pub(crate) struct Shown {
    packet: Packet,
    _security: fltmgr::CreateSecurity,
}

impl Shown {
    /// `None`: there is no memory for it.
    pub(crate) fn create(file: &Arc<File>, create: &Create) -> Option<Self> {
        let security = fltmgr::CreateSecurity::of(create);
        let user = iomgr::from_user(create);
        let p = fltmgr::create_parameters(create, &security).0;
        let packet = allocate(1, Owner::System(Arc::new(Done::default())))?;
        packet.set_next(StackLocation {
            major: IRP_MJ_CREATE,
            minor: 0,
            flags: if user { SL_FORCE_ACCESS_CHECK } else { 0 },
            control: 0,
            pad: 0,
            parameters: [p[0], p[1], p[2], p[3]],
            device_object: file.volume.device_object,
            file_object: file.address(),
            completion_routine: 0,
            context: 0,
        });
        packet.change(|irp| {
            irp.flags = IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION;
            irp.requestor_mode = i8::from(user);
            irp.thread = thread::current().object;
            irp.original_file_object = file.address();
            irp.current_location = 1;
            irp.current_stack_location = packet.location_address(1);
        });
        Some(Self {
            packet,
            _security: security,
        })
    }

    pub(crate) fn address(&self) -> usize {
        self.packet.0
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        free(self.packet);
    }
}
