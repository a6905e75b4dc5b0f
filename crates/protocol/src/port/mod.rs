//! What is said over the communication port.
//!
//! A client connects with a [`Hello`] as its connection context, and is refused where the two versions do not go together.
//! Then it sends requests, each a [`RequestHeader`] and a body, and gets a [`ReplyHeader`] and a body for each. A client
//! that waits for messages gets a [`Notification`] when there are new records, and drains them.
//!
//! Nothing in here trusts its bytes: they come from another process, or from a driver of another version. Decoding
//! neither panics nor allocates, and a length that contradicts another one is an error.

mod hello;
mod reply;
mod request;

pub use hello::{Hello, MAGIC, Refusal, VERSION_MAJOR, VERSION_MINOR};
pub use reply::{
    DrainReply, InstanceInfo, InstancesReply, Notification, NotificationKind, Reply, ReplyHeader,
    StatusReply,
};
pub use request::{
    BadRequest, Drain, INSTANCE_UNITS, InstanceName, MAXIMUM_DRAIN_RECORDS, MAXIMUM_REQUEST_BYTES,
    Request, RequestHeader, RequestKind, VOLUME_UNITS,
};

/// The port's name.
pub const PORT_NAME: &str = r"\HeadroomPort";

/// [`PORT_NAME`] as the kernel spells it.
pub const PORT_NAME_UNITS: [u16; PORT_NAME.len()] = {
    let (bytes, mut units, mut at) = (PORT_NAME.as_bytes(), [0; PORT_NAME.len()], 0);
    while at < bytes.len() {
        units[at] = bytes[at] as u16;
        at += 1;
    }
    units
};

/// How many clients may be connected at one time.
pub const MAXIMUM_CLIENTS: u32 = 4;
