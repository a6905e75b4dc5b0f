//! Where and when a report's numbers were taken.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Where and when a report's numbers were taken. What an older file does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// Version of the program that wrote it.
    pub headroom: String,
    /// When, in UTC: `2026-01-31T12:00:00Z`.
    pub taken_at: String,
    /// The system that the program ran on.
    pub host: String,
    /// What the opens were made on.
    pub machine: String,
    /// Size of the driver's image.
    pub driver_bytes: Option<u64>,
}

impl Origin {
    /// Here and now, with the driver at `image`.
    #[must_use]
    pub fn here(image: &Path) -> Self {
        let machine = if cfg!(windows) {
            WINDOWS
        } else {
            "ntbench: a simulated machine that runs the driver's own binary on modelled kernel frames"
        };
        Self {
            headroom: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            host: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            machine: machine.to_owned(),
            driver_bytes: fs::metadata(image).ok().map(|metadata| metadata.len()),
        }
    }

    /// Whether the kernel's frames came from a model rather than from a kernel.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.machine.starts_with("ntbench")
    }
}

const WINDOWS: &str = "this Windows";
