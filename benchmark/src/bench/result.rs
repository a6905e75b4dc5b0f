//! What was measured, as it is kept: JSON that another run can be compared with.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::sample::Spread;
use super::scale::Curve;

/// Raised when the file's shape changes.
const FORMAT: u32 = 1;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    format: u32,
    /// The machine that measured.
    pub(crate) host: Host,
    /// How many rounds.
    #[serde(default)]
    pub(crate) rounds: usize,
    /// What was measured.
    #[serde(default)]
    pub(crate) rows: Vec<Measured>,
    /// What has to hold.
    #[serde(default)]
    pub(crate) aims: Vec<Aim>,
    /// How it grows.
    #[serde(default)]
    pub(crate) curves: Vec<Curve>,
}

/// A machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Whether ntbench was compiled with optimisation.
    pub(crate) optimised: bool,
    /// Processes that were ready to run when it began, a minute's average.
    pub(crate) load: f64,
}

/// A row as measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) text: String,
    /// Nanoseconds for one.
    pub(crate) nanoseconds: Spread,
    /// The row that it is compared with, and the ratio of the lower quartiles.
    pub(crate) ratio: Option<(String, f64)>,
    /// Bytes of the caller's stack.
    pub(crate) caller: Option<u64>,
    /// Bytes of the reserved stack.
    pub(crate) reserved: Option<u64>,
    /// How many the time is of, where that is more than one.
    #[serde(default)]
    pub(crate) counted: Option<u64>,
}

/// Something that has to hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Aim {
    pub(crate) text: String,
    pub(crate) unit: String,
    pub(crate) limit: f64,
    /// Whether the limit is the least and not the most.
    pub(crate) at_least: bool,
    pub(crate) value: f64,
    pub(crate) holds: bool,
}

impl Results {
    pub(crate) fn new() -> Self {
        Self {
            format: FORMAT,
            host: Host::this(),
            rounds: 0,
            rows: Vec::new(),
            aims: Vec::new(),
            curves: Vec::new(),
        }
    }

    /// The row of that name.
    pub(crate) fn row(&self, id: &str) -> Option<&Measured> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// Reads a run.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let results: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no run of this benchmark", path.display()))?;
        if results.format != FORMAT {
            bail!(
                "{} is a run in format {}, this benchmark reads {FORMAT}; measure again",
                path.display(),
                results.format
            );
        }
        Ok(results)
    }

    /// Writes the run.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Host {
    fn this() -> Self {
        let first = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        Self {
            processor: model.trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first("/proc/sys/kernel/osrelease"),
            optimised: !cfg!(debug_assertions),
            load: first("/proc/loadavg").parse().unwrap_or(0.0),
        }
    }
}
