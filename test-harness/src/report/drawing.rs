//! A drawing made of a few kinds of shapes, each in a class that the style sheet colours for light and dark.
//!
//! Charting libraries write a fixed colour into each shape; a picture that follows the reader's scheme, has its title and
//! description for those who cannot see it, and a word for each shape under the pointer, needs classes instead.

use askama::Template;

use super::scale::{KB, Place};

/// A picture.
#[derive(Template)]
#[template(path = "drawing.svg", escape = "html")]
pub(super) struct Drawing {
    /// Unique on a page.
    id: String,
    title: String,
    /// What the picture says, for those who cannot see it.
    description: String,
    pub(super) width: f64,
    pub(super) height: f64,
    marks: Vec<Mark>,
    /// Whether it brings its style sheet; on a page, the page does.
    pub(super) standalone: bool,
}

enum Mark {
    Rect {
        class: String,
        at: Place,
        width: f64,
        height: f64,
        word: String,
    },
    Path {
        class: String,
        path: String,
    },
    Dot {
        class: String,
        at: Place,
        word: String,
    },
    Text {
        class: String,
        at: Place,
        anchor: &'static str,
        text: String,
    },
}

impl Drawing {
    pub(super) fn new(
        id: impl Into<String>,
        width: f64,
        height: f64,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            description: description.into(),
            width,
            height,
            marks: Vec::new(),
            standalone: false,
        }
    }

    pub(super) fn rect(&mut self, class: &str, at: Place, width: f64, height: f64, word: &str) {
        self.marks.push(Mark::Rect {
            class: class.to_owned(),
            at,
            width,
            height,
            word: word.to_owned(),
        });
    }

    pub(super) fn path(&mut self, class: &str, path: String) {
        if !path.is_empty() {
            self.marks.push(Mark::Path {
                class: class.to_owned(),
                path,
            });
        }
    }

    pub(super) fn line(&mut self, class: &str, from: Place, to: Place) {
        let path = format!("M{:.1} {:.1}L{:.1} {:.1}", from.x, from.y, to.x, to.y);
        self.path(class, path);
    }

    pub(super) fn dot(&mut self, class: &str, at: Place, word: &str) {
        self.marks.push(Mark::Dot {
            class: class.to_owned(),
            at,
            word: word.to_owned(),
        });
    }

    /// Text that starts at a place.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.anchored(class, x, y, "start", text);
    }

    /// Text with its start, middle or end at a place.
    pub(super) fn anchored(
        &mut self,
        class: &str,
        x: f64,
        y: f64,
        anchor: &'static str,
        text: &str,
    ) {
        self.marks.push(Mark::Text {
            class: class.to_owned(),
            at: Place { x, y },
            anchor,
            text: text.to_owned(),
        });
    }

    /// A key of coloured squares and their words; returns where the next word would start.
    pub(super) fn key(&mut self, entries: &[(&str, &str)], x: f64, y: f64) -> f64 {
        let mut x = x;
        for (class, word) in entries {
            let at = Place { x, y: y - 10.0 };
            self.rect(class, at, 12.0, 12.0, "");
            self.text("tick", x + 17.0, y, word);
            x += 36.0 + 7.0 * word.chars().count() as f64;
        }
        x
    }
}

/// Bytes as KB where they are a whole number of them or many, else as bytes.
pub(super) fn kilobytes(bytes: u64) -> String {
    if bytes.is_multiple_of(KB) {
        format!("{} KB", bytes / KB)
    } else {
        format!("{:.1} KB", bytes as f64 / KB as f64)
    }
}
