//! A run of named steps with a summary at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Steps, in the order in which they ran.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: String,
    time: Duration,
    end: End,
}

/// How a step ended.
enum End {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Steps {
    /// Runs a step under its heading. A failure is kept for the summary, and the next steps run all the same: one look at the end tells
    /// everything that is wrong.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let (end, value) = match step() {
            Ok(value) => (End::Passed, Some(value)),
            Err(error) => {
                eprintln!("error: {error:#}");
                (
                    End::Failed(
                        format!("{error:#}")
                            .lines()
                            .next()
                            .unwrap_or_default()
                            .to_owned(),
                    ),
                    None,
                )
            }
        };
        self.done.push(Step {
            name: name.to_owned(),
            time: start.elapsed(),
            end,
        });
        value
    }

    /// Notes a step that could not be run, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        eprintln!("\n=== {name}\nskipped: {why}");
        self.done.push(Step {
            name: name.to_owned(),
            time: Duration::ZERO,
            end: End::Skipped(why.to_owned()),
        });
    }

    /// The table of steps.
    fn summary(&self) -> String {
        let width = self
            .done
            .iter()
            .map(|step| step.name.len())
            .max()
            .unwrap_or_default();
        let line = |step: &Step| {
            let (end, note) = match &step.end {
                End::Passed => ("ok", String::new()),
                End::Failed(why) => ("FAILED", format!("  {why}")),
                End::Skipped(why) => ("skipped", format!("  {why}")),
            };
            format!(
                "  {:<width$}  {:>7.1} s  {end}{note}\n",
                step.name,
                step.time.as_secs_f32()
            )
        };
        self.done.iter().map(line).collect()
    }

    /// Prints the summary; fails if a step did.
    pub(crate) fn finish(self, what: &str) -> Result<()> {
        let total: Duration = self.done.iter().map(|step| step.time).sum();
        println!("\n{}", self.summary());
        let failed = self
            .done
            .iter()
            .filter(|step| matches!(step.end, End::Failed(_)))
            .count();
        let skipped = self
            .done
            .iter()
            .filter(|step| matches!(step.end, End::Skipped(_)))
            .count();
        let passed = self.done.len() - failed - skipped;
        if failed > 0 {
            bail!(
                "{what}: {failed} of {} steps failed, {skipped} skipped",
                self.done.len()
            );
        }
        println!(
            "{what}: {passed} steps passed, {skipped} skipped, in {:.0} s",
            total.as_secs_f32()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_stop_the_next_step_and_fails_the_whole() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("one", || Ok(1)), Some(1));
        assert_eq!(
            steps.run("two", || -> Result<()> { bail!("broken\nmore") }),
            None
        );
        steps.skip("three", "two failed");
        let text = steps.summary();
        let ends: Vec<_> = text
            .lines()
            .map(|line| line.split(" s  ").nth(1).unwrap())
            .collect();
        assert_eq!(ends, ["ok", "FAILED  broken", "skipped  two failed"]);
        assert!(
            steps
                .finish("test")
                .unwrap_err()
                .to_string()
                .contains("1 of 3 steps failed, 1 skipped")
        );
    }

    #[test]
    fn what_does_not_apply_here_is_named_and_fails_nothing() {
        let mut steps = Steps::default();
        steps.run("one", || Ok(()));
        steps.skip("two", "only elsewhere");
        assert!(steps.summary().contains("skipped  only elsewhere"));
        steps.finish("test").unwrap();
    }
}
