//! Share access: who has a file open for what, and what they leave to others.
//!
//! The rules are those documented for `IoCheckShareAccess`: an open that asks for neither data nor deletion takes no part.

use std::sync::{Arc, Mutex, PoisonError};

use crate::abi::{
    file::{
        DELETE, FILE_APPEND_DATA, FILE_EXECUTE, FILE_READ_DATA, FILE_SHARE_DELETE, FILE_SHARE_READ,
        FILE_SHARE_WRITE, FILE_WRITE_DATA,
    },
    status::NtStatus,
};
use crate::maps::HashMap;

/// What tells one file from another: the host's device and inode.
pub(crate) type FileId = (u64, u64);

/// What an open wants and what it leaves to others, as share bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    wants: u32,
    shares: u32,
}

/// The opens of one volume that take part in sharing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShareTable(Arc<Mutex<HashMap<FileId, Vec<Claim>>>>);

/// An open's place in the table; leaving it at drop.
#[derive(Debug)]
pub(crate) struct ShareHold {
    table: ShareTable,
    file: FileId,
    claim: Claim,
}

impl ShareTable {
    /// Enters an open, or says that it conflicts. `None`: it takes no part.
    pub(crate) fn enter(
        &self,
        file: FileId,
        access: u32,
        share: u32,
    ) -> Result<Option<ShareHold>, NtStatus> {
        let mut wants = 0;
        if access & (FILE_READ_DATA | FILE_EXECUTE) != 0 {
            wants |= FILE_SHARE_READ;
        }
        if access & (FILE_WRITE_DATA | FILE_APPEND_DATA) != 0 {
            wants |= FILE_SHARE_WRITE;
        }
        if access & DELETE != 0 {
            wants |= FILE_SHARE_DELETE;
        }
        if wants == 0 {
            return Ok(None);
        }
        let claim = Claim {
            wants,
            shares: share,
        };
        let mut opens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = opens.entry(file).or_default();
        if others
            .iter()
            .any(|other| other.wants & !claim.shares != 0 || claim.wants & !other.shares != 0)
        {
            return Err(NtStatus::SHARING_VIOLATION);
        }
        others.push(claim);
        drop(opens);
        Ok(Some(ShareHold {
            table: self.clone(),
            file,
            claim,
        }))
    }
}

impl Drop for ShareHold {
    fn drop(&mut self) {
        let mut opens = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = opens.get_mut(&self.file) {
            if let Some(index) = claims.iter().position(|claim| *claim == self.claim) {
                claims.swap_remove(index);
            }
            if claims.is_empty() {
                opens.remove(&self.file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_shares_nothing_keeps_readers_and_writers_out() {
        let table = ShareTable::default();
        let hold = table.enter((1, 1), FILE_READ_DATA, 0).unwrap().unwrap();
        assert_eq!(
            table.enter((1, 1), FILE_READ_DATA, 7).unwrap_err(),
            NtStatus::SHARING_VIOLATION
        );
        assert_eq!(
            table.enter((1, 1), FILE_WRITE_DATA, 7).unwrap_err(),
            NtStatus::SHARING_VIOLATION
        );
        assert!(table.enter((1, 2), FILE_READ_DATA, 0).is_ok());
        drop(hold);
        assert!(table.enter((1, 1), FILE_WRITE_DATA, 0).is_ok());
    }

    #[test]
    fn attributes_alone_never_conflict() {
        let table = ShareTable::default();
        let _hold = table.enter((1, 1), FILE_WRITE_DATA | DELETE, 0).unwrap();
        assert!(table.enter((1, 1), 0x80, 0).unwrap().is_none());
    }

    #[test]
    fn both_sides_must_agree() {
        let table = ShareTable::default();
        let _reader = table
            .enter((1, 1), FILE_READ_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE)
            .unwrap();
        assert_eq!(
            table.enter((1, 1), FILE_WRITE_DATA, 0).unwrap_err(),
            NtStatus::SHARING_VIOLATION
        );
        assert!(
            table
                .enter((1, 1), FILE_WRITE_DATA, FILE_SHARE_READ)
                .is_ok()
        );
    }
}
