//! Messages of the port as bytes: what is written is read back, and nothing that is read can do harm.

use proptest::prelude::*;
use protocol::port::{
    BadRequest, Drain, DrainReply, Hello, InstanceInfo, InstanceName, InstancesReply,
    MAXIMUM_REQUEST_BYTES, Notification, Refusal, Reply, ReplyHeader, Request, RequestHeader,
    RequestKind, VERSION_MAJOR, VERSION_MINOR, VOLUME_UNITS,
};
use protocol::{
    AncestorScope, Config, NtStatus, OnExpandFailure, Policy, Reason, Record, Rejection, Setting,
};
use zerocopy::{FromBytes, IntoBytes as _};

const MAXIMUM_EXPANSION: u32 = 0x1_1800;

/// A message where the driver keeps its copy: aligned.
#[repr(align(8))]
struct Room([u8; MAXIMUM_REQUEST_BYTES + 8]);

impl Room {
    const fn new() -> Self {
        Self([0; MAXIMUM_REQUEST_BYTES + 8])
    }

    fn with(bytes: &[u8]) -> Self {
        let mut room = Self::new();
        room.0[..bytes.len()].copy_from_slice(bytes);
        room
    }
}

fn round_trip(request: Request<'_>) {
    let mut room = Room::new();
    let written = request.encode(&mut room.0).unwrap();
    assert_eq!(Request::decode(written), Ok(request));
    for cut in 0..written.len() {
        assert!(
            matches!(
                Request::decode(&written[..cut]),
                Err(BadRequest::Length { .. })
            ),
            "{cut} bytes of {request:?}"
        );
    }
    assert!(request.encode(&mut vec![0; written.len() - 1]).is_none());
}

#[test]
fn every_request_survives_the_way_through_bytes() {
    let name = InstanceName::new(&[0x41; VOLUME_UNITS], &[0x42; 3]).unwrap();
    let drain = Drain {
        from: 7,
        limit: 9,
        reserved: 0,
    };
    round_trip(Request::GetConfig);
    round_trip(Request::SetConfig(&Config::DEFAULT));
    round_trip(Request::Drain(drain));
    round_trip(Request::Watermarks);
    round_trip(Request::ResetWatermarks);
    round_trip(Request::Attach(&name));
    round_trip(Request::Detach(&name));
    round_trip(Request::Instances);
    round_trip(Request::Status);
    assert_eq!(
        (name.volume().len(), name.instance()),
        (128, &[0x42; 3][..])
    );
    assert!(InstanceName::new(&[0x41; VOLUME_UNITS + 1], &[]).is_none());
}

#[test]
fn a_bad_request_says_what_is_bad() {
    let header = |request: u32, bytes: u32| {
        let header = RequestHeader {
            request: RequestKind(request),
            bytes,
        };
        Room::with(header.as_bytes())
    };
    let status = |room: &Room, used: usize| Request::decode(&room.0[..used]).unwrap_err().status();
    assert_eq!(
        status(&header(99, 8), 8),
        NtStatus::INVALID_DEVICE_REQUEST,
        "no such request"
    );
    assert_eq!(
        status(&header(1, u32::MAX), 8),
        NtStatus::INFO_LENGTH_MISMATCH
    );
    assert_eq!(
        status(&header(1, 12), 12),
        NtStatus::INFO_LENGTH_MISMATCH,
        "a body where none belongs"
    );
    assert_eq!(
        Request::decode(&header(2, 12).0[..12]),
        Err(BadRequest::Length {
            found: 12,
            expected: 40
        })
    );

    let mut room = Room::new();
    let name = InstanceName::new(&[0x41], &[]).unwrap();
    let used = Request::Attach(&name).encode(&mut room.0).unwrap().len();
    for length in [0, 129, 0xffff] {
        room.0[8..10].copy_from_slice(&u16::to_le_bytes(length));
        assert_eq!(
            Request::decode(&room.0[..used]),
            Err(BadRequest::Field),
            "a volume's name of {length} units"
        );
    }

    let mut room = Room::new();
    Request::SetConfig(&Config::DEFAULT)
        .encode(&mut room.0[1..])
        .unwrap();
    assert_eq!(
        Request::decode(&room.0[1..41]),
        Err(BadRequest::Misaligned),
        "said, not read"
    );
}

#[test]
fn a_client_of_another_version_is_told_so() {
    let judge = |major, minor| {
        let hello = Hello {
            major,
            minor,
            ..Hello::CURRENT
        };
        Hello::judge(hello.as_bytes())
    };
    assert_eq!(Hello::judge(Hello::CURRENT.as_bytes()), Ok(Hello::CURRENT));
    assert_eq!(Hello::judge(Hello::OLDEST.as_bytes()), Ok(Hello::OLDEST));
    for (major, minor) in [
        (VERSION_MAJOR + 1, 0),
        (VERSION_MAJOR - 1, 0),
        (VERSION_MAJOR, VERSION_MINOR + 1),
    ] {
        let refusal = judge(major, minor).unwrap_err();
        assert_eq!(refusal, Refusal::Version { major, minor });
        assert_eq!(refusal.status(), NtStatus(0xc000_0059));
    }
    // A later version may well say more: it is its version that it hears of.
    let longer = Hello {
        major: VERSION_MAJOR + 1,
        bytes: 64,
        ..Hello::CURRENT
    };
    let longer = [longer.as_bytes(), &[0; 48]].concat();
    assert!(matches!(
        Hello::judge(&longer),
        Err(Refusal::Version { .. })
    ));

    for context in [&[][..], &[0; 16], &Hello::CURRENT.as_bytes()[..15], &{
        let mut long = Hello::CURRENT.as_bytes().to_vec();
        long.push(0);
        long
    }] {
        assert_eq!(Hello::judge(context), Err(Refusal::NoHello));
    }
    assert_eq!(Refusal::NoHello.status(), NtStatus::INVALID_PARAMETER);
}

#[test]
fn the_defaults_are_allowed_and_each_bad_setting_is_named() {
    let check = |change: fn(&mut Config)| {
        let mut config = Config::DEFAULT;
        change(&mut config);
        config
            .validate(MAXIMUM_EXPANSION)
            .map_err(|rejection| rejection.to_string())
    };
    let says = |text: &str| Err(text.to_owned());
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(check(|config| config.reservation_bytes = 0x1_1800), Ok(()));
    assert_eq!(
        check(|config| config.reservation_bytes = 0x1_1801),
        says("ReservationBytes is too large: 0x11801")
    );
    assert_eq!(
        check(|config| config.reservation_bytes = 0),
        says("ReservationBytes must not be 0: 0x0")
    );
    assert_eq!(
        check(|config| config.expand_policy.0 = 4),
        says("ExpandPolicy is none of the values that it can have: 0x4")
    );
    assert_eq!(
        check(|config| config.on_expand_failure.0 = 0),
        says("OnExpandFailure is none of the values that it can have: 0x0")
    );
    assert_eq!(
        check(|config| config.log_capacity = 1000),
        says("LogCapacity is no power of two: 0x3e8")
    );
    assert_eq!(
        check(|config| config.log_capacity = 1 << 17),
        says("LogCapacity is too large: 0x20000")
    );
    assert_eq!(
        check(|config| config.max_nest_depth = 1025),
        says("MaxNestDepth is too large: 0x401")
    );
    assert_eq!(
        check(|config| config.unc_only = 2),
        says("UncOnly is none of the values that it can have: 0x2")
    );
    // The layout comes first: under another version the rest means nothing.
    let rejection = Config {
        version: 9,
        unc_only: 2,
        ..Config::DEFAULT
    }
    .validate(MAXIMUM_EXPANSION)
    .unwrap_err();
    assert_eq!((rejection.setting.name(), rejection.value), (None, 9));
    assert!(check(|config| config.reserved[2] = 1).is_err());
    assert!(check(|config| config.bytes = 36).is_err());
}

#[test]
fn what_is_read_at_load_does_not_change_later() {
    let current = Config::DEFAULT;
    let asked = Config {
        log_capacity: 64,
        ..current
    };
    assert_eq!(
        asked.validate_change(&current, MAXIMUM_EXPANSION),
        Err(Setting::LOG_CAPACITY.rejected(Reason::FIXED, 64))
    );
    let asked = Config {
        max_nest_depth: 3,
        ..current
    };
    assert_eq!(asked.validate_change(&current, MAXIMUM_EXPANSION), Ok(()));
}

#[test]
fn words_and_numbers_set_what_they_name() {
    let mut config = Config::DEFAULT;
    for &setting in Setting::ALL {
        for (word, value) in setting.words() {
            config.set(setting, *value, MAXIMUM_EXPANSION).unwrap();
            assert_eq!(config.get(setting), Some(*value), "{setting} {word}");
        }
    }
    // The words are those that the values print as.
    assert_eq!(config.expand_policy.to_string(), "Never");
    assert_eq!(config.on_expand_failure.to_string(), "Deny");
    assert_eq!(config.ancestor_opens.to_string(), "Top");
    let before = config;
    assert!(
        config
            .set(Setting::UNC_ONLY, 0x101, MAXIMUM_EXPANSION)
            .is_err(),
        "not cut down to a byte"
    );
    assert!(config.set(Setting(77), 0, MAXIMUM_EXPANSION).is_err());
    assert_eq!(config, before);
}

#[test]
fn a_drain_s_reply_is_read_back() {
    let head = DrainReply {
        first: 5,
        next: 7,
        lost: 1,
        head: 9,
        count: 2,
        record_bytes: 496,
    };
    let records = [5, 6].map(|sequence| Record {
        sequence,
        ..Record::EMPTY
    });
    let bytes = u32::try_from(8 + 40 + size_of_val(&records)).unwrap();
    let header = ReplyHeader {
        status: NtStatus::SUCCESS,
        bytes,
    };
    let mut message = [header.as_bytes(), head.as_bytes(), records.as_bytes()].concat();
    message.extend([0xcc; 100]); // the rest of the client's buffer
    let reply = Reply::decode(&message).unwrap();
    let (read, entries) = reply.list::<DrainReply, Record>(|head| head.count).unwrap();
    assert_eq!(read, head);
    assert_eq!(entries.collect::<Vec<_>>(), records);

    let lying = DrainReply { count: 3, ..head };
    message[8..48].copy_from_slice(lying.as_bytes());
    let reply = Reply::decode(&message).unwrap();
    assert!(
        reply.list::<DrainReply, Record>(|head| head.count).is_err(),
        "more records than bytes"
    );
    assert!(Reply::decode(&message[..bytes as usize - 1]).is_err());
}

#[test]
fn an_instance_s_names_are_cut_at_their_end_and_say_so() {
    let long: Vec<u16> = (0x100..0x100 + 200).collect();
    let info = InstanceInfo::new(&long, &long[..3], 0x0f);
    assert_eq!(info.volume(), &long[..VOLUME_UNITS]);
    assert_eq!((info.volume_length, info.instance()), (200, &long[..3]));
}

proptest! {
    /// What a client sends may be anything. What decodes is what its own encoding gives back.
    #[test]
    fn any_bytes_are_a_request_or_an_error(
        kind in 0..12_u32, length in prop::option::of(any::<u32>()), body in prop::collection::vec(any::<u8>(), 0..392),
    ) {
        let bytes = length.unwrap_or(u32::try_from(8 + body.len()).unwrap());
        let message = [&kind.to_le_bytes()[..], &bytes.to_le_bytes(), &body].concat();
        let room = Room::with(&message);
        if let Ok(request) = Request::decode(&room.0[..message.len()]) {
            let mut again = Room::new();
            prop_assert_eq!(request.encode(&mut again.0), Some(&message[..]));
        }
    }

    /// Every reader of bytes gives a value or an error, whatever the bytes.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Hello::judge(&bytes);
        let _ = Request::decode(&bytes);
        let _ = Notification::read_from_prefix(&bytes);
        if let Ok(reply) = Reply::decode(&bytes) {
            let _ = reply.body::<Rejection>();
            let _ = reply.list::<DrainReply, Record>(|head| head.count).map(|(_, entries)| entries.count());
            let _ = reply
                .list::<InstancesReply, InstanceInfo>(|head| head.count)
                .map(|(_, entries)| entries.map(|entry| entry.volume().len() + entry.instance().len()).sum::<usize>());
        }
    }

    /// Settings that validate are settings that can be set one by one, and the other way round.
    #[test]
    fn any_settings_are_allowed_or_rejected_alike(
        words in [0..4_u8, 0..4_u8, 0..3_u8, 0..2_u8, 0..2_u8],
        bytes in [0..0x1_2000_u32, 0..0x1_2000_u32, 0..0x1_2000_u32],
        depth in 0..1100_u32, capacity in 0..18_u32, ragged in prop::bool::weighted(0.1),
    ) {
        let config = Config {
            expand_policy: Policy(words[0]),
            on_expand_failure: OnExpandFailure(words[1]),
            ancestor_opens: AncestorScope(words[2]),
            unc_only: words[3],
            debug_print: words[4],
            reservation_bytes: bytes[0],
            red_zone_bytes: bytes[1],
            minimum_stack_bytes: bytes[2],
            max_nest_depth: depth,
            log_capacity: (1 << capacity) + u32::from(ragged),
            ..Config::DEFAULT
        };
        let mut one_by_one = Config::DEFAULT;
        let set = Setting::ALL.iter().try_for_each(|&setting| {
            one_by_one.set(setting, config.get(setting).unwrap(), MAXIMUM_EXPANSION)
        });
        prop_assert_eq!(set, config.validate(MAXIMUM_EXPANSION));
        if set.is_ok() {
            prop_assert_eq!(one_by_one, config);
        }
    }
}
