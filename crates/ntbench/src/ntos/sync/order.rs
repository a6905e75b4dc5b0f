//! The order of locks: taking them in one order here and in the other there is a deadlock that waits for its moment.
//!
//! As Driver Verifier's deadlock detection does: each "B taken while A is held" is an edge from A to B, and a path back
//! from B to A is a finding, whether or not two threads ever met. Locks are known by their addresses; a lock that is
//! initialised anew, or whose memory is freed, is another one and is forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::Held;
use crate::{gate, symbols, verifier};

/// From a lock to those that were taken while it was held, and where.
static AFTER: LazyLock<Mutex<HashMap<usize, HashMap<usize, usize>>>> =
    LazyLock::new(Mutex::default);

/// Notes that a lock is about to be taken while `older` is held.
pub(super) fn note(older: &Held, kind: &'static str, address: usize) {
    if older.address == address {
        return;
    }
    let mut after = AFTER.lock().unwrap_or_else(PoisonError::into_inner);
    if after
        .get(&older.address)
        .is_some_and(|after| after.contains_key(&address))
    {
        return;
    }
    let site = gate::call_site().map_or(0, |site| site.return_address);
    after
        .entry(older.address)
        .or_default()
        .insert(address, site);
    if let Some(site) = way(&after, address, older.address) {
        drop(after);
        verifier::finding(
            "lock-order",
            format!(
                "a {kind} at {address:#x} is taken while the {} at {:#x} is held, and they have been taken in the other order \
                 at {}: two threads that do so at once wait for each other; take them in one order everywhere",
                older.kind,
                older.address,
                symbols::describe(site)
            ),
        );
    }
}

/// The place of the first step of a way from one lock to another.
fn way(after: &HashMap<usize, HashMap<usize, usize>>, from: usize, to: usize) -> Option<usize> {
    let mut seen = HashSet::from([from]);
    let mut open: Vec<(usize, usize)> = after
        .get(&from)?
        .iter()
        .map(|(lock, site)| (*lock, *site))
        .collect();
    while let Some((lock, first)) = open.pop() {
        if lock == to {
            return Some(first);
        }
        if seen.insert(lock)
            && let Some(next) = after.get(&lock)
        {
            open.extend(next.keys().map(|lock| (*lock, first)));
        }
    }
    None
}

/// Forgets the locks in that memory.
pub(super) fn forget(start: usize, length: usize) {
    let range = start..start + length.max(1);
    let mut after = AFTER.lock().unwrap_or_else(PoisonError::into_inner);
    after.retain(|lock, _| !range.contains(lock));
    for locks in after.values_mut() {
        locks.retain(|lock, _| !range.contains(lock));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_found_over_others() {
        let after = HashMap::from([
            (1, HashMap::from([(2, 12)])),
            (2, HashMap::from([(3, 23), (2, 22)])),
            (3, HashMap::from([(4, 34)])),
        ]);
        assert_eq!(way(&after, 1, 4), Some(12));
        assert_eq!(way(&after, 4, 1), None);
        assert_eq!(way(&after, 2, 1), None);
    }
}
