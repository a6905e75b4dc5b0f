//! The screen: keys, time, and when to draw.

mod draw;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::super::Failure;
use super::super::log::Entry;
use super::snapshot::Gathered;
use super::{Args, Snapshot, Watcher};

/// The longest that a key waits to be heeded.
const STEP: Duration = Duration::from_millis(100);

/// Intervals whose lowest headroom is drawn.
const HISTORY: usize = 240;

/// What is on the screen.
pub(super) struct View {
    /// The driver, its version, its policy.
    pub(super) title: String,
    /// The last interval.
    pub(super) snapshot: Option<Snapshot>,
    /// Each interval's lowest headroom, the newest last; `None`: it brought no create.
    pub(super) history: VecDeque<Option<u32>>,
    /// The last records, newest first.
    pub(super) events: Vec<Entry>,
    /// Whether it is held.
    pub(super) held: bool,
}

/// Fills the screen until it is told to end, and gives it back as it was, whatever happens.
pub(super) fn run(mut watcher: Watcher, args: &Args) -> Result<(), Failure> {
    let title = title(&mut watcher)?;
    let mut terminal = ratatui::try_init().map_err(Failure::Output)?;
    let ended = show(&mut terminal, &mut watcher, args, title);
    ratatui::restore();
    ended
}

fn title(watcher: &mut Watcher) -> Result<String, Failure> {
    let policy = watcher.policy()?;
    let version = match watcher.status()? {
        Some(told) => {
            let [major, minor, patch, _] = told.driver;
            format!(" {major}.{minor}.{patch}")
        }
        None => String::new(),
    };
    Ok(format!("headroom.sys{version}, ExpandPolicy {policy}"))
}

fn show(
    terminal: &mut DefaultTerminal,
    watcher: &mut Watcher,
    args: &Args,
    title: String,
) -> Result<(), Failure> {
    let end = args.time.map(|time| Instant::now() + time);
    let mut view = View {
        title,
        snapshot: None,
        history: VecDeque::new(),
        events: Vec::new(),
        held: false,
    };
    // Something to see from the first moment on.
    view.snapshot = Some(watcher.close(Gathered::new())?);
    let mut gathered = Gathered::new();
    let mut intervals = 0;
    while !args.over(intervals, end) {
        terminal
            .draw(|frame| draw::all(frame, &view))
            .map_err(Failure::Output)?;
        let due = gathered.begun + args.interval;
        watcher.gather(&mut gathered, due.min(Instant::now() + STEP))?;
        if Instant::now() >= due {
            let snapshot = watcher.close(std::mem::replace(&mut gathered, Gathered::new()))?;
            intervals += 1;
            if !view.held {
                view.take(snapshot, watcher);
            }
        }
        while event::poll(Duration::ZERO).map_err(Failure::Output)? {
            match key(&event::read().map_err(Failure::Output)?) {
                Some(Key::Quit) => return Ok(()),
                Some(Key::Reset) => watcher.reset()?,
                Some(Key::Hold) => view.held = !view.held,
                None => {}
            }
        }
    }
    Ok(())
}

impl View {
    fn take(&mut self, snapshot: Snapshot, watcher: &Watcher) {
        self.history
            .push_back(snapshot.lowest_now.as_ref().map(|lowest| lowest.before));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.events = watcher.events.iter().cloned().collect();
        self.snapshot = Some(snapshot);
    }
}

enum Key {
    Quit,
    Reset,
    Hold,
}

fn key(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    // Windows reports a key's release, too.
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('r' | 'R') => Some(Key::Reset),
        KeyCode::Char(' ') => Some(Key::Hold),
        _ => None,
    }
}
