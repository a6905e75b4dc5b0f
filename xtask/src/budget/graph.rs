//! Greatest sums of frames over the graph of calls.

use std::collections::BTreeSet;

use super::{
    Analysis, EXPANSION,
    code::{Edge, Function, Target},
};

/// The greatest sum of frames from each function on, and the way that has it.
pub(super) struct Costs {
    best: Vec<Option<Best>>,
}

#[derive(Clone, Copy, Debug)]
struct Best {
    bytes: u32,
    /// The edge taken, by its place among the function's edges; none where the sum ends in the function.
    edge: Option<usize>,
}

/// One line of a way: a frame that lies on the stack at its deepest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) function: usize,
    pub(super) frame: u32,
    /// Where the next one is called.
    pub(super) calls_at: Option<u32>,
}

impl Costs {
    pub(super) fn bytes(&self, function: usize) -> Option<u32> {
        self.best[function].map(|best| best.bytes)
    }

    /// The frames on the stack where the sum is greatest, oldest first. A function that jumps on is not among them: its frame is gone.
    pub(super) fn way(&self, functions: &[Function], mut at: usize) -> Vec<Step> {
        let mut way = Vec::new();
        while let Some(best) = self.best[at] {
            let edge = best.edge.map(|edge| &functions[at].edges[edge]);
            if edge.is_none_or(|edge| !edge.jump) {
                way.push(Step {
                    function: at,
                    frame: edge.map_or(functions[at].frame, |edge| edge.frame),
                    calls_at: edge.map(|edge| edge.at),
                });
            }
            match edge.map(|edge| &edge.target) {
                Some(Target::Function(next)) => at = *next,
                _ => break,
            }
        }
        way
    }
}

impl Analysis {
    /// Sums to wherever the stack is deepest in the driver's own code.
    pub(super) fn to_the_deepest(&self) -> Costs {
        self.costs(true, |_| false)
    }

    /// Sums to the call of one import.
    pub(super) fn to_import(&self, import: &str) -> Costs {
        self.costs(
            false,
            |edge| matches!(&edge.target, Target::Import { name, .. } if name == import),
        )
    }

    /// `ends`: whether a way may end in any function; `wanted`: the edges out of the driver that it may end with.
    pub(super) fn costs(&self, ends: bool, wanted: impl Fn(&Edge) -> bool) -> Costs {
        let functions = &self.functions;
        let mut best: Vec<Option<Best>> = functions
            .iter()
            .map(|function| {
                ends.then_some(Best {
                    bytes: function.frame,
                    edge: None,
                })
            })
            .collect();
        // Longest ways by relaxation. An edge on a cycle of calls is left out, since the sum over it has no bound; a cycle of jumps
        // alone adds nothing. So this ends.
        let mut changed = true;
        while changed {
            changed = false;
            for (at, function) in functions.iter().enumerate() {
                for (index, edge) in function.edges.iter().enumerate() {
                    let beyond = match &edge.target {
                        Target::Import { .. } => wanted(edge).then_some(0),
                        Target::Function(_) if self.recursive.contains(&(at, index)) => None,
                        Target::Function(next) => best[*next].map(|best| best.bytes),
                    };
                    let Some(beyond) = beyond else { continue };
                    let bytes = beyond + if edge.jump { 0 } else { edge.frame };
                    if best[at].is_none_or(|best| bytes > best.bytes) {
                        best[at] = Some(Best {
                            bytes,
                            edge: Some(index),
                        });
                        changed = true;
                    }
                }
            }
        }
        Costs { best }
    }

    /// Calls that come back to the function they are made in.
    pub(super) fn recursive_edges(&self) -> BTreeSet<(usize, usize)> {
        let mut found = BTreeSet::new();
        for (at, function) in self.functions.iter().enumerate() {
            for (index, edge) in function.edges.iter().enumerate() {
                if let Target::Function(next) = edge.target
                    && !edge.jump
                    && self.reach(next).contains(&at)
                {
                    found.insert((at, index));
                }
            }
        }
        found
    }

    /// What a function's calls and jumps lead to, and the function itself.
    pub(super) fn reach(&self, from: usize) -> Vec<usize> {
        let mut reached = vec![from];
        let mut next = 0;
        while let Some(at) = reached.get(next).copied() {
            next += 1;
            for edge in &self.functions[at].edges {
                if let Target::Function(target) = edge.target
                    && !reached.contains(&target)
                {
                    reached.push(target);
                }
            }
        }
        reached
    }

    /// For a call of the expansion: what it runs on the reserved stack, if the code shows it.
    pub(super) fn callout(&self, edge: &Edge) -> Option<Option<usize>> {
        match &edge.target {
            Target::Import { name, first } if name == EXPANSION => Some(*first),
            _ => None,
        }
    }

    /// All that the driver has run on a reserved stack; none stands for what the code does not show.
    pub(super) fn callouts(&self) -> BTreeSet<Option<usize>> {
        self.edges()
            .filter_map(|(_, edge)| self.callout(edge))
            .collect()
    }

    /// Jumps into imports that Filter Verifier is misled by: it takes the return address on the stack for the caller's, and a tail call
    /// has left that of the caller's caller.
    pub(super) fn tail_calls(&self) -> Vec<(usize, &Edge, &str)> {
        self.edges()
            .filter_map(|(at, edge)| match &edge.target {
                Target::Import { name, .. } if edge.jump && is_release(name) => {
                    Some((at, edge, name.as_str()))
                }
                _ => None,
            })
            .collect()
    }

    /// All edges but those of stubs, with the function that each leaves.
    pub(super) fn edges(&self) -> impl Iterator<Item = (usize, &Edge)> {
        let own = |(_, function): &(usize, &Function)| function.stub.is_none();
        let functions = self.functions.iter().enumerate().filter(own);
        functions.flat_map(|(at, function)| function.edges.iter().map(move |edge| (at, edge)))
    }
}

/// Whether a routine belongs to Filter Manager or gives something back.
fn is_release(name: &str) -> bool {
    name.starts_with("Flt")
        || ["Release", "Dereference"]
            .iter()
            .any(|word| name.contains(word))
}
