//! From instructions to functions and the edges between them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use super::{image::Image, reader};

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    /// The RVA at which it begins.
    pub(super) start: u32,
    /// The greatest frame of its parts.
    pub(super) frame: u32,
    /// Where it goes.
    pub(super) edges: Vec<Edge>,
    /// What of it cannot be known.
    pub(super) unseen: Vec<Unseen>,
    /// The import that it does nothing but jump to: an import library's stub, part of no stack.
    pub(super) stub: Option<String>,
}

/// A call or a jump out of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    /// Where the instruction lies.
    pub(super) at: u32,
    /// A jump leaves after the frame is gone, a call adds to it.
    pub(super) jump: bool,
    /// The frame at that place.
    pub(super) frame: u32,
    pub(super) target: Target,
}

/// Where an edge goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Another function, by index.
    Function(usize),
    /// An imported routine, with the function whose address it is given first, where that is plain.
    Import { name: String, first: Option<usize> },
}

/// Something that the image does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) at: u32,
    pub(super) what: What,
}

/// What an image does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A call through a pointer: anything may be called.
    Call,
    /// A jump through a pointer that is no switch.
    Jump,
    /// The stack pointer moves by what no unwind data states.
    Moves,
}

/// A decoded function before its targets have indexes.
pub(super) struct Raw {
    pub(super) start: u32,
    pub(super) frame: u32,
    pub(super) edges: Vec<RawEdge>,
    pub(super) unseen: Vec<Unseen>,
    /// Functions whose address an instruction takes.
    pub(super) taken: BTreeSet<u32>,
    pub(super) one_instruction: bool,
}

pub(super) struct RawEdge {
    pub(super) at: u32,
    pub(super) jump: bool,
    pub(super) frame: u32,
    pub(super) target: RawTarget,
    /// The function whose address is the first argument.
    pub(super) first: Option<u32>,
}

pub(super) enum RawTarget {
    Code(u32),
    Import(String),
}

/// All functions: those with unwind data, those the symbols name, and those that they call or whose address is taken. The latter are added
/// to the image's entries.
pub(super) fn functions(
    image: &mut Image,
    named: impl Iterator<Item = u32>,
) -> Result<Vec<Function>> {
    let mut waiting: Vec<u32> = image.chunks.iter().map(|chunk| chunk.function).collect();
    waiting.extend(named.filter(|rva| image.is_code(*rva)));
    waiting.extend(image.entries.iter().copied());
    let mut raw: BTreeMap<u32, Raw> = BTreeMap::new();
    while let Some(rva) = waiting.pop() {
        let start = image.function_at(rva);
        if raw.contains_key(&start) {
            continue;
        }
        let function = reader::read(image, start)
            .with_context(|| format!("the code at {start:#x} cannot be followed"))?;
        for edge in &function.edges {
            if let RawTarget::Code(target) = edge.target {
                waiting.push(target);
            }
        }
        waiting.extend(function.taken.iter().copied());
        raw.insert(start, function);
    }
    let taken: Vec<u32> = raw
        .values()
        .flat_map(|function| &function.taken)
        .copied()
        .collect();
    image.entries.extend(taken);
    Ok(resolve(image, raw))
}

/// Gives targets their indexes, and calls of stubs their imports.
fn resolve(image: &Image, raw: BTreeMap<u32, Raw>) -> Vec<Function> {
    let index: BTreeMap<u32, usize> = raw.keys().copied().zip(0..).collect();
    let of = |rva: u32| index.get(&image.function_at(rva)).copied();
    let stubs: BTreeMap<u32, String> = raw
        .values()
        .filter(|function| function.one_instruction)
        .filter_map(|function| match &function.edges[..] {
            [
                RawEdge {
                    jump: true,
                    target: RawTarget::Import(name),
                    ..
                },
            ] => Some((function.start, name.clone())),
            _ => None,
        })
        .collect();
    raw.into_values()
        .map(|function| {
            let edges = function.edges.into_iter().filter_map(|edge| {
                let import = |name| Target::Import {
                    name,
                    first: edge.first.and_then(of),
                };
                let target = match edge.target {
                    RawTarget::Import(name) => import(name),
                    RawTarget::Code(rva) => match stubs.get(&rva) {
                        Some(name) => import(name.clone()),
                        None => Target::Function(of(rva)?),
                    },
                };
                Some(Edge {
                    at: edge.at,
                    jump: edge.jump,
                    frame: edge.frame,
                    target,
                })
            });
            Function {
                start: function.start,
                frame: function.frame,
                edges: edges.collect(),
                unseen: function.unseen,
                stub: stubs.get(&function.start).cloned(),
            }
        })
        .collect()
}
