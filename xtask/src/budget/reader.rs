//! Reads the instructions of one function.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use super::{
    code::{Raw, RawEdge, RawTarget, Unseen, What},
    frames::{Chunk, RETURN_ADDRESS},
    image::Image,
};

/// How many instructions before an indirect jump a switch computes its target in.
const SWITCH: usize = 8;
/// What a called function keeps: a register in which a compiler may keep the address of an import.
const KEPT: [Register; 8] = [
    Register::RBX,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Reads the function that begins at `start`.
pub(super) fn read(image: &Image, start: u32) -> Result<Raw> {
    let chunks: Vec<Chunk> = image
        .chunks
        .iter()
        .filter(|chunk| chunk.function == start)
        .cloned()
        .collect();
    let chunks = if chunks.is_empty() {
        vec![leaf(image, start)?]
    } else {
        chunks
    };
    let mut reader = Reader {
        image,
        instructions: Vec::new(),
        ranges: chunks.iter().map(|chunk| chunk.start..chunk.end).collect(),
        info: InstructionInfoFactory::new(),
    };
    let mut frames = Vec::new();
    for chunk in &chunks {
        for instruction in decode(image, chunk.start, chunk.end)? {
            frames.push((chunk.frame, instruction.next_ip32() > chunk.prolog_end));
            reader.instructions.push(instruction);
        }
    }
    let mut raw = Raw {
        start,
        frame: chunks
            .iter()
            .map(|chunk| chunk.frame)
            .max()
            .unwrap_or(RETURN_ADDRESS),
        edges: Vec::new(),
        unseen: Vec::new(),
        taken: std::collections::BTreeSet::new(),
        one_instruction: reader.instructions.len() == 1,
    };
    for (index, (frame, after_prolog)) in frames.into_iter().enumerate() {
        reader.instruction(index, frame, after_prolog, &mut raw);
    }
    Ok(raw)
}

/// A function without unwind data: it moves the stack pointer nowhere, and ends where no path goes on.
fn leaf(image: &Image, start: u32) -> Result<Chunk> {
    let section = image.code.iter().find(|section| section.contains(&start));
    let end = section.context("it is not in a section of code")?.end;
    let next = image.chunks.iter().map(|chunk| chunk.start);
    let limit = next.filter(|next| *next > start).fold(end, u32::min);
    let mut furthest = start;
    for instruction in decode(image, start, limit)? {
        let end = instruction.next_ip32();
        let goes_on = match instruction.flow_control() {
            FlowControl::ConditionalBranch => {
                furthest = furthest.max(target_of(&instruction));
                true
            }
            FlowControl::Return
            | FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Interrupt
            | FlowControl::Exception => false,
            _ => true,
        };
        if !goes_on && (furthest < end || furthest >= limit) {
            return Ok(Chunk {
                start,
                end,
                function: start,
                frame: RETURN_ADDRESS,
                prolog_end: start,
            });
        }
    }
    bail!("it has no unwind data and no end")
}

fn decode(image: &Image, start: u32, end: u32) -> Result<Vec<Instruction>> {
    let bytes = image
        .memory
        .get(start as usize..end as usize)
        .context("it lies outside the image")?;
    let decoder = Decoder::with_ip(64, bytes, start.into(), DecoderOptions::NONE);
    Ok(decoder.into_iter().collect())
}

struct Reader<'a> {
    image: &'a Image,
    instructions: Vec<Instruction>,
    ranges: Vec<Range<u32>>,
    info: InstructionInfoFactory,
}

impl Reader<'_> {
    fn instruction(&mut self, index: usize, frame: u32, after_prolog: bool, raw: &mut Raw) {
        let instruction = self.instructions[index];
        let at = instruction.ip32();
        let edge = |jump, target, first| RawEdge {
            at,
            jump,
            frame,
            target,
            first,
        };
        match instruction.flow_control() {
            FlowControl::Call if instruction.op0_kind() == OpKind::NearBranch64 => {
                let target = RawTarget::Code(target_of(&instruction));
                raw.edges
                    .push(edge(false, target, self.first_argument(index)));
            }
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = target_of(&instruction);
                if !self.ranges.iter().any(|range| range.contains(&target)) {
                    raw.edges.push(edge(true, RawTarget::Code(target), None));
                }
            }
            FlowControl::IndirectCall => match self.import(&instruction) {
                Some(name) => {
                    let first = self.first_argument(index);
                    raw.edges.push(edge(false, RawTarget::Import(name), first));
                }
                None => raw.unseen.push(Unseen {
                    at,
                    what: What::Call,
                }),
            },
            FlowControl::IndirectBranch => match self.import(&instruction) {
                Some(name) => raw.edges.push(edge(true, RawTarget::Import(name), None)),
                None if self.is_switch(index) => {}
                None => raw.unseen.push(Unseen {
                    at,
                    what: What::Jump,
                }),
            },
            _ => {}
        }
        if after_prolog && moves_stack(&instruction) {
            raw.unseen.push(Unseen {
                at,
                what: What::Moves,
            });
        }
        if let Some(target) = code_address(self.image, &instruction) {
            raw.taken.insert(target);
        }
    }

    /// The import that an indirect call or jump goes to: through its slot, or through a register that holds nothing but that slot's content
    /// from the prolog to the epilog.
    fn import(&mut self, instruction: &Instruction) -> Option<String> {
        let slot = |instruction: &Instruction| {
            let memory = instruction.is_ip_rel_memory_operand().then(|| {
                u32::try_from(instruction.ip_rel_memory_address())
                    .ok()
                    .and_then(|rva| self.image.imports.get(&rva))
            });
            memory.flatten().cloned()
        };
        if instruction.op0_kind() == OpKind::Memory {
            return slot(instruction);
        }
        let register = instruction.op0_register();
        if !KEPT.contains(&register) {
            return None;
        }
        let mut found: Option<String> = None;
        for writer in &self.instructions {
            if !writes(&mut self.info, writer, register) || writer.mnemonic() == Mnemonic::Pop {
                continue;
            }
            let name = (writer.mnemonic() == Mnemonic::Mov)
                .then(|| slot(writer))
                .flatten()?;
            if *found.get_or_insert_with(|| name.clone()) != name {
                return None;
            }
        }
        found
    }

    /// The function whose address the call at `index` is given first: what was last put into rcx, on a straight way to it.
    fn first_argument(&mut self, index: usize) -> Option<u32> {
        for instruction in self.instructions[..index].iter().rev() {
            if matches!(
                instruction.flow_control(),
                FlowControl::Return
                    | FlowControl::UnconditionalBranch
                    | FlowControl::IndirectBranch
                    | FlowControl::Call
                    | FlowControl::IndirectCall
            ) {
                return None;
            }
            if writes(&mut self.info, instruction, Register::RCX) {
                return code_address(self.image, instruction);
            }
        }
        None
    }

    /// Whether the jump through a register at `index` is a switch: the register is the sum of a table's address and one of its entries.
    fn is_switch(&mut self, index: usize) -> bool {
        let register = self.instructions[index].op0_register();
        if register == Register::None {
            return false;
        }
        let before = &self.instructions[index.saturating_sub(SWITCH)..index];
        let mut writers = before
            .iter()
            .rev()
            .filter(|instruction| writes(&mut self.info, instruction, register));
        writers
            .next()
            .is_some_and(|writer| writer.mnemonic() == Mnemonic::Add)
            && before
                .iter()
                .any(|instruction| instruction.mnemonic() == Mnemonic::Movsxd)
    }
}

fn writes(
    info: &mut InstructionInfoFactory,
    instruction: &Instruction,
    register: Register,
) -> bool {
    info.info(instruction).used_registers().iter().any(|used| {
        used.register().full_register() == register
            && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
    })
}

/// The address of code that an instruction makes.
fn code_address(image: &Image, instruction: &Instruction) -> Option<u32> {
    let lea = instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand();
    let rva = lea.then(|| u32::try_from(instruction.ip_rel_memory_address()).ok())??;
    image.is_code(rva).then_some(rva)
}

/// Whether an instruction takes room on the stack that stays taken.
fn moves_stack(instruction: &Instruction) -> bool {
    let rsp =
        instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    match instruction.mnemonic() {
        Mnemonic::Push | Mnemonic::Pushfq | Mnemonic::Enter => true,
        Mnemonic::Sub | Mnemonic::And => rsp,
        _ => false,
    }
}

/// Where a direct branch goes; a target outside 4 GB is in no image.
fn target_of(instruction: &Instruction) -> u32 {
    u32::try_from(instruction.near_branch_target()).unwrap_or(u32::MAX)
}
