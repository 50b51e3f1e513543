//! Hash maps with a fast hash function. Nothing may depend on their order.
//!
//! Keys come from configurations; requests only ask. So a requester cannot make keys collide, and who writes
//! configurations would have to guess the seed of the process.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;
pub(crate) type Set<K> = HashSet<K, RandomState>;

/// An empty map with room for `capacity` keys.
pub(crate) fn map_with_room<K, V>(capacity: usize) -> Map<K, V> {
    Map::with_capacity_and_hasher(capacity, RandomState::default())
}
