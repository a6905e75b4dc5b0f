//! Frame sizes from unwind data ("x64 exception handling" in Microsoft's documentation of the x64 ABI), read by `pe-unwind-info`, as ntbench
//! does when it walks a stack: what is checked against each other differs in method, not in the reading of a format.

use anyhow::{Context as _, Result, bail};
use pe_unwind_info::x86_64::{
    FunctionTableEntries, UnwindInfo, UnwindInfoTrailer, UnwindOperation,
};

/// A call pushes it before the function's first instruction.
pub(super) const RETURN_ADDRESS: u32 = 8;
/// Chunks chained to chunks chained to …: the longest row followed.
const LONGEST_CHAIN: usize = 32;

/// A contiguous part of a function that has unwind data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where the function begins that it is a part of.
    pub(super) function: u32,
    /// Bytes from the stack pointer here, after the prolog, to the one before the call: locals, saved registers, return address.
    pub(super) frame: u32,
    /// Where the prolog ends.
    pub(super) prolog_end: u32,
}

/// The function table.
pub(super) fn chunks(memory: &[u8], at: u32, size: u32) -> Result<Vec<Chunk>> {
    let start = at as usize;
    let table = start
        .checked_add(size as usize)
        .and_then(|end| memory.get(start..end))
        .context("the function table lies outside the image")?;
    let functions = FunctionTableEntries::parse(table)
        .functions()
        .context("the function table is damaged")?;
    let mut chunks = Vec::new();
    for entry in functions {
        let start = entry.begin_address.get();
        let chunk = chunk(
            memory,
            start,
            entry.end_address.get(),
            entry.unwind_info_address.get(),
        );
        chunks.push(chunk.with_context(|| format!("the unwind data of {start:#x} is damaged"))?);
    }
    chunks.sort_by_key(|chunk| chunk.start);
    if chunks.windows(2).any(|two| two[0].end > two[1].start)
        || chunks.iter().any(|chunk| chunk.end < chunk.start)
    {
        bail!("entries of the function table overlap");
    }
    Ok(chunks)
}

fn chunk(memory: &[u8], start: u32, end: u32, mut info_at: u32) -> Result<Chunk> {
    let mut chunk = Chunk {
        start,
        end,
        function: start,
        frame: RETURN_ADDRESS,
        prolog_end: start,
    };
    for link in 0..LONGEST_CHAIN {
        let info = memory
            .get(info_at as usize..)
            .and_then(UnwindInfo::parse)
            .context("neither version 1 nor 2")?;
        if link == 0 {
            chunk.prolog_end = start.saturating_add(info.prolog_size.into());
        }
        for (_, operation) in info.unwind_operations() {
            let more = match operation {
                UnwindOperation::PopNonVolatile(_) => 8,
                UnwindOperation::UnStackAlloc(bytes) => bytes,
                UnwindOperation::PopMachineFrame { .. } => bail!("it is an interrupt's"),
                UnwindOperation::EpilogInformation(_)
                | UnwindOperation::RestoreSPFromFP
                | UnwindOperation::ReadNonVolatile(..)
                | UnwindOperation::ReadXMM(..) => 0,
            };
            chunk.frame = chunk.frame.checked_add(more).context("a frame of 4 GB")?;
        }
        match info.trailer() {
            Some(UnwindInfoTrailer::ChainedUnwindInfo { chained }) => {
                chunk.function = chained.begin_address.get();
                info_at = chained.unwind_info_address.get();
            }
            _ => return Ok(chunk),
        }
    }
    bail!("a chain without end")
}
