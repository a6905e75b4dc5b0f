//! Settings of the driver and failures of the kernel, at random, of those that no machine may die of.
//!
//! Left out is what is documented to end in a bug check: reservations of less than what an inspection takes, and nests without
//! expansion (`Never` with ancestors opened from the top). `cargo xtask depth` is about those.

use fastrand::Rng;
use ntbench::NtStatus;
use ntbench::wire::{FaultRule, RegistryValue, When};
use protocol::{AncestorScope, Config, OnExpandFailure, Policy, Setting};

use crate::seed::pick;

/// Records that the driver keeps: fewer than creates nest, and than threads open; and enough.
const CAPACITIES: [[u32; 3]; 2] = [[1, 2, 8], [64, 256, 1024]];

/// Calls that are made to fail, and with what.
const FAILING: [(&str, u32); 17] = [
    ("KeExpandKernelStackAndCalloutEx", 0xc000_0017),
    ("KeExpandKernelStackAndCalloutEx", 0xc000_0017),
    ("KeExpandKernelStackAndCalloutEx", 0xc000_00fd),
    ("ExAllocatePool2", 0xc000_009a),
    ("FltGetFileNameInformation", 0xc000_009a),
    ("FltCreateFileEx2", 0xc000_009a),
    ("FltQueryInformationFile", 0xc000_009a),
    ("FltAllocateExtraCreateParameterList", 0xc000_009a),
    ("FltAllocateExtraCreateParameter", 0xc000_009a),
    ("FltAllocateDeferredIoWorkItem", 0xc000_009a),
    ("FltQueueDeferredIoWorkItem", 0xc000_009a),
    ("FltSetCancelCompletion", 0xc000_009a),
    ("FltAllocateContext", 0xc000_009a),
    ("FltSetInstanceContext", 0xc000_009a),
    ("SeLocateProcessImageName", 0xc000_009a),
    ("FltSendMessage", 0xc000_009a),
    ("FltQueueGenericWorkItem", 0xc000_009a),
];

/// What of the settings is open in a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing is denied, everything is expanded.
    Usual,
    /// A create that gets no stack may be denied.
    Denying,
    /// Inspections run on the caller's stack, and nothing is changed meanwhile: changes are made field by field, and a create that is
    /// under way could find the new policy with the old depth.
    InPlace,
}

/// The capacity that a round's driver is loaded with: of two rounds of a kind one has a short ring.
pub(crate) fn capacity(rng: &mut Rng, round: u64) -> u32 {
    let short = (round / 2 + round / 4).is_multiple_of(2);
    pick(rng, &CAPACITIES[usize::from(!short)])
}

/// Settings by which a create that gets no stack is denied, whoever opens and whatever is left of the stack.
pub(crate) fn denying(log_capacity: u32) -> Config {
    Config {
        expand_policy: Policy::ALWAYS,
        on_expand_failure: OnExpandFailure::DENY,
        minimum_stack_bytes: 0,
        log_capacity,
        ..Config::DEFAULT
    }
}

/// Settings by which each ancestor is opened from the top: as many creates nest as the name has components.
pub(crate) fn nesting(log_capacity: u32) -> Config {
    Config {
        expand_policy: Policy::ALWAYS,
        on_expand_failure: OnExpandFailure::PASS_THROUGH,
        ancestor_opens: AncestorScope::TOP,
        minimum_stack_bytes: 0,
        max_nest_depth: 128,
        log_capacity,
        ..Config::DEFAULT
    }
}

/// Settings that are allowed.
pub(crate) fn settings(rng: &mut Rng, scope: Scope, log_capacity: u32) -> Config {
    let fallbacks: &[OnExpandFailure] = match scope {
        Scope::Denying => &[
            OnExpandFailure::DENY,
            OnExpandFailure::DENY,
            OnExpandFailure::WORKER,
        ],
        _ => &[OnExpandFailure::PASS_THROUGH, OnExpandFailure::WORKER],
    };
    let mut config = Config {
        expand_policy: pick(rng, &[Policy::ALWAYS, Policy::RED_ZONE]),
        on_expand_failure: pick(rng, fallbacks),
        ancestor_opens: pick(rng, &[AncestorScope::BELOW, AncestorScope::TOP]),
        unc_only: u8::from(rng.bool()),
        debug_print: u8::from(rng.u32(0..10) == 0),
        reservation_bytes: pick(rng, &[0x3000, 0x4000, 0x6000, 0x6000, 0x9abc, 0x1_1800]),
        red_zone_bytes: pick(rng, &[0x3000, 0x4000, 0x5000, 0x6000, 0x1_1800]),
        minimum_stack_bytes: pick(rng, &[0, 0x800, 0x800, 0x1000, 0x2000, 0x1_1800]),
        max_nest_depth: pick(rng, &[0, 1, 3, 8, 128, 1024]),
        log_capacity,
        ..Config::DEFAULT
    };
    if scope == Scope::InPlace {
        config.expand_policy = Policy::NEVER;
        config.max_nest_depth = pick(rng, &[0, 1, 2]);
    }
    config
}

/// Settings that are not: one of them is out of its bounds.
pub(crate) fn bad_settings(rng: &mut Rng, good: Config) -> Config {
    let mut bad = good;
    match rng.u32(0..6) {
        0 => bad.reservation_bytes = 0,
        1 => bad.reservation_bytes = rng.u32(0x1_1801..),
        2 => bad.expand_policy = Policy(rng.u8(4..)),
        3 => bad.max_nest_depth = rng.u32(1025..),
        4 => bad.log_capacity = good.log_capacity * 2,
        _ => bad.reserved = [1, 0, 0],
    }
    bad
}

/// The registry values that make these settings.
pub(crate) fn parameters(config: &Config) -> Vec<(String, RegistryValue)> {
    let value = |&setting: &Setting| {
        let number = config.get(setting)?;
        let words = setting.words();
        let word = words.iter().find(|(_, known)| *known == number);
        let value = match word {
            Some((word, _)) => RegistryValue::Sz((*word).to_owned()),
            None => RegistryValue::Dword(number),
        };
        Some((setting.name()?.to_owned(), value))
    };
    Setting::ALL.iter().filter_map(value).collect()
}

/// No create gets stack.
pub(crate) fn no_stack(when: When) -> FaultRule {
    FaultRule {
        call: "KeExpandKernelStackAndCalloutEx".to_owned(),
        status: NtStatus(0xc000_0017_u32.cast_signed()),
        when,
    }
}

/// Calls that fail from now on.
pub(crate) fn faults(rng: &mut Rng) -> Vec<FaultRule> {
    let count = rng.usize(1..=3);
    std::iter::repeat_with(|| {
        let (call, status) = pick(rng, &FAILING);
        FaultRule {
            call: call.to_owned(),
            status: NtStatus(status.cast_signed()),
            when: match rng.u32(0..4) {
                0 => When::Always,
                1 => When::From(rng.u64(1..100)),
                _ => When::Nth(rng.u64(1..200)),
            },
        }
    })
    .take(count)
    .collect()
}
