//! Rounds and what they come to.
//!
//! On a machine that does other things, too, a time drifts by more than what one filter differs from another. So nothing here
//! is measured in one go: a round takes one sample of every row, the next round again of every row, in the opposite order, and
//! all rows see the machine as it was at all times. What disturbs a sample only ever adds to it. So the lower quartile is what
//! is compared and judged, which holds as long as a quarter of the rounds was left alone; the median and the upper quartile are
//! told beside it.
//!
//! That is why this is no `criterion`, which finishes with one row before it begins the next, and times closures in its own
//! process: here the clock that counts is the simulated machine's.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use statrs::statistics::{Data, OrderStatistics};

/// A median and its quartiles.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Spread {
    /// Of these; not a number where there are none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut data = Data::new(values.to_vec());
        Self {
            median: data.median(),
            lower: data.lower_quartile(),
            upper: data.upper_quartile(),
        }
    }

    /// Half the distance of the quartiles, as a share of the median.
    pub(crate) fn relative(&self) -> f64 {
        (self.upper - self.lower) / 2.0 / self.median
    }
}

/// Takes one sample: nanoseconds for one of whatever is counted, done so many times.
pub(crate) type Probe = Box<dyn FnMut(u64) -> Result<f64>>;

/// Takes samples of each probe, round by round; gives them by probe.
pub(crate) fn rounds(
    probes: &mut [(Probe, Option<u64>)],
    plan: Effort,
    progress: impl Fn(u32),
) -> Result<Vec<Vec<f64>>> {
    let mut times = Vec::new();
    for (probe, fixed) in probes.iter_mut() {
        times.push(match fixed {
            Some(fixed) => *fixed,
            None => calibrate(probe, plan)?,
        });
    }
    let mut samples = vec![Vec::new(); probes.len()];
    let began = Instant::now();
    for round in 0..plan.rounds {
        if round >= FEWEST_ROUNDS && began.elapsed() > plan.time {
            break;
        }
        let forth: Vec<usize> = (0..probes.len()).collect();
        let order: Vec<usize> = if round % 2 == 0 {
            forth
        } else {
            forth.into_iter().rev().collect()
        };
        for index in order {
            samples[index].push((probes[index].0)(times[index])?);
        }
        progress(round + 1);
    }
    Ok(samples)
}

/// Rounds that are taken however long they take.
const FEWEST_ROUNDS: u32 = 3;

/// How often a number is tried before it is said to fill a sample; the first try warms what there is to warm.
const TRIES: u32 = 4;
/// What takes so many samples' time is tried once: no interruption makes that of a short one.
const LONG: f64 = 40.0;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds.
    pub(crate) rounds: u32,
    /// How long one sample is to take, in nanoseconds.
    pub(crate) sample: f64,
    /// After how long no further round is begun.
    pub(crate) time: Duration,
}

/// How many fill a sample. Tries are repeated, and the quickest counts: one that the machine interrupts would have it that a sample is
/// filled by one or two, and each of them would be taken of code and data that the other rows have driven out of the caches.
fn calibrate(probe: &mut Probe, plan: Effort) -> Result<u64> {
    // From one on: there are rows of which sixteen take a minute.
    let mut times = 1;
    loop {
        let mut each = f64::INFINITY;
        for _ in 0..TRIES {
            each = each.min(probe(times)?.max(1.0));
            if each * times as f64 >= LONG * plan.sample {
                break;
            }
        }
        if each * times as f64 >= plan.sample / 4.0 || times >= 1 << 24 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 2^26"
            )]
            let fitting = (plan.sample / each).clamp(1.0, 6.7e7) as u64;
            return Ok(fitting);
        }
        times *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_round_moves_no_median() {
        let spread = Spread::of(&[10.0, 11.0, 10.5, 900.0, 10.2, 10.8, 10.4]);
        assert!((10.0..11.0).contains(&spread.median), "{spread:?}");
    }

    #[test]
    fn what_disturbs_half_of_the_rounds_moves_no_lower_quartile() {
        let quiet = Spread::of(&[10.0, 10.1, 10.2, 10.1, 10.0, 10.2, 10.1, 10.0]);
        let busy = Spread::of(&[10.0, 25.0, 10.2, 31.0, 10.0, 27.0, 10.1, 26.0]);
        assert!((busy.lower / quiet.lower - 1.0).abs() < 0.02, "{busy:?}");
    }

    #[test]
    fn an_interrupted_try_makes_no_small_samples() {
        let mut tries = 0;
        let mut probe: Probe = Box::new(move |times| {
            tries += 1;
            // The first three are interrupted for 10 ms each, however many they are of.
            let interrupted = if tries <= 3 { 1e7 } else { 0.0 };
            Ok(4_000.0 + interrupted / times as f64)
        });
        let plan = Effort {
            rounds: 1,
            sample: 3e6,
            time: Duration::MAX,
        };
        assert_eq!(calibrate(&mut probe, plan).unwrap(), 750);
    }

    #[test]
    fn each_round_samples_every_probe_and_every_other_one_backwards() {
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let probe = |id: u32| -> (Probe, Option<u64>) {
            let order = std::rc::Rc::clone(&order);
            let probe = move |_| {
                order.borrow_mut().push(id);
                Ok(f64::from(id))
            };
            (Box::new(probe), Some(1))
        };
        let plan = Effort {
            rounds: 2,
            sample: 1.0,
            time: Duration::MAX,
        };
        let samples = rounds(&mut [probe(1), probe(2), probe(3)], plan, |_| ()).unwrap();
        assert_eq!(*order.borrow(), [1, 2, 3, 3, 2, 1]);
        assert_eq!(samples, [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]);
    }
}
