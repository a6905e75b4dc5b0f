//! The layouts as a reader of bytes sees them.

use protocol::{
    Anchor, CONFIG_SIGNATURE, Config, ConfigBlock, DecodeError, Flags, LAYOUT_VERSION, NtStatus,
    Outcome, PATH_TAIL_UNITS, Phase, Policy, Record, SIGNATURE, SLOT_BYTES, SlotHeader, SlotView,
    completion, find_anchors, find_configs,
};
use zerocopy::IntoBytes as _;

fn anchor() -> Anchor {
    Anchor {
        signature: SIGNATURE,
        version: LAYOUT_VERSION,
        anchor_bytes: 128,
        record_bytes: 496,
        slot_bytes: 512,
        ring: 0xffff_8000_1234_0000,
        capacity: 256,
        qpc_frequency: 10_000_000,
        head: 7,
        written: 6,
        overwritten: 5,
        skipped: 4,
        skipped_low_stack: 3,
        voided: 2,
        abandoned: 1,
        reserved: [0; 2],
    }
}

fn slot(header: SlotHeader, record: &Record) -> Vec<u8> {
    [header.as_bytes(), record.as_bytes()].concat()
}

#[test]
fn an_anchor_survives_the_way_through_bytes() {
    assert_eq!(Anchor::decode(anchor().as_bytes()), Ok(anchor()));
    assert_eq!(anchor().ring_bytes(), Some(256 * 512));
}

#[test]
fn the_signature_reads_in_a_hex_dump() {
    assert_eq!(&anchor().as_bytes()[..15], b"HEADROOM ANCHOR");
}

#[test]
fn a_wrong_anchor_says_what_is_wrong() {
    let cut = &anchor().as_bytes()[..127].to_vec();
    assert_eq!(
        Anchor::decode(cut),
        Err(DecodeError::Truncated {
            what: "the anchor",
            found: 127,
            expected: 128
        })
    );

    let mut other = anchor();
    other.signature[0] = b'h';
    assert!(
        matches!(Anchor::decode(other.as_bytes()), Err(DecodeError::Signature { found, .. }) if found[0] == b'h')
    );

    let newer = Anchor {
        version: 2,
        slot_bytes: 1024,
        ..anchor()
    };
    let error = Anchor::decode(newer.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Version {
            symbol: "HEADROOM_RECORDER",
            found: 2,
            known: 1
        },
        "the version is named before the sizes that come from it"
    );
    assert!(
        error
            .to_string()
            .contains("layout version 2, this reader knows version 1")
    );

    let damaged = Anchor {
        record_bytes: 400,
        ..anchor()
    };
    assert!(matches!(
        Anchor::decode(damaged.as_bytes()),
        Err(DecodeError::Size {
            what: "record",
            found: 400,
            ..
        })
    ));

    let damaged = Anchor {
        capacity: 100,
        ..anchor()
    };
    assert_eq!(
        Anchor::decode(damaged.as_bytes()),
        Err(DecodeError::Capacity { found: 100 })
    );
}

#[test]
fn a_ring_that_leaves_the_address_space_has_no_length() {
    assert_eq!(
        Anchor {
            ring: u64::MAX - 511,
            capacity: 1,
            ..anchor()
        }
        .ring_bytes(),
        None
    );
    assert_eq!(
        Anchor {
            capacity: 1 << 60,
            ..anchor()
        }
        .ring_bytes(),
        None
    );
}

#[test]
fn anchors_are_found_among_other_bytes_and_look_alikes_are_not() {
    let mut memory = vec![0xcc; 100];
    memory.extend_from_slice(&SIGNATURE); // a program that merely knows the signature
    memory.extend_from_slice(&[0; 61]);
    let at = memory.len();
    memory.extend_from_slice(anchor().as_bytes());
    memory.extend_from_slice(&SIGNATURE[..9]); // cut off by the end of the dump
    assert_eq!(find_anchors(&memory).collect::<Vec<_>>(), [(at, anchor())]);
}

#[test]
fn every_bit_pattern_is_a_record() {
    let record = Record::decode(&[0xff; 496]).unwrap();
    assert_eq!(record.outcome, Outcome(0xff));
    assert_eq!(record.outcome.to_string(), "0xff");
    assert_eq!(
        record.tail().len(),
        PATH_TAIL_UNITS,
        "a damaged length gives no more than there is"
    );
    assert!(Record::decode(&[0; 495]).is_err());
}

#[test]
fn a_path_keeps_its_end_its_length_and_its_hash() {
    let path: Vec<u16> = (0..400).collect();
    let mut record = Record::EMPTY;
    record.set_path(&path);
    assert_eq!(record.tail(), &path[400 - PATH_TAIL_UNITS..]);
    assert_eq!((record.path_length, record.path_is_whole()), (400, false));
    assert_eq!(record.path_hash, protocol::fnv1a64(&path));

    record.set_path(&path[..3]);
    assert_eq!((record.tail(), record.path_is_whole()), (&path[..3], true));
    assert!(
        record.path_tail[3..].iter().all(|&unit| unit == 0),
        "nothing of the longer path is left"
    );
}

#[test]
fn an_image_name_keeps_its_end() {
    let mut record = Record::EMPTY;
    record.set_image_name(b"explorer.exe\0garbage");
    assert_eq!(record.image(), b"explorer.exe");
    record.set_image_name(b"a-very-long-image-name.exe");
    assert_eq!(record.image(), b"g-image-name.exe");
    record.set_image_name(b"");
    assert_eq!(record.image(), b"");
}

#[test]
fn a_slot_is_whole_only_when_its_state_says_so() {
    let record = Record {
        sequence: 9,
        ..Record::EMPTY
    };
    let view = |state: u64| {
        SlotView::decode(&slot(
            SlotHeader {
                state,
                completion: 0,
            },
            &record,
        ))
        .unwrap()
    };
    assert_eq!(view(9 << 8 | 0x01).whole(), Some(&record));
    assert_eq!(view(9 << 8 | 0x03).phase, Phase::Ready { readers: 2 });
    assert_eq!(view(9 << 8 | 0x80).whole(), None, "a writer is in it");
    assert_eq!(view(9 << 8).whole(), None, "given up");
    assert_eq!(
        view(10 << 8 | 0x01).whole(),
        None,
        "the record is of another sequence"
    );
    assert_eq!(
        view(9 << 8 | 0xff).phase,
        Phase::Writing,
        "damaged is never whole"
    );
    assert!(SlotView::decode(&[0; SLOT_BYTES - 1]).is_err());
}

#[test]
fn the_status_that_came_later_goes_into_its_own_record_only() {
    let record = Record {
        sequence: 9,
        ..Record::EMPTY
    };
    let status = |word: u64| {
        let bytes = slot(
            SlotHeader {
                state: 9 << 8 | 1,
                completion: word,
            },
            &record,
        );
        SlotView::decode(&bytes).unwrap().record.create_status()
    };
    assert_eq!(
        status(completion::known(9, 0xc000_0034)),
        Some(NtStatus(0xc000_0034))
    );
    assert_eq!(status(completion::pending(9)), None);
    assert_eq!(status(completion::known(8, 0)), None);
    // The sequence is larger than the word keeps of it.
    assert_eq!(
        completion::value(completion::known(1 << 40 | 5, 77), 1 << 40 | 5),
        Some(77)
    );
}

#[test]
fn values_print_with_their_names() {
    assert_eq!(Outcome::SWITCHED.to_string(), "switched");
    assert_eq!(format!("{:>8}", Policy::NEVER), "   Never");
    assert_eq!(
        NtStatus(0xc000_003a).to_string(),
        "STATUS_OBJECT_PATH_NOT_FOUND"
    );
    assert_eq!(NtStatus(0xdead_beef).to_string(), "0xDEADBEEF");
    let flags = Flags::NESTED.with(Flags::SKIPPED_ROOT).with(Flags(1 << 31));
    assert_eq!(
        flags.to_string(),
        "nested, skipped: no ancestor, 0x80000000"
    );
}

#[test]
fn settings_are_found_where_they_stand_and_believed_only_whole() {
    let block = ConfigBlock {
        signature: CONFIG_SIGNATURE,
        config: Config::DEFAULT,
    };
    let mut memory = vec![0u8; 256];
    memory[80..128].copy_from_slice(block.as_bytes());
    // A program that merely knows the signature.
    memory[200..216].copy_from_slice(&CONFIG_SIGNATURE);
    let found: Vec<_> = find_configs(&memory).collect();
    assert_eq!(found, [(80, Config::DEFAULT)]);

    let short = ConfigBlock::decode(&memory[80..120]).unwrap_err();
    assert!(
        matches!(short, DecodeError::Truncated { found: 40, .. }),
        "{short}"
    );
    memory[96] = 9;
    let other = ConfigBlock::decode(&memory[80..]).unwrap_err();
    assert_eq!(
        other,
        DecodeError::Version {
            symbol: "HEADROOM_CONFIG",
            found: 9,
            known: 1
        }
    );
    assert_eq!(find_configs(&memory).count(), 0);
}

#[test]
fn a_status_is_read_back_from_what_it_prints() {
    for value in [0, 0x103, 0x8000_0005, 0xc000_00fd, 0xc01c_000b, 0xdead_beef] {
        let status = NtStatus(value);
        assert_eq!(NtStatus::from_text(&status.to_string()), Some(status));
    }
    for text in [
        "",
        "0x",
        "STATUS_",
        "status_success",
        "c0000005",
        "0x1c0000005",
    ] {
        assert_eq!(NtStatus::from_text(text), None, "{text}");
    }
}
