//! The pictures.

use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::{Curve, grouped};
use crate::bench::table::time;

const SIZE: (u32, u32) = (860, 440);
/// Told apart without telling red from green.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x1F, 0x5F, 0xA8),
    RGBColor(0xD9, 0x7A, 0x00),
    RGBColor(0x00, 0x8A, 0x7A),
    RGBColor(0x8A, 0x3F, 0x9B),
];

/// Draws each curve into the folder.
pub(crate) fn draw(curves: &[Curve], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for curve in curves {
        let file = folder.join(format!("scale-{}.svg", curve.id));
        picture(curve, &file)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("cannot draw {}", file.display()))?;
    }
    Ok(())
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// How the places of a curve's points are laid out from left to right.
struct Places {
    /// The furthest one.
    right: f64,
    /// On a scale of powers, where every step to the right is as many times as much. Few places stand evenly instead.
    powers: bool,
    /// Whether nothing is among them: on a scale of powers that has no place, and stands at the left edge under its own label.
    nothing: bool,
}

/// From how far on places are laid out by powers.
const FAR: u64 = 20;

impl Places {
    fn of(curve: &Curve) -> Self {
        let points = || curve.series.iter().flat_map(|series| &series.points);
        let right = points().map(|point| point.at).max().unwrap_or(0);
        Self {
            right: right as f64,
            powers: right > FAR,
            nothing: points().any(|point| point.at == 0),
        }
    }

    fn place(&self, at: u64) -> f64 {
        if self.powers {
            at.max(1) as f64
        } else {
            at as f64
        }
    }

    fn label(&self, x: f64) -> String {
        if self.powers && self.nothing && x <= 1.0 {
            "0".to_owned()
        } else {
            whole(x)
        }
    }

    /// What the axis says that it counts.
    fn described(&self, along: &str) -> String {
        if self.powers && self.nothing {
            format!("{along}s (the points at the left edge: none)")
        } else {
            format!("{along}s")
        }
    }
}

fn picture(curve: &Curve, file: &Path) -> Drawn {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let places = Places::of(curve);
    let (bottom, top) = heights(curve);
    let along = 0.0..places.right * 1.05;
    let along_powers = (1.0..places.right * 1.3).log_scale();
    // The upper part is left to the names of the lines.
    let names = 0.1 + 0.1 * curve.series.len() as f64;
    let up = 0.0..top * (1.3 + names);
    let (lowest, highest) = (bottom / 2.0, top * 1.5);
    let up_powers = (lowest..highest * (highest / lowest).powf(names)).log_scale();
    // Times within one power of ten would have no label on a scale of powers.
    match (places.powers, top >= bottom * 10.0) {
        (true, true) => lines(&area, curve, &places, along_powers, up_powers)?,
        (true, false) => lines(&area, curve, &places, along_powers, up)?,
        (false, true) => lines(&area, curve, &places, along, up_powers)?,
        (false, false) => lines(&area, curve, &places, along, up)?,
    }
    area.present()?;
    Ok(())
}

/// The least and the most that is drawn.
fn heights(curve: &Curve) -> (f64, f64) {
    let points = curve.series.iter().flat_map(|series| &series.points);
    points.fold((f64::MAX, 1.0), |(least, most), point| {
        let at = point.nanoseconds.lower;
        (least.min(at), most.max(at))
    })
}

fn lines<X, Y>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    curve: &Curve,
    places: &Places,
    along: X,
    up: Y,
) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(&curve.title, ("sans-serif", 20))
        .margin(14)
        // Half of the last label lies beyond the axis.
        .margin_right(40)
        .x_label_area_size(46)
        .y_label_area_size(86)
        .build_cartesian_2d(along, up)?;
    chart
        .configure_mesh()
        .light_line_style(RGBColor(0xF2, 0xF2, 0xF2))
        .bold_line_style(RGBColor(0xDD, 0xDD, 0xDD))
        .x_desc(places.described(&curve.along))
        .y_desc("time of one")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_label_formatter(&|x| places.label(*x))
        .y_label_formatter(&|y| if *y > 0.0 { time(*y) } else { "0".to_owned() })
        .draw()?;
    for (series, colour) in curve.series.iter().zip(COLOURS.iter().cycle()) {
        let line = series
            .points
            .iter()
            .map(|point| (places.place(point.at), point.nanoseconds.lower));
        let name = format!("{}: {}", series.name, series.told(&curve.along));
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 22, y)], colour.stroke_width(3))
            });
        chart.draw_series(line.map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(0xCC, 0xCC, 0xCC))
        .draw()?;
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a label of an axis that begins at 0 or at 1"
)]
fn whole(x: f64) -> String {
    if (x - x.round()).abs() > 1e-6 {
        // Between two that are counted there is none.
        return String::new();
    }
    grouped(x.round() as u64)
}
