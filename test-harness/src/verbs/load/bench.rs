//! Loading on a machine of ntbench's.

use std::path::PathBuf;
use std::time::Duration;

use super::{Failure, Loaded, Verdict};
use crate::backend::Environment;
use crate::machine::{self, Connection, MachineError, Options, Place, Value};
use crate::settings;

/// What follows the help.
pub const HELP: &str = r"The machine has \\server\share and a volume C:, each with a folder of this computer behind it. It lives in the background until
`headroom unload`, in a folder of $XDG_RUNTIME_DIR (else of the temporary files; another: HEADROOM_MACHINE). Then, for instance:
  headroom load --traffic 50        opens 50 paths a second by itself
  headroom watch                    and this shows what they leave of the stack
  headroom unload                   ends it, and shows what the driver verifier found";

/// What the machine is to be.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The driver to load.
    #[arg(
        long,
        value_name = "SYS",
        default_value = "target/headroom/headroom.sys"
    )]
    pub driver: PathBuf,

    /// A setting that the driver reads as it loads; may be given more than once. `headroom config get` lists them.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, Value)>,

    /// The folder behind \\server\share; without it, one of the machine's own with directories 64 deep.
    #[arg(long, value_name = "DIR")]
    pub share: Option<PathBuf>,

    /// Opens that the machine makes by itself, so many a second, in the name of three programs.
    #[arg(
        long,
        value_name = "PER SECOND",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub traffic: u32,

    /// Where the machine, if it dies, leaves a crash dump, which `headroom dump` and kernel debuggers read.
    #[arg(long, value_name = "FILE")]
    pub crash_dump: Option<PathBuf>,

    /// A program whose processes have no administrator's rights, such as headroom.exe; may be given more than once.
    #[arg(long, value_name = "IMAGE")]
    pub limited: Vec<String>,

    /// End the machine by itself after this time: 90s, 10m, …
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub lifetime: Option<Duration>,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Starts the machine, and waits until it is up.
    ///
    /// # Errors
    /// [`Failure`]: there is one already, or it did not come up.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let place = Place::here();
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| {
                Failure::from(Environment::Files {
                    doing: "finding",
                    path: path.clone(),
                    error,
                })
            })
        };
        if !self.driver.is_file() {
            return Err(Environment::NoDriver(self.driver.clone()).into());
        }
        let options = Options {
            place: absolute(&place.folder().to_owned())?,
            driver: absolute(&self.driver)?,
            settings: self.settings.clone(),
            share: absolute(&self.share.clone().unwrap_or_else(|| place.share()))?,
            traffic: self.traffic,
            crash_dump: self.crash_dump.as_ref().map(absolute).transpose()?,
            limited: self.limited.clone(),
            lifetime_seconds: self.lifetime.map(|time| time.as_secs().max(1)),
        };
        machine::start(&options)?;
        let standing = Connection::open_at(&place)?.standing()?;
        let (share, folder) = &standing.share;
        let driver = standing.driver.display().to_string();
        let text = format!(
            "Loaded {driver}.\n{share} is {}. `headroom unload` ends the machine (process {}).\n",
            folder.display(),
            standing.pid
        );
        let loaded = Loaded {
            driver,
            share: Some(share.clone()),
            pid: Some(standing.pid),
        };
        loaded.say(self.json, &text)
    }
}

/// Becomes the machine's process: its options come on standard input.
///
/// # Errors
/// [`Failure`]: it did not come up; whoever started it has been told.
pub fn serve() -> Result<Verdict, Failure> {
    let options = serde_json::from_reader(std::io::stdin())
        .map_err(|error| MachineError::Start(format!("this verb is not for people: {error}")))?;
    machine::serve(&options)?;
    Ok(Verdict::Holds)
}

/// `NAME=VALUE`, judged by the driver's own rules.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    let setting = settings::named(name.trim())?;
    let number = settings::value(setting, value.trim())?;
    let value = if setting.words().is_empty() {
        Value::Number(number)
    } else {
        Value::Word(settings::shown(setting, number))
    };
    Ok((settings::name(setting).to_owned(), value))
}
