//! The page of a report as a browser draws it: the plots are there in light and in dark, nothing is fetched, nothing is wrong.

mod browser;
mod made_up;

use std::collections::BTreeMap;

use browser::{Browser, Plot, Scheme, Shot, colours};
use headroom_harness::model::{Expand, Sweep, SweepEnd, SweepRow};
use headroom_harness::report::SweepReport;

const CHART: &str = include_str!("../templates/chart.css");
const PAGE: &str = include_str!("../templates/page.css");

/// What has to be seen of a colour in a plot: in so many of its columns and so many of its rows. More than a key's square
/// of 12, and than a legend's line of 26.
struct Wanted {
    plot: &'static str,
    colour: &'static str,
    columns: usize,
    rows: usize,
}

const fn wanted(plot: &'static str, colour: &'static str, columns: usize, rows: usize) -> Wanted {
    Wanted {
        plot,
        colour,
        columns,
        rows,
    }
}

/// What of `wanted` is not there.
fn missing(
    shot: &Shot,
    plots: &[Plot],
    colours: &BTreeMap<String, [u8; 3]>,
    wanted: &[Wanted],
) -> Vec<String> {
    let seen = |wanted: &Wanted| {
        plots
            .iter()
            .filter(|plot| plot.name == wanted.plot)
            .map(|plot| shot.extent(plot, colours[wanted.colour]))
            .max()
    };
    wanted
        .iter()
        .filter_map(|wanted| match seen(wanted) {
            Some((columns, rows)) if columns >= wanted.columns && rows >= wanted.rows => None,
            seen => Some(format!("{}, {}: {seen:?}", wanted.plot, wanted.colour)),
        })
        .collect()
}

/// Looks at a page in both schemes.
fn look(browser: &Browser, page: &str, wanted: &[Wanted]) {
    let probe = browser.probe(page);
    assert_eq!(probe.resources, [""; 0], "the page fetches nothing");
    assert!(
        probe.overflow <= 0,
        "the page is {} pixels too wide",
        probe.overflow
    );
    for plot in wanted.iter().map(|wanted| wanted.plot) {
        assert!(probe.plots.iter().any(|found| found.name == plot), "{plot}");
    }
    for (scheme, colours) in [Scheme::Light, Scheme::Dark]
        .into_iter()
        .zip(colours(CHART))
    {
        let shot = browser.shot(page, scheme, probe.height);
        assert_eq!(shot.console, [""; 0], "the console is silent");
        assert_eq!(shot.pixel(2, 2), Some(colours["paper"]), "{scheme:?}");
        let missing = missing(&shot, &probe.plots, &colours, wanted);
        assert!(missing.is_empty(), "{scheme:?}: {missing:?}");
    }
}

#[test]
fn the_plots_of_a_run_are_there() {
    let Some(browser) = Browser::find("the_plots_of_a_run_are_there") else {
        return;
    };
    let page = made_up::report(64).page().unwrap();
    look(
        &browser,
        &page,
        &[
            wanted("picture", "always", 600, 200),
            wanted("picture", "never", 100, 60),
            wanted("histogram", "always", 100, 100),
            wanted("histogram", "never", 40, 14),
            wanted("bands", "before", 400, 100),
            wanted("bands", "inside", 150, 100),
            wanted("bands", "after", 400, 100),
            wanted("outcomes", "direct", 400, 20),
            wanted("outcomes", "switched", 20, 20),
        ],
    );
}

#[test]
fn the_plot_of_a_sweep_is_there() {
    let Some(browser) = Browser::find("the_plot_of_a_sweep_is_there") else {
        return;
    };
    let row = |expand, reservation_bytes, deepest, end| SweepRow {
        expand,
        reservation_bytes,
        red_zone_bytes: None,
        deepest,
        end,
        lowest_inside: None,
        segments: 1,
        machines: 1,
    };
    let dies = || SweepEnd::BugCheck {
        code: 0x7f,
        parameter: 8,
        name: String::new(),
    };
    let report = SweepReport {
        origin: made_up::report(1).origin,
        sweep: Sweep {
            large_stack: false,
            bound: 512,
            segment_limit: 1024,
            settings: Vec::new(),
            rows: vec![
                row(Expand::Never, 0, 7, dies()),
                row(Expand::RedZone, 0x1000, 9, dies()),
                row(Expand::RedZone, 0x6000, 200, SweepEnd::Minimum),
                row(Expand::Always, 0x1000, 11, dies()),
                row(Expand::Always, 0x6000, 512, SweepEnd::Bound),
            ],
            interrupted: false,
        },
        checks: Vec::new(),
    };
    look(
        &browser,
        &report.page().unwrap(),
        &[
            wanted("sweep", "always", 400, 150),
            wanted("sweep", "redzone", 400, 120),
            wanted("sweep", "never", 150, 8),
        ],
    );
}

/// The tests above notice what they are there to notice.
#[test]
fn what_is_wrong_with_a_page_is_noticed() {
    let Some(browser) = Browser::find("what_is_wrong_with_a_page_is_noticed") else {
        return;
    };
    let page = made_up::report(64).page().unwrap();
    let fetching = page.replace("<h1>", "<img src=\"http://127.0.0.1:9/x.png\"><h1>");
    let probe = browser.probe(&fetching);
    assert_eq!(probe.resources, ["http://127.0.0.1:9/x.png"]);

    // The page's own policy forbids it, and the console says so; without its shapes the plots are noticed to be missing.
    let bare = fetching.replace(
        "</style>",
        ".headroom .line, .headroom .fill, .headroom .dot { display: none }</style>",
    );
    let shot = browser.shot(&bare, Scheme::Light, probe.height);
    assert!(
        shot.console
            .iter()
            .any(|line| line.contains("Content Security Policy")),
        "{:?}",
        shot.console
    );
    let [light, _] = colours(CHART);
    let all = [
        wanted("picture", "always", 600, 200),
        wanted("histogram", "always", 100, 100),
        wanted("bands", "inside", 150, 100),
    ];
    assert_eq!(missing(&shot, &probe.plots, &light, &all).len(), all.len());
}

/// WCAG's contrast of two colours.
fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let luminance = |colour: [u8; 3]| {
        let [red, green, blue] = colour.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_and_shapes_stand_out_from_the_paper() {
    assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 0.01);
    // Of text, 4.5 to 1; of shapes that carry meaning, 3 to 1.
    let text = [
        "ink", "soft", "good", "bad", "own", "always", "never", "redzone",
    ];
    let shapes = [
        "before",
        "inside",
        "after",
        "direct",
        "grown",
        "switched",
        "worker",
        "failed",
        "unexpanded",
        "bar",
    ];
    for (page, chart) in colours(PAGE).into_iter().zip(colours(CHART)) {
        assert_eq!(page["paper"], chart["paper"]);
        for (names, least) in [(&text[..], 4.5), (&shapes[..], 3.0)] {
            for name in names {
                let colour = page.get(*name).or_else(|| chart.get(*name));
                let colour = *colour.unwrap_or_else(|| panic!("no colour {name}"));
                for paper in [page["paper"], page["raised"]] {
                    let found = contrast(colour, paper);
                    assert!(found >= least, "{name} on {paper:?}: {found:.2}");
                }
            }
        }
    }
}
