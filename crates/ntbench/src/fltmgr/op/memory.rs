//! A file system's way to a caller's buffer: by its memory descriptor list where it has one, else by its address.

use super::Context;
use crate::abi::status;
use crate::cpu::guarded;
use crate::ntos::mdl;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::{thread, user, verifier};

impl Context<'_> {
    /// The address by which `length` bytes of a buffer are reached.
    pub(super) fn reach(
        &self,
        buffer: usize,
        list: usize,
        length: usize,
    ) -> Result<usize, NtStatus> {
        if list != 0 {
            if length > mdl::length(list) {
                let _blame = self.flight.operation.blame_changer();
                verifier::finding(
                    "mdl-too-short",
                    format!(
                        "the file system is asked for {length} bytes of a buffer whose MDL describes {}",
                        mdl::length(list)
                    ),
                );
                return Err(status::INVALID_USER_BUFFER);
            }
            return mdl::system_address(list).ok_or(NtStatus::INSUFFICIENT_RESOURCES);
        }
        let foreign = thread::current().process.object != self.flight.operation.process;
        if user::is_user(buffer) && foreign {
            verifier::finding(
                "user-buffer-in-wrong-process",
                "an operation goes on in another process's thread with a buffer that is only the address in its own",
            );
            return Err(status::INVALID_USER_BUFFER);
        }
        Ok(buffer)
    }

    /// Puts bytes into a buffer.
    pub(super) fn put(&self, buffer: usize, list: usize, bytes: &[u8]) -> Result<(), NtStatus> {
        if bytes.is_empty() {
            return Ok(());
        }
        let to = self.reach(buffer, list, bytes.len())?;
        let from = bytes.as_ptr().expose_provenance();
        copy(to, from, bytes.len())
    }

    /// The bytes in a buffer.
    pub(super) fn get(
        &self,
        buffer: usize,
        list: usize,
        length: usize,
    ) -> Result<Vec<u8>, NtStatus> {
        let mut bytes = vec![0; length];
        if length == 0 {
            return Ok(bytes);
        }
        let from = self.reach(buffer, list, length)?;
        copy(bytes.as_mut_ptr().expose_provenance(), from, length)?;
        Ok(bytes)
    }

    /// Puts a structure into a system buffer of `length` bytes: whole, or not at all.
    pub(super) fn put_whole(
        &self,
        buffer: usize,
        length: u32,
        bytes: &[u8],
    ) -> Result<usize, NtStatus> {
        if bytes.len() > length as usize {
            return Err(NtStatus::INFO_LENGTH_MISMATCH);
        }
        self.put(buffer, 0, bytes)?;
        Ok(bytes.len())
    }

    /// Puts a structure that ends in text: as much of it as fits, if `fixed` bytes do.
    pub(super) fn put_cut(
        &self,
        buffer: usize,
        length: u32,
        fixed: usize,
        bytes: &[u8],
    ) -> super::Answer {
        let room = length as usize;
        if room < fixed {
            return Err(NtStatus::INFO_LENGTH_MISMATCH);
        }
        if bytes.len() > room {
            self.put(buffer, 0, &bytes[..room])?;
            return Ok((NtStatus::BUFFER_OVERFLOW, room));
        }
        self.put(buffer, 0, bytes)?;
        Ok((NtStatus::SUCCESS, bytes.len()))
    }
}

/// Copies what may not be there.
pub(in crate::fltmgr) fn copy(to: usize, from: usize, length: usize) -> Result<(), NtStatus> {
    // NULL is checked as every pointer on the driver's word is.
    let _ = Guest::<u8>::at(to.min(from)).read();
    if guarded::copied(to, from, length) {
        Ok(())
    } else {
        Err(status::INVALID_USER_BUFFER)
    }
}

/// Little-endian fields, one after the other.
#[derive(Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn zeroes(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(super) fn units(mut self, units: &[u16]) -> Self {
        for unit in units {
            self.0.extend(unit.to_le_bytes());
        }
        self
    }
}
