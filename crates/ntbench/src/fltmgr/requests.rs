//! What kernel code asks of an open file: by a handle from the top of the stack (`ZwReadFile`), or below an instance
//! (`FltReadFile`). Its buffers are system memory of its own, and go to the file system as they are.

use std::sync::Arc;

use super::depart::{self, Sent};
use super::frames::frames;
use super::objects::Instance;
use super::op;
use super::operation::{Request, block_of, send, send_fast};
use crate::abi::flt::{
    FLTFL_CALLBACK_DATA_GENERATED_IO, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, KERNEL_MODE,
};
use crate::abi::io::{
    IRP_BUFFERED_IO, IRP_MJ_DEVICE_CONTROL, IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_SET_INFORMATION,
    IRP_MN_QUERY_DIRECTORY, IRP_SYNCHRONOUS_API, IoStatusBlock,
};
use crate::abi::params::{Control, Parameters, QueryDirectory, QueryInformation, SetInformation};
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::syscall::SystemBuffer;
use crate::ntos::{iomgr, irp, mdl};
use crate::stack;
use crate::status::NtStatus;

/// Who asks, of which file, and below which instance.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The instance; `None`: from the top.
    pub(crate) instance: Option<Arc<Instance>>,
    /// The file.
    pub(crate) file: Arc<File>,
    /// The function's own frame.
    pub(crate) symbol: &'static str,
}

impl Caller {
    /// Sends an operation.
    pub(crate) fn send(&self, request: Request<'_>) -> IoStatusBlock {
        let around = frames([self.symbol]);
        let generated = if self.instance.is_some() {
            FLTFL_CALLBACK_DATA_GENERATED_IO
        } else {
            0
        };
        stack::with_frames(&around, || {
            send(
                &self.file,
                &Request {
                    irp_flags: request.irp_flags | IRP_SYNCHRONOUS_API,
                    data_flags: request.data_flags | generated,
                    below: self.instance.as_ref(),
                    ..request
                },
            )
        })
    }

    /// Sends an operation and does not wait; `told` is called at its end, in whichever thread that is.
    pub(super) fn start(
        &self,
        request: &Request<'_>,
        told: impl FnOnce(IoStatusBlock) + Send + 'static,
    ) -> NtStatus {
        let generated = if self.instance.is_some() {
            FLTFL_CALLBACK_DATA_GENERATED_IO
        } else {
            0
        };
        let mut block = block_of(&self.file, request);
        block.irp_flags &= !IRP_SYNCHRONOUS_API;
        let sent = Sent {
            file: &self.file,
            block,
            data_flags: request.data_flags | generated,
            user: false,
            below: self.instance.as_ref(),
            origin: 0,
        };
        stack::with_frames(&frames([self.symbol]), || {
            depart::send(&sent, move |done, _| told(done))
        })
    }

    /// Sends a control whose buffers are one system buffer (`METHOD_BUFFERED`), and does not wait.
    pub(crate) fn start_buffered_control(
        &self,
        major: u8,
        code: u32,
        (input, input_length): (usize, u32),
        (output, output_length): (usize, u32),
        told: impl FnOnce(IoStatusBlock) + Send + 'static,
    ) -> Result<NtStatus, NtStatus> {
        let bytes = Guest::<u8>::at(input).read_many(input_length as usize);
        let buffer = SystemBuffer::new(output_length as usize, &bytes)?;
        let parameters = Parameters::of(Control {
            output_length,
            pad0: 0,
            input_length,
            pad1: 0,
            code,
            pad2: 0,
            input: buffer.address(),
            output: 0,
            output_mdl: 0,
        });
        let request = Request {
            irp_flags: IRP_BUFFERED_IO,
            data_flags: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
            ..Request::new(major, parameters)
        };
        Ok(self.start(&request, move |done| {
            Guest::<u8>::at(output).write_many(&buffer.taken(done, output_length));
            told(done);
        }))
    }

    /// Transfers by lists, which only fast I/O does here; `None`: it is not possible.
    pub(crate) fn fast(&self, major: u8, parameters: Parameters) -> Option<IoStatusBlock> {
        let generated = FLTFL_CALLBACK_DATA_GENERATED_IO;
        stack::with_frames(&frames([self.symbol]), || {
            send_fast(
                &self.file,
                &Request {
                    data_flags: generated,
                    below: self.instance.as_ref(),
                    ..Request::new(major, parameters)
                },
            )
        })
    }

    /// As [`send`](Self::send), with a buffer that says that it is the system's.
    pub(super) fn buffered(&self, major: u8, parameters: Parameters) -> IoStatusBlock {
        self.send(Request {
            irp_flags: IRP_BUFFERED_IO,
            data_flags: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
            ..Request::new(major, parameters)
        })
    }

    /// Asks for information of a class, about the file or its volume.
    pub(crate) fn query(&self, major: u8, buffer: usize, length: u32, class: u32) -> IoStatusBlock {
        let parameters = Parameters::of(QueryInformation {
            length,
            pad0: 0,
            class,
            pad1: 0,
            buffer,
            pad2: [0; 3],
        });
        self.buffered(major, parameters)
    }

    /// Sets information of a class; a rename or hard link to somewhere else has its directory opened first.
    pub(crate) fn set(&self, buffer: usize, length: u32, class: u32) -> Result<NtStatus, NtStatus> {
        let bytes = Guest::<u8>::at(buffer).read_many(length as usize);
        let (target, replace) = match op::names_target(class) {
            Some(extended) => {
                let (name, root, replace) = op::rename_target(&bytes, extended)?;
                let root = iomgr::root(root, KERNEL_MODE)?;
                let below = self.instance.as_ref();
                (
                    iomgr::open_target(&self.file, &name, root, KERNEL_MODE, below)?,
                    replace,
                )
            }
            None => (None, false),
        };
        let parameters = Parameters::of(SetInformation {
            length,
            pad0: 0,
            class,
            pad1: 0,
            parent_of_target: target.as_ref().map_or(0, |target| target.address()),
            replace_if_exists: u8::from(replace),
            advance_only: 0,
            pad2: 0,
            pad3: 0,
            buffer,
            pad4: 0,
        });
        let done = self.buffered(IRP_MJ_SET_INFORMATION, parameters);
        if let Some(target) = target {
            target.close_handle();
        }
        Ok(done.status)
    }

    /// Lists a directory.
    pub(crate) fn directory(
        &self,
        (buffer, length): (usize, u32),
        class: u32,
        flags: u8,
        name: usize,
    ) -> IoStatusBlock {
        let parameters = Parameters::of(QueryDirectory {
            length,
            pad0: 0,
            file_name: name,
            class,
            pad1: 0,
            file_index: 0,
            pad2: 0,
            buffer,
            mdl: 0,
        });
        self.send(Request {
            minor: IRP_MN_QUERY_DIRECTORY,
            flags,
            ..Request::new(IRP_MJ_DIRECTORY_CONTROL, parameters)
        })
    }

    /// Sends a control whose output buffer is locked and described (`METHOD_IN_DIRECT`, `METHOD_OUT_DIRECT`).
    fn direct(&self, major: u8, parameters: Parameters, write: bool) -> IoStatusBlock {
        let mut control: Control = parameters.get();
        if control.output_length != 0 {
            let list = mdl::allocate(control.output, control.output_length, None);
            if mdl::lock_pages(list, write).is_err() {
                mdl::free(list);
                return IoStatusBlock::new(NtStatus::ACCESS_VIOLATION, 0);
            }
            control.output_mdl = list;
        }
        let done = self.send(Request::new(major, Parameters::of(control)));
        if control.output_mdl != 0 {
            mdl::free(control.output_mdl);
        }
        done
    }

    /// Sends a control.
    pub(crate) fn control(
        &self,
        major: u8,
        code: u32,
        (input, input_length): (usize, u32),
        (output, output_length): (usize, u32),
    ) -> IoStatusBlock {
        let arm = |input: usize, output: usize| {
            Parameters::of(Control {
                output_length,
                pad0: 0,
                input_length,
                pad1: 0,
                code,
                pad2: 0,
                input,
                output,
                output_mdl: 0,
            })
        };
        if major == IRP_MJ_DEVICE_CONTROL && irp::takes_controls(&self.file) {
            let (input, output) = ((input, input_length), (output, output_length));
            if let Some(done) = irp::fast_device_control(&self.file, code, input, output) {
                return done;
            }
        }
        if code & 3 == 3 {
            return self.send(Request::new(major, arm(input, output)));
        }
        let bytes = Guest::<u8>::at(input).read_many(input_length as usize);
        let room = if code & 3 == 0 { output_length } else { 0 };
        let Ok(buffer) = SystemBuffer::new(room as usize, &bytes) else {
            return IoStatusBlock::new(NtStatus::INSUFFICIENT_RESOURCES, 0);
        };
        if code & 3 != 0 {
            return self.direct(major, arm(buffer.address(), output), code & 3 == 2);
        }
        let done = self.buffered(major, arm(buffer.address(), 0));
        Guest::<u8>::at(output).write_many(&buffer.taken(done, output_length));
        done
    }
}
