//! The baseline: opens that do not nest, each closed before the next, and the ways in which opens fail.

use protocol::NtStatus;

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files, status};
use crate::backend::{Environment, Setup, Stopped};

const FILE: &str = "file.txt";

pub(super) struct Flat {
    pub(super) depth: u32,
}

impl Scenario for Flat {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        let deepest = files::directories(root.folder(), self.depth)?;
        files::file(&deepest, FILE)?;
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        self.depth + 6
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let mut deepest = actor.root.name();
        let mut names = vec![(deepest.clone(), NtStatus::SUCCESS.into())];
        for depth in 1..=self.depth {
            deepest.push('\\');
            deepest.push_str(&files::level(depth));
            names.push((deepest.clone(), NtStatus::SUCCESS.into()));
        }
        names.push((format!(r"{deepest}\{FILE}"), NtStatus::SUCCESS.into()));
        names.push((
            format!(r"{deepest}\absent.txt"),
            status::OBJECT_NAME_NOT_FOUND.into(),
        ));
        names.push((
            format!(r"{deepest}\absent\file.txt"),
            status::OBJECT_PATH_NOT_FOUND.into(),
        ));
        names.extend(files::absent_servers(actor.root));
        for (name, expected) in names {
            actor.touch(&name, expected)?;
        }
        Ok(())
    }
}
