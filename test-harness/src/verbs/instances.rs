//! `headroom instances`: the volumes that the driver is attached to.

use serde::Serialize;
use tabled::builder::Builder;

use super::{Failure, Verdict, say, say_json};
use crate::link::{self, Client};
use crate::table::aligned;

/// How to tell it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// An instance, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The volume's device.
    pub volume: String,
    /// The instance's name.
    pub instance: String,
    /// The file system.
    pub file_system: String,
    /// Its altitude, a decimal number; `None`: the port does not tell it, and nobody else did.
    pub altitude: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Rows {
    /// Those that were told.
    pub instances: Vec<Row>,
    /// How many there are.
    pub total: u32,
}

impl Rows {
    /// Asks the driver.
    ///
    /// # Errors
    /// [`link::LinkError`].
    pub fn of(driver: &mut Client) -> Result<Self, link::LinkError> {
        let (instances, total) = driver.instances()?;
        let altitudes = altitudes();
        let altitude = |name: &str| {
            let found = altitudes.iter().find(|(known, _)| known == name);
            found.map(|(_, altitude)| altitude.clone())
        };
        let rows = instances.into_iter().map(|instance| Row {
            altitude: altitude(&instance.name),
            volume: instance.volume,
            instance: instance.name,
            file_system: file_system(instance.file_system),
        });
        let mut instances: Vec<Row> = rows.collect();
        instances.sort_by(|a, b| (&a.volume, &a.instance).cmp(&(&b.volume, &b.instance)));
        Ok(Self { instances, total })
    }

    /// As a table.
    #[must_use]
    pub fn table(&self) -> String {
        if self.instances.is_empty() {
            return "The driver is attached to no volume. `headroom attach VOLUME` attaches it.\n"
                .to_owned();
        }
        let mut builder = Builder::new();
        builder.push_record(["volume", "file system", "instance", "altitude"]);
        for row in &self.instances {
            let altitude = row.altitude.as_deref().unwrap_or("-");
            builder.push_record([&row.volume, &row.file_system, &row.instance, altitude]);
        }
        let mut text = aligned(builder, &[]) + "\n";
        let told = u32::try_from(self.instances.len()).unwrap_or(u32::MAX);
        if told < self.total {
            text += &format!("and {} more\n", self.total - told);
        }
        text
    }
}

impl Args {
    /// Lists them.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let rows = Rows::of(&mut link::connect()?)?;
        if self.json {
            say_json(&rows)?;
        } else {
            say(&rows.table())?;
        }
        Ok(Verdict::Holds)
    }
}

/// Instances' names and altitudes, as the Filter Manager has them.
#[cfg(windows)]
fn altitudes() -> Vec<(String, String)> {
    let instances = winuser::Wide::new(super::unload::SERVICE)
        .and_then(|service| winuser::filter::instances(&service));
    // Without them the list is shorter by a column's contents, and no worse.
    let instances = instances.unwrap_or_default().into_iter();
    instances
        .map(|instance| (instance.name, instance.altitude))
        .collect()
}

/// The instance that the machine was told of.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn altitudes() -> Vec<(String, String)> {
    let (name, altitude) = crate::backend::bench::INSTANCE;
    vec![(name.to_owned(), altitude.to_owned())]
}

/// None are known.
#[cfg(not(any(windows, all(target_os = "linux", target_arch = "x86_64"))))]
fn altitudes() -> Vec<(String, String)> {
    Vec::new()
}

/// FLT_FILESYSTEM_TYPE, as fltUserStructures.h numbers it.
fn file_system(number: u32) -> String {
    const NAMES: [&str; 28] = [
        "unknown",
        "RAW",
        "NTFS",
        "FAT",
        "CDFS",
        "UDFS",
        "SMB",
        "WebDAV",
        "RDP",
        "NFS",
        "NetWare (MS)",
        "NetWare",
        "BsUDF",
        "MUP",
        "RsFx",
        "Roxio UDF",
        "Roxio UDF",
        "Roxio UDF",
        "Tacit",
        "recognizer",
        "InCD",
        "InCD FAT",
        "exFAT",
        "PSFS",
        "GPFS",
        "NPFS",
        "MSFS",
        "CSVFS",
    ];
    match number {
        28 => "ReFS".to_owned(),
        29 => "OpenAFS".to_owned(),
        _ => usize::try_from(number)
            .ok()
            .and_then(|index| NAMES.get(index))
            .map_or_else(|| format!("type {number}"), |name| (*name).to_owned()),
    }
}
