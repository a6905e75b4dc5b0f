//! `headroom compare`: did headroom get better or worse?

use std::path::PathBuf;

use super::{Failure, Verdict, say};
use crate::backend::Environment;
use crate::report::compare::Comparison;
use crate::report::saved;

/// What follows the help.
pub const HELP: &str = "\
Compared are the lowest stack left, over all and at each depth, the deepest create, the stack that a nested create takes and how much
of it is the driver's, refused expansions, lost records, statuses and checks. More bytes left is better; so is a deeper nest.

Exit status: 0 nothing got worse; 1 something got worse by more than the threshold; 2 the two cannot be compared, and why.";

/// Two saved files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first: what was saved before.
    #[arg(value_name = "A")]
    pub first: PathBuf,

    /// The second: what was saved after.
    #[arg(value_name = "B")]
    pub second: PathBuf,

    /// Changes of so many bytes and fewer are none: decimal or 0x….
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = bytes)]
    pub threshold: u64,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Compares them.
    ///
    /// # Errors
    /// [`Failure`]: a file cannot be read, or the two cannot be compared.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let (a, b) = (saved::read(&self.first)?, saved::read(&self.second)?);
        let comparison = Comparison::of(&a, &b, self.threshold)?;
        let text = if self.json {
            let json = serde_json::to_string_pretty(&comparison);
            json.map_err(|error| Environment::Machine {
                doing: "writing the comparison".to_owned(),
                why: error.to_string(),
            })? + "\n"
        } else {
            format!(
                "first:  {}\nsecond: {}\n{}",
                self.first.display(),
                self.second.display(),
                comparison.text()
            )
        };
        say(&text)?;
        Ok(Verdict::from_checks(!comparison.worse))
    }
}

fn bytes(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}
