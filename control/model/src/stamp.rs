//! The order of records: (incarnation of the owning node, sequence within it).
//!
//! No wall clock takes part: a node that starts again has a higher incarnation, whatever its clock says.

use serde::{Deserialize, Serialize};

/// Orders the records of one node. Compared field by field, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Grows with each start of the node; kept in its store.
    pub incarnation: u64,
    /// Grows with each record that the node writes.
    pub sequence: u64,
}

impl Stamp {
    /// The stamp of the next record of the same incarnation.
    pub fn next(self) -> Stamp {
        Stamp { incarnation: self.incarnation, sequence: self.sequence + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_restart_beats_every_sequence(i in 0..u64::MAX - 1, a: u64, b: u64) {
            let later = Stamp { incarnation: i + 1, sequence: a };
            prop_assert!(later > Stamp { incarnation: i, sequence: b }, "a restart lost against its past");
        }
    }
}
