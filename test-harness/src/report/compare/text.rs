//! A comparison for a terminal.

use super::{Change, Comparison, Measure};
use crate::report::cells::{Cell, Table};
use crate::table::grouped;

/// Depths that changed and are told one by one.
const DEPTHS: usize = 8;

impl Comparison {
    /// The measures as a table: all that are not by depth, and of those the ones that changed.
    #[must_use]
    pub fn text(&self) -> String {
        let by_depth = |measure: &&Measure| measure.what.contains(" at depth ");
        let mut table = Table::new(
            "",
            &[
                ("policy", false),
                ("measure", false),
                ("first", true),
                ("second", true),
                ("change", true),
                ("", false),
            ],
        );
        let overall = self.measures.iter().filter(|measure| !by_depth(measure));
        let changed = || {
            let measures = self.measures.iter();
            measures.filter(|measure| by_depth(measure) && measure.change != Change::Same)
        };
        for measure in overall.chain(changed().take(DEPTHS)) {
            let (word, class) = match measure.change {
                Change::Better => ("better", "good"),
                Change::Same => ("", "soft"),
                Change::Worse => ("WORSE", "bad"),
                Change::Unknown => ("not known in both", "soft"),
            };
            let change = match (measure.a, measure.b) {
                (Some(a), Some(b)) if b > a => format!("+{}", grouped(b - a)),
                (Some(a), Some(b)) if b < a => format!("-{}", grouped(a - b)),
                _ => String::new(),
            };
            table.rows.push(vec![
                measure.of.as_str().into(),
                measure.what.as_str().into(),
                Cell::number(measure.a),
                Cell::number(measure.b),
                change.into(),
                Cell::of(word, class),
            ]);
        }
        let mut text = String::new();
        for difference in &self.differences {
            text += &format!("differs: {difference}\n");
        }
        text += &table.text();
        let depths = self.measures.iter().filter(by_depth).count();
        let changed = changed().count();
        if changed > DEPTHS {
            text += &format!(
                "… {} depths more changed; --json has them all\n",
                changed - DEPTHS
            );
        }
        if depths > changed {
            text += &format!(
                "at {} of {depths} depths the lowest left is the same, to {} bytes\n",
                depths - changed,
                grouped(self.threshold)
            );
        }
        let count = |change| {
            let measures = self.measures.iter();
            measures.filter(|measure| measure.change == change).count()
        };
        let (worse, better) = (count(Change::Worse), count(Change::Better));
        text += &match (worse, better) {
            (0, 0) => "No better, no worse.\n".to_owned(),
            (0, better) => format!("Better: {better} of {} measures.\n", self.measures.len()),
            (worse, 0) => format!("Worse: {worse} of {} measures.\n", self.measures.len()),
            (worse, better) => format!(
                "Worse: {worse} of {} measures, though {better} are better.\n",
                self.measures.len()
            ),
        };
        text
    }
}
