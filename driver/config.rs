//! The settings in force: from the service's `Parameters` key, and from the port while the driver runs.
//!
//! Which settings there are, their defaults and what each can be is `protocol::Config`'s business, for both of them. A
//! value in the registry that is of the wrong type or not allowed is not used and never rounded: its default is, a line on
//! the debugger's console and an event say so, and the driver loads.
//!
//! They lie in the driver as `protocol::ConfigBlock` has it, under a name of its own and behind a signature, so that a
//! debugger and a dump's reader see what was in force.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use kstack::{RedZone, Reservation};
use protocol::{
    AncestorScope, CONFIG_SIGNATURE, CONFIG_VERSION, Config, ConfigBlock, OnExpandFailure, Policy,
    Reason, Rejection, Setting,
};
use wdk_sys::{DRIVER_OBJECT, STATUS_OBJECT_NAME_NOT_FOUND};

use crate::{
    events, print,
    registry::{Key, Value},
};

/// The system's MAXIMUM_EXPANSION_SIZE, as settings count.
#[expect(clippy::cast_possible_truncation, reason = "0x11800")]
pub(crate) const MAXIMUM_EXPANSION: u32 = kstack::MAXIMUM_EXPANSION_SIZE as u32;

/// The settings in force.
#[used]
#[unsafe(no_mangle)]
pub(crate) static HEADROOM_CONFIG: Settings = Settings::new(&Config::DEFAULT);

pub(crate) use self::HEADROOM_CONFIG as SETTINGS;

/// See [`SETTINGS`]. Each is a number of its own, read on its own on the create path, so there is nothing to lock; any
/// mixture of two allowed configurations is an allowed one.
#[repr(C, align(16))]
pub(crate) struct Settings {
    signature: [u8; 16],
    version: u16,
    bytes: u16,
    policy: AtomicU8,
    on_failure: AtomicU8,
    ancestors: AtomicU8,
    unc_only: AtomicBool,
    debug_print: AtomicBool,
    reserved: [u8; 3],
    reservation: AtomicU32,
    red_zone: AtomicU32,
    minimum_stack: AtomicU32,
    max_nest_depth: AtomicU32,
    log_capacity: AtomicU32,
}

/// The offset of a setting in the block.
macro_rules! at {
    ($field:ident) => {
        offset_of!(ConfigBlock, config) + offset_of!(Config, $field)
    };
}

const _: () = {
    assert!(size_of::<Settings>() == size_of::<ConfigBlock>());
    assert!(align_of::<Settings>() == align_of::<ConfigBlock>());
    assert!(offset_of!(Settings, version) == at!(version));
    assert!(offset_of!(Settings, bytes) == at!(bytes));
    assert!(offset_of!(Settings, policy) == at!(expand_policy));
    assert!(offset_of!(Settings, on_failure) == at!(on_expand_failure));
    assert!(offset_of!(Settings, ancestors) == at!(ancestor_opens));
    assert!(offset_of!(Settings, unc_only) == at!(unc_only));
    assert!(offset_of!(Settings, debug_print) == at!(debug_print));
    assert!(offset_of!(Settings, reserved) == at!(reserved));
    assert!(offset_of!(Settings, reservation) == at!(reservation_bytes));
    assert!(offset_of!(Settings, red_zone) == at!(red_zone_bytes));
    assert!(offset_of!(Settings, minimum_stack) == at!(minimum_stack_bytes));
    assert!(offset_of!(Settings, max_nest_depth) == at!(max_nest_depth));
    assert!(offset_of!(Settings, log_capacity) == at!(log_capacity));
};

impl Settings {
    const fn new(config: &Config) -> Self {
        Self {
            signature: CONFIG_SIGNATURE,
            version: CONFIG_VERSION,
            bytes: config.bytes,
            policy: AtomicU8::new(config.expand_policy.0),
            on_failure: AtomicU8::new(config.on_expand_failure.0),
            ancestors: AtomicU8::new(config.ancestor_opens.0),
            unc_only: AtomicBool::new(config.unc_only == 1),
            debug_print: AtomicBool::new(config.debug_print == 1),
            reserved: [0; 3],
            reservation: AtomicU32::new(config.reservation_bytes),
            red_zone: AtomicU32::new(config.red_zone_bytes),
            minimum_stack: AtomicU32::new(config.minimum_stack_bytes),
            max_nest_depth: AtomicU32::new(config.max_nest_depth),
            log_capacity: AtomicU32::new(config.log_capacity),
        }
    }

    /// All of them.
    pub(crate) fn current(&self) -> Config {
        Config {
            expand_policy: self.policy(),
            on_expand_failure: self.on_failure(),
            ancestor_opens: self.ancestors(),
            unc_only: self.unc_only().into(),
            debug_print: self.debug_print().into(),
            reservation_bytes: self.reservation.load(Relaxed),
            red_zone_bytes: self.red_zone.load(Relaxed),
            minimum_stack_bytes: self.minimum_stack(),
            max_nest_depth: self.max_nest_depth(),
            log_capacity: self.log_capacity.load(Relaxed),
            ..Config::DEFAULT
        }
    }

    /// Puts settings that have been validated in force.
    pub(crate) fn put(&self, config: &Config) {
        self.policy.store(config.expand_policy.0, Relaxed);
        self.on_failure.store(config.on_expand_failure.0, Relaxed);
        self.ancestors.store(config.ancestor_opens.0, Relaxed);
        self.unc_only.store(config.unc_only == 1, Relaxed);
        self.debug_print.store(config.debug_print == 1, Relaxed);
        self.reservation.store(config.reservation_bytes, Relaxed);
        self.red_zone.store(config.red_zone_bytes, Relaxed);
        self.minimum_stack
            .store(config.minimum_stack_bytes, Relaxed);
        self.max_nest_depth.store(config.max_nest_depth, Relaxed);
        self.log_capacity.store(config.log_capacity, Relaxed);
    }

    /// `ExpandPolicy`: when the inspection asks for stack.
    #[inline]
    pub(crate) fn policy(&self) -> Policy {
        Policy(self.policy.load(Relaxed))
    }

    /// `OnExpandFailure`: what becomes of a create that gets none.
    pub(crate) fn on_failure(&self) -> OnExpandFailure {
        OnExpandFailure(self.on_failure.load(Relaxed))
    }

    /// `ReservationBytes`: how much stack the inspection asks for.
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

    /// `MinimumStackBytes`: with less than this left, nothing deep is tried.
    #[inline]
    pub(crate) fn minimum_stack(&self) -> u32 {
        self.minimum_stack.load(Relaxed)
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

    /// `LogCapacity`: records kept.
    pub(crate) fn log_capacity(&self) -> usize {
        self.log_capacity.load(Relaxed) as usize
    }
}

/// Reads the settings, and says what is wrong with them. `PASSIVE_LEVEL`.
pub(crate) fn load(driver: &mut DRIVER_OBJECT) {
    let mut config = Config::DEFAULT;
    match Key::parameters(driver) {
        Ok(key) => {
            for &setting in Setting::ALL {
                if let Err(rejection) = read(&key, setting, &mut config) {
                    print::rejected(&rejection);
                    events::bad_setting(&rejection);
                }
            }
        }
        // No such key, no settings: that is a normal installation.
        Err(status) if status.0 == STATUS_OBJECT_NAME_NOT_FOUND => {}
        Err(status) => print::no_settings(status.0),
    }
    SETTINGS.put(&config);
}

/// Takes one setting over, if the key has it.
fn read(key: &Key, setting: Setting, config: &mut Config) -> Result<(), Rejection> {
    let words = setting.words();
    let value = match key.value(&Name::of(setting)) {
        None => return Ok(()),
        Some(Value::Dword(number)) if words.is_empty() => number,
        Some(Value::Text(units, used)) if !words.is_empty() => {
            let text = || units.iter().take(used).copied();
            let known = words.iter().find(|(word, _)| same_word(word, text()));
            known
                .map(|(_, number)| *number)
                .ok_or(setting.rejected(Reason::UNKNOWN, 0))?
        }
        Some(Value::Unreadable) => return Err(setting.rejected(Reason::UNREADABLE, 0)),
        // A text that is longer than any word is of the right type.
        Some(Value::LongText) if !words.is_empty() => {
            return Err(setting.rejected(Reason::UNKNOWN, 0));
        }
        Some(_) => return Err(setting.rejected(Reason::WRONG_TYPE, 0)),
    };
    config.set(setting, value, MAXIMUM_EXPANSION)
}

/// Whether a text is that word, letters of either case being the same.
fn same_word(word: &str, text: impl Iterator<Item = u16>) -> bool {
    let word = word
        .bytes()
        .map(|byte| u16::from(byte.to_ascii_lowercase()));
    word.eq(text.map(|unit| match unit {
        0x41..=0x5A => unit + 0x20,
        other => other,
    }))
}

/// A setting's name as the registry spells it.
struct Name {
    units: [u16; 24],
    used: usize,
}

impl Name {
    fn of(setting: Setting) -> Self {
        let mut name = Self {
            units: [0; 24],
            used: 0,
        };
        let bytes = setting.name().unwrap_or_default().bytes();
        for (unit, byte) in name.units.iter_mut().zip(bytes) {
            *unit = byte.into();
            name.used += 1;
        }
        name
    }
}

impl core::ops::Deref for Name {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        self.units.get(..self.used).unwrap_or(&[])
    }
}
