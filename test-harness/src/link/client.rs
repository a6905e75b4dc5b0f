//! The protocol, request by request.

use std::time::Duration;

use protocol::port::{
    BadRequest, Drain, DrainReply, Hello, INSTANCE_UNITS, InstanceInfo, InstanceName,
    InstancesReply, MAXIMUM_DRAIN_RECORDS, MAXIMUM_REQUEST_BYTES, Notification, Reply, Request,
    StatusReply, VOLUME_UNITS,
};
use protocol::{Config, DecodeError, NtStatus, Record, Rejection, Watermarks};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{Link, LinkError};

/// Room for every reply: the longest is a full drain.
const ROOM: usize = 64 + MAXIMUM_DRAIN_RECORDS as usize * size_of::<Record>();

/// A connection that speaks the protocol.
pub struct Client {
    link: Box<dyn Link>,
}

/// What one drain brought.
#[derive(Clone, Debug)]
pub struct Drained {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where the next drain goes on.
    pub next: u64,
    /// Records that were wanted and are gone: newer ones have taken their places.
    pub lost: u64,
    /// The highest sequence given out.
    pub head: u64,
}

/// An instance of the driver on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The volume's name; one that did not fit ends in an ellipsis.
    pub volume: String,
    /// The instance's name.
    pub name: String,
    /// `FLT_FILESYSTEM_TYPE`.
    pub file_system: u32,
}

impl Client {
    /// Connects over what `open` opens with a connection context: in this version, and where the driver is older, in the oldest that
    /// it can still be.
    ///
    /// # Errors
    /// [`LinkError`]: no driver, no rights, another version, no free connection.
    pub fn connect(
        open: impl Fn(&[u8]) -> Result<Box<dyn Link>, LinkError>,
    ) -> Result<Self, LinkError> {
        let link = match open(Hello::CURRENT.as_bytes()) {
            Err(LinkError::Version) => open(Hello::OLDEST.as_bytes())?,
            opened => opened?,
        };
        Ok(Self { link })
    }

    /// The settings in force.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn config(&mut self) -> Result<Config, LinkError> {
        Ok(self.ask(&Request::GetConfig)?.reply()?.body()?)
    }

    /// Puts other settings in force, all of them or none.
    ///
    /// # Errors
    /// [`LinkError::Rejected`]: one of them is not allowed.
    pub fn set_config(&mut self, config: &Config) -> Result<(), LinkError> {
        self.ask(&Request::SetConfig(config)).map(drop)
    }

    /// Records from a sequence on; 0: from the oldest there is. From 1 on, too, but then those before the oldest count as lost.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn drain(&mut self, from: u64) -> Result<Drained, LinkError> {
        let answer = self.ask(&Request::Drain(Drain {
            from,
            limit: MAXIMUM_DRAIN_RECORDS,
            reserved: 0,
        }))?;
        let reply = answer.reply()?;
        let head: DrainReply = reply.body()?;
        if head.record_bytes as usize != size_of::<Record>() {
            return Err(DecodeError::Size {
                what: "record",
                found: head.record_bytes,
                expected: size_of::<Record>(),
            }
            .into());
        }
        let (head, records) = reply.list::<DrainReply, Record>(|head| head.count)?;
        Ok(Drained {
            records: records.collect(),
            next: head.next,
            // To the driver 1 means the oldest as well, and none is lost then.
            lost: if from == 1 {
                head.lost.saturating_add(head.first.saturating_sub(1))
            } else {
                head.lost
            },
            head: head.head,
        })
    }

    /// The watermarks.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn watermarks(&mut self) -> Result<Box<Watermarks>, LinkError> {
        let answer = self.ask(&Request::Watermarks)?;
        Ok(Box::new(Watermarks::decode(answer.reply()?.body)?))
    }

    /// Starts the watermarks afresh.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn reset(&mut self) -> Result<(), LinkError> {
        self.ask(&Request::ResetWatermarks).map(drop)
    }

    /// Attaches to a volume; an empty instance name means the default one.
    ///
    /// # Errors
    /// [`LinkError::Refused`] with what the Filter Manager said.
    pub fn attach(&mut self, volume: &str, instance: &str) -> Result<(), LinkError> {
        let name = instance_name(volume, instance)?;
        self.ask(&Request::Attach(&name)).map(drop)
    }

    /// Detaches from a volume; an empty instance name means the default one.
    ///
    /// # Errors
    /// [`LinkError::Refused`] with what the Filter Manager said.
    pub fn detach(&mut self, volume: &str, instance: &str) -> Result<(), LinkError> {
        let name = instance_name(volume, instance)?;
        self.ask(&Request::Detach(&name)).map(drop)
    }

    /// The instances that fit into a reply, and how many there are.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn instances(&mut self) -> Result<(Vec<Instance>, u32), LinkError> {
        let answer = self.ask(&Request::Instances)?;
        let (head, entries) = answer
            .reply()?
            .list::<InstancesReply, InstanceInfo>(|head| head.count)?;
        let instances = entries.map(|entry| Instance {
            volume: text(entry.volume(), entry.volume_length),
            name: text(entry.instance(), entry.instance_length),
            file_system: entry.file_system,
        });
        Ok((instances.collect(), head.total))
    }

    /// How the driver stands; `None`: it is older than that request.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn status(&mut self) -> Result<Option<StatusReply>, LinkError> {
        match self.ask(&Request::Status) {
            Ok(answer) => Ok(Some(answer.reply()?.body()?)),
            Err(LinkError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the driver says that there are new records; `None`: it did not in that time.
    ///
    /// # Errors
    /// [`LinkError::Gone`]: it never will.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Notification>, LinkError> {
        let Some(bytes) = self.link.next(size_of::<Notification>(), limit)? else {
            return Ok(None);
        };
        let (notification, _) = Notification::read_from_prefix(&bytes).map_err(|_| {
            LinkError::Reply(DecodeError::Truncated {
                what: "a notification",
                found: bytes.len(),
                expected: size_of::<Notification>(),
            })
        })?;
        Ok(Some(notification))
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, LinkError> {
        let mut room = [0; MAXIMUM_REQUEST_BYTES];
        let message = request.encode(&mut room).unwrap_or(&[]);
        let bytes = self.link.send(message, ROOM)?;
        let answer = Answer(bytes);
        let reply = answer.reply()?;
        if reply.status.is_success() {
            return Ok(answer);
        }
        let request = request.kind().to_string();
        if reply.status == BadRequest::Unknown(protocol::port::RequestKind(0)).status() {
            return Err(LinkError::Unknown(request));
        }
        if reply.status == NtStatus::INVALID_PARAMETER
            && let Ok(rejection) = reply.body::<Rejection>()
        {
            return Err(LinkError::Rejected(rejection));
        }
        Err(LinkError::Refused {
            request,
            status: reply.status,
        })
    }
}

struct Answer(Vec<u8>);

impl Answer {
    fn reply(&self) -> Result<Reply<'_>, LinkError> {
        Ok(Reply::decode(&self.0)?)
    }
}

fn instance_name(volume: &str, instance: &str) -> Result<InstanceName, LinkError> {
    let units = |text: &str, most: usize| -> Result<Vec<u16>, LinkError> {
        let units: Vec<u16> = text.encode_utf16().collect();
        if units.len() > most {
            return Err(LinkError::Name(text.to_owned(), most));
        }
        Ok(units)
    };
    let (volume_units, instance_units) = (
        units(volume, VOLUME_UNITS)?,
        units(instance, INSTANCE_UNITS)?,
    );
    InstanceName::new(&volume_units, &instance_units)
        .ok_or_else(|| LinkError::Name(volume.to_owned(), VOLUME_UNITS))
}

fn text(kept: &[u16], length: u16) -> String {
    let mut text = String::from_utf16_lossy(kept);
    if usize::from(length) > kept.len() {
        text.push('…');
    }
    text
}
