//! `headroom dump`: what a kernel crash dump tells of a full stack and of the driver, without a debugger.

mod text;
mod told;

use std::path::PathBuf;

use super::{Failure, Verdict, say, say_json};

pub use told::Told;

pub(crate) const HELP: &str =
    "Exit status: 0 the dump was read; 2 it could not be, and the message says why.";

/// The dump, and what helps to read it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dump: %SystemRoot%\MEMORY.DMP of the machine that crashed, or what `run --crash-dump` left.
    #[arg(value_name = "MEMORY.DMP")]
    pub dump: PathBuf,

    /// A .pdb, or a folder to look for them in; each must be of the very build in the dump. The dump's own folder is
    /// looked in, too.
    #[arg(long, value_name = "PATH")]
    pub pdb: Vec<PathBuf>,

    /// How many records to show, those that found least stack first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub records: usize,

    /// Show every frame.
    #[arg(long)]
    pub full: bool,

    /// Print all of it as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Reads the dump and prints what it tells. What could be read was tried: no dump makes this verb fail but one that
    /// cannot be read.
    ///
    /// # Errors
    /// [`Failure::Dump`]: what the file is instead, or what is wrong with it.
    pub fn run(&self) -> Result<Verdict, Failure> {
        let analysis = crashdump::analyse(&self.dump, &self.pdb)?;
        let told = Told::from(&analysis);
        if self.json {
            say_json(&told)?;
        } else {
            say(&text::page(&told, self.records, self.full))?;
        }
        Ok(Verdict::Holds)
    }
}
