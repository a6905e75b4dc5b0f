//! A second handle for what has one: `ZwDuplicateObject`.

use super::handle::{self, Target};
use super::memory::Guest;
use super::notify::{self, Wanted};
use super::{irql, process_type, ps_query, thread_type};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::OBJ_KERNEL_HANDLE;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

/// `DUPLICATE_CLOSE_SOURCE`, `DUPLICATE_SAME_ACCESS`.
const CLOSE_SOURCE: u32 = 1;
const SAME_ACCESS: u32 = 2;

/// What a duplicate is to be.
struct Duplicate {
    from: u64,
    to: u64,
    access: u32,
    attributes: u32,
    options: u32,
}

impl Duplicate {
    fn make(&self, source: u64, out: Guest<u64>) -> Result<NtStatus, NtStatus> {
        let from = ps_query::of_handle(self.from)?;
        let (target, granted) = handle::look_up_in(source, KERNEL_MODE, from.pid)?;
        // Closed also where no second handle can be made.
        let close = || {
            if self.options & CLOSE_SOURCE != 0 {
                handle::close_in(source, from.pid);
            }
        };
        // Without a process to go to it is closed alone.
        if self.to == 0 && self.options & CLOSE_SOURCE != 0 {
            close();
            return Ok(NtStatus::SUCCESS);
        }
        let to = ps_query::of_handle(self.to).inspect_err(|_| close())?;
        let access = if self.options & SAME_ACCESS != 0 {
            granted
        } else {
            self.access
        };
        match &target {
            Target::File(file) => file.add_handle(),
            Target::Counted(counted) => counted.add_handle(),
            Target::Key(key) => key.object().add_handle(),
            _ => {}
        }
        let object = match &target {
            Target::Process(object) => Some((*object, process_type())),
            Target::Thread(object) => Some((*object, thread_type())),
            _ => None,
        };
        let attributes = self.attributes;
        let made = |access| {
            let made = handle::open_in(target, access, attributes, to.pid);
            (made, NtStatus::SUCCESS)
        };
        let (made, status) = match object {
            Some((object, object_type)) => {
                let wanted = Wanted {
                    operation: notify::HANDLE_DUPLICATE,
                    object,
                    object_type,
                    access,
                    kernel: attributes & OBJ_KERNEL_HANDLE != 0,
                    processes: (from.object, to.object),
                };
                notify::handle_filtered(wanted, made)
            }
            None => made(access),
        };
        close();
        out.write_opt(made);
        Ok(status)
    }
}

exports! { "ntoskrnl.exe";
    /// Makes a handle in one process for what a handle in another stands for.
    partial "nobody is denied access but by object callbacks"
    fn ZwDuplicateObject(
        from: u64, source: u64, to: u64, out: Guest<u64>, access: u32, attributes: u32, options: u32,
    ) -> NtStatus {
        irql::at_most("ZwDuplicateObject", PASSIVE_LEVEL);
        let wanted = Duplicate { from, to, access, attributes, options };
        wanted.make(source, out).unwrap_or_else(|status| status)
    }
}
