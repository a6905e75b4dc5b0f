//! Draining a million records: by the recorder itself, and as a client does, through the driver's port.

use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use ntbench::NtStatus;
use ntbench::wire::PortMessage;
use protocol::port::{Drain, DrainReply, MAXIMUM_DRAIN_RECORDS, Request};
use protocol::{MAXIMUM_LOG_CAPACITY, Record, Setting};

use super::rig::{FILE, Filter, Plan, REMOTE, Rig, Workshop, encode, open};
use super::rows::address;

/// A ring holds this many.
const RING: u64 = MAXIMUM_LOG_CAPACITY as u64;
/// How many are drained in one go: a full ring over and over, since no ring holds them.
const MILLION: u64 = 1_000_000;
/// Room for a full drain.
const ROOM: u32 = 64 + MAXIMUM_DRAIN_RECORDS * size_of::<Record>() as u32;

/// A row's name.
pub(crate) struct Named {
    pub(crate) id: &'static str,
    pub(crate) text: &'static str,
    /// How many its time is of, where that is more than one.
    pub(crate) counted: Option<u64>,
}

/// Adds the rows: what they are called, how often a sample does it, and how it is taken.
pub(crate) fn add<F: FnMut(Named, u64, super::sample::Probe)>(
    workshop: &Workshop,
    rig: &Rc<Rig>,
    mut row: F,
) -> Result<()> {
    let (record, drain) = (
        address(rig, "yardstick_record")?,
        address(rig, "yardstick_drain")?,
    );
    let rig = Rc::clone(rig);
    let mut full = false;
    row(
        Named {
            id: "drain",
            text: "a record read by the recorder, of a full ring",
            counted: None,
        },
        RING,
        Box::new(move |times| {
            if !std::mem::replace(&mut full, true) {
                rig.thread.measure_routine(record, &[RING, RING], 1)?;
            }
            let timing = rig.thread.measure_routine(drain, &[RING, times], 1)?;
            if timing.value != times {
                bail!("{} records of {times} were drained", timing.value);
            }
            Ok(timing.nanoseconds as f64 / times as f64)
        }),
    );
    let settings = vec![
        (Setting::LOG_CAPACITY, MAXIMUM_LOG_CAPACITY),
        (Setting::MAX_NEST_DEPTH, 0),
    ];
    let mut rig = Rig::start(workshop, &Plan::with([Filter::Headroom(settings)]))?;
    let create = open(format!("{REMOTE}{FILE}"));
    let mut full = false;
    row(
        Named {
            id: "drain.million",
            text: "a million records drained through the port, from a ring of 65,536",
            counted: Some(MILLION),
        },
        1,
        Box::new(move |times| {
            if !std::mem::replace(&mut full, true) {
                rig.creates(&create, RING, NtStatus::SUCCESS)?;
            }
            let (mut left, mut took) = (MILLION * times, 0.0);
            while left > 0 {
                let lap = left.min(RING);
                took += through_the_port(&mut rig, lap)? * lap as f64;
                left -= lap;
            }
            Ok(took / times as f64)
        }),
    );
    Ok(())
}

/// Drains the newest so many records in messages as full as they may be.
pub(crate) fn through_the_port(rig: &mut Rig, records: u64) -> Result<f64> {
    let client = rig.client()?;
    let message = |from| -> Result<PortMessage> {
        Ok(PortMessage {
            port: client.handle(),
            input: encode(&Request::Drain(Drain {
                from,
                limit: MAXIMUM_DRAIN_RECORDS,
                reserved: 0,
            }))?,
            output_length: ROOM,
            ..PortMessage::default()
        })
    };
    let (status, reply) = client.send_message(&message(0)?)?;
    let reply = protocol::port::Reply::decode(&reply)
        .with_context(|| format!("the first drain: {status}"))?;
    let head: DrainReply = reply.body()?;
    let first = (head.head + 1).saturating_sub(records).max(1);
    let starts = (first..=head.head).step_by(MAXIMUM_DRAIN_RECORDS as usize);
    let messages: Vec<PortMessage> = starts.map(message).collect::<Result<_>>()?;
    let timing = rig.thread.measure_messages(messages, 1)?;
    let expected = (head.head + 1 - first) * size_of::<Record>() as u64;
    if !timing.status.is_success() || timing.value < expected {
        bail!(
            "draining {records} records: {}, {} bytes of {expected}",
            timing.status,
            timing.value
        );
    }
    Ok(timing.nanoseconds as f64 / records as f64)
}
