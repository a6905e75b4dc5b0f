//! Each directory opened relative to the handle of the one before: the name that arrives has one component, and the path
//! that the inspection walks comes from the name query alone.

use std::path::Path;

use protocol::NtStatus;

use super::{Scenario, close, files, open};
use crate::backend::{Environment, Machine, Setup, Stopped};
use crate::model::Open;

pub(super) struct Relative {
    pub(super) depth: u32,
}

impl Scenario for Relative {
    fn prepare(&self, folder: &Path, setup: &mut Setup) -> Result<(), Environment> {
        files::directories(folder, self.depth)?;
        setup.shares.push((
            files::SERVER.to_owned(),
            files::SHARE.to_owned(),
            folder.to_owned(),
        ));
        Ok(())
    }

    fn play(&self, machine: &mut dyn Machine, opens: &mut Vec<Open>) -> Result<(), Stopped> {
        let mut handles = vec![open(
            machine,
            opens,
            &files::share_root(),
            0,
            NtStatus::SUCCESS,
        )?];
        for depth in 1..=self.depth {
            let root = handles.last().copied().unwrap_or(0);
            if root == 0 {
                break; // The open before failed, which its status tells.
            }
            handles.push(open(
                machine,
                opens,
                &files::level(depth),
                root,
                NtStatus::SUCCESS,
            )?);
        }
        handles
            .into_iter()
            .rev()
            .try_for_each(|handle| close(machine, handle))
    }
}
