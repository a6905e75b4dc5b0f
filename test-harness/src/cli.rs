//! The command line: the verbs. Each verb's arguments and work stand in [`crate::verbs`].

use clap::{Parser, Subcommand};

use crate::verbs::{Failure, Verdict, run};

/// Exercises headroom.sys with opens that nest, and shows what they did to the kernel stack.
#[derive(Debug, Parser)]
#[command(name = "headroom", version, about, after_help = EXIT_STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_STATUS: &str =
    "Exit status: 0 what had to be seen was seen; 1 it was not; 2 it could not be tried.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a scenario and show the stack before, inside and after each expansion.
    #[command(after_help = EXIT_STATUS)]
    Run(run::Args),
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`]: it could not be tried.
    pub fn run(&self) -> Result<Verdict, Failure> {
        match self {
            Self::Run(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
