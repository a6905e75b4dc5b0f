//! What is in a file: reading, writing, length, times and attributes.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{self, Mode, OFlags, Timespec, Timestamps};

use super::folder::refused;
use super::open::OpenFile;
use super::watch::{
    Action, CHANGE_ATTRIBUTES, CHANGE_CREATION, CHANGE_LAST_ACCESS, CHANGE_LAST_WRITE,
};
use crate::abi::file::{FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY};
use crate::abi::status::{self, NtStatus};
use crate::ntos::time;

/// The longest file: what NTFS takes.
const LONGEST: i64 = 0x0FFF_FFFF_0000;

/// What `FILE_BASIC_INFORMATION` changes; `None` leaves a value as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Basic {
    /// 100 ns since 1601.
    pub(crate) created: Option<i64>,
    /// 100 ns since 1601.
    pub(crate) accessed: Option<i64>,
    /// 100 ns since 1601.
    pub(crate) written: Option<i64>,
    /// `FILE_ATTRIBUTE_…`; normal alone clears all.
    pub(crate) attributes: Option<u32>,
}

impl OpenFile {
    /// The path by which the host opens what an `O_PATH` descriptor stands for.
    fn self_path(&self) -> Result<String, NtStatus> {
        let fd = self.fd.as_ref().ok_or(NtStatus::INVALID_DEVICE_REQUEST)?;
        Ok(format!("/proc/self/fd/{}", fd.as_raw_fd()))
    }

    /// A descriptor to read and write by. What the host lets nobody write is opened for reading alone.
    pub(crate) fn data(&self) -> Result<&OwnedFd, NtStatus> {
        if self.is_directory() || self.tree().is_none() {
            return Err(NtStatus::INVALID_DEVICE_REQUEST);
        }
        if let Some(stream) = &self.stream {
            return Ok(&stream.data);
        }
        if let Some(fd) = self.data.get() {
            return Ok(fd);
        }
        if self.reparse_tag() != 0 && self.stat().is_some_and(|stat| is_symlink(&stat)) {
            // A link of the host holds nothing but its target.
            return Err(NtStatus::INVALID_DEVICE_REQUEST);
        }
        let path = self.self_path()?;
        let open = |mode| fs::open(path.as_str(), mode | OFlags::CLOEXEC, Mode::empty());
        let fd = open(OFlags::RDWR)
            .or_else(|_| open(OFlags::RDONLY))
            .map_err(refused)?;
        Ok(self.data.get_or_init(|| fd))
    }

    /// Reads up to `length` bytes; none at or behind the end is `STATUS_END_OF_FILE`.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, NtStatus> {
        let fd = self.data()?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let end = fs::fstat(fd).map_err(refused)?.st_size;
        let left = u64::try_from(end).unwrap_or(0).saturating_sub(offset);
        if left == 0 {
            return Err(NtStatus::END_OF_FILE);
        }
        let mut bytes = vec![0; length.min(usize::try_from(left).unwrap_or(usize::MAX))];
        let mut got = 0;
        while got < bytes.len() {
            match rustix::io::pread(fd, &mut bytes[got..], offset + got as u64).map_err(refused)? {
                0 => break,
                more => got += more,
            }
        }
        bytes.truncate(got);
        if got == 0 {
            return Err(NtStatus::END_OF_FILE);
        }
        Ok(bytes)
    }

    /// Writes; `None`: at the end. `within`: not beyond the file's end, as paging I/O. Gives where it began and how many
    /// bytes it took.
    pub(crate) fn write(
        &self,
        offset: Option<u64>,
        bytes: &[u8],
        within: bool,
    ) -> Result<(u64, usize), NtStatus> {
        let fd = self.data()?;
        let end = u64::try_from(fs::fstat(fd).map_err(refused)?.st_size).unwrap_or(0);
        let offset = offset.unwrap_or(end);
        let room = if within {
            usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX)
        } else {
            bytes.len()
        };
        let bytes = &bytes[..bytes.len().min(room)];
        self.keep_data();
        let longest = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        if offset.saturating_add(bytes.len() as u64) > longest {
            return Err(status::DISK_FULL);
        }
        let mut done = 0;
        while done < bytes.len() {
            done +=
                rustix::io::pwrite(fd, &bytes[done..], offset + done as u64).map_err(refused)?;
        }
        if done > 0 {
            self.tell_written(offset + done as u64 > end);
        }
        Ok((offset, done))
    }

    /// Sets the file's length.
    pub(crate) fn set_end(&self, end: i64) -> Result<(), NtStatus> {
        if !(0..=LONGEST).contains(&end) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        self.keep_data();
        fs::ftruncate(self.data()?, u64::try_from(end).unwrap_or(0)).map_err(refused)?;
        self.tell_written(true);
        Ok(())
    }

    /// Sets how much room the file takes: less than its length cuts it.
    pub(crate) fn set_allocation(&self, size: i64) -> Result<(), NtStatus> {
        if !(0..=LONGEST).contains(&size) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let end = fs::fstat(self.data()?).map_err(refused)?.st_size;
        if size < end {
            return self.set_end(size);
        }
        Ok(())
    }

    /// Free blocks, all blocks, and their size; `None`: no folder of the host is behind it.
    pub(crate) fn space(&self) -> Option<(u64, u64, u64)> {
        let space = fs::fstatvfs(self.fd.as_ref()?).ok()?;
        Some((space.f_bavail, space.f_blocks, space.f_frsize))
    }

    /// Has the host write what it holds back.
    pub(crate) fn flush(&self) -> Result<(), NtStatus> {
        if self.is_directory() {
            return Ok(());
        }
        fs::fdatasync(self.data()?).map_err(refused)
    }

    /// Sets times and attributes.
    pub(crate) fn set_basic(&self, basic: Basic) -> Result<(), NtStatus> {
        let (Some(id), Some(tree), Some(stat)) = (self.file_id(), self.tree(), self.stat()) else {
            return Err(NtStatus::INVALID_DEVICE_REQUEST);
        };
        if let Some(fd) = self
            .fd
            .as_ref()
            .filter(|_| basic.attributes.is_some() || basic.created.is_some())
        {
            tree.notes.pin(id, fd);
        }
        if let Some(attributes) = basic.attributes {
            if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 && !self.is_directory() {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            self.set_read_only(&stat, attributes & FILE_ATTRIBUTE_READONLY != 0)?;
            tree.notes.change(id, |note| {
                note.attributes = Some(attributes & !FILE_ATTRIBUTE_NORMAL);
            });
        }
        if basic.created.is_some() {
            tree.notes.change(id, |note| note.created = basic.created);
        }
        if basic.accessed.is_some() || basic.written.is_some() {
            self.set_times(basic)?;
        }
        let filter = [
            (basic.attributes.is_some(), CHANGE_ATTRIBUTES),
            (basic.created.is_some(), CHANGE_CREATION),
            (basic.accessed.is_some(), CHANGE_LAST_ACCESS),
            (basic.written.is_some(), CHANGE_LAST_WRITE),
        ];
        let filter = filter.into_iter().filter(|(is, _)| *is);
        let filter = filter.fold(0, |all, (_, one)| all | one);
        if filter != 0 {
            self.tell(filter, Action::Modified);
        }
        Ok(())
    }

    fn set_times(&self, basic: Basic) -> Result<(), NtStatus> {
        let spec = |time: Option<i64>| match time.map(time::to_unix) {
            Some((tv_sec, tv_nsec)) => Timespec { tv_sec, tv_nsec },
            None => Timespec {
                tv_sec: 0,
                tv_nsec: fs::UTIME_OMIT,
            },
        };
        let times = Timestamps {
            last_access: spec(basic.accessed),
            last_modification: spec(basic.written),
        };
        let path = self.self_path()?;
        fs::utimensat(fs::CWD, path.as_str(), &times, fs::AtFlags::empty()).map_err(refused)
    }

    fn set_read_only(&self, stat: &fs::Stat, read_only: bool) -> Result<(), NtStatus> {
        let mode = stat.st_mode & 0o7777;
        let wanted = if self.is_directory() || is_symlink(stat) {
            mode
        } else if read_only {
            mode & !0o222
        } else {
            mode | 0o200
        };
        if wanted == mode {
            return Ok(());
        }
        let path = self.self_path()?;
        fs::chmod(path.as_str(), Mode::from_raw_mode(wanted)).map_err(refused)
    }
}

pub(super) fn is_symlink(stat: &fs::Stat) -> bool {
    fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Symlink
}
