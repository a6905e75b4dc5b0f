//! `headroom completions`: scripts for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Failure, Verdict, say};
use crate::cli::Cli;

/// What follows the help.
pub const HELP: &str = "\
Put the script where the shell looks for it, for instance:
  bash        headroom completions bash > ~/.local/share/bash-completion/completions/headroom
  zsh         headroom completions zsh > ~/.zfunc/_headroom        (with ~/.zfunc in $fpath)
  fish        headroom completions fish > ~/.config/fish/completions/headroom.fish
  PowerShell  headroom completions powershell >> $PROFILE";

/// Which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

impl Args {
    /// Prints the script.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn run(&self) -> Result<Verdict, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "headroom", &mut script);
        say(&String::from_utf8_lossy(&script))?;
        Ok(Verdict::Holds)
    }
}
