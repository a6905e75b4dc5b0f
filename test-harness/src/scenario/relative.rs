//! Each directory opened relative to the handle of the one before: the name that arrives has one component, and the path
//! that the inspection walks comes from the name query alone.

use protocol::NtStatus;

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files};
use crate::backend::{Environment, Setup, Stopped};

pub(super) struct Relative {
    pub(super) depth: u32,
}

impl Scenario for Relative {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        files::directories(root.folder(), self.depth)?;
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        self.depth + 1
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let name = actor.root.name();
        let mut handles = vec![actor.open(&name, 0, NtStatus::SUCCESS)?];
        for depth in 1..=self.depth {
            let root = handles.last().copied().unwrap_or(0);
            if root == 0 {
                break; // The open before failed, which its status tells.
            }
            handles.push(actor.open(&files::level(depth), root, NtStatus::SUCCESS)?);
        }
        handles
            .into_iter()
            .rev()
            .try_for_each(|handle| actor.close(handle))
    }
}
