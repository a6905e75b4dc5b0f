//! Arguments that have a grammar of their own.

use std::str::FromStr;

use ntbench::NtStatus;
use ntbench::wire::{
    Buffers, DfsLink, FaultRule, InstanceSpec, RegistryValue, Share, Volume, When,
};

#[derive(Clone)]
pub(in crate::cli) struct DfsArgument {
    pub(super) server: String,
    pub(super) root: String,
    pub(super) link: DfsLink,
}

impl FromStr for DfsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let grammar = || "write SERVER/ROOT/LINK=SERVER/SHARE".to_owned();
        let (from, to) = text.split_once('=').ok_or_else(grammar)?;
        let from = from.replace('\\', "/");
        let mut from = from.splitn(3, '/');
        let (Some(server), Some(root), Some(path)) = (from.next(), from.next(), from.next()) else {
            return Err(grammar());
        };
        let to = to.replace('\\', "/");
        let mut to = to.splitn(3, '/');
        let (Some(target), Some(share)) = (to.next(), to.next()) else {
            return Err(grammar());
        };
        let link = DfsLink {
            path: path.replace('/', "\\"),
            server: target.to_owned(),
            share: share.to_owned(),
            folder: to.next().unwrap_or("").replace('/', "\\"),
        };
        Ok(Self {
            server: server.to_owned(),
            root: root.to_owned(),
            link,
        })
    }
}

#[derive(Clone)]
pub(in crate::cli) struct Parameter(pub(in crate::cli) (String, RegistryValue));

impl FromStr for Parameter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        let number = value.strip_prefix("0x").map_or_else(
            || value.parse().ok(),
            |digits| u32::from_str_radix(digits, 16).ok(),
        );
        let value =
            number.map_or_else(|| RegistryValue::Sz(value.to_owned()), RegistryValue::Dword);
        Ok(Self((name.to_owned(), value)))
    }
}

#[derive(Clone)]
pub(in crate::cli) struct Instance(pub(in crate::cli) InstanceSpec);

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.split(',');
        let (Some(name), Some(altitude)) = (fields.next(), fields.next()) else {
            return Err("write NAME,ALTITUDE or NAME,ALTITUDE,FLAGS".to_owned());
        };
        if altitude.is_empty()
            || !altitude
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            return Err(format!("an altitude is a decimal number, not {altitude:?}"));
        }
        let flags = match fields.next() {
            Some(flags) => flags
                .parse()
                .map_err(|_| format!("flags are a number, not {flags:?}"))?,
            None => 0,
        };
        Ok(Self(InstanceSpec {
            name: name.to_owned(),
            altitude: altitude.to_owned(),
            flags,
        }))
    }
}

#[derive(Clone)]
pub(in crate::cli) struct ShareArgument {
    pub(super) server: String,
    pub(super) share: Share,
}

impl FromStr for ShareArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (names, folder) = text.split_once('=').ok_or("write SERVER/SHARE=FOLDER")?;
        let (server, name) = names
            .split_once(['/', '\\'])
            .ok_or("write SERVER/SHARE=FOLDER")?;
        Ok(Self {
            server: server.to_owned(),
            share: Share {
                name: name.to_owned(),
                folder: folder.into(),
            },
        })
    }
}

#[derive(Clone)]
pub(in crate::cli) struct VolumeArgument(pub(in crate::cli) Volume);

impl FromStr for VolumeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (letter, folder) = text.split_once('=').ok_or("write C=FOLDER")?;
        let mut letters = letter.trim_end_matches(':').chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii_alphabetic() => {
                let number = u32::from(letter.to_ascii_uppercase()) - u32::from('A');
                let device = format!("\\Device\\HarddiskVolume{}", number + 1);
                Ok(Self(Volume {
                    device,
                    letter: Some(letter),
                    folder: folder.into(),
                }))
            }
            _ => Err(format!("a drive letter is one letter, not {letter:?}")),
        }
    }
}

/// How a file system's device wants buffers.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Transfer(pub(in crate::cli) Buffers);

impl FromStr for Transfer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "neither" => Ok(Self(Buffers::Neither)),
            "buffered" => Ok(Self(Buffers::Buffered)),
            "direct" => Ok(Self(Buffers::Direct)),
            _ => Err("write neither, buffered or direct".to_owned()),
        }
    }
}

#[derive(Clone)]
pub(in crate::cli) struct Fault(pub(in crate::cli) FaultRule);

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (call, rest) = text
            .split_once('=')
            .ok_or("write CALL=STATUS, CALL=STATUS@N, CALL=STATUS@N+ or CALL=STATUS@stack:HASH")?;
        let (status, when) = match rest.split_once('@') {
            None => (rest, When::Always),
            Some((status, count)) => {
                let number =
                    |digits: &str| digits.parse().map_err(|_| format!("{count:?} is no count"));
                let when = match (count.strip_prefix("stack:"), count.strip_suffix('+')) {
                    (Some(hash), _) => {
                        When::Stack(u64::from_str_radix(hash, 16).map_err(|_| {
                            format!("{hash:?} is no call stack's hash, as --faults tells it")
                        })?)
                    }
                    (None, Some(digits)) => When::From(number(digits)?),
                    (None, None) => When::Nth(number(count)?),
                };
                (status, when)
            }
        };
        Ok(Self(FaultRule {
            call: known_call(call)?,
            status: self::status(status)?,
            when,
        }))
    }
}

/// What `--faults` fails: every call that can fail, or one.
#[derive(Clone)]
pub(in crate::cli) enum Faults {
    /// Every one, with the statuses that it documents.
    All,
    /// That one, with that status where one is given.
    One(String, Option<NtStatus>),
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        let Some((call, name)) = text.split_once('=') else {
            return Ok(Self::One(known_call(text)?, None));
        };
        Ok(Self::One(known_call(call)?, Some(status(name)?)))
    }
}

/// A range of numbers, `FROM..TO:STEP`, as bytes.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Sweep {
    /// The first.
    pub(in crate::cli) from: u32,
    /// The last.
    pub(in crate::cli) to: u32,
    /// From one to the next.
    pub(in crate::cli) step: u32,
}

impl Sweep {
    /// Its numbers, in the order in which they were written.
    pub(in crate::cli) fn numbers(self) -> Vec<u32> {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        let mut numbers: Vec<u32> = (low..=high).step_by(self.step as usize).collect();
        if self.from > self.to {
            numbers.reverse();
        }
        numbers
    }
}

/// What a program gives a port when it connects.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Context(pub(in crate::cli) Vec<u8>);

impl FromStr for Context {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("hex:") {
            Some(digits) => crate::cli::hex::bytes(digits)
                .map(Self)
                .ok_or_else(|| "expected pairs of hexadecimal digits after hex:".to_owned()),
            None => Ok(Self(text.as_bytes().to_vec())),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Bytes(pub(in crate::cli) u32);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text).map(Self)
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let grammar =
            "write FROM..TO:STEP in bytes, for example 0x6000..0x1000:0x400, or one number";
        if let Ok(only) = number(text) {
            return Self::checked(only, only, 1, grammar);
        }
        let (range, step) = text.split_once(':').ok_or(grammar)?;
        let (from, to) = range.split_once("..").ok_or(grammar)?;
        Self::checked(number(from)?, number(to)?, number(step)?, grammar)
    }
}

impl Sweep {
    fn checked(from: u32, to: u32, step: u32, grammar: &str) -> Result<Self, String> {
        const MOST: u32 = 0x12000;
        if step == 0 {
            return Err(format!("a step of 0 never arrives; {grammar}"));
        }
        if from.max(to) > MOST {
            return Err(format!(
                "no kernel stack has more than {MOST:#x} bytes; {grammar}"
            ));
        }
        Ok(Self { from, to, step })
    }
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number like 4096 or 0x1000"))
}

fn status(text: &str) -> Result<NtStatus, String> {
    NtStatus::parse(text).ok_or_else(|| {
        format!("{text:?} is neither a known STATUS_ name nor a number like 0xC000009A")
    })
}

/// A function that the bench has and can make fail.
fn known_call(text: &str) -> Result<String, String> {
    if ntbench::can_fail(text) {
        return Ok(text.to_owned());
    }
    Err(if ntbench::is_export(text) {
        format!("{text} returns no status and allocates nothing: it cannot be made to fail")
    } else {
        format!("the bench has no function {text}; `ntbench coverage` lists what it has")
    })
}
