//! What a stretch surely has, whatever else comes by chance: done alone, before its programs and troublemakers begin. A soak in which
//! nothing was denied, or in which every create found a slot, would not show what becomes of those.

use ntbench::wire::When;

use crate::actor::{Act, hash};
use crate::ledger::{Broken, Invariant};
use crate::place::deepest;
use crate::round::{Outcome, compare};
use crate::settings::{Scope, denying, nesting, no_stack};
use crate::stage::Stage;

impl Stage {
    /// Does what belongs to `scope`, and returns how many opens were denied.
    pub(crate) fn begin(&mut self, scope: Scope, outcome: &mut Outcome) -> Result<u64, Broken> {
        let slots = self.ruler().config.log_capacity;
        match scope {
            Scope::Denying => {
                self.ruler().settle(Some(denying(slots)))?;
                self.machine.set_faults(vec![no_stack(When::Always)])?;
                let denied = self.open_deepest(true, outcome)?;
                self.machine.set_faults(Vec::new())?;
                if denied == 0 {
                    let text = "an open that got no stack was let through, where Deny is set";
                    return Err(Broken::new(Invariant::Denials, text));
                }
                Ok(denied)
            }
            // More creates than a short ring has slots, each of them under way until the one below it is done.
            Scope::Usual => {
                self.ruler().settle(Some(nesting(slots)))?;
                self.open_deepest(false, outcome)
            }
            // What runs in place nests no deeper than the caller's stack allows.
            Scope::InPlace => Ok(0),
        }
    }

    fn open_deepest(&mut self, may_deny: bool, outcome: &mut Outcome) -> Result<u64, Broken> {
        let Some((actor, twin)) = self.openers.first_mut() else {
            return Ok(0);
        };
        let act = Act::Look(deepest());
        let (ours, theirs) = (actor.carry_out(&act)?, twin.carry_out(&act)?);
        outcome.digest = hash(outcome.digest, format!("{act} {ours:?}").as_bytes());
        outcome.acts += 1;
        compare(&act, &ours, &theirs, may_deny)
    }
}
