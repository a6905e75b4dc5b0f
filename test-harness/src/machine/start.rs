//! Starting a machine in the background, and making it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ntbench::Machine;
use ntbench::wire::{MachineConfig, NamespaceConfig, RegistryValue, Server, Share, Volume};
use serde::{Deserialize, Serialize};

use super::{Connection, MachineError, Place, SERVER, SHARE, VOLUME};
use crate::backend::bench;

/// The verb by which this executable becomes the machine's process.
const VERB: &str = "machine";

/// Directories that are made below a share which nobody named: as deep as the nested scenario goes without being told.
const LEVELS: u32 = 64;

/// What a machine is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Its place.
    pub place: PathBuf,
    /// The driver's image.
    pub driver: PathBuf,
    /// Values below the driver's `Parameters` key: a word or a number.
    pub settings: Vec<(String, Value)>,
    /// The folder behind the share.
    pub share: PathBuf,
    /// Opens a second that the machine makes by itself.
    pub traffic: u32,
    /// Where a bug check leaves a crash dump.
    pub crash_dump: Option<PathBuf>,
    /// Images whose processes have no administrator's rights.
    pub limited: Vec<String>,
    /// After so many seconds it ends by itself.
    pub lifetime_seconds: Option<u64>,
}

/// A registry value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// REG_SZ.
    Word(String),
    /// REG_DWORD.
    Number(u32),
}

/// The share's UNC path.
pub(super) fn share_root() -> String {
    format!(r"\\{SERVER}\{SHARE}")
}

/// Starts a machine, and waits until it is up.
///
/// # Errors
/// [`MachineError`]: there is one, or this one did not come up.
pub fn start(options: &Options) -> Result<(), MachineError> {
    let place = Place::at(&options.place);
    match Connection::open_at(&place) {
        Ok(mut running) => {
            return Err(match running.standing() {
                Ok(standing) => MachineError::Already(standing.pid),
                Err(error) => error,
            });
        }
        Err(MachineError::None | MachineError::Ended(_)) => {}
        Err(other) => return Err(other),
    }
    place.prepare()?;
    for folder in [&options.share, &place.volume()] {
        fs::create_dir_all(folder).map_err(MachineError::files("making the folder", folder))?;
    }
    if options.share == place.share() {
        let deepest: PathBuf = (1..=LEVELS).map(|level| format!("d{level:02}")).collect();
        let deepest = options.share.join(deepest);
        fs::create_dir_all(&deepest).map_err(MachineError::files("making", &deepest))?;
    }
    let log = place.log();
    let log_file = File::create(&log).map_err(MachineError::files("making", &log))?;
    let mut child = Command::new("/proc/self/exe")
        .arg(VERB)
        .arg0("headroom")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .process_group(0)
        .spawn()
        .map_err(MachineError::files("starting", "/proc/self/exe"))?;
    word(&mut child, options).map_err(|why| match why {
        Some(why) => MachineError::Start(why),
        None => {
            let said = fs::read_to_string(&log).unwrap_or_default();
            MachineError::Start(format!(
                "the machine's process ended before it was up: {}",
                said.trim()
            ))
        }
    })
}

/// Hands the options over, and waits for the word that the machine is up. `Err(None)`: none came.
fn word(child: &mut Child, options: &Options) -> Result<(), Option<String>> {
    let options = serde_json::to_vec(options).map_err(|error| Some(error.to_string()))?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(None);
    };
    input.write_all(&options).map_err(|_| None)?;
    drop(input);
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .map_err(|_| None)?;
    match serde_json::from_str::<Result<(), String>>(&line) {
        Ok(word) => word.map_err(Some),
        Err(_) => Err(None),
    }
}

/// Boots the machine and loads the driver.
pub(super) fn boot(options: &Options) -> Result<Machine, MachineError> {
    let machine = Machine::boot(MachineConfig {
        namespace: NamespaceConfig {
            servers: vec![Server {
                name: SERVER.to_owned(),
                shares: vec![Share {
                    name: SHARE.to_owned(),
                    folder: options.share.clone(),
                }],
            }],
            volumes: vec![Volume {
                device: VOLUME.0.to_owned(),
                letter: Some(VOLUME.1),
                folder: Place::at(&options.place).volume(),
            }],
            ..NamespaceConfig::default()
        },
        limited: options.limited.clone(),
        crash_dump: options.crash_dump.clone(),
        ..MachineConfig::default()
    })
    .map_err(|error| MachineError::Start(error.to_string()))?;
    let parameters = options.settings.iter().map(|(name, value)| {
        let value = match value {
            Value::Word(word) => RegistryValue::Sz(word.clone()),
            Value::Number(number) => RegistryValue::Dword(*number),
        };
        (name.clone(), value)
    });
    bench::load_with(&machine, &options.driver, parameters.collect())
        .map_err(|stopped| MachineError::Start(stopped.to_string()))?;
    Ok(machine)
}

/// The directories below a folder, at most so many, as paths of a share.
pub(super) fn directories(folder: &Path, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), String::new())];
    while let Some((folder, path)) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // A link may lead out of the share, where the machine does not follow it.
            if found.len() < most && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = format!(r"{path}\{name}");
                found.push(path.clone());
                open.push((entry.path(), path));
            }
        }
    }
    found
}
