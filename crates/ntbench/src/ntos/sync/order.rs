//! The order of locks: taking them in one order here and in the other there is a deadlock that waits for its moment.
//!
//! As Driver Verifier's deadlock detection does: each "B taken while A is held" is an edge from A to B, and a path back
//! from B to A is a finding, whether or not two threads ever met. Locks are known by their addresses; a lock that is
//! initialised anew, or whose memory is freed, is another one and is forgotten.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Held;
use crate::{symbols, verifier};

/// What is known of a lock.
#[derive(Default)]
struct Node {
    /// Those that were taken while it was held, and where.
    after: HashMap<usize, usize>,
    /// Those that it was taken under.
    before: HashSet<usize>,
}

/// Locks by their addresses: in order, because memory that is freed is asked about by its range.
#[derive(Default)]
struct Graph(BTreeMap<usize, Node>);

static GRAPH: Mutex<Graph> = Mutex::new(Graph(BTreeMap::new()));
/// Whether it holds anything: most drivers never hold two locks, and each block that they free is asked about.
static ANY: AtomicBool = AtomicBool::new(false);

/// Notes that a lock is about to be taken while `older` is held.
pub(super) fn note(older: &Held, kind: &'static str, address: usize) {
    if older.address == address {
        return;
    }
    let mut graph = GRAPH.lock().unwrap_or_else(PoisonError::into_inner);
    if graph.has(older.address, address) {
        return;
    }
    let site = verifier::here();
    graph.add(older.address, address, site);
    ANY.store(true, Ordering::Release);
    if let Some(site) = graph.way(address, older.address) {
        drop(graph);
        verifier::finding(
            "lock-order",
            format!(
                "a {kind} at {address:#x} is taken while the {} at {:#x} is held, and they have been taken in the other order \
                 at {}: two threads that do so at once wait for each other",
                older.kind,
                older.address,
                symbols::describe_call(site)
            ),
        );
    }
}

/// Forgets the locks in that memory.
pub(super) fn forget(start: usize, length: usize) {
    if ANY.load(Ordering::Acquire) {
        GRAPH
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(start, length);
    }
}

impl Graph {
    fn has(&self, older: usize, newer: usize) -> bool {
        self.0
            .get(&older)
            .is_some_and(|node| node.after.contains_key(&newer))
    }

    fn add(&mut self, older: usize, newer: usize, site: usize) {
        self.0.entry(older).or_default().after.insert(newer, site);
        self.0.entry(newer).or_default().before.insert(older);
    }

    /// The place of the first step of a way from one lock to another.
    fn way(&self, from: usize, to: usize) -> Option<usize> {
        let mut seen = HashSet::from([from]);
        let first = self.0.get(&from)?.after.iter();
        let mut open: Vec<(usize, usize)> = first.map(|(lock, site)| (*lock, *site)).collect();
        while let Some((lock, first)) = open.pop() {
            if lock == to {
                return Some(first);
            }
            if seen.insert(lock)
                && let Some(next) = self.0.get(&lock)
            {
                open.extend(next.after.keys().map(|lock| (*lock, first)));
            }
        }
        None
    }

    fn forget(&mut self, start: usize, length: usize) {
        let range = start..start.saturating_add(length.max(1));
        let gone: Vec<usize> = self.0.range(range).map(|(lock, _)| *lock).collect();
        for lock in gone {
            let Some(node) = self.0.remove(&lock) else {
                continue;
            };
            for newer in node.after.keys() {
                if let Some(newer) = self.0.get_mut(newer) {
                    newer.before.remove(&lock);
                }
            }
            for older in &node.before {
                if let Some(older) = self.0.get_mut(older) {
                    older.after.remove(&lock);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        for (older, newer, site) in [(1, 2, 12), (2, 3, 23), (2, 2, 22), (3, 4, 34)] {
            graph.add(older, newer, site);
        }
        graph
    }

    #[test]
    fn a_way_back_is_found_over_others() {
        let graph = graph();
        assert_eq!(graph.way(1, 4), Some(12));
        assert_eq!(graph.way(4, 1), None);
        assert_eq!(graph.way(2, 1), None);
    }

    #[test]
    fn what_is_freed_is_forgotten_from_both_sides() {
        let mut graph = graph();
        graph.forget(3, 1);
        assert_eq!(graph.way(1, 4), None, "the way led over it");
        assert!(graph.has(1, 2) && !graph.has(2, 3) && !graph.has(3, 4));
        assert!(graph.0[&4].before.is_empty());
        graph.forget(0, 10);
        assert!(graph.0.is_empty());
    }
}
