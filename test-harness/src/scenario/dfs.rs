//! The case that started it: `NtQueryAttributesFile` on a DFS path. The DFS client needs a referral, for the referral a
//! connection, and opens IPC$ for it inside the create, on the same thread.
//!
//! In ntbench the namespace is made; on Windows the user names a root that lies in one. Its client remembers referrals and
//! connections: only the first query since either expired nests.

use protocol::NtStatus;

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files};
use crate::backend::{Environment, Setup, Stopped, System};

/// Where the redirector waits for the connection: the newest frame of the published stack.
const WAITING: &str = "nt!KiSwapContext";

const NAMESPACE: &str = "corp";
const ROOT: &str = "public";
const LINK: &str = "projects";
const FILE: &str = "plan.txt";

pub(super) struct Dfs {
    /// The user has named the root.
    pub(super) named: bool,
}

impl Scenario for Dfs {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        if cfg!(windows) && !self.named {
            return Err(Environment::Machine {
                doing: "preparing a DFS namespace".to_owned(),
                why: r"on Windows that is a domain's or a server's affair: name a folder in one, --root \\domain\namespace\folder"
                    .to_owned(),
            });
        }
        files::file(root.folder(), FILE)?;
        root.share_in(setup);
        let target = [root.server(), root.share()];
        let link = [NAMESPACE, ROOT, LINK, target[0], target[1]];
        setup.dfs_links.push(link.map(str::to_owned));
        setup.list_stack_at.push(WAITING.to_owned());
        Ok(())
    }

    fn creates(&self) -> u32 {
        4
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let folder = if actor.system == System::Ntbench {
            format!(r"\??\UNC\{NAMESPACE}\{ROOT}\{LINK}")
        } else {
            actor.root.name()
        };
        actor.query_attributes(&format!(r"{folder}\{FILE}"), NtStatus::SUCCESS)
    }
}
