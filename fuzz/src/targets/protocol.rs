//! What readers of another version, of a dump or of a live driver decode.

use protocol::port::{
    Drain, DrainReply, Hello, InstanceInfo, InstanceName, InstancesReply, Notification, Reply,
    Request, StatusReply,
};
use protocol::{
    Anchor, CONFIG_SIGNATURE, Config, ConfigBlock, MARKS_SIGNATURE, Record, SIGNATURE, SLOT_BYTES,
    SlotView, Watermarks, find_anchors, find_configs, find_watermarks,
};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes as _};

use crate::corpus::Seed;

/// What KeExpandKernelStackAndCalloutEx reserves at most, on x64.
pub(super) const MAXIMUM_EXPANSION: u32 = 0x1_1800;

/// A request as it is sent.
pub(super) fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut message = [0; protocol::port::MAXIMUM_REQUEST_BYTES];
    let length = request.encode(&mut message).map_or(0, <[u8]>::len);
    message[..length].to_vec()
}

/// Every request there is.
pub(super) fn requests() -> Vec<Seed> {
    let volume: Vec<u16> = r"\Device\Mup".encode_utf16().collect();
    let Some(name) = InstanceName::new(&volume, &[]) else {
        return Vec::new();
    };
    let drain = Drain {
        from: 0,
        limit: 256,
        reserved: 0,
    };
    [
        ("get-config", Request::GetConfig),
        ("set-config", Request::SetConfig(&Config::DEFAULT)),
        ("drain", Request::Drain(drain)),
        ("watermarks", Request::Watermarks),
        ("reset-watermarks", Request::ResetWatermarks),
        ("attach", Request::Attach(&name)),
        ("detach", Request::Detach(&name)),
        ("instances", Request::Instances),
        ("status", Request::Status),
    ]
    .into_iter()
    .map(|(name, request)| Seed::new(name, encoded(&request)))
    .collect()
}

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = requests();
    let signed = |signature: &[u8; 16], length: usize| {
        let mut bytes = vec![0; length];
        bytes[..16].copy_from_slice(signature);
        bytes
    };
    seeds.push(Seed::new("hello", Hello::CURRENT.as_bytes()));
    seeds.push(Seed::new("record", Record::EMPTY.as_bytes()));
    seeds.push(Seed::new("anchor", signed(&SIGNATURE, size_of::<Anchor>())));
    let mut config = CONFIG_SIGNATURE.to_vec();
    config.extend_from_slice(Config::DEFAULT.as_bytes());
    seeds.push(Seed::new("config-block", config));
    let mut marks = Watermarks::new_zeroed();
    marks.signature = MARKS_SIGNATURE;
    marks.version = protocol::MARKS_VERSION;
    marks.bytes = u32::try_from(size_of::<Watermarks>()).unwrap_or(0);
    marks.mark_bytes = u32::try_from(size_of::<protocol::MarkWords>()).unwrap_or(0);
    marks.process_bytes = u32::try_from(size_of::<protocol::ProcessWords>()).unwrap_or(0);
    marks.nest_slots = u32::try_from(protocol::NEST_SLOTS).unwrap_or(0);
    marks.process_slots = u32::try_from(protocol::PROCESS_SLOTS).unwrap_or(0);
    seeds.push(Seed::new("watermarks", marks.as_bytes()));
    let mut slot = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    slot.extend_from_slice(Record::EMPTY.as_bytes());
    seeds.push(Seed::new("slot", slot));
    seeds
}

pub(super) fn check(input: &[u8]) {
    if let Ok(record) = Record::decode(input) {
        assert!(input.starts_with(record.as_bytes()));
        assert!(record.tail().len() <= protocol::PATH_TAIL_UNITS);
        assert!(record.image().len() <= protocol::IMAGE_NAME_BYTES);
        let _ = (
            record.path_is_whole(),
            record.create_status(),
            format!("{record:?}"),
        );
    }
    if let Ok(slot) = SlotView::decode(input) {
        assert!(input.len() >= SLOT_BYTES);
        let _ = slot.whole();
    }
    if let Ok(anchor) = Anchor::decode(input) {
        let _ = anchor.ring_bytes();
    }
    if let Ok(marks) = Watermarks::decode(input) {
        let _ = marks.system();
        assert!(marks.depths().count() <= protocol::NEST_SLOTS);
        for (image, _) in marks.images() {
            assert!(image.len() <= protocol::IMAGE_NAME_BYTES);
        }
    }
    let _ = ConfigBlock::decode(input);
    for (at, _) in find_anchors(input) {
        assert_eq!(input.get(at..at + 16), Some(&SIGNATURE[..]));
    }
    for (at, _) in find_configs(input) {
        assert_eq!(input.get(at..at + 16), Some(&CONFIG_SIGNATURE[..]));
    }
    for (at, _) in find_watermarks(input) {
        assert_eq!(input.get(at..at + 16), Some(&MARKS_SIGNATURE[..]));
    }
    messages(input);
}

/// A message where the driver keeps its copy: aligned.
#[repr(align(8))]
struct Aligned([u8; protocol::port::MAXIMUM_REQUEST_BYTES + 8]);

fn messages(input: &[u8]) {
    match Hello::judge(input) {
        Ok(hello) => assert!(input.starts_with(hello.as_bytes())),
        Err(refusal) => assert!(!refusal.status().is_success()),
    }
    let mut room = Aligned([0; protocol::port::MAXIMUM_REQUEST_BYTES + 8]);
    if let Some(copy) = room.0.get_mut(..input.len()) {
        copy.copy_from_slice(input);
        match Request::decode(copy) {
            Ok(request) => {
                let mut again = Aligned([0; protocol::port::MAXIMUM_REQUEST_BYTES + 8]);
                let written = request.encode(&mut again.0).map(<[u8]>::to_vec);
                assert_eq!(
                    written.as_deref(),
                    Some(input),
                    "{request:?} is what was sent"
                );
                if let Request::SetConfig(config) = request {
                    validated(config);
                }
            }
            Err(bad) => assert!(!bad.status().is_success(), "{bad:?}"),
        }
    }
    let Ok(reply) = Reply::decode(input) else {
        return;
    };
    let _ = (
        reply.body::<StatusReply>(),
        reply.body::<Config>(),
        reply.body::<Watermarks>(),
    );
    if let Ok((head, records)) = reply.list::<DrainReply, Record>(|head: &DrainReply| head.count) {
        assert_eq!(records.count(), head.count as usize);
    }
    if let Ok((head, instances)) =
        reply.list::<InstancesReply, InstanceInfo>(|head: &InstancesReply| head.count)
    {
        assert!(
            instances
                .filter(|info| info.volume().len() <= info.volume.len())
                .count()
                <= head.count as usize
        );
    }
    let _ = Notification::read_from_prefix(input);
}

/// What the driver takes over is what each setting allows by itself.
fn validated(config: &Config) {
    let whole = config.validate(MAXIMUM_EXPANSION);
    if whole.is_ok() {
        assert!(config.reservation_bytes <= MAXIMUM_EXPANSION);
        assert!(config.max_nest_depth <= protocol::MAXIMUM_NEST_DEPTH);
        assert!(config.log_capacity <= protocol::MAXIMUM_LOG_CAPACITY);
        assert!(config.log_capacity.is_power_of_two());
    }
}
