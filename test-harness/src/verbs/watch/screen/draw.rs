//! What the screen shows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Bar, BarChart, BarGroup, Block, LineGauge, Paragraph, Row, Sparkline, Table,
};

use super::View;
use crate::model::KERNEL_STACK_BYTES;
use crate::table::{end_of, grouped};
use crate::verbs::log::Entry;
use crate::verbs::watch::Snapshot;

/// Everything.
pub(super) fn all(frame: &mut Frame<'_>, view: &View) {
    let [title, top, middle, events, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Fill(3),
        Constraint::Fill(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let Some(snapshot) = &view.snapshot else {
        return;
    };
    let rate = snapshot.records as f64 / snapshot.seconds.max(0.001);
    let counts = format!("{rate:.1} creates/s, {} lost", grouped(snapshot.lost));
    let width = u16::try_from(counts.len()).unwrap_or(u16::MAX);
    let [title, at_right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(title);
    frame.render_widget(Line::from(view.title.as_str()).bold(), title);
    frame.render_widget(Line::from(counts), at_right);

    let [lowest, history] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(top);
    draw_lowest(frame, lowest, snapshot);
    draw_history(frame, history, view);
    let [processes, depths] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(middle);
    draw_processes(frame, processes, snapshot);
    draw_depths(frame, depths, snapshot);
    draw_events(frame, events, &view.events);

    let held = if view.held {
        " held ".reversed()
    } else {
        "".into()
    };
    let help = Line::from(vec![
        held,
        " q ".bold(),
        "quit  ".dim(),
        " r ".bold(),
        "reset the watermarks  ".dim(),
        " space ".bold(),
        "hold the picture".dim(),
    ]);
    frame.render_widget(help, keys);
}

/// How worrying so much stack left of so much is.
fn colour(left: u64, of: u64) -> Color {
    match left.saturating_mul(100) / of.max(1) {
        0..=14 => Color::Red,
        15..=34 => Color::Yellow,
        _ => Color::Green,
    }
}

fn draw_lowest(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let block = Block::bordered().title(" lowest headroom, bytes ");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [now, now_gauge, ever, ever_gauge] =
        Layout::vertical([Constraint::Length(1); 4]).areas(inside);
    let (mut text, mut left) = (
        vec!["now          ".into(), "no create came by".dim()],
        None,
    );
    if let Some(lowest) = &snapshot.lowest_now {
        left = Some((u64::from(lowest.before), lowest.segment));
        text = vec![
            "now          ".into(),
            number(lowest.before.into(), lowest.segment),
            format!("  {}, depth {}", lowest.process, lowest.depth).into(),
        ];
    }
    frame.render_widget(Line::from(text), now);
    gauge(frame, now_gauge, left);
    let system = &snapshot.since_reset.system;
    let left = system
        .lowest_before
        .map(|before| (u64::from(before), KERNEL_STACK_BYTES.max(before.into())));
    let mut text = vec!["since reset  ".into()];
    if let Some((before, of)) = left {
        text.push(number(before, of));
        let deepest = system.deepest.unwrap_or(0);
        let creates = grouped(system.creates);
        text.push(format!("  of {creates} creates, at most {deepest} deep").into());
    }
    frame.render_widget(Line::from(text), ever);
    gauge(frame, ever_gauge, left);
}

fn number(left: u64, of: u64) -> Span<'static> {
    Span::styled(
        format!("{:>7}", grouped(left)),
        Style::new().fg(colour(left, of)).bold(),
    )
}

fn gauge(frame: &mut Frame<'_>, area: Rect, left: Option<(u64, u64)>) {
    let Some((left, of)) = left else { return };
    let ratio = (left as f64 / of.max(1) as f64).clamp(0.0, 1.0);
    let gauge = LineGauge::default()
        .ratio(ratio)
        .label(format!("of {:>7}", grouped(of)))
        .filled_symbol("█")
        .unfilled_symbol("░")
        .filled_style(Style::new().fg(colour(left, of)))
        .unfilled_style(Style::new().fg(Color::DarkGray));
    frame.render_widget(gauge, area);
}

fn draw_history(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let block = Block::bordered().title(" lowest, by interval ");
    let width = usize::from(block.inner(area).width);
    let skipped = view.history.len().saturating_sub(width);
    let most = view.history.iter().flatten().max().copied().unwrap_or(0);
    let bars = view.history.iter().skip(skipped).map(|lowest| {
        let value = lowest.map(u64::from);
        let colour = value.map_or(Color::DarkGray, |value| colour(value, KERNEL_STACK_BYTES));
        ratatui::widgets::SparklineBar::from(value).style(Style::new().fg(colour))
    });
    let sparkline = Sparkline::default()
        .block(block)
        .max(KERNEL_STACK_BYTES.max(most.into()))
        .data(bars);
    frame.render_widget(sparkline, area);
}

fn draw_processes(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let rows = snapshot.since_reset.processes.iter().map(|row| {
        let marks = &row.marks;
        let bytes =
            |mark: Option<u32>| mark.map_or_else(|| "-".to_owned(), |mark| grouped(mark.into()));
        let worry = marks.lowest_before.map_or(Color::Reset, |before| {
            colour(before.into(), KERNEL_STACK_BYTES)
        });
        Row::new([
            Line::from(row.process.clone()),
            Line::from(bytes(marks.lowest_before))
                .fg(worry)
                .right_aligned(),
            Line::from(bytes(marks.lowest_inside)).right_aligned(),
            Line::from(bytes(marks.deepest)).right_aligned(),
            Line::from(grouped(marks.creates)).right_aligned(),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(7),
    ];
    let names = ["process", "  before", "  inside", "deepest", "creates"];
    let table = Table::new(rows, widths)
        .header(Row::new(names).dim())
        .block(Block::bordered().title(" by process, since reset "));
    frame.render_widget(table, area);
}

/// A column for each depth, as high as the least stack that was left there.
fn draw_depths(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let depths = &snapshot.since_reset.depths;
    let mut block = Block::bordered().title(" lowest by depth, since reset ");
    if let [first, .., last] = &**depths {
        let and_deeper = if last.and_deeper { "+" } else { "" };
        let axis = format!(
            " {} to {}{and_deeper} creates deep ",
            first.depth, last.depth
        );
        block = block.title_bottom(axis);
    }
    let count = u16::try_from(depths.len()).unwrap_or(u16::MAX).max(1);
    let room = block.inner(area).width / count;
    let (width, gap) = match room {
        0 | 1 => (1, 0),
        room => ((room - 1).min(6), 1),
    };
    let bars = depths.iter().map(|row| {
        let lowest = u64::from(row.marks.lowest_before.unwrap_or(0));
        let mut bar = Bar::default()
            .value(lowest)
            .text_value(String::new())
            .style(Style::new().fg(colour(lowest, KERNEL_STACK_BYTES)));
        let and_deeper = if row.and_deeper { "+" } else { "" };
        if width >= 2 {
            bar = bar.label(Line::from(format!("{}{and_deeper}", row.depth)));
        }
        bar
    });
    let bars: Vec<Bar<'_>> = bars.collect();
    let chart = BarChart::default()
        .data(BarGroup::default().bars(&bars))
        .bar_width(width)
        .bar_gap(gap)
        .max(KERNEL_STACK_BYTES)
        .block(block);
    frame.render_widget(chart, area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, events: &[Entry]) {
    // As wide as the longest status that a create meets often, where there is room.
    let status = if area.width >= 110 { 22 } else { 15 };
    let widths: [u16; 6] = [12, 16, 5, 7, 12, status];
    // A space behind each column, and the border.
    let others: u16 = widths.iter().map(|width| width + 1).sum();
    let left = usize::from(area.width.saturating_sub(others + 2)).max(8);
    let rows = events
        .iter()
        .take(area.height.into())
        .map(|entry| event(entry, left));
    let widths = widths.map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let names = [
        "time (UTC)",
        "process",
        "depth",
        " before",
        "outcome",
        "status",
        "path",
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(names).dim())
        .block(Block::bordered().title(" last records "));
    if events.is_empty() {
        let nothing = Paragraph::new("No create has come by yet.").dim();
        frame.render_widget(
            nothing.block(Block::bordered().title(" last records ")),
            area,
        );
    } else {
        frame.render_widget(table, area);
    }
}

fn event(entry: &Entry, path_width: usize) -> Row<'static> {
    let record = &entry.record;
    let before = record.before.map_or_else(Line::default, |before| {
        let segment = record.caller_segment[1].saturating_sub(record.caller_segment[0]);
        Line::from(grouped(before.into()))
            .fg(colour(before.into(), segment.max(KERNEL_STACK_BYTES)))
            .right_aligned()
    });
    let outcome = match &*record.outcome {
        "switched" => Line::from("switched").cyan(),
        "failed" => Line::from("failed").red(),
        other => Line::from(other.to_owned()),
    };
    let status = match record.create_status {
        Some(status) if status.is_success() => Line::from("success").dim(),
        Some(status) => {
            Line::from(status.to_string().trim_start_matches("STATUS_").to_owned()).red()
        }
        None => Line::from("not known").dim(),
    };
    Row::new([
        Line::from(entry.clock().to_owned()).dim(),
        Line::from(record.process.clone()),
        Line::from(record.depth.to_string()).right_aligned(),
        before,
        outcome,
        status,
        Line::from(end_of(&record.path, path_width)),
    ])
}

#[cfg(test)]
mod tests;
