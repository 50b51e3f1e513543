//! Objects of the previous table by key.

use std::sync::Arc;

use crate::map::Map;

/// Finds objects by name, fast if they are asked for in about the order that they stand in: snapshots of a
/// provider mostly keep theirs. A map is built on the first miss only.
pub(crate) struct Finder<'a, T> {
    items: &'a [Arc<T>],
    key: fn(&'a T) -> &'a str,
    next: usize,
    map: Option<Map<&'a str, usize>>,
}

impl<'a, T> Finder<'a, T> {
    pub(crate) fn new(items: &'a [Arc<T>], key: fn(&'a T) -> &'a str) -> Finder<'a, T> {
        Finder { items, key, next: 0, map: None }
    }

    /// The place of the object with this key. Of several with the same key the next or else the first.
    pub(crate) fn find(&mut self, key: &str) -> Option<usize> {
        let of = |item: &'a Arc<T>| (self.key)(item);
        let place = if self.items.get(self.next).is_some_and(|item| of(item) == key) {
            self.next
        } else {
            let map = self.map.get_or_insert_with(|| {
                self.items.iter().enumerate().rev().map(|(place, item)| (of(item), place)).collect()
            });
            *map.get(key)?
        };
        self.next = place + 1;
        Some(place)
    }
}
