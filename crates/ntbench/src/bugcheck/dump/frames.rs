//! The modelled frames as an unwinder needs them: each a function with unwind data, a call site in it, and the return
//! addresses on the stack.
//!
//! On the machine a modelled frame is a size and a name; nothing of it is on the stack but room. In the dump every
//! modelled function is code in an image of its module ([`super::images`]), and here is decided what its unwind data say
//! and which words the stack must hold for it: the return address on top of the frame, as a call would have left it;
//! where the frame was not called but entered by an exception or from another segment, a machine frame (RIP, CS, EFLAGS,
//! RSP, SS: what the processor pushes), as `nt!KiPageFault` and `nt!KxSwitchKernelStackCallout` have it in Windows; and
//! the caller's RBP where the caller is the driver, whose functions may need it to be unwound.

use crate::cpu::fault::Registers;
use crate::export::{self, ExportKind};
use crate::machine;
use crate::stack::{Chain, Context, Link};

/// What an unwinder must know of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shape {
    /// Bytes between Child-SP and the return address, or the machine frame.
    pub(super) allocated: u32,
    /// Whether a machine frame stands there instead of a return address.
    pub(super) machine_frame: bool,
    /// Whether RBP is saved in the topmost word of those bytes.
    pub(super) saves_rbp: bool,
}

impl Shape {
    /// A function that has not touched its stack.
    pub(super) const LEAF: Self = Self {
        allocated: 0,
        machine_frame: false,
        saves_rbp: false,
    };
}

/// A place in a modelled function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// `nt!IopParseDevice+0x5e3`, as the model has it.
    pub(super) symbol: &'static str,
    /// Its unwind data.
    pub(super) shape: Shape,
}

/// A word of the stack.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    /// A number.
    Number(u64),
    /// The address of the site with that index.
    Site(usize),
}

/// The stack of the thread that crashed.
#[derive(Default)]
pub(super) struct Stack {
    /// Every modelled place that the stack knows.
    pub(super) sites: Vec<Site>,
    /// What to write where.
    pub(super) words: Vec<(u64, Word)>,
    /// RIP of the newest frame.
    pub(super) rip: Option<Word>,
    /// Its RSP and RBP.
    pub(super) rsp: u64,
    pub(super) rbp: u64,
    /// The stack pointer on each segment that was left, oldest first.
    pub(super) left: Vec<u64>,
}

/// RIP, CS, EFLAGS, RSP, SS.
const MACHINE_FRAME: usize = 0x28;
/// The kernel's code and stack selectors, and flags with interrupts on.
const KERNEL_CS: u64 = 0x10;
const KERNEL_SS: u64 = 0x18;
const FLAGS: u64 = 0x202;

/// A frame with its place in [`Stack::sites`].
#[derive(Clone, Copy)]
struct Placed {
    site: usize,
    sp: usize,
}

/// What called a modelled frame.
enum Caller {
    /// Nobody.
    None,
    /// Another modelled frame.
    Modelled(Placed),
    /// The driver, by a call whose return address lies where it should.
    Driver { rbp: usize },
    /// Something that did not call it.
    Entered {
        rip: Word,
        rsp: u64,
        rbp: Option<u64>,
    },
}

/// Lays the frames out.
pub(super) fn lay_out(chain: &Chain, context: Context) -> Stack {
    let mut stack = Stack::default();
    let mut older: Option<Placed> = None;
    // What the segment's top holds already, where frames begin on a new one.
    let mut kept = 0;
    let mut caller = Caller::None;
    let mut links = chain.links.iter().peekable();
    while let Some(link) = links.next() {
        match *link {
            Link::Frame {
                symbol,
                child_sp,
                top,
            } => {
                // Called by a driver's function, it has the stack pointer that it called it with.
                let sp = match links.peek() {
                    Some(Link::Driver { sp, .. }) => (*sp).min(child_sp),
                    _ => child_sp,
                };
                let placed = stack.place(symbol, sp, top - kept, &caller);
                if let Some(Link::Driver { sp, .. }) = links.peek() {
                    stack.words.push((*sp as u64 - 8, Word::Site(placed.site)));
                }
                (older, kept) = (Some(placed), 0);
                caller = Caller::Modelled(placed);
            }
            Link::Driver { import, .. } => {
                caller = match import {
                    Some(site) if links.peek().is_none_or(|next| begins_at(next, site.rsp)) => {
                        Caller::Driver { rbp: site.rbp }
                    }
                    Some(site) => Caller::Entered {
                        rip: Word::Number(site.return_address as u64),
                        rsp: site.rsp as u64,
                        rbp: Some(site.rbp as u64),
                    },
                    None => Caller::None,
                };
                older = None;
            }
            Link::Interrupted(registers) => {
                caller = Caller::Entered {
                    rip: Word::Number(registers.rip as u64),
                    rsp: registers.rsp as u64,
                    rbp: Some(registers.rbp as u64),
                };
                older = None;
            }
            Link::Switch => {
                stack.left.push(older.map_or(0, |placed| placed.sp as u64));
                if let Some(placed) = older {
                    caller = Caller::Entered {
                        rip: Word::Site(placed.site),
                        rsp: placed.sp as u64,
                        rbp: None,
                    };
                }
                kept = super::layout::STACK_CONTROL;
            }
        }
    }
    stack.newest(chain, context, older);
    stack
}

fn begins_at(link: &Link, sp: usize) -> bool {
    matches!(link, Link::Frame { top, .. } if *top == sp)
}

impl Stack {
    fn site(&mut self, symbol: &'static str, shape: Shape) -> usize {
        let site = Site { symbol, shape };
        self.sites
            .iter()
            .position(|known| *known == site)
            .unwrap_or_else(|| {
                self.sites.push(site);
                self.sites.len() - 1
            })
    }

    fn word(&mut self, at: usize, word: Word) {
        self.words.push((at as u64, word));
    }

    /// One frame between `sp` and `top`, and the words on top of it.
    fn place(&mut self, symbol: &'static str, sp: usize, top: usize, caller: &Caller) -> Placed {
        let machine = matches!(caller, Caller::Entered { .. });
        let end = if machine {
            (top & !7).saturating_sub(MACHINE_FRAME)
        } else {
            top - 8
        };
        let allocated = end.saturating_sub(sp);
        let rbp = match caller {
            Caller::Driver { rbp } => Some(*rbp as u64),
            Caller::Entered { rbp, .. } => *rbp,
            Caller::None | Caller::Modelled(_) => None,
        };
        // Not in the home area of what it calls.
        let rbp = rbp.filter(|_| allocated >= 0x28);
        if let Some(rbp) = rbp {
            self.word(end - 8, Word::Number(rbp));
        }
        let shape = Shape {
            allocated: u32::try_from(allocated).unwrap_or(u32::MAX) & !7,
            machine_frame: machine,
            saves_rbp: rbp.is_some(),
        };
        let site = self.site(symbol, shape);
        match caller {
            Caller::None => self.word(end, Word::Number(0)),
            Caller::Modelled(placed) => self.word(end, Word::Site(placed.site)),
            Caller::Driver { .. } => {}
            Caller::Entered { rip, rsp, .. } => {
                let words = [
                    *rip,
                    Word::Number(KERNEL_CS),
                    Word::Number(FLAGS),
                    Word::Number(*rsp),
                    Word::Number(KERNEL_SS),
                ];
                for (index, word) in words.into_iter().enumerate() {
                    self.word(end + index * 8, word);
                }
            }
        }
        Placed { site, sp }
    }

    /// Where the thread stopped.
    fn newest(&mut self, chain: &Chain, context: Context, older: Option<Placed>) {
        match (context, chain.links.last()) {
            (Context::Fault(registers), _) => self.interrupted(&registers),
            (
                _,
                Some(Link::Driver {
                    import: Some(call), ..
                }),
            ) => {
                // In an import that has charged nothing: at its first instruction.
                let site = self.site(call.import, Shape::LEAF);
                self.rip = Some(Word::Site(site));
                (self.rsp, self.rbp) = (call.rsp as u64 - 8, call.rbp as u64);
            }
            (_, Some(Link::Frame { .. })) => {
                if let Some(placed) = older {
                    self.rip = Some(Word::Site(placed.site));
                    self.rsp = placed.sp as u64;
                }
            }
            _ => {}
        }
    }

    fn interrupted(&mut self, registers: &Registers) {
        (self.rsp, self.rbp) = (registers.rsp as u64, registers.rbp as u64);
        self.rip = Some(match raw_export(registers.rip) {
            // Code of the bench that runs as it is on the driver's stack stands for the kernel's own.
            Some(symbol) if machine::module_at(registers.rip).is_none() => {
                Word::Site(self.site(symbol, Shape::LEAF))
            }
            _ => Word::Number(registers.rip as u64),
        });
    }
}

/// How far into such a function the processor may be: they are a few instructions each.
const RAW_FUNCTION: usize = 0x200;

/// The function that is bound as it is and holds that address.
fn raw_export(address: usize) -> Option<&'static str> {
    let near = export::all().filter_map(|export| match export.kind {
        ExportKind::Raw { address: start } => {
            let into = address
                .checked_sub(start.addr())
                .filter(|into| *into < RAW_FUNCTION)?;
            Some((into, export))
        }
        _ => None,
    });
    let (_, export) = near.min_by_key(|(into, _)| *into)?;
    Some(crate::gate::symbol(export))
}
