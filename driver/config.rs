//! The settings, from the service's `Parameters` key.
//!
//! | name | type | values | default |
//! |---|---|---|---|
//! | `ExpandPolicy` | `REG_SZ` | `Always`, `RedZone`, `Never`: when the inspection asks for stack | `Always` |
//! | `ReservationBytes` | `REG_DWORD` | 1 to `MAXIMUM_EXPANSION_SIZE`: how much it asks for | 0x6000 |
//! | `RedZoneBytes` | `REG_DWORD` | up to `MAXIMUM_EXPANSION_SIZE`: with less left, `RedZone` asks | 0x3000 |
//! | `AncestorOpens` | `REG_SZ` | `Below`, `Top`: where opens of ancestors enter the stack of filters | `Below` |
//! | `MaxNestDepth` | `REG_DWORD` | up to 1024: how many inspections may nest; 0 inspects nothing | 128 |
//! | `UncOnly` | `REG_DWORD` | 0, 1: leave local volumes alone | 1 |
//! | `LogCapacity` | `REG_DWORD` | a power of two up to 65536: records kept | 1024 |
//! | `DebugPrint` | `REG_DWORD` | 0, 1: a line per record on the debugger's console | 0 |
//!
//! A value of the wrong type, or one that is not allowed, is not used and never rounded: its default is, a line on the
//! debugger's console says so, and the driver loads.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use kstack::{RedZone, Reservation};
use protocol::{AncestorScope, Policy};
use wdk_sys::{DRIVER_OBJECT, STATUS_OBJECT_NAME_NOT_FOUND};

use crate::{
    print,
    registry::{Key, Value},
};

/// The settings in force. Each is a number of its own, read on its own, so there is nothing to lock.
pub(crate) static CONFIG: Config = Config {
    policy: AtomicU8::new(Policy::ALWAYS.0),
    #[expect(clippy::cast_possible_truncation, reason = "0x6000")]
    reservation: AtomicU32::new(Reservation::KERNEL_STACK.bytes() as u32),
    red_zone: AtomicU32::new(0x3000),
    ancestors: AtomicU8::new(AncestorScope::BELOW.0),
    max_nest_depth: AtomicU32::new(128),
    unc_only: AtomicBool::new(true),
    debug_print: AtomicBool::new(false),
};

/// Records kept, where the settings do not say otherwise: half a megabyte.
const DEFAULT_CAPACITY: u32 = 1024;
/// Records at most: 32 MB of non-paged pool.
const MAXIMUM_CAPACITY: u32 = 0x1_0000;
/// The deepest nest that can be asked for.
const MAXIMUM_NEST_DEPTH: u32 = 1024;

/// See [`CONFIG`].
pub(crate) struct Config {
    policy: AtomicU8,
    reservation: AtomicU32,
    red_zone: AtomicU32,
    ancestors: AtomicU8,
    max_nest_depth: AtomicU32,
    unc_only: AtomicBool,
    debug_print: AtomicBool,
}

impl Config {
    /// `ExpandPolicy`: when the inspection asks for stack.
    #[inline]
    pub(crate) fn policy(&self) -> Policy {
        Policy(self.policy.load(Relaxed))
    }

    /// `ReservationBytes`: how much stack it asks for.
    #[inline]
    pub(crate) fn reservation(&self) -> Reservation {
        // Nothing larger is ever stored.
        Reservation::try_new(self.reservation.load(Relaxed) as usize)
            .unwrap_or(Reservation::KERNEL_STACK)
    }

    /// `RedZoneBytes`: with less than this left, policy `RedZone` asks.
    #[inline]
    pub(crate) fn red_zone(&self) -> RedZone {
        RedZone::new(self.red_zone.load(Relaxed) as usize)
    }

    /// `AncestorOpens`: where the opens of ancestors enter the stack of filters.
    #[inline]
    pub(crate) fn ancestors(&self) -> AncestorScope {
        AncestorScope(self.ancestors.load(Relaxed))
    }

    /// `MaxNestDepth`: how many creates of ours may lie below one another.
    #[inline]
    pub(crate) fn max_nest_depth(&self) -> u32 {
        self.max_nest_depth.load(Relaxed)
    }

    /// `UncOnly`: leave local volumes alone.
    #[inline]
    pub(crate) fn unc_only(&self) -> bool {
        self.unc_only.load(Relaxed)
    }

    /// `DebugPrint`: a line per record.
    #[inline]
    pub(crate) fn debug_print(&self) -> bool {
        self.debug_print.load(Relaxed)
    }
}

/// Reads the settings into [`CONFIG`], and returns `LogCapacity`. `PASSIVE_LEVEL`.
pub(crate) fn load(driver: &mut DRIVER_OBJECT) -> usize {
    let key = match Key::parameters(driver) {
        Ok(key) => key,
        Err(status) => {
            // No such key, no settings: that is a normal installation.
            if status.0 != STATUS_OBJECT_NAME_NOT_FOUND {
                print::no_settings(status.0);
            }
            return DEFAULT_CAPACITY as usize;
        }
    };
    if let Some(policy) = word(&key, &POLICY, POLICIES) {
        CONFIG.policy.store(policy, Relaxed);
    }
    if let Some(scope) = word(&key, &ANCESTORS, SCOPES) {
        CONFIG.ancestors.store(scope, Relaxed);
    }
    if let Some(bytes) = number(&key, &RESERVATION, |bytes| {
        bytes > 0 && Reservation::try_new(bytes as usize).is_ok()
    }) {
        CONFIG.reservation.store(bytes, Relaxed);
    }
    if let Some(bytes) = number(&key, &RED_ZONE, |bytes| {
        bytes as usize <= kstack::MAXIMUM_EXPANSION_SIZE
    }) {
        CONFIG.red_zone.store(bytes, Relaxed);
    }
    if let Some(depth) = number(&key, &NEST_DEPTH, |depth| depth <= MAXIMUM_NEST_DEPTH) {
        CONFIG.max_nest_depth.store(depth, Relaxed);
    }
    if let Some(yes) = number(&key, &UNC_ONLY, |yes| yes <= 1) {
        CONFIG.unc_only.store(yes == 1, Relaxed);
    }
    if let Some(yes) = number(&key, &DEBUG_PRINT, |yes| yes <= 1) {
        CONFIG.debug_print.store(yes == 1, Relaxed);
    }
    number(&key, &CAPACITY, |slots| {
        slots.is_power_of_two() && slots <= MAXIMUM_CAPACITY
    })
    .unwrap_or(DEFAULT_CAPACITY) as usize
}

/// A setting that is one of a few words, in any case.
fn word(key: &Key, setting: &Name, words: &[(&[u8], u8)]) -> Option<u8> {
    let value = key.value(setting.units())?;
    let found = match &value {
        Value::Text(units, used) => {
            let text = || units.iter().take(*used).copied();
            words
                .iter()
                .find(|(word, _)| same_word(word, text()))
                .map(|(_, number)| *number)
        }
        _ => None,
    };
    if found.is_none() {
        print::bad_setting(setting.text);
    }
    found
}

/// Whether a text is that word, letters of either case being the same.
fn same_word(word: &[u8], text: impl Iterator<Item = u16>) -> bool {
    let word = word.iter().map(|byte| u16::from(byte.to_ascii_lowercase()));
    word.eq(text.map(|unit| match unit {
        0x41..=0x5A => unit + 0x20,
        other => other,
    }))
}

/// A setting that is a number.
fn number(key: &Key, setting: &Name, allowed: impl FnOnce(u32) -> bool) -> Option<u32> {
    match key.value(setting.units())? {
        Value::Dword(number) if allowed(number) => Some(number),
        _ => {
            print::bad_setting(setting.text);
            None
        }
    }
}

const POLICIES: &[(&[u8], u8)] = &[
    (b"Always", Policy::ALWAYS.0),
    (b"RedZone", Policy::RED_ZONE.0),
    (b"Never", Policy::NEVER.0),
];
const SCOPES: &[(&[u8], u8)] = &[
    (b"Below", AncestorScope::BELOW.0),
    (b"Top", AncestorScope::TOP.0),
];

static POLICY: Name = Name::new(c"ExpandPolicy");
static ANCESTORS: Name = Name::new(c"AncestorOpens");
static RESERVATION: Name = Name::new(c"ReservationBytes");
static RED_ZONE: Name = Name::new(c"RedZoneBytes");
static NEST_DEPTH: Name = Name::new(c"MaxNestDepth");
static UNC_ONLY: Name = Name::new(c"UncOnly");
static DEBUG_PRINT: Name = Name::new(c"DebugPrint");
static CAPACITY: Name = Name::new(c"LogCapacity");

/// A setting's name, for the registry and for a message.
struct Name {
    text: &'static core::ffi::CStr,
    units: [u16; 24],
}

impl Name {
    const fn new(text: &'static core::ffi::CStr) -> Self {
        let bytes = text.to_bytes();
        let mut units = [0; 24];
        let mut at = 0;
        while at < bytes.len() {
            units[at] = bytes[at] as u16;
            at += 1;
        }
        Self { text, units }
    }

    fn units(&self) -> &[u16] {
        self.units.get(..self.text.count_bytes()).unwrap_or(&[])
    }
}
