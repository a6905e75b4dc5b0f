//! The script's table of offsets, its names and its versions are those of `crates/protocol`.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

use protocol::{
    ANCHOR_SYMBOL, AncestorScope, Anchor, CONFIG_SIGNATURE, CONFIG_SYMBOL, CONFIG_VERSION, Config,
    ConfigBlock, Flags, LAYOUT_VERSION, MARKS_SIGNATURE, MARKS_VERSION, MarkWords, NtStatus,
    OnExpandFailure, Outcome, Policy, ProcessWords, Record, SIGNATURE, SlotHeader,
    WATERMARKS_SYMBOL, Watermarks,
};
use serde_json::{Value, json};

use crate::node;

/// A structure's size, and offset and size of every field. One that is added makes the pattern incomplete, which does not
/// compile.
macro_rules! structure {
    ($table:ident, $type:ident { $($field:ident),* $(,)? }) => {{
        let sizes = |value: &$type| {
            let $type { $($field),* } = value;
            vec![$(size_of_val($field)),*]
        };
        let zeroed: $type = zerocopy::FromZeros::new_zeroed();
        let names = [$(stringify!($field)),*];
        let offsets = [$(offset_of!($type, $field)),*];
        let fields: BTreeMap<String, [usize; 2]> = names
            .iter()
            .zip(offsets.into_iter().zip(sizes(&zeroed)))
            .map(|(name, (offset, size))| (pascal(name), [offset, size]))
            .collect();
        $table.insert(stringify!($type).to_owned(), (size_of::<$type>(), fields));
    }};
}

type Table = BTreeMap<String, (usize, BTreeMap<String, [usize; 2]>)>;

fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}

fn protocols() -> Table {
    let mut table = Table::new();
    structure!(
        table,
        Anchor {
            signature,
            version,
            anchor_bytes,
            record_bytes,
            slot_bytes,
            ring,
            capacity,
            qpc_frequency,
            head,
            written,
            overwritten,
            skipped,
            skipped_low_stack,
            voided,
            abandoned,
            reserved,
        }
    );
    structure!(table, SlotHeader { state, completion });
    structure!(
        table,
        Record {
            sequence,
            qpc,
            system_time,
            inspect_ticks,
            path_hash,
            before_low,
            before_high,
            inside_low,
            inside_high,
            after_low,
            before_remaining,
            inside_remaining,
            after_remaining,
            reservation_bytes,
            reservation_status,
            inspect_status,
            create_status,
            process_id,
            thread_id,
            nest_depth,
            flags,
            ancestor_attributes,
            ancestor_reparse_tag,
            ancestors_opened,
            path_length,
            tail_length,
            policy,
            outcome,
            irql,
            ancestor_scope,
            reserved,
            image_name,
            path_tail,
        }
    );
    structure!(
        table,
        MarkWords {
            lowest_before,
            lowest_inside,
            most_spent,
            deepest,
            creates
        }
    );
    structure!(
        table,
        ProcessWords {
            state,
            image_name,
            marks
        }
    );
    structure!(
        table,
        Watermarks {
            signature,
            version,
            bytes,
            mark_bytes,
            process_bytes,
            nest_slots,
            process_slots,
            generation,
            evicted,
            turned_away,
            skipped,
            entering,
            reserved,
            system,
            nest,
            processes,
        }
    );
    structure!(
        table,
        Config {
            version,
            bytes,
            expand_policy,
            on_expand_failure,
            ancestor_opens,
            unc_only,
            debug_print,
            reserved,
            reservation_bytes,
            red_zone_bytes,
            minimum_stack_bytes,
            max_nest_depth,
            log_capacity,
        }
    );
    structure!(table, ConfigBlock { signature, config });
    table
}

/// Bytes of a field as the script writes its type: `u16*168`, `MarkWords*32`.
fn bytes(of: &str, script: &Value) -> usize {
    let (name, number) = of.split_once('*').unwrap_or((of, "1"));
    let size = match name.strip_prefix('u') {
        Some(bits) => bits.parse::<usize>().unwrap() / 8,
        None => usize::try_from(script[name]["size"].as_u64().unwrap()).unwrap(),
    };
    size * number.parse::<usize>().unwrap()
}

fn scripts(layout: &Value) -> Table {
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let structures = layout.as_object().unwrap().iter();
    structures
        .map(|(name, structure)| {
            let fields = structure["fields"].as_object().unwrap().iter();
            let fields = fields
                .map(|(field, entry)| {
                    let size = bytes(entry[1].as_str().unwrap(), layout);
                    (field.clone(), [number(&entry[0]), size])
                })
                .collect();
            (name.clone(), (number(&structure["size"]), fields))
        })
        .collect()
}

#[test]
fn the_scripts_offsets_are_the_protocols() {
    let Some(known) = node::run_json(&["--layout"]) else {
        return;
    };
    assert_eq!(scripts(&known["LAYOUT"]), protocols());
}

#[test]
fn the_scripts_signatures_and_versions_are_the_protocols() {
    let Some(known) = node::run_json(&["--layout"]) else {
        return;
    };
    let entry = |symbol: &str, path: &str, signature: [u8; 16], version: u32| {
        let signature = std::str::from_utf8(&signature).unwrap().to_owned();
        json!({ "symbol": symbol, "path": path, "signature": signature, "version": version })
    };
    let (recorder, config) = ("headroom::recorder::", "headroom::config::");
    assert_eq!(
        known["STATICS"],
        json!({
            "Anchor": entry(ANCHOR_SYMBOL, recorder, SIGNATURE, LAYOUT_VERSION),
            "Watermarks": entry(WATERMARKS_SYMBOL, recorder, MARKS_SIGNATURE, MARKS_VERSION),
            "ConfigBlock": entry(CONFIG_SYMBOL, config, CONFIG_SIGNATURE, CONFIG_VERSION.into()),
        })
    );
}

#[test]
fn the_scripts_names_are_the_protocols() {
    let Some(known) = node::run_json(&["--layout"]) else {
        return;
    };
    let names = &known["NAMES"];
    // Every byte: a name that one side has and the other does not is a difference.
    let list = |name: fn(u8) -> Option<&'static str>| -> Vec<Option<&str>> {
        (0..=u8::MAX).map(name).collect()
    };
    for (of, expected) in [
        ("Outcome", list(|n| Outcome(n).name())),
        ("Policy", list(|n| Policy(n).name())),
        ("OnExpandFailure", list(|n| OnExpandFailure(n).name())),
        ("AncestorScope", list(|n| AncestorScope(n).name())),
    ] {
        let found: Vec<Option<&str>> = (0..=u8::MAX)
            .map(|n| names[of].get(usize::from(n)).and_then(Value::as_str))
            .collect();
        assert_eq!(found, expected, "{of}");
    }
    let flags = names["Flags"].as_array().unwrap();
    for (bit, name) in flags.iter().enumerate() {
        assert_eq!(Flags(1 << bit).to_string(), name.as_str().unwrap());
    }
    // The next one has no name.
    assert!(Flags(1 << flags.len()).to_string().starts_with("0x"));
    // A status that the script has no name for prints as its number; a wrong name must not be.
    assert!(names["Status"].as_object().unwrap().len() > 40);
    for (code, name) in names["Status"].as_object().unwrap() {
        let code: u32 = code.parse().unwrap();
        assert_eq!(NtStatus(code).name(), name.as_str(), "{code:#010x}");
    }
}
