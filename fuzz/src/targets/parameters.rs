//! The driver's settings, as the registry has them.
//!
//! An input is a list of values. Each begins with a byte that chooses the name and one that chooses the type; a length and that many bytes
//! of data follow.

use std::cell::RefCell;

use fastrand::Rng;
use ntbench::wire::{PortMessage, RegistryValue};
use protocol::Config;
use protocol::port::{Reply, Request};

use super::protocol::{MAXIMUM_EXPANSION, encoded};
use super::session::Session;
use crate::corpus::Seed;
use crate::mutate::{self, Pool};

/// The driver's settings, and what is near them.
const NAMES: [&str; 14] = [
    "ExpandPolicy",
    "AncestorOpens",
    "ReservationBytes",
    "RedZoneBytes",
    "MinimumStackBytes",
    "MaxNestDepth",
    "UncOnly",
    "DebugPrint",
    "LogCapacity",
    "OnExpandFailure",
    "expandPOLICY",
    "Instances",
    "",
    "Nobody's",
];

/// Types, by the input's byte.
const TYPES: u8 = 7;

pub(super) fn seeds() -> Vec<Seed> {
    let sz = |name: u8, text: &str| {
        [
            &[name, 0, u8::try_from(text.len()).unwrap_or(0)],
            text.as_bytes(),
        ]
        .concat()
    };
    let dword = |name: u8, value: u32| [&[name, 1, 4][..], &value.to_le_bytes()].concat();
    let all = [
        sz(0, "Always"),
        sz(1, "Top"),
        dword(2, 0x6000),
        dword(3, 0x3000),
        dword(4, 0x800),
        dword(5, 64),
        dword(6, 1),
        dword(7, 0),
        dword(8, 64),
        sz(9, "PassThrough"),
    ];
    vec![
        Seed::new("nothing", []),
        Seed::new("all", all.concat()),
        Seed::new("red-zone", [sz(0, "RedZone"), dword(3, 0x1000)].concat()),
        Seed::new("never", [sz(0, "Never"), dword(4, 0)].concat()),
        Seed::new("worker", [sz(9, "Worker"), dword(2, 0x1_1800)].concat()),
        Seed::new("deny", [sz(9, "Deny"), dword(8, 0x1_0000)].concat()),
    ]
}

pub(super) fn change(rng: &mut Rng, data: &mut Vec<u8>, pool: &Pool<'_>) {
    // Whole values, or their bytes.
    if rng.bool() {
        return mutate::bytes(rng, data, pool);
    }
    let length = [0, 1, 2, 3, 4, 5, 8, 16, 17, 64, 255][rng.usize(0..11)];
    data.extend([rng.u8(0..14), rng.u8(0..TYPES), length]);
    let words = [
        "Always",
        "RedZone",
        "Never",
        "Top",
        "Below",
        "Worker",
        "Deny",
        "PassThrough",
    ];
    let mut value = match rng.u32(0..3) {
        0 => words[rng.usize(0..words.len())].as_bytes().to_vec(),
        1 => [0, 1, 0x800, 0x6000, 0x1_1800, 0x1_1801, u32::MAX][rng.usize(0..7)]
            .to_le_bytes()
            .to_vec(),
        _ => std::iter::repeat_with(|| rng.u8(..))
            .take(usize::from(length))
            .collect(),
    };
    value.resize(usize::from(length), 0);
    data.extend(value);
}

fn values(mut input: &[u8]) -> Vec<(String, RegistryValue)> {
    let mut values = Vec::new();
    while let [name, kind, length, rest @ ..] = input {
        let (data, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        input = rest;
        let text = || String::from_utf8_lossy(data).into_owned();
        let number = mutate::field(data, 0, data.len().min(8));
        let value = match kind % TYPES {
            0 => RegistryValue::Sz(text()),
            1 => RegistryValue::Dword(u32::try_from(number & 0xFFFF_FFFF).unwrap_or(0)),
            2 => RegistryValue::Qword(number),
            3 => RegistryValue::MultiSz(text().split(',').map(str::to_owned).collect()),
            4 => RegistryValue::Binary(data.to_vec()),
            5 => RegistryValue::ExpandSz(text()),
            _ => RegistryValue::None(data.to_vec()),
        };
        let name = NAMES[usize::from(*name) % NAMES.len()].to_owned();
        // A key has one value of a name.
        if values
            .iter()
            .all(|(known, _): &(String, _)| !known.eq_ignore_ascii_case(&name))
        {
            values.push((name, value));
        }
    }
    values
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// The driver loads, whatever its settings say, opens succeed or are denied as it was told to, the settings in use are allowed ones, and
/// it unloads.
pub(super) fn check(input: &[u8]) {
    SESSION.with_borrow_mut(|session| {
        let session = session.get_or_insert_with(Session::boot);
        let status = session.load(&values(input));
        assert!(status.is_success(), "DriverEntry: {status}");
        let opened = session.open();
        assert!(opened.is_success(), "an open with these settings: {opened}");
        let port = session.connect();
        let message = PortMessage {
            input: encoded(&Request::GetConfig),
            output_length: 256,
            ..PortMessage::default()
        };
        let (_, answer) = port.send_message(&message).expect("the machine lives");
        let config = Reply::decode(&answer).and_then(|reply| reply.body::<Config>());
        let config = config.expect("an answer with the settings");
        assert_eq!(
            config.validate(MAXIMUM_EXPANSION),
            Ok(()),
            "settings in use"
        );
        let closed = port.close().expect("the machine lives");
        assert!(closed.is_success(), "closing the port: {closed}");
        session.unload();
    });
}
