//! What a table on the page is made of.

use tabled::builder::Builder;

use crate::table::{self, Tone, grouped};

/// Columns of a path that a cell shows where there are many others, its end.
pub(super) const PATH_WIDTH: usize = 30;

/// A table: what it shows, its columns, and whether each holds numbers.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) columns: Vec<(&'static str, bool)>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell, its class, and the share of a bar in it.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) class: &'static str,
    /// Of 100: a bar of what is used of a segment.
    pub(super) bar: Option<f64>,
    /// The whole text, where only a part of it is shown.
    pub(super) whole: String,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

impl Cell {
    pub(super) fn of(text: impl Into<String>, class: &'static str) -> Self {
        Self {
            text: text.into(),
            class,
            ..Self::default()
        }
    }

    pub(super) fn number(number: Option<u64>) -> Self {
        number.map_or_else(
            || Self::of("\u{2013}", "soft"),
            |number| grouped(number).into(),
        )
    }
}

/// The end of a path, with the whole of it at hand.
pub(super) fn path(path: &str, width: usize) -> Cell {
    let end = table::end_of(path, width);
    Cell {
        whole: if end == path {
            String::new()
        } else {
            path.to_owned()
        },
        class: "path",
        text: end,
        bar: None,
    }
}

impl Table {
    pub(super) fn new(caption: impl Into<String>, columns: &[(&'static str, bool)]) -> Self {
        Self {
            caption: caption.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// The same for a terminal.
    pub(super) fn text(&self) -> String {
        let mut builder = Builder::new();
        builder.push_record(self.columns.iter().map(|(name, _)| *name));
        for row in &self.rows {
            builder.push_record(row.iter().map(|cell| {
                let tone = match cell.class {
                    "bad" => Tone::Failed,
                    "good" => Tone::Good,
                    "soft" => Tone::Faint,
                    _ => Tone::Plain,
                };
                table::painted(&table::Cell {
                    text: cell.text.clone(),
                    tone,
                })
            }));
        }
        let numbers = self.columns.iter().enumerate();
        let right: Vec<usize> = numbers
            .filter(|(_, (_, number))| *number)
            .map(|(index, _)| index)
            .collect();
        table::aligned(builder, &right) + "\n"
    }
}
