//! How much kernel stack a driver uses, told from its image alone.
//!
//! The frame of each function is what its unwind data says; who calls whom is what its instructions say. A frame's size includes the return
//! address, so that it equals the distance between two lines of WinDbg's Child-SP column, and so that frames add up to the distance between
//! the stack pointers of a callback's caller and of the deepest function.
//!
//! Found by what the code does, not by name:
//!
//! * entries: functions whose address lies in data (registration tables) or is taken by an instruction. Those that reach the call of
//!   `KeExpandKernelStackAndCalloutEx` spend the *caller's* stack on the way there;
//! * callouts: what that call is given as its first argument. They run on the *reserved* stack.
//!
//! What cannot be told from the image is named, never guessed: calls through pointers, what an imported routine needs or calls back, and
//! recursion, for which there is no bound.

mod code;
mod frames;
mod graph;
mod image;
mod names;
mod reader;
mod report;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};

pub use report::{Limits, Report};

use self::{code::Function, names::Names};

/// The routine that splits a create's work into what lies on the caller's stack and what does not.
const EXPANSION: &str = "KeExpandKernelStackAndCalloutEx";

/// What is known of a driver's use of the stack.
pub struct Analysis {
    /// By their place in the image; edges name them by index.
    functions: Vec<Function>,
    /// Their names.
    names: Names,
    /// The entry point and the functions whose address is taken, by index.
    entries: Vec<usize>,
    /// Calls that come back to the function they are made in: function and edge.
    recursive: BTreeSet<(usize, usize)>,
}

impl Analysis {
    /// Reads a driver and the .pdb beside it.
    ///
    /// # Errors
    /// The image is none, is damaged, or holds unwind data that nobody knows.
    pub fn of(sys: &Path) -> Result<Self> {
        let data = std::fs::read(sys).with_context(|| format!("cannot read {}", sys.display()))?;
        let mut image = image::Image::parse(&data)
            .with_context(|| format!("{} cannot be analysed", sys.display()))?;
        let names = Names::read(&sys.with_extension("pdb"))?;
        Self::new(&mut image, names)
            .with_context(|| format!("{} cannot be analysed", sys.display()))
    }

    fn new(image: &mut image::Image, names: Names) -> Result<Self> {
        let mut functions = code::functions(image, names.starts())?;
        // A stub bears its import's name. What does the same under a name of its own is a function of the driver that ends in a jump.
        for function in &mut functions {
            let import = function.stub.as_deref();
            if import.is_some()
                && names
                    .known(function.start)
                    .is_some_and(|name| Some(name) != import)
            {
                function.stub = None;
            }
        }
        let entries = (0..functions.len())
            .filter(|index| image.entries.contains(&functions[*index].start))
            .collect();
        let mut analysis = Self {
            functions,
            names,
            entries,
            recursive: BTreeSet::new(),
        };
        analysis.recursive = analysis.recursive_edges();
        Ok(analysis)
    }

    /// The frames of all functions of that name, as debuggers give it, in bytes.
    #[must_use]
    pub fn frames_of(&self, name: &str) -> Vec<u32> {
        let named = |function: &&Function| self.names.of(function.start) == name;
        self.functions
            .iter()
            .filter(named)
            .map(|function| function.frame)
            .collect()
    }

    /// The greatest sums of frames from the functions of that name to the call of the expansion, for each thing that it runs.
    #[must_use]
    pub fn to_the_expansion(&self, name: &str) -> Vec<u32> {
        let named: Vec<usize> = (0..self.functions.len())
            .filter(|index| self.name(*index) == name)
            .collect();
        let callouts = self.callouts().into_iter();
        let sums = callouts.flat_map(|callout| {
            let costs = self.costs(false, |edge| self.callout(edge) == Some(callout));
            let sums = named.iter().filter_map(|index| costs.bytes(*index));
            sums.collect::<Vec<_>>()
        });
        sums.collect()
    }

    fn name(&self, index: usize) -> String {
        self.names.of(self.functions[index].start)
    }
}
