//! The picture of a run: stack in use over depth, and the stack that was filled, frame by frame.

use super::drawing::Drawing;
use super::panel::{Panel, class};
use super::scale::{Frame, Place, WIDTH};
use super::series::{Point, Series};
use super::strip::Strip;
use crate::model::{KERNEL_STACK_BYTES, Run};
use crate::scenario::{Kind, Plan};

/// The picture of runs of one plan.
pub(super) fn draw(title: &str, plan: &Plan, runs: &[Run]) -> Drawing {
    let series: Vec<Series> = runs
        .iter()
        .map(|run| Series::of(run, plan.scenario, plan.large_stack))
        .collect();
    let nested = plan.scenario == Kind::Nested;
    let points = || series.iter().flat_map(Series::points);
    let creates = points().map(|point| point.at).max().unwrap_or(1);
    let x_max = f64::from(
        if nested {
            creates.max(plan.depth)
        } else {
            creates
        }
        .max(4),
    );
    let most = |pick: fn(&Point) -> u64| points().map(|point| pick(&point)).max().unwrap_or(0);
    let largest = series
        .iter()
        .filter(|_| nested)
        .flat_map(|series| &series.segments)
        .map(|segment| segment.bytes)
        .max();
    let y_max = largest
        .unwrap_or(KERNEL_STACK_BYTES)
        .max(most(|point| point.used)) as f64
        * 1.04;

    let description: Vec<String> = series.iter().map(sentence).collect();
    let mut drawing = Drawing::new("picture", WIDTH, 0.0, title, description.join(" "));
    drawing.text("title", 20.0, 34.0, title);
    drawing.text("soft", 20.0, 56.0, &subtitle(plan, &series));
    let mut bottom = 92.0;
    let x_label = if nested {
        "creates under way on the thread"
    } else {
        "creates in order of arrival"
    };
    // Two creates make no curve: what the DFS scenario has to show is its stack.
    if plan.scenario != Kind::Dfs {
        legend(&mut drawing, &series);
        let frame = Frame {
            top: 122.0,
            bottom: 460.0,
            x_max,
            y_max,
        };
        Panel {
            frame,
            series: &series,
            nested,
        }
        .draw(&mut drawing);
        bottom = frame.bottom + 62.0;
    }
    let total = most(|point| point.total);
    if nested && total > KERNEL_STACK_BYTES {
        let frame = Frame {
            top: 530.0,
            bottom: 670.0,
            x_max,
            y_max: total as f64 * 1.12,
        };
        Panel {
            frame,
            series: &series,
            nested,
        }
        .draw_total(&mut drawing);
        bottom = frame.bottom + 62.0;
    }
    if plan.scenario != Kind::Dfs {
        drawing.anchored("soft", WIDTH / 2.0, bottom - 18.0, "middle", x_label);
    }
    if let Some(strip) = Strip::of(plan.scenario, runs, bottom + 14.0) {
        strip.draw(&mut drawing);
        bottom = strip.bottom + 16.0;
    }
    drawing.height = bottom;
    drawing
}

fn legend(drawing: &mut Drawing, series: &[Series]) {
    let width = (WIDTH - 40.0) / series.len().max(2) as f64;
    for (index, series) in (0_u32..).zip(series) {
        let class = class(series.expand);
        let x = 20.0 + f64::from(index) * width;
        let at = |x| Place { x, y: 77.0 };
        drawing.line(&format!("line {class}"), at(x), at(x + 26.0));
        drawing.dot(&format!("dot {class}"), at(x + 13.0), "");
        drawing.text(
            &format!("legend {class}"),
            x + 34.0,
            81.5,
            &sentence(series),
        );
    }
}

fn subtitle(plan: &Plan, series: &[Series]) -> String {
    let stack = if plan.large_stack {
        "a large kernel stack (72 KB, 24 KB committed)"
    } else {
        "a 24 KB kernel stack"
    };
    let threads = match plan.threads {
        1 => "one thread that starts".to_owned(),
        threads => format!("{threads} threads, each starting"),
    };
    let reservation = series.iter().find_map(|series| series.reservation);
    match reservation {
        Some(bytes) => {
            format!("{threads} on {stack}; each expansion asks for {bytes:#x} bytes")
        }
        None => format!("{threads} on {stack}"),
    }
}

/// What a series came to.
fn sentence(series: &Series) -> String {
    let name = series.expand.name();
    match (&series.died, series.points().map(|point| point.at).max()) {
        (Some((depth, what)), _) => format!("{name}: {what} at depth {depth}."),
        (None, Some(creates)) if series.segments.len() > 1 => {
            format!(
                "{name}: {creates} creates on {} segments.",
                series.segments.len()
            )
        }
        (None, Some(creates)) => format!("{name}: {creates} creates."),
        (None, None) => format!("{name}: no create seen."),
    }
}
