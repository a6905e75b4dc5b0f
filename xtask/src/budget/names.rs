//! Names of functions, from the .pdb, as ntbench and debuggers show them.

use std::{collections::BTreeMap, fs::File, path::Path};

use anyhow::{Context as _, Result};
use pdb_addr2line::{ContextPdbData, TypeFormatterFlags, pdb::PDB};

/// Names by the RVA at which a function begins.
#[derive(Default)]
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    pub(super) fn read(pdb: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let data = ContextPdbData::try_from_pdb(PDB::open(File::open(pdb)?)?)?;
            let flags = TypeFormatterFlags::NO_ARGUMENTS
                | TypeFormatterFlags::NO_FUNCTION_RETURN
                | TypeFormatterFlags::NO_MEMBER_FUNCTION_STATIC
                | TypeFormatterFlags::NAME_ONLY;
            let context = data.make_context_with_formatter_flags(flags)?;
            let names = context
                .functions()
                .filter_map(|function| Some((function.start_rva, function.name?)));
            Ok(Self(names.collect()))
        };
        read().with_context(|| format!("the symbols in {} cannot be read", pdb.display()))
    }

    /// Where functions begin.
    pub(super) fn starts(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    pub(super) fn known(&self, start: u32) -> Option<&str> {
        self.0.get(&start).map(String::as_str)
    }

    pub(super) fn of(&self, start: u32) -> String {
        self.known(start)
            .map_or_else(|| format!("sub_{start:x}"), str::to_owned)
    }
}

#[cfg(test)]
impl<const N: usize> From<[(u32, &str); N]> for Names {
    fn from(names: [(u32, &str); N]) -> Self {
        Self(
            names
                .into_iter()
                .map(|(rva, name)| (rva, name.to_owned()))
                .collect(),
        )
    }
}
