//! Values by key, where a key that outlived its value finds nothing.

use slab::Slab;

/// Bits of a key: 32 of index, 24 of generation. The upper 8 are free for whoever packs more in.
const KEY_BITS: u32 = 56;
const GENERATION_MASK: u32 = (1 << 24) - 1;

/// A slab whose keys carry a generation. A stale key matches again only after 2^24 insertions.
pub(crate) struct Table<T> {
    slab: Slab<(u32, T)>,
    next_generation: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { slab: Slab::new(), next_generation: 0 }
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        let generation = self.next_generation;
        self.next_generation = (generation + 1) & GENERATION_MASK;
        let index = u32::try_from(self.slab.insert((generation, value))).expect("fewer than 2^32 values");
        u64::from(generation) << 32 | u64::from(index)
    }

    /// The value, unless it is gone. The upper 8 bits of the key are ignored.
    pub(crate) fn get(&mut self, key: u64) -> Option<&mut T> {
        let (generation, value) = self.slab.get_mut(key as u32 as usize)?;
        (*generation == (key >> 32) as u32 & GENERATION_MASK).then_some(value)
    }

    /// The value of a key whose holder has not removed it.
    pub(crate) fn held(&mut self, key: u64) -> &mut T {
        &mut self.slab[key as u32 as usize].1
    }

    /// Removes the value of a key whose holder has not removed it.
    pub(crate) fn remove(&mut self, key: u64) -> T {
        debug_assert!(key >> KEY_BITS == 0);
        self.slab.remove(key as u32 as usize).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_in_a_reused_place() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), "first");
        let second = table.insert("second");
        assert_eq!(first as u32, second as u32, "the place is reused");
        assert!(table.get(first).is_none());
        assert_eq!(table.get(second | 7 << KEY_BITS).copied(), Some("second"));
    }
}
