//! A machine with one local volume, `C:`, and what a program does with the files there.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::PathBuf;

use ntbench::wire::{CreateFile, MachineConfig, NamespaceConfig, Transferred, Volume};
use ntbench::{Machine, NtStatus, Thread};

use super::model::{scratch_folder, start};

pub(crate) const READ: u32 = 0x1;
pub(crate) const WRITE: u32 = 0x2;
pub(crate) const DELETE: u32 = 0x1_0000;
pub(crate) const ATTRIBUTES: u32 = 0x180;
pub(crate) const SYNCHRONIZE: u32 = 0x10_0000;

pub(crate) const SUPERSEDE: u32 = 0;
pub(crate) const OPEN: u32 = 1;
pub(crate) const CREATE: u32 = 2;
pub(crate) const OPEN_IF: u32 = 3;
pub(crate) const OVERWRITE: u32 = 4;
pub(crate) const OVERWRITE_IF: u32 = 5;

/// The machine, a program's thread, and the folder of the host behind the volume.
pub(crate) struct VolumeBench {
    pub(crate) machine: Machine,
    pub(crate) thread: Thread,
    pub(crate) folder: PathBuf,
}

impl VolumeBench {
    /// `C:\a.txt` holds `text`; `C:\Folder` is empty.
    pub(crate) fn new() -> Self {
        Self::with(MachineConfig::default())
    }

    /// The same on a machine that is configured otherwise.
    pub(crate) fn with(config: MachineConfig) -> Self {
        let folder = scratch_folder();
        std::fs::create_dir_all(folder.join("Folder")).expect("a folder");
        std::fs::write(folder.join("a.txt"), "text").expect("a file");
        let volume = Volume {
            device: "\\Device\\HarddiskVolume1".to_owned(),
            letter: Some('C'),
            folder: folder.clone(),
        };
        let machine = Machine::boot(MachineConfig {
            host: Some(PathBuf::from(env!("CARGO_BIN_EXE_ntbench"))),
            namespace: NamespaceConfig {
                volumes: vec![volume],
                ..NamespaceConfig::default()
            },
            ..config
        })
        .expect("a machine");
        let thread = start(&machine);
        Self {
            machine,
            thread,
            folder,
        }
    }

    /// Opens a name below `C:`.
    pub(crate) fn try_open(
        &self,
        name: &str,
        access: u32,
        disposition: u32,
        options: u32,
    ) -> Result<(u64, u64), NtStatus> {
        self.create(&CreateFile {
            name: format!("\\??\\C:{name}"),
            access: access | SYNCHRONIZE,
            disposition,
            options: options | 0x20,
            ..CreateFile::default()
        })
    }

    /// Any create; gives the handle and what it says it did.
    pub(crate) fn create(&self, create: &CreateFile) -> Result<(u64, u64), NtStatus> {
        let done = self.thread.create_file(create).expect("the machine lives");
        if done.status == NtStatus::SUCCESS {
            Ok((done.handle, done.information))
        } else {
            Err(done.status)
        }
    }

    /// Opens what is there.
    pub(crate) fn open(&self, name: &str, access: u32) -> u64 {
        let opened = self.try_open(name, access, OPEN, 0);
        opened.unwrap_or_else(|status| panic!("{name}: {status}")).0
    }

    pub(crate) fn close(&self, handle: u64) {
        let done = self.thread.close(handle).expect("the machine lives");
        assert_eq!(done.status, NtStatus::SUCCESS);
    }

    /// What a class tells of a file.
    pub(crate) fn query(&self, handle: u64, class: u32) -> Transferred {
        let asked = self.thread.query_information(handle, class, 1024);
        asked.expect("the machine lives")
    }

    /// Sets what a class holds.
    pub(crate) fn set(&self, handle: u64, class: u32, data: &[u8]) -> NtStatus {
        let done = self.thread.set_information(handle, class, data);
        done.expect("the machine lives").status
    }

    /// A file system control.
    pub(crate) fn control(&self, handle: u64, code: u32) -> NtStatus {
        let done = self.thread.fs_control(handle, code, &[], 0);
        done.expect("the machine lives").status
    }

    /// The streams of an open file, with their lengths (`FileStreamInformation`).
    pub(crate) fn streams(&self, handle: u64) -> Vec<(String, i64)> {
        let data = self.query(handle, 22).data;
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(entry) = data.get(at..).filter(|entry| entry.len() >= 24) {
            let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            let length = word(4) as usize;
            let units: Vec<u16> = entry[24..24 + length]
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            let size = i64::from_le_bytes(entry[8..16].try_into().unwrap());
            found.push((String::from_utf16(&units).unwrap(), size));
            match word(0) as usize {
                0 => break,
                next => at += next,
            }
        }
        found
    }
}
