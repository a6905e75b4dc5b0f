//! Links that lead to links: chains of relative symbolic links, of symbolic links with UNC targets, of both in turn, and of junctions
//! on a local volume that end in a link to the share, each opened from its far end, and a link that leads to itself. The server or the file system answers STATUS_REPARSE for each, and
//! the create starts again with another name: the driver inspects it anew each time, on the same thread. A name may be replaced 63
//! times; where a chain is longer, or leads round in a circle, the create fails.
//!
//! On Windows links on a share are followed only where the system's policy has it so (`fsutil behavior set SymlinkEvaluation
//! R2R:1`). The first open of a chain tells, and the scenario expects of the others what it expects under that policy.

use protocol::NtStatus;

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files, status};
use crate::backend::{Environment, Link, Purpose, Setup, Stopped, System};

/// How often a create starts again with another name before it fails.
const MOST_LINKS: u32 = 63;
const END: &str = "end";
const FILE: &str = "file.txt";

pub(super) struct Links {
    /// Links in a chain.
    pub(super) depth: u32,
}

impl Scenario for Links {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        let end = files::directory(root.folder(), END)?;
        files::file(&end, FILE)?;
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        // Each link of a chain is made and then opened by way of all those below it.
        4 * (self.depth * (self.depth + 3) + 8)
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        if actor.system == System::Wine {
            return Err(Environment::Machine {
                doing: "making links".to_owned(),
                why: "Wine has no reparse points: run this scenario on Windows or in ntbench"
                    .to_owned(),
            }
            .into());
        }
        for kind in ["relative", "unc", "both"] {
            let prefix = format!("{kind}-{:02}-{}-", actor.index, actor.round);
            self.chain(actor, kind, &prefix)?;
        }
        if let Some(local) = actor.root.local() {
            self.junctions(actor, &local)?;
        }
        self.circle(actor)
    }
}

impl Links {
    /// Makes a chain and opens the file at its end through each link of it.
    fn chain(&self, actor: &mut Actor<'_>, kind: &str, prefix: &str) -> Result<(), Stopped> {
        let mut target = END.to_owned();
        let mut followed = true;
        for number in 1..=self.depth {
            let link = format!("{prefix}{number:03}");
            let relative = match kind {
                "relative" => true,
                "unc" => false,
                _ => number % 2 == 0,
            };
            let to = if relative {
                Link::Relative(target)
            } else {
                Link::Absolute(format!(r"{}\{target}", actor.root.name()))
            };
            make(actor, &format!(r"{}\{link}", actor.root.name()), to)?;
            let through = format!(r"{}\{link}\{FILE}", actor.root.name());
            let expected = if number > MOST_LINKS {
                status::REPARSE_POINT_NOT_RESOLVED
            } else if followed {
                NtStatus::SUCCESS
            } else {
                status::SYMLINK_CLASS_DISABLED
            };
            actor.touch(&through, expected)?;
            if number == 1 && excuse(actor) {
                followed = false;
            }
            target = link;
        }
        Ok(())
    }

    /// Junctions of a local volume, each leading to the one before, the first of them to a symbolic link to the root.
    fn junctions(&self, actor: &mut Actor<'_>, local: &str) -> Result<(), Stopped> {
        let prefix = format!("junction-{:02}-{}-", actor.index, actor.round);
        let mut target = format!(r"{local}\{prefix}000");
        let to = Link::Absolute(format!(r"{}\{END}", actor.root.name()));
        make(actor, &target, to)?;
        for number in 1..=self.depth {
            let link = format!(r"{local}\{prefix}{number:03}");
            make(actor, &link, Link::Junction(target))?;
            let expected = if number + 1 > MOST_LINKS {
                status::REPARSE_POINT_NOT_RESOLVED
            } else {
                NtStatus::SUCCESS
            };
            actor.touch(&format!(r"{link}\{FILE}"), expected)?;
            target = link;
        }
        Ok(())
    }

    /// A link that leads to itself.
    fn circle(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let link = format!("circle-{:02}-{}", actor.index, actor.round);
        let name = format!(r"{}\{link}", actor.root.name());
        make(actor, &name, Link::Relative(link.clone()))?;
        let through = format!(r"{}\{link}\{FILE}", actor.root.name());
        actor.touch(&through, status::REPARSE_POINT_NOT_RESOLVED)?;
        excuse(actor);
        Ok(())
    }
}

/// Whether the policy keeps links on shares from being followed, which the last open has told.
fn excuse(actor: &mut Actor<'_>) -> bool {
    let disabled = actor.system == System::Windows
        && actor.last_status() == Some(status::SYMLINK_CLASS_DISABLED);
    if disabled {
        actor.excuse(
            status::SYMLINK_CLASS_DISABLED,
            "this Windows does not follow links on shares (fsutil behavior set SymlinkEvaluation R2R:1 lets it)",
        );
    }
    disabled
}

/// Makes a directory link.
fn make(actor: &mut Actor<'_>, name: &str, to: Link) -> Result<(), Stopped> {
    let made = actor.open_for(Purpose::MakeDirectory, name, 0, NtStatus::SUCCESS)?;
    actor.close(made)?;
    let handle = actor.open_for(Purpose::Link, name, 0, NtStatus::SUCCESS)?;
    actor.link(name, handle, to, NtStatus::SUCCESS)?;
    actor.close(handle)
}
