//! What a scenario is, once its words have become what a machine can be asked.

use ntbench::wire::{CreateFile, FileCall, InstanceCall, RegistryAct};
use ntbench::{NtStatus, ReparsePoint};

use super::pattern::Pattern;

/// Where a scenario can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// Below a drive letter.
    Volume,
    /// Below a share.
    Share,
    /// Below a link of a DFS namespace.
    Dfs,
    /// At a communication port.
    Port,
    /// With a filter's instances.
    Filter,
    /// Nowhere in particular: once on a machine.
    Machine,
}

impl Place {
    /// As scenario files write it.
    pub(in crate::cli) const ALL: [(&'static str, Self); 6] = [
        ("volume", Self::Volume),
        ("share", Self::Share),
        ("dfs", Self::Dfs),
        ("port", Self::Port),
        ("filter", Self::Filter),
        ("machine", Self::Machine),
    ];
}

/// What is done with filters, and what should come of it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Scenario {
    /// Its name.
    pub(in crate::cli) name: String,
    /// Whether it is one of ours, which any filter is put through.
    pub(in crate::cli) built_in: bool,
    /// What it is for.
    pub(in crate::cli) about: String,
    /// Where it is played.
    pub(in crate::cli) on: Vec<Place>,
    /// Files and folders that are there before any filter sees them; a folder has no content.
    pub(in crate::cli) prepared: Vec<(String, Option<String>)>,
    /// What is done.
    pub(in crate::cli) steps: Vec<Step>,
}

/// One thing that a program does.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Step {
    /// The file's line, counted from 1.
    pub(in crate::cli) line: usize,
    /// Which of the program's threads does it.
    pub(in crate::cli) thread: String,
    /// The handle that it is done with, or that is made.
    pub(in crate::cli) file: String,
    /// What.
    pub(in crate::cli) act: Act,
    /// The statuses that are right. Empty: any.
    pub(in crate::cli) expect: Vec<NtStatus>,
    /// What must have been read.
    pub(in crate::cli) expect_text: Option<String>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Act {
    /// `NtCreateFile`; the name is the path.
    Create {
        /// How.
        create: CreateFile,
        /// The transaction that it is done in, by its handle's name.
        transaction: Option<String>,
    },
    /// `NtCreateTransaction`.
    Begin,
    /// `NtCommitTransaction`, or `NtRollbackTransaction`.
    End {
        /// Commits; else rolls back.
        commit: bool,
    },
    /// `NtClose`.
    Close,
    /// `NtQueryAttributesFile`.
    Attributes(String),
    /// A call on an open file, and how it is told.
    Call(FileCall, String),
    /// `FileRenameInformation`.
    Rename {
        /// The new name: relative to the place, or whole.
        to: String,
        /// Whether a file of that name gives way.
        replace: bool,
    },
    /// `FileLinkInformation`.
    Link {
        /// The other name.
        to: String,
        /// Whether a file of that name gives way.
        replace: bool,
    },
    /// `FileDispositionInformation`.
    Delete(bool),
    /// The whole of a directory.
    List(Option<String>),
    /// `FSCTL_SET_REPARSE_POINT`.
    SetReparse(ReparsePoint),
    /// `FSCTL_DELETE_REPARSE_POINT`.
    DeleteReparse(u32),
    /// `FilterConnectCommunicationPort`.
    Connect {
        /// The port.
        port: String,
        /// The context; `None`: that of the command line.
        context: Option<Vec<u8>>,
        /// What the filter's questions are answered with.
        answer: Answer,
        /// What is then sent to the filter, message by message.
        then: Vec<Pattern>,
    },
    /// `FilterSendMessage`.
    Send {
        /// The message.
        input: Vec<u8>,
        /// How long an answer may be.
        output: u32,
    },
    /// Random messages.
    Fuzz {
        /// How many.
        count: u64,
    },
    /// A call on a registry key, and how it is told.
    Registry {
        /// The key.
        key: String,
        /// What is done to it.
        act: RegistryAct,
        /// How a table tells it.
        told: String,
    },
    /// `FilterAttach`, `FilterAttachAtAltitude` or `FilterDetach`; the names are the place's where they have braces.
    Instance(InstanceCall),
    /// `NtCreateUserProcess`; the step's name is the process's first thread from then on.
    Start {
        /// Its image.
        image: String,
        /// What it is started with.
        command_line: Option<String>,
    },
    /// The process ends.
    Exit,
    /// Threads that run at the same time.
    Together {
        /// What each does.
        threads: Vec<Actor>,
        /// How many times.
        times: u32,
    },
}

/// What a program at a port answers a filter that wants an answer.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Answer {
    /// Zeros, as many as the filter has room for.
    Zeros,
    /// Nothing: it takes the message and leaves the filter to wait.
    Silent,
    /// These bytes.
    Bytes(Vec<u8>),
}

/// One of several threads that run at the same time.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Actor {
    /// Its name.
    pub(in crate::cli) name: String,
    /// What it does; no threads of its own.
    pub(in crate::cli) steps: Vec<Step>,
}

impl Scenario {
    /// Where it is played, for a list.
    pub(in crate::cli) fn places(&self) -> String {
        let names = Place::ALL
            .iter()
            .filter(|(_, place)| self.on.contains(place));
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// Whether threads run at the same time in it.
    pub(in crate::cli) fn is_concurrent(&self) -> bool {
        let together = |step: &Step| matches!(step.act, Act::Together { .. });
        self.steps.iter().any(together)
    }
}
