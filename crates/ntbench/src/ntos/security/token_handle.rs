//! Tokens by handles: `ZwOpenProcessTokenEx`, `ZwQueryInformationToken`, `ZwDuplicateToken`.

use super::{impersonation, token};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::ObjectAttributes;
use crate::ntos::handle::{self, Target};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object, ps, ps_query};
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};

/// `TokenPrimary` and `TokenImpersonation`.
const PRIMARY: u32 = 1;
const IMPERSONATION: u32 = 2;
/// `SecurityDelegation`.
const MOST_LEVEL: u32 = 3;

fn of_handle(handle: u64) -> Result<token::Token, NtStatus> {
    match handle::look_up(handle, KERNEL_MODE)?.0 {
        Target::Token(address) => token::find(address).ok_or(NtStatus::INVALID_HANDLE),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

fn give(address: usize, access: u32, attributes: u32, out: Guest<u64>) -> NtStatus {
    out.write(handle::open(
        Target::Token(address),
        access,
        attributes,
        KERNEL_MODE,
    ));
    NtStatus::SUCCESS
}

fn process_token(
    call: &str,
    process: u64,
    access: u32,
    attributes: u32,
    out: Guest<u64>,
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    match ps_query::of_handle(process) {
        Ok(process) => give(token::of_process(&process), access, attributes, out),
        Err(status) => status,
    }
}

fn thread_token(
    call: &str,
    thread: u64,
    access: u32,
    attributes: u32,
    out: Guest<u64>,
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let object = if thread.cast_signed() == -2 {
        thread::current().object
    } else {
        match handle::look_up(thread, KERNEL_MODE) {
            Ok((Target::Thread(object), _)) if ps::thread_at(object).is_some() => object,
            Ok((Target::Thread(_), _)) => return NtStatus::NO_TOKEN,
            Ok(_) => return NtStatus::OBJECT_TYPE_MISMATCH,
            Err(status) => return status,
        }
    };
    match impersonation::of_thread(object) {
        Some(found) => give(found.token, access, attributes, out),
        None => NtStatus::NO_TOKEN,
    }
}

exports! { "ntoskrnl.exe";
    /// A handle for a process's token.
    fn ZwOpenProcessToken(process: u64, access: u32, out: Guest<u64>) -> NtStatus {
        process_token("ZwOpenProcessToken", process, access, 0, out)
    }

    /// The same, with attributes for the handle.
    fn ZwOpenProcessTokenEx(process: u64, access: u32, attributes: u32, out: Guest<u64>) -> NtStatus {
        process_token("ZwOpenProcessTokenEx", process, access, attributes, out)
    }

    /// The same.
    fn NtOpenProcessToken(process: u64, access: u32, out: Guest<u64>) -> NtStatus {
        process_token("NtOpenProcessToken", process, access, 0, out)
    }

    /// The same.
    fn NtOpenProcessTokenEx(process: u64, access: u32, attributes: u32, out: Guest<u64>) -> NtStatus {
        process_token("NtOpenProcessTokenEx", process, access, attributes, out)
    }

    /// A handle for the token that a thread impersonates; `STATUS_NO_TOKEN`: none.
    partial "as whom the check is made changes nothing: nobody is denied a token"
    fn ZwOpenThreadToken(thread: u64, access: u32, _as_self: u8, out: Guest<u64>) -> NtStatus {
        thread_token("ZwOpenThreadToken", thread, access, 0, out)
    }

    /// The same, with attributes for the handle.
    partial "as whom the check is made changes nothing: nobody is denied a token"
    fn ZwOpenThreadTokenEx(thread: u64, access: u32, _as_self: u8, attributes: u32, out: Guest<u64>) -> NtStatus {
        thread_token("ZwOpenThreadTokenEx", thread, access, attributes, out)
    }

    /// The same.
    partial "as whom the check is made changes nothing: nobody is denied a token"
    fn NtOpenThreadToken(thread: u64, access: u32, _as_self: u8, out: Guest<u64>) -> NtStatus {
        thread_token("NtOpenThreadToken", thread, access, 0, out)
    }

    /// The same.
    partial "as whom the check is made changes nothing: nobody is denied a token"
    fn NtOpenThreadTokenEx(thread: u64, access: u32, _as_self: u8, attributes: u32, out: Guest<u64>) -> NtStatus {
        thread_token("NtOpenThreadTokenEx", thread, access, attributes, out)
    }

    /// What a class tells of a token.
    partial "user, groups, privileges, owner, primary group, source, type, level, statistics, session, elevation and integrity level; STATUS_INVALID_INFO_CLASS for other classes"
    fn ZwQueryInformationToken(handle: u64, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>) -> NtStatus {
        irql::at_most("ZwQueryInformationToken", PASSIVE_LEVEL);
        let token = match of_handle(handle) {
            Ok(token) => token,
            Err(status) => return status,
        };
        let Some(bytes) = token::told(token, class, buffer.address()) else {
            // A primary token has no level.
            return if class == 9 { NtStatus::INVALID_PARAMETER } else { NtStatus::INVALID_INFO_CLASS };
        };
        needed.write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if bytes.len() > length as usize {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        buffer.write_many(&bytes);
        NtStatus::SUCCESS
    }

    /// The same.
    partial "as ZwQueryInformationToken"
    fn NtQueryInformationToken(handle: u64, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>) -> NtStatus {
        ZwQueryInformationToken(handle, class, buffer, length, needed)
    }

    /// A token like another one, primary or for impersonation.
    fn ZwDuplicateToken(
        handle: u64, access: u32, attributes: Guest<ObjectAttributes>, _effective_only: u8, kind: u32, out: Guest<u64>,
    ) -> NtStatus {
        irql::at_most("ZwDuplicateToken", PASSIVE_LEVEL);
        let token = match of_handle(handle) {
            Ok(token) => token,
            Err(status) => return status,
        };
        let attributes = attributes.read_opt();
        // SECURITY_QUALITY_OF_SERVICE.ImpersonationLevel; without one, what the token has.
        let quality = attributes.map_or(0, |attributes| attributes.security_quality_of_service.expose_provenance());
        let wanted = if quality == 0 { token.level.unwrap_or(0) } else { Guest::<u32>::at(quality + 4).read() };
        let level = match kind {
            PRIMARY => None,
            IMPERSONATION if wanted <= MOST_LEVEL => Some(wanted),
            _ => return NtStatus::INVALID_PARAMETER,
        };
        // Nobody gets further than the client let the server go.
        if token.level.is_some_and(|has| has < level.unwrap_or(2)) {
            return NtStatus::BAD_IMPERSONATION_LEVEL;
        }
        let made = token::duplicate(token, level);
        object::insert(made.address, object::Kind::Lasting("token"));
        give(made.address, access, attributes.map_or(0, |attributes| attributes.attributes), out)
    }
}
