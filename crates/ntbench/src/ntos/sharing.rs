//! Who else may open a file: `SHARE_ACCESS`, which file systems, and filters that own file objects, keep for each of theirs.
//!
//! `IoCheckShareAccess`, `IoSetShareAccess`, `IoUpdateShareAccess`, `IoRemoveShareAccess`.

use std::sync::Arc;

use super::file::File;
use super::memory::Guest;
use super::{irql, object};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

/// `SHARE_ACCESS`: opens; of them readers, writers, deleters; of them those that let others read, write, delete.
type Share = [u32; 7];

/// What a file object may do, and what it lets others do: read, write, delete.
#[derive(Clone, Copy)]
struct Rights {
    mine: [bool; 3],
    others: [bool; 3],
}

impl Rights {
    /// From the access and sharing that a create asks for.
    fn wanted(access: u32, share: u32) -> Self {
        Self {
            // FILE_READ_DATA and FILE_EXECUTE; FILE_WRITE_DATA and FILE_APPEND_DATA; DELETE.
            mine: [0x21, 0x6, 0x1_0000].map(|bits| access & bits != 0),
            others: [1, 2, 4].map(|bit| share & bit != 0),
        }
    }

    fn of(file: &File) -> Self {
        file.object(|object| Self {
            mine: [
                object.read_access,
                object.write_access,
                object.delete_access,
            ]
            .map(|set| set != 0),
            others: [
                object.shared_read,
                object.shared_write,
                object.shared_delete,
            ]
            .map(|set| set != 0),
        })
    }

    fn put(self, file: &File) {
        file.object(|object| {
            [
                object.read_access,
                object.write_access,
                object.delete_access,
            ] = self.mine.map(u8::from);
            if self.matters() {
                [
                    object.shared_read,
                    object.shared_write,
                    object.shared_delete,
                ] = self.others.map(u8::from);
            }
        });
    }

    /// Opens that neither read, write nor delete share nothing and are in nobody's way.
    fn matters(self) -> bool {
        self.mine.contains(&true)
    }

    fn fits(self, [opens, rest @ ..]: Share) -> bool {
        let [mine @ .., a, b, c] = rest;
        let kind = 0..3;
        let shared = [a, b, c];
        !kind.into_iter().any(|kind| {
            (self.mine[kind] && shared[kind] < opens) || (mine[kind] != 0 && !self.others[kind])
        })
    }

    fn add(self, share: &mut Share, sign: i32) {
        if !self.matters() {
            return;
        }
        let counts = [[true; 1].as_slice(), &self.mine, &self.others].concat();
        for (count, counts) in share.iter_mut().zip(counts) {
            if counts {
                *count = count.saturating_add_signed(sign);
            }
        }
    }
}

fn file(call: &str, at: usize) -> Arc<File> {
    irql::at_most(call, PASSIVE_LEVEL);
    object::file(at, call)
}

fn update(share: Guest<Share>, rights: Rights, sign: i32) {
    let mut counts = share.read();
    rights.add(&mut counts, sign);
    share.write(counts);
}

exports! { "ntoskrnl.exe";
    /// Whether a file may be opened so; with `update`, counts it.
    fn IoCheckShareAccess(access: u32, wanted: u32, at: usize, share: Guest<Share>, update_it: u8) -> NtStatus {
        let file = file("IoCheckShareAccess", at);
        let rights = Rights::wanted(access, wanted);
        rights.put(&file);
        if rights.matters() && !rights.fits(share.read()) {
            return NtStatus::SHARING_VIOLATION;
        }
        if update_it != 0 {
            update(share, rights, 1);
        }
        NtStatus::SUCCESS
    }

    /// Begins counting with a file's first open.
    fn IoSetShareAccess(access: u32, wanted: u32, at: usize, share: Guest<Share>) {
        let file = file("IoSetShareAccess", at);
        let rights = Rights::wanted(access, wanted);
        rights.put(&file);
        share.write([0; 7]);
        update(share, rights, 1);
    }

    /// Counts an open that was checked before.
    fn IoUpdateShareAccess(at: usize, share: Guest<Share>) {
        update(share, Rights::of(&file("IoUpdateShareAccess", at)), 1);
    }

    /// Counts it no more.
    fn IoRemoveShareAccess(at: usize, share: Guest<Share>) {
        update(share, Rights::of(&file("IoRemoveShareAccess", at)), -1);
    }

    /// As `IoCheckShareAccess`, where the caller knows whether the file can be written.
    partial "as IoCheckShareAccess; whether the volume can be written changes nothing"
    fn IoCheckShareAccessEx(access: u32, wanted: u32, at: usize, share: Guest<Share>, update_it: u8, _writable: usize) -> NtStatus {
        IoCheckShareAccess(access, wanted, at, share, update_it)
    }

    /// As `IoSetShareAccess`, where the caller knows whether the file can be written.
    partial "as IoSetShareAccess; whether the volume can be written changes nothing"
    fn IoSetShareAccessEx(access: u32, wanted: u32, at: usize, share: Guest<Share>, _writable: usize) {
        IoSetShareAccess(access, wanted, at, share);
    }
}
