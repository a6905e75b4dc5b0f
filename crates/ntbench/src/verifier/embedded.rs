//! Objects in memory of the driver's own that have to be ended before that memory goes: push locks, oplocks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{finding_at, here};
use crate::ntos::driver;

/// Objects of one kind, from the call that makes one to the call that ends it.
pub(crate) struct Embedded {
    rule: &'static str,
    what: &'static str,
    made: Mutex<BTreeMap<usize, Owner>>,
    /// Whether there ever was one: each block that is freed is asked about.
    any: AtomicBool,
}

/// Who made an object, and where.
struct Owner {
    service: Option<String>,
    site: usize,
}

impl Embedded {
    /// Objects that are called `what`; whoever leaves one breaks `rule`.
    pub(crate) const fn new(rule: &'static str, what: &'static str) -> Self {
        Self {
            rule,
            what,
            made: Mutex::new(BTreeMap::new()),
            any: AtomicBool::new(false),
        }
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<usize, Owner>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver that is calling makes one at that address.
    pub(crate) fn begin(&self, at: usize) {
        let owner = Owner {
            service: driver::calling().map(|driver| driver.service.clone()),
            site: here(),
        };
        self.made().insert(at, owner);
        self.any.store(true, Ordering::Release);
    }

    /// It is ended.
    pub(crate) fn end(&self, at: usize) {
        self.made().remove(&at);
    }

    /// Tells of those in memory that is about to be freed.
    pub(crate) fn about_to_free(&self, start: usize, length: usize) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut left = Vec::new();
        self.made().retain(|at, owner| {
            let here = (start..start + length).contains(at);
            if here {
                left.push((*at, owner.site));
            }
            !here
        });
        for (at, site) in left {
            let text = format!(
                "pool is freed that holds the {} at {at:#x}, initialised here",
                self.what
            );
            finding_at(self.rule, site, text);
        }
    }

    /// Tells of those that a driver which goes away has left.
    pub(crate) fn report_leaks(&self, service: &str) {
        let mut left = Vec::new();
        self.made().retain(|at, owner| {
            let mine = owner.service.as_deref() == Some(service);
            if mine {
                left.push((*at, owner.site));
            }
            !mine
        });
        for (at, site) in left {
            let text = format!(
                "{service} went away with the {} at {at:#x} initialised",
                self.what
            );
            finding_at(self.rule, site, text);
        }
    }
}
