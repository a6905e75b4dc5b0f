//! What is fuzzed.

mod dump;
mod image;
mod inf;
mod parameters;
mod port;
mod protocol;
mod report;
mod session;
mod symbols;
mod unc;
mod version;

use crate::{Target, mutate};

/// Whether the environment names the driver, for the targets that are the driver itself.
#[must_use]
pub fn has_driver() -> bool {
    session::image().is_some()
}

/// No input but those of the corpus's folder.
fn none() -> Vec<crate::corpus::Seed> {
    Vec::new()
}

/// All of them.
pub(crate) const ALL: &[Target] = &[
    Target {
        name: "unc",
        about: "the UNC grammar (crates/uncpath), which the driver parses names with",
        check: unc::check,
        mutate: mutate::bytes,
        seeds: unc::seeds,
        longest: 0x1_0000,
        quick: 200_000,
        guided: true,
    },
    Target {
        name: "protocol",
        about: "records, statics and messages as readers decode them (crates/protocol)",
        check: protocol::check,
        mutate: mutate::bytes,
        seeds: protocol::seeds,
        longest: 0x8000,
        quick: 50_000,
        guided: true,
    },
    Target {
        name: "inf",
        about: "the INF reader, its rules, and what an INF installs (crates/inf)",
        check: inf::check,
        mutate: inf::change,
        seeds: none,
        longest: 0x8000,
        quick: 3_000,
        guided: true,
    },
    Target {
        name: "image",
        about: "ntbench's loader: checked, mapped, relocated, bound, its unwind data walked",
        check: image::check,
        mutate: mutate::image::change,
        seeds: image::seeds,
        longest: 0x10_0000,
        quick: 30_000,
        guided: true,
    },
    Target {
        name: "symbols",
        about: "ntbench's reader of .pdb files",
        check: symbols::check,
        mutate: mutate::bytes,
        seeds: symbols::seeds,
        longest: 0x10_0000,
        quick: 500,
        guided: true,
    },
    Target {
        name: "dump",
        about: "the reader of crash dumps (crates/crashdump)",
        check: dump::check,
        mutate: dump::change,
        seeds: dump::seeds,
        longest: 0x20_0000,
        quick: 1_000,
        guided: true,
    },
    Target {
        name: "report",
        about: "saved reports, sweeps and logs, and the pages made of them (test-harness)",
        check: report::check,
        mutate: report::change,
        seeds: none,
        longest: 0x2_0000,
        quick: 1_000,
        guided: true,
    },
    Target {
        name: "version",
        about: "the reader of version resources (crates/versioninfo)",
        check: version::check,
        mutate: mutate::bytes,
        seeds: version::seeds,
        longest: 0x4000,
        quick: 50_000,
        guided: true,
    },
    Target {
        name: "parameters",
        about: "the driver's settings: headroom.sys loaded with any registry values below Parameters",
        check: parameters::check,
        mutate: parameters::change,
        seeds: parameters::seeds,
        longest: 0x1000,
        quick: 150,
        guided: false,
    },
    Target {
        name: "port",
        about: "the driver's port: messages to headroom.sys (tests/hostile.rs sends ten million, in hostile memory too)",
        check: port::check,
        mutate: mutate::bytes,
        seeds: port::seeds,
        longest: 1024,
        quick: 10_000,
        guided: false,
    },
];
