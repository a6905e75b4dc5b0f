//! The baseline: opens that do not nest, each closed before the next, and the ways in which opens fail.

use std::path::Path;

use protocol::NtStatus;

use super::{Scenario, close, files, open};
use crate::backend::{Environment, Machine, Setup, Stopped};
use crate::model::Open;

const OBJECT_NAME_NOT_FOUND: NtStatus = NtStatus(0xc000_0034);
const OBJECT_PATH_NOT_FOUND: NtStatus = NtStatus(0xc000_003a);
const BAD_NETWORK_PATH: NtStatus = NtStatus(0xc000_00be);
const BAD_NETWORK_NAME: NtStatus = NtStatus(0xc000_00cc);

const FILE: &str = "file.txt";

pub(super) struct Flat {
    pub(super) depth: u32,
}

impl Scenario for Flat {
    fn prepare(&self, folder: &Path, setup: &mut Setup) -> Result<(), Environment> {
        let deepest = files::directories(folder, self.depth)?;
        files::file(&deepest, FILE)?;
        setup.shares.push((
            files::SERVER.to_owned(),
            files::SHARE.to_owned(),
            folder.to_owned(),
        ));
        Ok(())
    }

    fn play(&self, machine: &mut dyn Machine, opens: &mut Vec<Open>) -> Result<(), Stopped> {
        let mut deepest = files::share_root();
        let mut names = vec![(deepest.clone(), NtStatus::SUCCESS)];
        for depth in 1..=self.depth {
            deepest.push('\\');
            deepest.push_str(&files::level(depth));
            names.push((deepest.clone(), NtStatus::SUCCESS));
        }
        names.push((format!(r"{deepest}\{FILE}"), NtStatus::SUCCESS));
        names.push((format!(r"{deepest}\absent.txt"), OBJECT_NAME_NOT_FOUND));
        names.push((format!(r"{deepest}\absent\file.txt"), OBJECT_PATH_NOT_FOUND));
        names.push((
            format!(r"\??\UNC\{}\absent\file.txt", files::SERVER),
            BAD_NETWORK_NAME,
        ));
        names.push((
            format!(r"\??\UNC\absent\{}\file.txt", files::SHARE),
            BAD_NETWORK_PATH,
        ));
        for (name, expected) in names {
            let handle = open(machine, opens, &name, 0, expected)?;
            close(machine, handle)?;
        }
        Ok(())
    }
}
