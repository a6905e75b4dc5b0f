//! `headroom reset`: starts the watermarks afresh.

use serde::Serialize;

use super::{Failure, Verdict, say, say_json};
use crate::link;
use crate::table::grouped;

/// How to tell it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What was forgotten.
#[derive(Debug, Serialize)]
struct Forgotten {
    /// The watermarks' generation now.
    generation: u64,
    /// Creates that the old ones were made of.
    creates: u64,
    /// The least stack that was left.
    lowest_before: Option<u32>,
}

impl Args {
    /// Resets them, and says what they were.
    ///
    /// # Errors
    /// [`Failure`]: no driver answers.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let mut driver = link::connect()?;
        let old = driver.watermarks()?.system();
        driver.reset()?;
        let forgotten = Forgotten {
            generation: driver.watermarks()?.generation,
            creates: old.creates,
            lowest_before: old.lowest_before,
        };
        if self.json {
            say_json(&forgotten)?;
            return Ok(Verdict::Holds);
        }
        let lowest = match forgotten.lowest_before {
            Some(lowest) => format!(
                "; the lowest headroom of {} creates was {} bytes",
                grouped(forgotten.creates),
                grouped(lowest.into())
            ),
            None => "; there were none".to_owned(),
        };
        say(&format!("The watermarks start afresh{lowest}.\n"))?;
        Ok(Verdict::Holds)
    }
}
