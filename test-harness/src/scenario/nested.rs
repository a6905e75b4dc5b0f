//! Creates that nest: the inspection of each opens its parent from the top of the stack, on the same thread.

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files};
use crate::backend::{Environment, Setup, Stopped};
use protocol::NtStatus;

pub(super) struct Nested {
    /// Creates on one thread: the share's root is the innermost, so the path below it has one component less.
    pub(super) depth: u32,
}

impl Nested {
    fn levels(&self, root: &Root) -> u32 {
        self.depth.saturating_sub(1 + root.below_share())
    }
}

impl Scenario for Nested {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        if self.depth <= root.below_share() {
            return Err(Environment::Machine {
                doing: format!("nesting {} creates", self.depth),
                why: format!(
                    r"the root \\{} has more components than that below its server: take a greater --depth",
                    root.unc()
                ),
            });
        }
        files::directories(root.folder(), self.levels(root))?;
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
        for depth in 1..=self.levels(actor.root) {
            name.push('\\');
            name.push_str(&files::level(depth));
        }
        actor.touch(&name, NtStatus::SUCCESS)
    }
}
