//! References that drivers have taken to something, by the calls that took them.
//!
//! Nobody can tell which of several references is given back. The newest that was taken in the function which gives it back is taken to
//! be it; where that function took none, the newest of all.

use super::{Leak, here};
use crate::{machine, symbols, unwind};

/// What tells the function at an address from others; `None`: it has no unwind data.
fn function_of(address: usize) -> Option<usize> {
    unwind::entry(&machine::module_at(address)?.image, address)
}

/// One driver's references to one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    /// Where each one that is left was taken, the newest last.
    sites: Vec<usize>,
    /// How many more were given back than taken: what another driver, or the system, had taken.
    owed: usize,
}

impl Taken {
    /// The driver that is calling takes one.
    pub(crate) fn take(&mut self) {
        if self.owed > 0 {
            self.owed -= 1;
        } else {
            self.sites.push(here());
        }
    }

    /// It gives one back.
    pub(crate) fn give_back(&mut self) {
        match self.sites.len() {
            0 => self.owed += 1,
            1 => self.sites.clear(),
            count => {
                let function = function_of(here());
                let own = |site: &usize| function.is_some() && function_of(*site) == function;
                self.sites
                    .remove(self.sites.iter().rposition(own).unwrap_or(count - 1));
            }
        }
    }

    /// How many are left; below 0: more than that were given back.
    pub(crate) fn left(&self) -> i64 {
        let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
        count(self.sites.len()) - count(self.owed)
    }

    /// What is left, if anything: `text` followed by the calls that took it.
    pub(crate) fn leak(&self, text: &str) -> Option<Leak> {
        let site = *self.sites.first()?;
        Some(Leak {
            text: format!("{text}; taken at {}", self.places()),
            site,
        })
    }

    /// The calls that took what is left, each once.
    fn places(&self) -> String {
        let mut places: Vec<(usize, usize)> = Vec::new();
        for site in &self.sites {
            match places.iter_mut().find(|(known, _)| known == site) {
                Some((_, times)) => *times += 1,
                None => places.push((*site, 1)),
            }
        }
        let place = |(site, times): &(usize, usize)| match times {
            1 => symbols::describe_call(*site),
            _ => format!("{} ({times} times)", symbols::describe_call(*site)),
        };
        places.iter().map(place).collect::<Vec<_>>().join(", ")
    }
}
