//! Many threads, many paths: each opens files and directories of one tree at random, some of them absent, so that expansions,
//! records and name queries of different threads meet. The same seed gives each thread the same paths again.

use protocol::NtStatus;

use super::actor::Actor;
use super::root::Root;
use super::{Scenario, files, status};
use crate::backend::{Environment, Setup, Stopped};

/// Levels of the tree, and how many directories each directory has.
const LEVELS: u32 = 4;
const FAN: u32 = 3;
const FILE: &str = "file.txt";

pub(super) struct Wide {
    /// Opens in a round.
    pub(super) opens: u32,
}

impl Scenario for Wide {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        let mut level = vec![root.folder().to_owned()];
        for _ in 0..LEVELS {
            let mut next = Vec::new();
            for parent in &level {
                for number in 0..FAN {
                    let child = files::directory(parent, &branch(number))?;
                    files::file(&child, FILE)?;
                    next.push(child);
                }
            }
            level = next;
        }
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        self.opens
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        for _ in 0..self.opens {
            let mut name = actor.root.name();
            for _ in 0..actor.random.u32(1..=LEVELS) {
                name.push('\\');
                name.push_str(&branch(actor.random.u32(0..FAN)));
            }
            let (end, expected) = match actor.random.u32(0..8) {
                0 => (r"\absent.txt", status::OBJECT_NAME_NOT_FOUND),
                1 => (r"\absent\file.txt", status::OBJECT_PATH_NOT_FOUND),
                2 | 3 => ("", NtStatus::SUCCESS),
                _ => (r"\file.txt", NtStatus::SUCCESS),
            };
            name.push_str(end);
            if actor.random.bool() {
                actor.touch(&name, expected)?;
            } else {
                actor.query_attributes(&name, expected)?;
            }
        }
        Ok(())
    }
}

fn branch(number: u32) -> String {
    format!("branch{number}")
}
