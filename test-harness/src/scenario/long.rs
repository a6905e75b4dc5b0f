//! Paths towards the 32,767 characters that a counted string can hold: directories with names of 250 characters are made one in the
//! other, each relative to the handle of the one before, and whenever the whole name has passed one of the lengths at which programs
//! break it is opened and queried as a whole, in the form that user mode writes `\\?\UNC\…`. A component of 255 characters is the
//! longest that there is; one of 256 is refused.

use protocol::NtStatus;

use super::actor::{Actor, Expected};
use super::root::Root;
use super::{Scenario, status};
use crate::backend::{Environment, Purpose, Setup, Stopped, System};

/// Characters of a component.
const COMPONENT: usize = 250;
/// Whole names are opened when they have passed these lengths.
const LENGTHS: [usize; 7] = [259, 1_024, 4_096, 8_192, 16_384, 24_576, 31_500];
/// What leaves room for the names that the kernel puts in front: `\Device\Mup`, and a server's own path to its share.
const LONGEST: usize = 32_000;
/// Wine makes names into the host's paths, which end at 4,096 bytes.
const LONGEST_IN_WINE: usize = 3_000;

pub(super) struct Long {
    /// Directories one in the other, at most.
    pub(super) components: u32,
}

impl Scenario for Long {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        self.components + 20
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        let longest = match actor.system {
            System::Wine => LONGEST_IN_WINE,
            _ => LONGEST,
        };
        let top = format!("thread{:02}-{}", actor.index, actor.round);
        let mut name = format!(r"{}\{top}", actor.root.name());
        let mut handle = actor.open_for(Purpose::MakeDirectory, &name, 0, NtStatus::SUCCESS)?;
        let mut lengths = LENGTHS.iter().copied().peekable();
        for number in 1..=self.components {
            let component = component(number, COMPONENT);
            if name.len() + 1 + component.len() > longest {
                break;
            }
            let next = actor.open_for(
                Purpose::MakeDirectory,
                &component,
                handle,
                NtStatus::SUCCESS,
            )?;
            actor.close(handle)?;
            handle = next;
            if handle == 0 {
                return Ok(()); // The open failed, which its status tells.
            }
            name.push('\\');
            name.push_str(&component);
            while lengths.next_if(|&length| name.len() > length).is_some() {
                actor.touch(&name, NtStatus::SUCCESS)?;
                actor.query_attributes(&name, NtStatus::SUCCESS)?;
                actor.touch(
                    &format!(r"{name}\absent.txt"),
                    status::OBJECT_NAME_NOT_FOUND,
                )?;
            }
        }
        actor.touch(&name, NtStatus::SUCCESS)?;
        actor.close(handle)?;

        let top = format!(r"{}\{top}", actor.root.name());
        let widest = format!(r"{top}\{}", component(0, 255));
        let made = actor.open_for(Purpose::MakeDirectory, &widest, 0, NtStatus::SUCCESS)?;
        actor.close(made)?;
        actor.touch(&widest, NtStatus::SUCCESS)?;
        let too_wide = format!(r"{top}\{}", component(0, 256));
        let refused = Expected::from(status::OBJECT_NAME_INVALID).but(
            System::Wine,
            status::OBJECT_NAME_NOT_FOUND,
            "Wine finds no such file, and does not say that there can be none",
        );
        actor.touch(&too_wide, refused)
    }
}

/// A name of that length which tells its level.
fn component(number: u32, length: usize) -> String {
    let mut name = format!("level{number:04}-");
    name.extend(std::iter::repeat_n('x', length - name.len()));
    name
}
