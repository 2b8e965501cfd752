//! Recovery is this pure function of the ledger. There is no other recovery code.

use crate::ids::Epoch;
use crate::position::Checkpoint;
use crate::record::{LaneView, Planned, Staged};

/// What a worker that holds the lane does next.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one at a time, never in a collection")]
pub enum Next {
    /// Ask the source what is new after `from`, and record it as `planned(epoch)`.
    Plan { epoch: Epoch, from: Checkpoint },
    /// Read what was planned, stage it, and record `staged(epoch)`.
    Execute { planned: Planned },
    /// Make what was staged visible, and record `committed(epoch)`.
    Commit { planned: Planned, staged: Staged },
}

/// The next step of a lane.
///
/// # Panics
/// If the view breaks an invariant of the ledger (I1: `staged(e).from == staged(e-1).to`): continuing would lose or repeat rows.
pub fn decide(view: LaneView) -> Next {
    let (epoch, from) = match view.committed {
        Some((epoch, to)) => (epoch.next(), to),
        None => (Epoch::FIRST, Checkpoint::default()),
    };
    match (view.planned, view.staged) {
        (None, None) => Next::Plan { epoch, from },
        (Some(planned), staged) => {
            assert_eq!(planned.epoch, epoch, "I1: the planned epoch follows the last committed one");
            assert_eq!(planned.from, from, "I1: an epoch starts where the one before ended");
            match staged {
                None => Next::Execute { planned },
                Some(staged) => {
                    assert_eq!(staged.epoch, epoch, "I1: the staged epoch is the planned one");
                    assert_eq!(staged.from, planned.from, "I1: staged starts where planned does");
                    assert_eq!(staged.splits.len(), planned.splits.len(), "I1: one report per planned split");
                    Next::Commit { planned, staged }
                }
            }
        }
        (None, Some(staged)) => panic!("I1: epoch {} is staged but was never planned", staged.epoch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;
    use crate::position::{PartitionId, Position};

    fn at(n: u64) -> Checkpoint {
        let mut c = Checkpoint::default();
        c.set(PartitionId("files".into()), Position::Number(n));
        c
    }
    fn planned(epoch: u64, from: Checkpoint) -> Planned {
        Planned { epoch: Epoch(epoch), generation: Generation(1), at: chrono::DateTime::UNIX_EPOCH, from, to: at(9), splits: vec![] }
    }

    #[test]
    fn a_new_lane_plans_its_first_epoch_from_the_beginning() {
        assert_eq!(decide(LaneView::default()), Next::Plan { epoch: Epoch(1), from: Checkpoint::default() });
    }

    #[test]
    fn a_planned_epoch_is_executed_and_a_staged_one_committed() {
        let committed = Some((Epoch(3), at(5)));
        let p = planned(4, at(5));
        let view = LaneView { committed: committed.clone(), planned: Some(p.clone()), staged: None };
        assert_eq!(decide(view), Next::Execute { planned: p.clone() });
        let s = Staged {
            epoch: Epoch(4),
            generation: Generation(1),
            at: p.at,
            from: at(5),
            to: at(9),
            splits: vec![],
            committables: vec![],
            replaced: vec![],
            schema: None,
            drift: None,
        };
        let view = LaneView { committed, planned: Some(p.clone()), staged: Some(s.clone()) };
        assert_eq!(decide(view), Next::Commit { planned: p, staged: s });
    }

    #[test]
    #[should_panic(expected = "I1")]
    fn a_gap_is_not_survived() {
        decide(LaneView { committed: Some((Epoch(3), at(5))), planned: Some(planned(4, at(6))), staged: None });
    }
}
