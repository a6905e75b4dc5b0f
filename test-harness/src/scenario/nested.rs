//! Creates that nest: the inspection of each opens its parent from the top of the stack, on the same thread.

use std::path::Path;

use protocol::NtStatus;

use super::{Scenario, close, files, open};
use crate::backend::{Environment, Machine, Setup, Stopped};
use crate::model::Open;

pub(super) struct Nested {
    /// Creates on one thread: the share's root is the innermost, so the path has one directory less.
    pub(super) depth: u32,
}

impl Nested {
    fn levels(&self) -> u32 {
        self.depth.saturating_sub(1)
    }
}

impl Scenario for Nested {
    fn prepare(&self, folder: &Path, setup: &mut Setup) -> Result<(), Environment> {
        files::directories(folder, self.levels())?;
        setup.shares.push((
            files::SERVER.to_owned(),
            files::SHARE.to_owned(),
            folder.to_owned(),
        ));
        Ok(())
    }

    fn ancestors_from_top(&self) -> bool {
        true
    }

    fn play(&self, machine: &mut dyn Machine, opens: &mut Vec<Open>) -> Result<(), Stopped> {
        let mut name = files::share_root();
        for depth in 1..=self.levels() {
            name.push('\\');
            name.push_str(&files::level(depth));
        }
        let handle = open(machine, opens, &name, 0, NtStatus::SUCCESS)?;
        close(machine, handle)
    }
}
