//! One step up a stack by the unwind data in the dump.
//!
//! The procedure is Microsoft's ("x64 exception handling", unwind procedure). It is written here and not taken from a
//! library because what it reads may be damaged: every sum wraps, every row has a bound, and memory that is not there ends the
//! walk.

use crate::bytes;
use crate::memory::Dump;
use crate::module::Module;

/// Functions chained to functions chained to …: the longest row followed.
const LONGEST_CHAIN: usize = 32;
const RSP: usize = 4;
/// `UNWIND_INFO` with all its codes and what follows them.
const MOST_INFO: usize = 4 + 2 * 256 + 12;

/// The registers that a walk goes by, numbered as the processor does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) rip: u64,
    pub(crate) general: [u64; 16],
}

impl Registers {
    /// Of a `CONTEXT` (winnt.h).
    pub(crate) fn of_context(context: &[u8]) -> Self {
        let mut registers = Self {
            rip: bytes::u64(context, 0xF8).unwrap_or_default(),
            ..Self::default()
        };
        for (index, register) in registers.general.iter_mut().enumerate() {
            *register = bytes::u64(context, 0x78 + 8 * index).unwrap_or_default();
        }
        registers
    }

    pub(crate) fn rsp(&self) -> u64 {
        self.general[RSP]
    }

    pub(crate) fn set_rsp(&mut self, rsp: u64) {
        self.general[RSP] = rsp;
    }

    fn register(&mut self, number: u8) -> &mut u64 {
        &mut self.general[usize::from(number & 15)]
    }

    /// Takes the word on top of the stack.
    fn pop(&mut self, dump: &Dump) -> Option<u64> {
        let word = dump.word(self.rsp())?;
        self.set_rsp(self.rsp().wrapping_add(8));
        Some(word)
    }
}

/// How a frame was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// By its return address.
    Returned,
    /// By a machine frame: its caller was interrupted, or was on another stack.
    MachineFrame,
}

/// A `RUNTIME_FUNCTION`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) begin: u32,
    end: u32,
    info: u32,
}

/// The function of a module that an RVA lies in, by its exception directory.
pub(crate) fn function(dump: &Dump, module: &Module, rva: u32) -> Option<Function> {
    const ENTRY: u32 = 12;
    let (table, length) = module.pdata;
    let read = |index: u32| {
        let at = module
            .base
            .checked_add(u64::from(table) + u64::from(index) * u64::from(ENTRY))?;
        let entry = dump.bytes(at, ENTRY as usize)?;
        Some(Function {
            begin: bytes::u32(&entry, 0)?,
            end: bytes::u32(&entry, 4)?,
            info: bytes::u32(&entry, 8)?,
        })
    };
    let (mut low, mut high) = (0, length / ENTRY);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = read(middle)?;
        if rva < entry.begin {
            high = middle;
        } else if rva >= entry.end {
            low = middle + 1;
        } else {
            return Some(entry);
        }
    }
    None
}

/// Makes `registers` those of the caller of the function at their RIP. `exact`: it was interrupted there, it is not where a
/// call returns to.
pub(crate) fn step(
    dump: &Dump,
    module: &Module,
    registers: &mut Registers,
    exact: bool,
) -> Option<Left> {
    let rva = module.rva(registers.rip)?;
    let Some(function) = function(dump, module, rva) else {
        registers.rip = registers.pop(dump)?;
        return Some(Left::Returned);
    };
    let mut info = Info::read(dump, module, function.info)?;
    if exact && epilog(dump, registers, &info) {
        registers.rip = registers.pop(dump)?;
        return Some(Left::Returned);
    }
    let mut offset = rva - function.begin;
    for _ in 0..LONGEST_CHAIN {
        if let Some(left) = info.undo(dump, registers, offset)? {
            return Some(left);
        }
        match info.chained() {
            // What it is chained to has run its whole prolog.
            Some(next) => info = Info::read(dump, module, next)?,
            None => {
                registers.rip = registers.pop(dump)?;
                return Some(Left::Returned);
            }
        }
        offset = u32::MAX;
    }
    None
}

/// `UNWIND_INFO`.
struct Info {
    bytes: Vec<u8>,
}

impl Info {
    fn read(dump: &Dump, module: &Module, rva: u32) -> Option<Self> {
        let mut bytes = vec![0; MOST_INFO];
        (dump.read_into(module.base.checked_add(u64::from(rva))?, &mut bytes) >= 4)
            .then_some(Self { bytes })
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    fn version(&self) -> u8 {
        self.byte(0) & 7
    }

    fn codes(&self) -> usize {
        usize::from(self.byte(2))
    }

    /// The frame register and the distance of the fixed allocation below it.
    fn frame_register(&self) -> Option<(u8, u64)> {
        let register = self.byte(3) & 15;
        (register != 0).then(|| (register, u64::from(self.byte(3) >> 4) * 16))
    }

    /// The information of the function that this one is chained to.
    fn chained(&self) -> Option<u32> {
        let chained = self.byte(0) >> 3 & 4 != 0;
        let at = 4 + 2 * self.codes().next_multiple_of(2);
        bytes::u32(&self.bytes, at + 8).filter(|_| chained)
    }

    /// Undoes what the prolog had done `offset` bytes into the function.
    fn undo(&self, dump: &Dump, registers: &mut Registers, offset: u32) -> Option<Option<Left>> {
        let mut index = 0;
        let slot =
            |index: usize| u64::from(bytes::u16(&self.bytes, 4 + 2 * index).unwrap_or_default());
        let base = self.frame_base(registers, offset);
        while index < self.codes() {
            let (at, code) = (self.byte(4 + 2 * index), self.byte(5 + 2 * index));
            let (operation, info) = (code & 15, code >> 4);
            let done = u32::from(at) <= offset;
            let wide = slot(index + 1) | slot(index + 2) << 16;
            let slots = match (operation, info) {
                (1, 0) | (4 | 8, _) => 2,
                (1, _) | (5 | 9, _) => 3,
                (6 | 7, _) if self.version() < 2 => usize::from(operation) - 4,
                _ => 1,
            };
            index += slots;
            if !done {
                continue;
            }
            match operation {
                0 => *registers.register(info) = registers.pop(dump)?,
                1 => {
                    let size = if info == 0 { (wide & 0xFFFF) * 8 } else { wide };
                    registers.set_rsp(registers.rsp().wrapping_add(size));
                }
                2 => registers.set_rsp(registers.rsp().wrapping_add(u64::from(info) * 8 + 8)),
                3 => {
                    if let Some((register, below)) = self.frame_register() {
                        let frame = *registers.register(register);
                        registers.set_rsp(frame.wrapping_sub(below));
                    }
                }
                4 => {
                    *registers.register(info) =
                        dump.word(base.wrapping_add((wide & 0xFFFF) * 8))?;
                }
                5 => *registers.register(info) = dump.word(base.wrapping_add(wide))?,
                10 => {
                    let frame = registers.rsp().wrapping_add(u64::from(info & 1) * 8);
                    registers.rip = dump.word(frame)?;
                    registers.set_rsp(dump.word(frame.wrapping_add(24))?);
                    return Some(Some(Left::MachineFrame));
                }
                // Epilogs of version 2, and registers that no walk goes by.
                _ => {}
            }
        }
        Some(None)
    }

    /// The bottom of the fixed allocation.
    fn frame_base(&self, registers: &mut Registers, offset: u32) -> u64 {
        match self.frame_register() {
            Some((register, below)) if offset >= u32::from(self.byte(1)) => {
                registers.register(register).wrapping_sub(below)
            }
            _ => registers.rsp(),
        }
    }
}

/// Does what is left of an epilog at RIP, if it is in one: `add rsp, n` or `lea rsp, [frame + n]`, pops, then a return or
/// a jump.
fn epilog(dump: &Dump, registers: &mut Registers, info: &Info) -> bool {
    let mut code = [0; 64];
    dump.read_into(registers.rip, &mut code);
    let mut after = *registers;
    let mut rest: &[u8] = &code;
    let frame = info.frame_register().map(|(register, _)| register);
    if let [0x48, 0x83, 0xC4, by, next @ ..] = rest {
        after.set_rsp(after.rsp().wrapping_add(u64::from(*by)));
        rest = next;
    } else if let [0x48, 0x81, 0xC4, a, b, c, d, next @ ..] = rest {
        after.set_rsp(
            after
                .rsp()
                .wrapping_add(u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        );
        rest = next;
    } else if let ([0x48 | 0x49, 0x8D, mode, by, next @ ..], Some(register)) = (rest, frame)
        && *mode == 0x60 | register & 7
    {
        let value = *after.register(register);
        after.set_rsp(value.wrapping_add_signed(i64::from((*by).cast_signed())));
        rest = next;
    }
    loop {
        match rest {
            [pop @ 0x58..=0x5F, next @ ..] => {
                let Some(value) = after.pop(dump) else {
                    return false;
                };
                *after.register(pop - 0x58) = value;
                rest = next;
            }
            [0x41, pop @ 0x58..=0x5F, next @ ..] => {
                let Some(value) = after.pop(dump) else {
                    return false;
                };
                *after.register(pop - 0x58 + 8) = value;
                rest = next;
            }
            [0xC3 | 0xC2, ..] | [0xF3, 0xC3, ..] => {
                *registers = after;
                return true;
            }
            _ => return false,
        }
    }
}
