//! Shares of this machine.

use std::path::Path;
use std::ptr;

use windows_sys::Win32::Storage::FileSystem::{
    NetShareAdd, NetShareDel, SHARE_INFO_2, STYPE_DISKTREE,
};

use crate::{Error, Result, Wide};

/// A share that goes when this does.
#[derive(Debug)]
pub struct Share {
    name: Wide,
}

impl Share {
    /// Shares a folder under a name, for as long as the value lives. Who may use it, the folder's own rights say. Needs an elevated process
    /// and the Server service.
    ///
    /// # Errors
    /// ERROR_ACCESS_DENIED; NERR_DuplicateShare: there is one of that name; NERR_ServerNotStarted: the Server service does not run.
    pub fn add(name: &str, folder: &Path, remark: &str) -> Result<Self> {
        let (name, folder, remark) = (Wide::new(name)?, Wide::new(folder)?, Wide::new(remark)?);
        let info = SHARE_INFO_2 {
            shi2_netname: name.ptr().cast_mut(),
            shi2_type: STYPE_DISKTREE,
            shi2_remark: remark.ptr().cast_mut(),
            shi2_permissions: 0,
            // No limit.
            shi2_max_uses: u32::MAX,
            shi2_current_uses: 0,
            shi2_path: folder.ptr().cast_mut(),
            shi2_passwd: ptr::null_mut(),
        };
        let mut wrong = 0;
        // SAFETY: level 2 goes with SHARE_INFO_2, whose strings are NUL-terminated, outlive the call and are only read by it.
        let error =
            unsafe { NetShareAdd(ptr::null(), 2, (&raw const info).cast(), &raw mut wrong) };
        check("NetShareAdd", error)?;
        Ok(Self { name })
    }

    /// Ends the share, and says whether that worked.
    ///
    /// # Errors
    /// NERR_NetNameNotFound: somebody else has ended it.
    pub fn remove(self) -> Result<()> {
        let name = self.name.clone();
        std::mem::forget(self);
        delete(&name)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = delete(&self.name);
    }
}

/// Ends a share by its name: one that an interrupted run has left.
///
/// # Errors
/// NERR_NetNameNotFound: there is none.
pub fn delete(name: &Wide) -> Result<()> {
    // SAFETY: a NUL-terminated name; no server is this machine.
    check("NetShareDel", unsafe {
        NetShareDel(ptr::null(), name.ptr(), 0)
    })
}

fn check(call: &'static str, error: u32) -> Result<()> {
    match error {
        0 => Ok(()),
        error => Err(Error::win32_of(call, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wine;

    #[test]
    fn a_share_that_is_not_there_cannot_be_ended() {
        let name = Wide::new("winuser-no-such-share").unwrap();
        match delete(&name) {
            // NERR_NetNameNotFound, or no right to ask.
            Err(error) if wine::version().is_none() => {
                assert!(matches!(error.win32(), Some(2310 | 5)), "{error}");
            }
            // Wine hands this to Samba's `net`.
            told => println!("under Wine: {told:?}"),
        }
    }
}
