//! A machine in the background, and the verbs that talk to it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use headroom_harness::backend::{Call, Purpose};
use headroom_harness::machine::{Connection, MachineError, Place, SERVER, SHARE};
use ntbench::wire::{StackKind, ThreadSpec};
use protocol::NtStatus;
use tempfile::TempDir;

use crate::common::{HEADROOM, sys};

/// A folder for a machine, and what is asked of whoever lives there.
pub(crate) struct Home(TempDir);

/// What a command line came to.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    /// Its standard output; that it succeeded and had nothing to complain about is taken for granted.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!((self.code, &*self.err), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// Its complaint: the only thing that it said, with status 2, and no panic.
    #[track_caller]
    pub(crate) fn complaint(self) -> String {
        assert_eq!((self.code, &*self.out), (Some(2), ""), "{}", self.err);
        assert!(
            self.err.starts_with("headroom: ") && !self.err.contains("panicked"),
            "{}",
            self.err
        );
        self.err
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Home {
    /// A folder with nobody in it.
    pub(crate) fn empty() -> Self {
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir();
        Self(folder.unwrap())
    }

    /// A machine with the driver, loaded with these arguments.
    #[track_caller]
    pub(crate) fn loaded(arguments: &[&str]) -> Self {
        let home = Self::empty();
        home.load(arguments).good();
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn place(&self) -> Place {
        Place::at(self.path())
    }

    /// The folder behind the share.
    pub(crate) fn share(&self) -> PathBuf {
        self.place().share()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(HEADROOM);
        command
            .args(arguments)
            .env("HEADROOM_MACHINE", self.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        self.command(arguments).output().unwrap().into()
    }

    /// Should a test forget its machine, that ends by itself.
    pub(crate) fn load(&self, arguments: &[&str]) -> Told {
        let sys = sys();
        let arguments: Vec<&str> = ["load", "--for", "30m", "--driver", sys.to_str().unwrap()]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.run(&arguments)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open_at(&self.place()).unwrap()
    }

    /// Opens and closes a directory so many levels below the share, in the name of a program.
    pub(crate) fn open(&self, image: &str, levels: u32) -> Result<NtStatus, MachineError> {
        let mut machine = self.connect();
        let thread = machine.thread(ThreadSpec {
            process_image: image.to_owned(),
            process: 0,
            stack: StackKind::Ordinary,
        })?;
        let path: String = (1..=levels).map(|level| format!(r"\d{level:02}")).collect();
        let opened = machine.call(
            thread,
            &Call::Open {
                name: format!(r"\??\UNC\{SERVER}\{SHARE}{path}"),
                root: 0,
                purpose: Purpose::Attributes,
            },
        )?;
        if opened.handle != 0 {
            let handle = opened.handle;
            machine.call(thread, &Call::Close { handle })?;
        }
        Ok(opened.status)
    }

    /// Unloads, and wants nothing to have been found.
    #[track_caller]
    pub(crate) fn end(self) {
        let out = self.run(&["unload"]).good();
        assert!(out.contains("The verifier found nothing."), "{out}");
        assert!(!self.place().socket().exists());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.place().socket().exists() {
            let _ = self.command(&["unload"]).output();
        }
    }
}

/// Numbers of three digits and more, and all that a run of them can be, made equal: `#` for each digit.
pub(crate) fn redacted(text: &str) -> String {
    let mut told = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from
            .find(|c: char| !c.is_ascii_digit() && c != ',')
            .unwrap_or(from.len());
        let (number, after) = from.split_at(end);
        told.push_str(before);
        if number.len() >= 3 {
            told.extend(number.chars().map(|c| if c == ',' { ',' } else { '#' }));
        } else {
            told.push_str(number);
        }
        rest = after;
    }
    told + rest
}

/// Loads, with nested creates, and opens four levels deep: five records.
pub(crate) fn opened() -> Home {
    let home = Home::loaded(&["--set", "AncestorOpens=Top"]);
    assert_eq!(home.open("a.exe", 4).unwrap(), NtStatus::SUCCESS);
    home
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}
