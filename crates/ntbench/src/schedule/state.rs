//! Who runs next: a decision that depends on the seed and on what the threads did alone.

use std::time::Duration;

/// What a decision costs in virtual time, so that a driver that looks at the clock sees it go on.
const BEAT: Duration = Duration::from_micros(10);
/// Of 256 points, at how many another thread may run; one of these for each seed.
const CHANCES: [u8; 4] = [128, 64, 24, 8];
/// Of 256 switches, how many hold the thread back for a while.
const DELAYS: u8 = 24;
/// The longest such while, in beats.
const LONGEST: u32 = 150;

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// With whoever asks the machine, or not started.
    Outside,
    /// On its way to its first point: nothing is decided before it is there.
    Coming,
    /// It could run.
    Ready,
    /// It is held back until then.
    Delayed(Duration),
    /// It waits for what another thread does, which may have been done once there is progress beyond this number; or for that time.
    Waiting {
        /// The progress it has seen.
        seen: u64,
        /// When it waits no longer.
        until: Option<Duration>,
    },
    /// It runs.
    Running,
    /// It has ended.
    Gone,
}

/// A thread that takes its turns.
pub(super) struct Member {
    /// Where it is.
    pub(super) standing: Standing,
    /// What it waited for last, to tell a second look at the same thing from progress.
    pub(super) waited_for: usize,
    /// Requests that it has been given and has not done.
    pub(super) jobs: usize,
    /// Whether it makes calls together with others.
    pub(super) together: bool,
}

/// All threads.
pub(super) struct State {
    rng: fastrand::Rng,
    chance: u8,
    /// By ticket.
    pub(super) members: Vec<Member>,
    /// Things that were done, each of which may be what somebody waits for.
    progress: u64,
    /// Virtual time since boot.
    pub(super) now: Duration,
}

impl State {
    /// Of that seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let chance = CHANCES[rng.usize(..CHANCES.len())];
        Self {
            rng,
            chance,
            members: Vec::new(),
            progress: 1,
            now: Duration::ZERO,
        }
    }

    /// A new thread's ticket.
    pub(super) fn enlist(&mut self, standing: Standing) -> usize {
        self.members.push(Member {
            standing,
            waited_for: 0,
            jobs: 0,
            together: false,
        });
        self.members.len() - 1
    }

    /// Something was done.
    pub(super) fn progressed(&mut self) {
        self.progress += 1;
    }

    /// The running thread is at a point: whether another may run now.
    pub(super) fn yields(&mut self, ticket: usize) -> bool {
        self.progressed();
        self.members[ticket].waited_for = 0;
        if self.rng.u8(..) >= self.chance {
            return false;
        }
        self.members[ticket].standing = if self.rng.u8(..) < DELAYS {
            Standing::Delayed(self.now + BEAT * self.rng.u32(1..=LONGEST))
        } else {
            Standing::Ready
        };
        true
    }

    /// The running thread waits for something, known by an address.
    pub(super) fn waits(&mut self, ticket: usize, what: usize, until: Option<Duration>) {
        let member = &mut self.members[ticket];
        if member.waited_for != what {
            member.waited_for = what;
            self.progress += 1;
        }
        self.members[ticket].standing = Standing::Waiting {
            seen: self.progress,
            until,
        };
    }

    /// Chooses who runs now; `None`: somebody runs, or is still to come, or nobody can.
    pub(super) fn decide(&mut self) -> Option<usize> {
        let settled = |member: &Member| {
            let is = |standing| member.standing == standing;
            !is(Standing::Running)
                && !is(Standing::Coming)
                && (!member.together || !is(Standing::Outside))
        };
        let asked = self.members.iter().any(|member| member.jobs > 0);
        if !asked || !self.members.iter().all(settled) {
            return None;
        }
        self.now += BEAT;
        let mut can = self.candidates();
        if can.is_empty() {
            // All wait: time passes until the first of them has waited long enough.
            self.now = self.members.iter().filter_map(ends).min()?.max(self.now);
            can = self.candidates();
        }
        let chosen = *can.get(self.rng.usize(..can.len().max(1)))?;
        self.members[chosen].standing = Standing::Running;
        Some(chosen)
    }

    fn candidates(&self) -> Vec<usize> {
        let can = |member: &Member| match member.standing {
            Standing::Ready => true,
            Standing::Waiting { seen, .. } if seen < self.progress => true,
            _ => ends(member).is_some_and(|end| end <= self.now),
        };
        (0..self.members.len())
            .filter(|ticket| can(&self.members[*ticket]))
            .collect()
    }
}

/// When a thread can run whatever the others do.
fn ends(member: &Member) -> Option<Duration> {
    match member.standing {
        Standing::Delayed(until) => Some(until),
        Standing::Waiting { until, .. } => until,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three threads that always could run, one of which waits now and then.
    fn order(seed: u64) -> Vec<usize> {
        let mut state = State::new(seed);
        for _ in 0..3 {
            let ticket = state.enlist(Standing::Ready);
            state.members[ticket].jobs = 1;
        }
        let mut order = Vec::new();
        for step in 0..200 {
            let Some(running) = state.decide() else { break };
            order.push(running);
            if running == 0 && step % 3 == 0 {
                state.waits(0, 16, None);
            } else {
                while !state.yields(running) {}
            }
        }
        order
    }

    #[test]
    fn a_seed_has_one_order_and_another_seed_another() {
        assert_eq!(order(7), order(7));
        assert_eq!(order(7).len(), 200);
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn who_waits_runs_after_progress_or_in_time_and_nobody_before_all_are_there() {
        let mut state = State::new(1);
        let waits = state.enlist(Standing::Ready);
        state.members[waits].jobs = 1;
        assert_eq!(state.decide(), Some(waits));
        state.waits(waits, 8, None);
        assert_eq!(state.decide(), None, "it waits, and nobody else is there");
        state.progressed();
        assert_eq!(state.decide(), Some(waits));
        state.waits(waits, 8, Some(Duration::from_secs(1)));
        assert_eq!(state.decide(), Some(waits), "a second passes at once");
        assert!(state.now >= Duration::from_secs(1));
        state.waits(waits, 8, Some(Duration::from_secs(1)));
        let comes = state.enlist(Standing::Coming);
        assert_eq!(state.decide(), None);
        state.members[comes].standing = Standing::Ready;
        assert!(state.decide().is_some());
    }
}
