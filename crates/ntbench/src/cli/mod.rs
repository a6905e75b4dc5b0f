//! Arguments, and what each command does with them.
//!
//! Exit status: 0, all went as it should; 1, a driver failed, bug-checked or broke a rule, or a result was not the expected one; 2, it could
//! not be tried.

mod args;
mod drivers;
mod hex;
mod paint;
mod place;
mod report;
mod run;
mod scenario;
mod session;
mod show;
mod stack_table;
mod sweep;
mod sweep_table;
mod table;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Arguments, Command};

const FAILED: u8 = 1;
const NOT_TRIED: u8 = 2;

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    // SAFETY: no other thread runs yet; a reader that closes the pipe (`| head`) is no reason to panic.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // Which option is whose depends on their order, which only the matches know.
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Command::Coverage => {
            print!("{}", ntbench::coverage());
            ExitCode::SUCCESS
        }
        Command::Scenario { name: None } => list_scenarios(),
        Command::Scenario { name: Some(name) } => match scenario::text(&name) {
            Some(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            None => {
                eprintln!("ntbench: there is no scenario {name}; `ntbench scenario` lists them");
                ExitCode::from(NOT_TRIED)
            }
        },
        Command::Imports { image } => imports(&image),
        Command::Run(run) => match matches.subcommand() {
            Some((_, matches)) => run::run(&run, matches),
            None => ExitCode::from(NOT_TRIED),
        },
    }
}

fn list_scenarios() -> ExitCode {
    match scenario::built_in() {
        Ok(scenarios) => {
            let names = scenarios.iter().map(|scenario| scenario.name.len());
            let width = names.max().unwrap_or(0);
            for scenario in scenarios {
                let count = scenario.steps.len();
                println!(
                    "{:<width$} {:>3} steps  {:<19} {}",
                    scenario.name,
                    count,
                    scenario.places(),
                    scenario.about
                );
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ntbench: {error}");
            ExitCode::from(NOT_TRIED)
        }
    }
}

fn imports(image: &Path) -> ExitCode {
    match ntbench::imports(image) {
        Ok(imports) => {
            show::imports(&imports);
            if imports.iter().all(|import| import.known) {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            }
        }
        Err(error) => {
            eprintln!("ntbench: {error}");
            ExitCode::from(NOT_TRIED)
        }
    }
}
