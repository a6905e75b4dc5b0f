//! What a map control block maps: runs of blocks, in order.

/// Where a gap lies.
pub(super) const HOLE: i64 = -1;

/// Blocks of a file that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) vbn: i64,
    pub(super) lbn: i64,
    pub(super) count: i64,
}

impl Run {
    pub(super) fn end(self) -> i64 {
        self.vbn.saturating_add(self.count)
    }

    /// The part of it that lies in a range.
    fn within(self, from: i64, to: i64) -> Option<Self> {
        let (start, end) = (self.vbn.max(from), self.end().min(to));
        (start < end).then(|| Self {
            vbn: start,
            lbn: self.lbn + (start - self.vbn),
            count: end - start,
        })
    }
}

/// What is mapped, in order; what lies together is one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Map(Vec<Run>);

impl Map {
    fn end(&self) -> i64 {
        self.0.last().map_or(0, |run| run.end())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// With the gaps.
    pub(super) fn runs(&self) -> Vec<Run> {
        let (mut all, mut at) = (Vec::new(), 0);
        for run in &self.0 {
            if run.vbn > at {
                let count = run.vbn - at;
                all.push(Run {
                    vbn: at,
                    lbn: HOLE,
                    count,
                });
            }
            all.push(*run);
            at = run.end();
        }
        all
    }

    /// The run that a block is in, with its index.
    pub(super) fn find(&self, vbn: i64) -> Option<(usize, Run)> {
        let mut runs = self.runs().into_iter().enumerate();
        runs.find(|(_, run)| (run.vbn..run.end()).contains(&vbn))
    }

    fn settle(&mut self) {
        self.0.sort_by_key(|run| run.vbn);
        self.0.dedup_by(|next, run| {
            let together = run.end() == next.vbn && run.lbn + run.count == next.lbn;
            if together {
                run.count += next.count;
            }
            together
        });
    }

    /// Maps; not where something lies elsewhere already.
    pub(super) fn add(&mut self, new: Run) -> bool {
        let past = |start: i64| start < 0 || start.checked_add(new.count).is_none();
        if new.count <= 0 || past(new.vbn) || past(new.lbn) {
            return false;
        }
        let against = |run: &Run| {
            run.within(new.vbn, new.end())
                .is_some_and(|part| part.lbn - new.lbn != part.vbn - new.vbn)
        };
        if self.0.iter().any(against) {
            return false;
        }
        self.remove(new.vbn, new.count);
        self.0.push(new);
        self.settle();
        true
    }

    pub(super) fn remove(&mut self, vbn: i64, count: i64) {
        let end = vbn.saturating_add(count);
        self.0 = self
            .0
            .iter()
            .flat_map(|run| [run.within(i64::MIN, vbn), run.within(end, i64::MAX)])
            .flatten()
            .collect();
    }

    /// Shifts what lies from a block on, so that a gap comes to be before it.
    pub(super) fn split(&mut self, vbn: i64, amount: i64) -> bool {
        if vbn < 0 || amount <= 0 || self.end().checked_add(amount).is_none() {
            return false;
        }
        let shift = |run: Run| Run {
            vbn: run.vbn + amount,
            ..run
        };
        self.0 = self
            .0
            .iter()
            .flat_map(|run| {
                [
                    run.within(i64::MIN, vbn),
                    run.within(vbn, i64::MAX).map(shift),
                ]
            })
            .flatten()
            .collect();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(runs: &[(i64, i64, i64)]) -> Map {
        let mut map = Map::default();
        for (vbn, lbn, count) in runs.iter().copied() {
            assert!(map.add(Run { vbn, lbn, count }), "{vbn} {lbn} {count}");
        }
        map
    }

    fn told(map: &Map) -> Vec<(i64, i64, i64)> {
        let runs = map.runs().into_iter();
        runs.map(|run| (run.vbn, run.lbn, run.count)).collect()
    }

    #[test]
    fn runs_that_lie_together_are_one() {
        let mut map = map(&[(0, 100, 4), (8, 300, 4), (4, 104, 2), (2, 102, 4)]);
        assert_eq!(told(&map), [(0, 100, 6), (6, HOLE, 2), (8, 300, 4)]);
        let elsewhere = Run {
            vbn: 5,
            lbn: 900,
            count: 2,
        };
        assert!(!map.add(elsewhere));
        map.remove(1, 2);
        assert_eq!(
            told(&map),
            [
                (0, 100, 1),
                (1, HOLE, 2),
                (3, 103, 3),
                (6, HOLE, 2),
                (8, 300, 4)
            ]
        );
        map.remove(8, i64::MAX);
        assert_eq!(map.end(), 6);
    }

    #[test]
    fn a_split_makes_a_gap() {
        let mut map = map(&[(0, 100, 4)]);
        assert!(map.split(2, 10));
        assert_eq!(told(&map), [(0, 100, 2), (2, HOLE, 10), (12, 102, 2)]);
        assert!(!map.split(0, i64::MAX) && !map.split(-1, 1));
    }
}
