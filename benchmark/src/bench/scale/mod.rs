//! How costs grow: with how deep creates nest, how long a path is, how many components it has, what was recorded before, how
//! many processes there are and how many clients.
//!
//! Each curve is a series of rows, measured as rows are, and a straight line through them. What is neither flat nor straight
//! is said to bend, and a curve that bends where it should not fails. Here the lower quartiles count: there is nothing to take
//! a ratio to that would cancel what else the machine does, and that only ever adds.

mod curves;
mod draw;
mod fit;
mod paths;

use std::fmt::Write as _;

use anyhow::Result;
use num_format::{Locale, ToFormattedString as _};
use serde::{Deserialize, Serialize};

use super::rig::Workshop;
use super::sample::{self, Effort, Spread};
use super::table::time;

pub(crate) use draw::draw;
use fit::{Fit, SLIGHT, Shape};

/// A curve, or several in one picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) id: String,
    pub(crate) title: String,
    /// What is counted along it.
    pub(crate) along: String,
    pub(crate) series: Vec<Series>,
}

/// One line of a picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
    pub(crate) fit: Fit,
    /// The shape that it is to have; flat is always as good.
    pub(crate) expected: Shape,
    /// Why it may bend slightly all the same, where that is known.
    #[serde(default)]
    pub(crate) explained: Option<String>,
}

/// One point.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) at: u64,
    /// Nanoseconds.
    pub(crate) nanoseconds: Spread,
}

impl Series {
    /// Whether it has the shape that it is to have, or one that is explained.
    pub(crate) fn as_expected(&self) -> bool {
        let explained = self.explained.is_some() && self.fit.exponent <= SLIGHT;
        self.fit.shape <= self.expected || explained
    }

    /// In words.
    fn told(&self, along: &str) -> String {
        let slope = self.fit.slope;
        let each = match slope.abs() {
            0.1.. => format!("{slope:.1} ns"),
            1e-4.. => format!("{:.1} ps", slope * 1e3),
            _ => "nothing".to_owned(),
        };
        match self.fit.shape {
            Shape::Flat => format!("flat, {each} for each {along}"),
            Shape::Linear => format!("linear, {each} for each {along}"),
            Shape::Bends => format!("bends, as the {:.2}th power at its end", self.fit.exponent),
        }
    }

    /// Why it bends, where it does and that is known.
    fn why(&self) -> String {
        match &self.explained {
            Some(why) if self.fit.shape > Shape::Linear && self.as_expected() => format!(": {why}"),
            _ => String::new(),
        }
    }
}

impl Curve {
    /// Whether each of its series has the shape that it is to have.
    pub(crate) fn as_expected(&self) -> bool {
        self.series.iter().all(Series::as_expected)
    }
}

/// Measures all curves whose name is asked for.
pub(crate) fn measure(
    workshop: &Workshop,
    effort: Effort,
    only: &impl Fn(&str) -> bool,
) -> Result<Vec<Curve>> {
    let mut done = Vec::new();
    for (id, make) in curves::ALL {
        if !only(id) {
            continue;
        }
        eprintln!("measuring {id}");
        let plan = make(workshop)?;
        let effort = Effort {
            rounds: (effort.rounds / plan.thrift).max(3),
            ..effort
        };
        let mut series = Vec::new();
        let mut probes = Vec::new();
        for line in plan.lines {
            let (places, line_probes): (Vec<u64>, Vec<_>) = line.points.into_iter().unzip();
            series.push((line.name, line.expected, line.explained, places));
            probes.extend(line_probes);
        }
        let samples = sample::rounds(&mut probes, effort, |_| ())?;
        let mut samples = samples.into_iter();
        let series = series
            .into_iter()
            .map(|(name, expected, explained, places)| {
                let points: Vec<Point> = places
                    .into_iter()
                    .zip(samples.by_ref())
                    .map(|(at, samples)| Point {
                        at,
                        nanoseconds: Spread::of(&samples),
                    })
                    .collect();
                let pairs: Vec<(f64, f64)> = points
                    .iter()
                    .map(|point| (point.at as f64, point.nanoseconds.lower))
                    .collect();
                Series {
                    name: name.to_owned(),
                    fit: Fit::of(&pairs),
                    points,
                    expected,
                    explained: explained.map(str::to_owned),
                }
            });
        done.push(Curve {
            id: (*id).to_owned(),
            title: plan.title.to_owned(),
            along: plan.along.to_owned(),
            series: series.collect(),
        });
    }
    Ok(done)
}

/// For a terminal.
pub(crate) fn plain(curves: &[Curve]) -> String {
    let mut text = String::new();
    for curve in curves {
        let _ = writeln!(text, "\n{}", curve.title);
        for series in &curve.series {
            let _ = writeln!(
                text,
                "  {}: {}{}{}",
                series.name,
                series.told(&curve.along),
                series.why(),
                if series.as_expected() {
                    ""
                } else {
                    "  (NOT as expected)"
                }
            );
            for point in &series.points {
                let _ = writeln!(
                    text,
                    "    {:>11}  {:>9}  ±{:.0} %",
                    grouped(point.at),
                    time(point.nanoseconds.lower),
                    point.nanoseconds.relative() * 100.0
                );
            }
        }
    }
    text
}

/// For a page.
pub(crate) fn markdown(curves: &[Curve]) -> String {
    let mut text = String::new();
    for curve in curves {
        let _ = writeln!(text, "![{}](images/scale-{}.svg)\n", curve.title, curve.id);
        let _ = writeln!(
            text,
            "| {} | from | to | shape |\n| --- | ---: | ---: | --- |",
            curve.title
        );
        for series in &curve.series {
            let end = |point: Option<&Point>| {
                point.map_or_else(String::new, |point| {
                    format!("{} at {}", time(point.nanoseconds.lower), grouped(point.at))
                })
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {}{} |",
                series.name,
                end(series.points.first()),
                end(series.points.last()),
                series.told(&curve.along),
                series.why()
            );
        }
        text.push('\n');
    }
    text
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    number.to_formatted_string(&Locale::en)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let told = [7, 1_000, 32_767, 100_000_000].map(grouped);
        assert_eq!(told, ["7", "1,000", "32,767", "100,000,000"]);
    }
}
