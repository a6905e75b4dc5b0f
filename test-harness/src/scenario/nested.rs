//! Creates that nest: the inspection of each opens its parent from the top of the stack, on the same thread.

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files};
use crate::backend::{Environment, Setup, Stopped};
use protocol::NtStatus;

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
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        files::directories(root.folder(), self.levels())?;
        root.share_in(setup);
        Ok(())
    }

    fn ancestors_from_top(&self) -> bool {
        true
    }

    fn creates(&self) -> u32 {
        self.depth
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let mut name = actor.root.name();
        for depth in 1..=self.levels() {
            name.push('\\');
            name.push_str(&files::level(depth));
        }
        actor.touch(&name, NtStatus::SUCCESS)
    }
}
