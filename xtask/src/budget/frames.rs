//! Frame sizes from unwind data ("x64 exception handling" in Microsoft's documentation of the x64 ABI), read by `pe-unwind-info`, as ntbench
//! does when it walks a stack: what is checked against each other differs in method, not in the reading of a format.

use anyhow::{Context as _, Result, bail};
use pe_unwind_info::x86_64::{
    FunctionTableEntries, RuntimeFunction, UnwindInfo, UnwindInfoFlags, UnwindOperation,
};

/// A call pushes it before the function's first instruction.
pub(super) const RETURN_ADDRESS: u32 = 8;
/// Bytes of a function table's entry.
const ENTRY: usize = size_of::<RuntimeFunction>();
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
        if !info.flags().contains(UnwindInfoFlags::CHAININFO) {
            return Ok(chunk);
        }
        // Counted here and not by the crate: the codes' number is rounded up to an even one, which it leaves out.
        let codes = u32::from(info.unwind_codes_len).next_multiple_of(2);
        let next = info_at.saturating_add(4 + 2 * codes) as usize;
        let next = memory
            .get(next..next.saturating_add(ENTRY))
            .and_then(|bytes| FunctionTableEntries::parse(bytes).functions())
            .and_then(<[_]>::first)
            .context("chained to what lies outside the image")?;
        chunk.function = next.begin_address.get();
        info_at = next.unwind_info_address.get();
    }
    bail!("a chain without end")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: usize = 0x100;
    const PRIMARY: usize = 0x200;
    const CHAINED: usize = 0x240;

    /// A function at 0x1000 that saves two registers and takes 0x12340 bytes, and a part of it elsewhere that saves one more.
    fn memory() -> Vec<u8> {
        let mut memory = vec![0; 0x300];
        let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
        let entry = |start: u32, end: u32, info: usize| {
            [start, end, u32::try_from(info).unwrap()]
                .map(u32::to_le_bytes)
                .concat()
        };
        put(TABLE, &entry(0x1000, 0x1080, PRIMARY));
        put(TABLE + 12, &entry(0x1100, 0x1140, CHAINED));
        // Version 1; a prolog of 10 bytes; 4 slots: UWOP_ALLOC_LARGE (in units of 8), UWOP_PUSH_NONVOL rdi, rbx.
        put(
            PRIMARY,
            &[1, 10, 4, 0, 10, 0x01, 0x68, 0x24, 2, 0x70, 1, 0x30],
        );
        // Version 1, UNW_FLAG_CHAININFO; 2 slots: UWOP_PUSH_NONVOL rsi, and one to fill up.
        put(CHAINED, &[1 | 4 << 3, 1, 1, 0, 1, 0x60, 0, 0]);
        put(CHAINED + 8, &entry(0x1000, 0x1080, PRIMARY));
        memory
    }

    fn read(memory: &[u8]) -> Result<Vec<Chunk>> {
        chunks(memory, u32::try_from(TABLE)?, 24)
    }

    #[test]
    fn a_frame_is_what_the_prolog_takes_and_a_part_adds_to_it() {
        const FRAME: u32 = 8 + 16 + 0x12340;
        assert_eq!(
            read(&memory()).unwrap(),
            [
                Chunk {
                    start: 0x1000,
                    end: 0x1080,
                    function: 0x1000,
                    frame: FRAME,
                    prolog_end: 0x100a,
                },
                Chunk {
                    start: 0x1100,
                    end: 0x1140,
                    function: 0x1000,
                    frame: FRAME + 8,
                    prolog_end: 0x1101,
                },
            ]
        );
    }

    #[test]
    fn damage_is_an_error() {
        let damaged = |at: usize, bytes: &[u8]| {
            let mut memory = memory();
            memory[at..at + bytes.len()].copy_from_slice(bytes);
            read(&memory).unwrap_err();
        };
        // Of no known version; outside the image; overlapping; chained to itself.
        damaged(PRIMARY, &[3]);
        damaged(TABLE + 8, &[0xff; 4]);
        damaged(TABLE + 4, &0x1101_u32.to_le_bytes());
        damaged(CHAINED + 16, &0x240_u32.to_le_bytes());
        chunks(&memory(), u32::MAX, 24).unwrap_err();
    }
}
