//! `headroom config`: the settings in force.

use clap::Subcommand;
use protocol::Setting;
use serde::Serialize;
use tabled::builder::Builder;

use super::{Failure, Verdict, say, say_json};
use crate::link::{self, LinkError};
use crate::settings::{self, shown};
use crate::table::aligned;

/// What to do with them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show the settings in force, or one of them.
    Get {
        /// The setting; without it, all.
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a setting in force at once, until the driver is unloaded. What holds at the next load stands in the service's Parameters
    /// key (on Linux: `headroom load --set NAME=VALUE`).
    Set {
        /// The setting.
        name: String,
        /// Its value: a word, or a number, decimal or 0x…; `default`: the driver's own.
        value: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A setting, for programs.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    value: String,
    number: u32,
    default: String,
    takes: String,
    meaning: &'static str,
    reload: bool,
}

/// A change, for programs.
#[derive(Debug, Serialize)]
struct Change {
    name: &'static str,
    old: String,
    new: String,
}

impl Args {
    /// Shows or changes them.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers; no such setting; a value that it cannot have.
    pub fn run(&self) -> Result<Verdict, Failure> {
        match &self.action {
            Action::Get { name, json } => get(name.as_deref(), *json),
            Action::Set { name, value, json } => set(name, value, *json),
        }
    }
}

fn get(name: Option<&str>, json: bool) -> Result<Verdict, Failure> {
    let wanted = name
        .map(settings::named)
        .transpose()
        .map_err(Failure::Setting)?;
    let config = link::connect()?.config()?;
    let rows = Setting::ALL
        .iter()
        .filter(|&&setting| wanted.is_none_or(|wanted| wanted == setting))
        .map(|&setting| {
            let number = config.get(setting).unwrap_or(0);
            Row {
                name: settings::name(setting),
                value: shown(setting, number),
                number,
                default: shown(setting, settings::default(setting)),
                takes: settings::allowed(setting),
                meaning: settings::meaning(setting),
                reload: settings::takes_a_reload(setting),
            }
        });
    let rows: Vec<Row> = rows.collect();
    if json {
        say_json(&rows)?;
    } else if let (Some(_), [row]) = (wanted, &*rows) {
        say(&format!("{}\n", row.value))?;
    } else {
        say(&table(&rows))?;
    }
    Ok(Verdict::Holds)
}

fn table(rows: &[Row]) -> String {
    let mut builder = Builder::new();
    builder.push_record(["setting", "value", "default", "takes", "is"]);
    for row in rows {
        let reload = if row.reload {
            " (changes at the next load)"
        } else {
            ""
        };
        let default = if row.value == row.default {
            ""
        } else {
            &row.default
        };
        builder.push_record([
            row.name,
            &row.value,
            default,
            &row.takes,
            &format!("{}{reload}", row.meaning),
        ]);
    }
    aligned(builder, &[1, 2]) + "\n"
}

fn set(name: &str, text: &str, json: bool) -> Result<Verdict, Failure> {
    let setting = settings::named(name).map_err(Failure::Setting)?;
    let value = settings::value(setting, text).map_err(Failure::Setting)?;
    let mut driver = link::connect()?;
    let old = driver.config()?;
    let mut new = old;
    new.set(setting, value, settings::MAXIMUM_EXPANSION)
        .map_err(LinkError::Rejected)?;
    if new != old && settings::takes_a_reload(setting) {
        let name = settings::name(setting);
        return Err(Failure::Setting(format!(
            "{name} is read when the driver loads and cannot change before: it stays {}. {}",
            shown(setting, old.get(setting).unwrap_or(0)),
            at_load(name, &shown(setting, value))
        )));
    }
    driver.set_config(&new)?;
    // What the driver has taken over, not what it was told.
    let now = driver.config()?;
    let change = Change {
        name: settings::name(setting),
        old: shown(setting, old.get(setting).unwrap_or(0)),
        new: shown(setting, now.get(setting).unwrap_or(0)),
    };
    if json {
        say_json(&change)?;
    } else {
        say(&format!(
            "{}: {} → {}\n",
            change.name, change.old, change.new
        ))?;
    }
    Ok(Verdict::from_checks(now.get(setting) == Some(value)))
}

/// How to change what is read at load.
fn at_load(name: &str, value: &str) -> String {
    if cfg!(windows) {
        format!(
            r"Write {value} to HKLM\SYSTEM\CurrentControlSet\Services\headroom\Parameters, value {name}, then `headroom unload` and \
              `headroom load`"
        )
    } else {
        format!("`headroom unload`, then `headroom load --set {name}={value}`")
    }
}
