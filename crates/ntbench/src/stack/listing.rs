//! A thread's stack as a debugger's `k` shows it: the driver's frames from its unwind data, the modelled ones from the
//! records, merged in the order in which they lie on the segments.

use std::collections::HashMap;

use pe_unwind_info::x86_64::{Register, UnwindState, XmmRegister};

use super::{Record, STATE, with_state};
use crate::cpu::fault::Registers;
use crate::cpu::memory::read_word;
use crate::cpu::pcr;
use crate::gate::{self, Import};
use crate::wire::{FrameInfo, FrameKind, StackListing};
use crate::{machine, symbols, thread, unwind};

/// A walk over damaged frames must end.
const MOST_FRAMES: usize = 4096;

/// Where the newest frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Context {
    /// The host runs, maybe in an import.
    Host,
    /// The host runs, and a modelled function's frame did not fit.
    Overflow {
        /// The function.
        symbol: &'static str,
        /// Where its frame would have ended.
        child_sp: usize,
    },
    /// The driver was interrupted.
    Fault(Registers),
}

/// The current thread's stack.
pub(crate) fn listing(taken_at: &str, context: Context) -> StackListing {
    let tid = thread::try_current().map_or(0, |thread| thread.tid);
    let mut listing = StackListing {
        taken_at: taken_at.to_owned(),
        tid,
        ..StackListing::default()
    };
    let walked = STATE.try_with(|state| {
        // Borrowed only if the bench itself failed inside this module: an empty listing then.
        let Ok(state) = state.try_borrow() else {
            return;
        };
        listing.segments = state
            .segments
            .iter()
            .rev()
            .map(super::segment::Segment::info)
            .collect();
        listing.frames = walk(&state.records, context);
    });
    if walked.is_err() {
        return listing;
    }
    distances(&mut listing.frames);
    listing.by_module = by_module(&listing);
    listing
}

fn walk(records: &[Record], context: Context) -> Vec<FrameInfo> {
    let mut frames = Vec::new();
    let mut segment = 0;
    // Where the driver's frames below the next `Call` record begin.
    let mut newest = match context {
        Context::Fault(registers) => Some(Walker::from_registers(&registers)),
        Context::Host | Context::Overflow { .. } => {
            pcr::try_block().and_then(|block| Walker::from_import(block.import()))
        }
    };
    for record in records.iter().rev() {
        match record {
            Record::Frame {
                symbol, child_sp, ..
            } => frames.push(FrameInfo {
                child_sp: *child_sp as u64,
                bytes_to_older: None,
                symbol: (*symbol).to_owned(),
                source: None,
                kind: FrameKind::Modelled,
                segment,
            }),
            Record::Switch => segment += 1,
            Record::Interrupted(registers) => newest = Some(Walker::from_registers(registers)),
            Record::Call { import, .. } => {
                if let Some(walker) = newest.take() {
                    walker.walk(&mut frames, segment);
                }
                newest = Walker::from_import(*import);
            }
        }
        if frames.len() >= MOST_FRAMES {
            break;
        }
    }
    frames
}

/// The return addresses of the driver's calls that led to the import it is in, newest first: up to where the kernel
/// called the driver, and beyond that place where it is the callout of an expansion.
pub(crate) fn callers() -> Vec<usize> {
    let mut addresses = Vec::new();
    let Some(block) = pcr::try_block() else {
        return addresses;
    };
    let import = block.import();
    if let Some(walker) = Walker::from_import(import) {
        walker.climb(&mut addresses);
    }
    with_state(|state| {
        for record in state.records.iter().rev() {
            let Record::Call { import, .. } = record else {
                continue;
            };
            let outer = gate::site(*import);
            if outer.is_none_or(|site| site.import != "nt!KeExpandKernelStackAndCalloutEx") {
                return;
            }
            if let Some(walker) = Walker::from_import(*import) {
                walker.climb(&mut addresses);
            }
        }
    });
    addresses
}

fn distances(frames: &mut [FrameInfo]) {
    for index in 1..frames.len() {
        let (newer, older) = frames.split_at_mut(index);
        if let (Some(newer), Some(older)) = (newer.last_mut(), older.first())
            && newer.segment == older.segment
        {
            newer.bytes_to_older = older.child_sp.checked_sub(newer.child_sp);
        }
    }
}

fn by_module(listing: &StackListing) -> Vec<(String, u64)> {
    let mut bytes: HashMap<&str, u64> = HashMap::new();
    for frame in &listing.frames {
        let module = frame
            .symbol
            .split(['!', '+'])
            .next()
            .unwrap_or(&frame.symbol);
        // The oldest frame of a segment reaches up to the segment's end.
        let top = || {
            listing
                .segments
                .get(frame.segment)
                .and_then(|segment| segment.high.checked_sub(frame.child_sp))
        };
        *bytes.entry(module).or_default() += frame.bytes_to_older.or_else(top).unwrap_or(0);
    }
    let mut bytes: Vec<(String, u64)> = bytes
        .into_iter()
        .map(|(module, bytes)| (module.to_owned(), bytes))
        .collect();
    bytes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    bytes
}

/// Walks a driver's frames until the gate.
struct Walker {
    rip: u64,
    /// Whether `rip` is an interrupted instruction, not the place a call returns to.
    exact: bool,
    registers: [u64; 16],
}

impl Walker {
    fn new(rip: usize, rsp: usize, rbp: usize) -> Self {
        let mut walker = Self {
            rip: rip as u64,
            exact: false,
            registers: [0; 16],
        };
        walker.registers[Register::RSP as usize] = rsp as u64;
        walker.registers[Register::RBP as usize] = rbp as u64;
        walker
    }

    fn from_registers(registers: &Registers) -> Self {
        let mut walker = Self::new(registers.rip, registers.rsp, registers.rbp);
        walker.exact = true;
        let names = [
            Register::RBX,
            Register::RSI,
            Register::RDI,
            Register::R12,
            Register::R13,
            Register::R14,
            Register::R15,
        ];
        for (name, value) in names.into_iter().zip(registers.saved) {
            walker.registers[name as usize] = value as u64;
        }
        walker
    }

    fn from_import(import: Import) -> Option<Self> {
        let site = gate::site(import)?;
        Some(Self::new(site.return_address, site.rsp, site.rbp))
    }

    /// The code addresses from here to the gate.
    fn climb(mut self, addresses: &mut Vec<usize>) {
        let end = gate::return_address() as u64;
        while self.rip != end && addresses.len() < MOST_FRAMES {
            let Ok(rip) = usize::try_from(self.rip) else {
                return;
            };
            let Some(module) = machine::module_at(rip) else {
                return;
            };
            addresses.push(rip);
            let before = self.rsp();
            let Some(caller) = unwind::step(&module.image, &mut self, rip, false) else {
                return;
            };
            self.rip = caller;
            if self.rsp() <= before {
                return;
            }
        }
    }

    fn rsp(&self) -> u64 {
        self.registers[Register::RSP as usize]
    }

    fn walk(mut self, frames: &mut Vec<FrameInfo>, segment: usize) {
        let end = gate::return_address() as u64;
        let mut first = self.exact;
        while self.rip != end && frames.len() < MOST_FRAMES {
            let Ok(rip) = usize::try_from(self.rip) else {
                return;
            };
            let Some(module) = machine::module_at(rip) else {
                // Code that is nobody's: a wild jump, or a function that runs as it is on the driver's stack. Either
                // way its caller's address is on top of the stack.
                if !first || !self.leaf() {
                    return;
                }
                first = false;
                continue;
            };
            // A return address may be the first byte of the next function: name the call, not what follows it.
            let (symbol, source) = symbols::name_of_call(rip, self.exact);
            frames.push(FrameInfo {
                child_sp: self.rsp(),
                bytes_to_older: None,
                symbol,
                source,
                kind: FrameKind::Driver,
                segment,
            });
            let before = self.rsp();
            let exact = self.exact;
            let Some(caller) = unwind::step(&module.image, &mut self, rip, exact) else {
                return;
            };
            self.rip = caller;
            (first, self.exact) = (false, false);
            if self.rsp() <= before {
                return;
            }
        }
    }

    fn leaf(&mut self) -> bool {
        unwind::leaf(self).is_some_and(|caller| {
            self.rip = caller;
            true
        })
    }
}

impl UnwindState for Walker {
    fn read_register(&mut self, register: Register) -> u64 {
        self.registers[register as usize]
    }

    fn read_stack(&mut self, address: u64) -> Option<u64> {
        read_word(usize::try_from(address).ok()?).map(|word| word as u64)
    }

    fn write_register(&mut self, register: Register, value: u64) {
        self.registers[register as usize] = value;
    }

    fn write_xmm_register(&mut self, _register: XmmRegister, _value: u128) {}
}
