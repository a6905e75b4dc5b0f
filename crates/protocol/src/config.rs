//! The settings: one layout and one set of rules, for the registry's reader and for the port.

use core::mem::{offset_of, size_of};

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::named::named;
use crate::{AncestorScope, OnExpandFailure, Policy};

/// Grows by one whenever a setting is added or changes its meaning.
pub const CONFIG_VERSION: u16 = 1;

/// The most records that can be kept: 32 MB of non-paged pool.
pub const MAXIMUM_LOG_CAPACITY: u32 = 0x1_0000;

/// The deepest nest that can be asked for.
pub const MAXIMUM_NEST_DEPTH: u32 = 1024;

named! {
    /// A setting, by the name of its value below the service's `Parameters` key.
    Setting: u8 {
        /// When an inspection asks for stack: a word, see [`Policy`].
        EXPAND_POLICY = 1, "ExpandPolicy";
        /// How much it asks for: 1 to MAXIMUM_EXPANSION_SIZE.
        RESERVATION_BYTES = 2, "ReservationBytes";
        /// With less left than this, [`Policy::RED_ZONE`] asks: up to MAXIMUM_EXPANSION_SIZE.
        RED_ZONE_BYTES = 3, "RedZoneBytes";
        /// With less left than this, nothing deep is tried: up to MAXIMUM_EXPANSION_SIZE.
        MINIMUM_STACK_BYTES = 4, "MinimumStackBytes";
        /// What becomes of a create that gets no stack: a word, see [`OnExpandFailure`].
        ON_EXPAND_FAILURE = 5, "OnExpandFailure";
        /// How many inspections may nest: up to [`MAXIMUM_NEST_DEPTH`]; 0 inspects nothing.
        MAX_NEST_DEPTH = 6, "MaxNestDepth";
        /// Where opens of ancestors enter the stack of filters: a word, see [`AncestorScope`].
        ANCESTOR_OPENS = 7, "AncestorOpens";
        /// 1: local volumes are left alone.
        UNC_ONLY = 8, "UncOnly";
        /// Records kept: a power of two up to [`MAXIMUM_LOG_CAPACITY`]. Read when the driver loads.
        LOG_CAPACITY = 9, "LogCapacity";
        /// 1: a line per record on the debugger's console.
        DEBUG_PRINT = 10, "DebugPrint";
    }
}

named! {
    /// What is wrong with a setting.
    Reason: u8 {
        /// The registry has a value of another type.
        WRONG_TYPE = 1, "has the wrong type";
        /// The registry has a value that could not be read.
        UNREADABLE = 2, "cannot be read";
        /// It is none of the values that have a meaning.
        UNKNOWN = 3, "is none of the values that it can have";
        /// It is larger than the largest that is allowed. It is never rounded.
        TOO_LARGE = 4, "is too large";
        /// It has to be more than nothing.
        ZERO = 5, "must not be 0";
        /// It has to be a power of two.
        NOT_POWER_OF_TWO = 6, "is no power of two";
        /// It is read when the driver loads, and cannot change after that.
        FIXED = 7, "cannot change while the driver is loaded";
    }
}

/// The first setting that is not allowed, and why.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Error, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[error("{setting} {reason}: {value:#x}")]
#[repr(C)]
pub struct Rejection {
    /// Which setting; a number without a name: the layout itself, see [`Config::validate`].
    pub setting: Setting,
    /// What is wrong with it.
    pub reason: Reason,
    /// Zero.
    pub reserved: u16,
    /// The value that is not allowed.
    pub value: u32,
}

/// Every setting. No padding, no pointer: it crosses the port as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Config {
    /// [`CONFIG_VERSION`].
    pub version: u16,
    /// Size of this structure.
    pub bytes: u16,
    /// [`Setting::EXPAND_POLICY`].
    pub expand_policy: Policy,
    /// [`Setting::ON_EXPAND_FAILURE`].
    pub on_expand_failure: OnExpandFailure,
    /// [`Setting::ANCESTOR_OPENS`].
    pub ancestor_opens: AncestorScope,
    /// [`Setting::UNC_ONLY`].
    pub unc_only: u8,
    /// [`Setting::DEBUG_PRINT`].
    pub debug_print: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// [`Setting::RESERVATION_BYTES`].
    pub reservation_bytes: u32,
    /// [`Setting::RED_ZONE_BYTES`].
    pub red_zone_bytes: u32,
    /// [`Setting::MINIMUM_STACK_BYTES`].
    pub minimum_stack_bytes: u32,
    /// [`Setting::MAX_NEST_DEPTH`].
    pub max_nest_depth: u32,
    /// [`Setting::LOG_CAPACITY`].
    pub log_capacity: u32,
}

const _: () = {
    assert!(size_of::<Config>() == 32);
    assert!(offset_of!(Config, expand_policy) == 4);
    assert!(offset_of!(Config, debug_print) == 8);
    assert!(offset_of!(Config, reservation_bytes) == 12);
    assert!(offset_of!(Config, log_capacity) == 28);
    assert!(size_of::<Rejection>() == 8);
};

impl Config {
    /// What the driver does when nobody says otherwise.
    pub const DEFAULT: Self = Self {
        version: CONFIG_VERSION,
        bytes: 32,
        expand_policy: Policy::ALWAYS,
        on_expand_failure: OnExpandFailure::PASS_THROUGH,
        ancestor_opens: AncestorScope::BELOW,
        unc_only: 1,
        debug_print: 0,
        reserved: [0; 3],
        reservation_bytes: 0x6000,
        red_zone_bytes: 0x3000,
        minimum_stack_bytes: 0x800,
        max_nest_depth: 128,
        log_capacity: 1024,
    };

    /// A setting's value.
    #[must_use]
    pub fn get(&self, setting: Setting) -> Option<u32> {
        Some(match setting {
            Setting::EXPAND_POLICY => self.expand_policy.0.into(),
            Setting::ON_EXPAND_FAILURE => self.on_expand_failure.0.into(),
            Setting::ANCESTOR_OPENS => self.ancestor_opens.0.into(),
            Setting::UNC_ONLY => self.unc_only.into(),
            Setting::DEBUG_PRINT => self.debug_print.into(),
            Setting::RESERVATION_BYTES => self.reservation_bytes,
            Setting::RED_ZONE_BYTES => self.red_zone_bytes,
            Setting::MINIMUM_STACK_BYTES => self.minimum_stack_bytes,
            Setting::MAX_NEST_DEPTH => self.max_nest_depth,
            Setting::LOG_CAPACITY => self.log_capacity,
            _ => return None,
        })
    }

    /// Changes one setting, where `value` is allowed; `maximum_expansion` is the system's MAXIMUM_EXPANSION_SIZE.
    ///
    /// # Errors
    /// [`Rejection`]; nothing has changed then.
    pub fn set(
        &mut self,
        setting: Setting,
        value: u32,
        maximum_expansion: u32,
    ) -> Result<(), Rejection> {
        setting.check(value, maximum_expansion)?;
        // A value that passed and belongs to a byte fits into one.
        let [byte, ..] = value.to_le_bytes();
        match setting {
            Setting::EXPAND_POLICY => self.expand_policy = Policy(byte),
            Setting::ON_EXPAND_FAILURE => self.on_expand_failure = OnExpandFailure(byte),
            Setting::ANCESTOR_OPENS => self.ancestor_opens = AncestorScope(byte),
            Setting::UNC_ONLY => self.unc_only = byte,
            Setting::DEBUG_PRINT => self.debug_print = byte,
            Setting::RESERVATION_BYTES => self.reservation_bytes = value,
            Setting::RED_ZONE_BYTES => self.red_zone_bytes = value,
            Setting::MINIMUM_STACK_BYTES => self.minimum_stack_bytes = value,
            Setting::MAX_NEST_DEPTH => self.max_nest_depth = value,
            Setting::LOG_CAPACITY => self.log_capacity = value,
            _ => {}
        }
        Ok(())
    }

    /// Whether all of it is allowed.
    ///
    /// # Errors
    /// The first [`Rejection`]. One whose setting has no name is about the layout: version, size or reserved bytes.
    pub fn validate(&self, maximum_expansion: u32) -> Result<(), Rejection> {
        let layout = |value: u32| Rejection {
            setting: Setting(0),
            reason: Reason::UNKNOWN,
            reserved: 0,
            value,
        };
        if self.version != CONFIG_VERSION {
            return Err(layout(self.version.into()));
        }
        if usize::from(self.bytes) != size_of::<Self>() {
            return Err(layout(self.bytes.into()));
        }
        if self.reserved != [0; 3] {
            let [a, b, c] = self.reserved;
            return Err(layout(u32::from_le_bytes([a, b, c, 0])));
        }
        Setting::ALL.iter().try_for_each(|&setting| {
            setting.check(self.get(setting).unwrap_or(0), maximum_expansion)
        })
    }

    /// Whether a loaded driver may go from `current` to these settings.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and [`Reason::FIXED`] for what is read at load only.
    pub fn validate_change(&self, current: &Self, maximum_expansion: u32) -> Result<(), Rejection> {
        self.validate(maximum_expansion)?;
        if self.log_capacity == current.log_capacity {
            Ok(())
        } else {
            Err(Setting::LOG_CAPACITY.rejected(Reason::FIXED, self.log_capacity))
        }
    }
}

impl Setting {
    /// The words that name this setting's values in the registry; empty where it is a number.
    #[must_use]
    pub const fn words(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::EXPAND_POLICY => &[("Always", 1), ("RedZone", 2), ("Never", 3)],
            Self::ON_EXPAND_FAILURE => &[("PassThrough", 1), ("Worker", 2), ("Deny", 3)],
            Self::ANCESTOR_OPENS => &[("Below", 1), ("Top", 2)],
            _ => &[],
        }
    }

    /// Whether the setting can have `value`; `maximum_expansion` is the system's MAXIMUM_EXPANSION_SIZE.
    ///
    /// # Errors
    /// [`Rejection`]: why not.
    pub fn check(self, value: u32, maximum_expansion: u32) -> Result<(), Rejection> {
        let reason = match self {
            Self::EXPAND_POLICY | Self::ON_EXPAND_FAILURE | Self::ANCESTOR_OPENS => {
                let known = self.words().iter().any(|(_, number)| *number == value);
                (!known).then_some(Reason::UNKNOWN)
            }
            Self::UNC_ONLY | Self::DEBUG_PRINT => (value > 1).then_some(Reason::UNKNOWN),
            Self::RESERVATION_BYTES if value == 0 => Some(Reason::ZERO),
            Self::RESERVATION_BYTES | Self::RED_ZONE_BYTES | Self::MINIMUM_STACK_BYTES => {
                (value > maximum_expansion).then_some(Reason::TOO_LARGE)
            }
            Self::MAX_NEST_DEPTH => (value > MAXIMUM_NEST_DEPTH).then_some(Reason::TOO_LARGE),
            Self::LOG_CAPACITY if value == 0 => Some(Reason::ZERO),
            Self::LOG_CAPACITY if value > MAXIMUM_LOG_CAPACITY => Some(Reason::TOO_LARGE),
            Self::LOG_CAPACITY => (!value.is_power_of_two()).then_some(Reason::NOT_POWER_OF_TWO),
            _ => Some(Reason::UNKNOWN),
        };
        match reason {
            Some(reason) => Err(self.rejected(reason, value)),
            None => Ok(()),
        }
    }

    /// A rejection of this setting.
    #[must_use]
    pub const fn rejected(self, reason: Reason, value: u32) -> Rejection {
        Rejection {
            setting: self,
            reason,
            reserved: 0,
            value,
        }
    }
}
