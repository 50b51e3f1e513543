//! Who may come in: connections (and UDP sessions) of the process, of each entry point, and of each client address.
//!
//! The counts are shared by the workers and exact, because the kernel spreads one client over all of them: a share per
//! worker would refuse a client whose connections happen to meet one worker. They are atomics that are touched when a
//! connection comes and when it goes, never in between, and not at all where no limit is set. What this module does not
//! do: close what is refused, or count bytes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{ADDRESS_BUCKETS, ADDRESSES_PER_BUCKET};

/// How many there may be at a time. None means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Of all clients.
    pub all: Option<u64>,
    /// Of one client: of one IPv4 address, or of one IPv6 /64, which is the smallest network that a subscriber gets.
    pub per_address: Option<u64>,
}

/// Why somebody is not let in; its slug is the reason in metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process has enough connections.
    Process,
    /// The entry point has.
    EntryPoint,
    /// The address has, in the whole process.
    Address,
    /// The address has, on this entry point.
    AddressOnEntryPoint,
    /// Memory is nearly used up.
    Memory,
}

impl Refusal {
    /// All, in the order of their numbers.
    pub const ALL: [Refusal; 5] = [
        Refusal::Process,
        Refusal::EntryPoint,
        Refusal::Address,
        Refusal::AddressOnEntryPoint,
        Refusal::Memory,
    ];

    /// A stable slug.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Process => "max-connections",
            Refusal::EntryPoint => "max-connections-entry-point",
            Refusal::Address => "max-connections-per-address",
            Refusal::AddressOnEntryPoint => "max-connections-per-address-entry-point",
            Refusal::Memory => "memory",
        }
    }
}

/// The gate of a process, shared by its workers.
#[derive(Debug, Default)]
pub struct Admission {
    process: Gate,
    entry_points: Vec<Gate>,
    addresses: Option<Addresses>,
}

#[derive(Debug, Default)]
struct Gate {
    most: Most,
    open: AtomicU64,
}

impl Gate {
    /// Counts one more, unless there are enough.
    fn enter(&self) -> bool {
        let Some(most) = self.most.all else { return true };
        if self.open.fetch_add(1, Ordering::Relaxed) < most {
            return true;
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        false
    }

    fn leave(&self) {
        if self.most.all.is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What one connection counts in; to be given back by [`Admission::leave`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    process: Option<Place>,
    entry_point: Option<Place>,
}

impl Admission {
    /// With these limits, those of entry points by their number.
    pub fn new(process: Most, entry_points: Vec<Most>) -> Admission {
        let by_address = entry_points.iter().chain([&process]).any(|most| most.per_address.is_some());
        let gate = |most| Gate { most, open: AtomicU64::new(0) };
        Admission {
            process: gate(process),
            entry_points: entry_points.into_iter().map(gate).collect(),
            addresses: by_address.then(Addresses::default),
        }
    }

    /// Counts a connection of this entry point.
    pub(crate) fn enter(&self, entry_point: usize) -> Result<(), Refusal> {
        if !self.process.enter() {
            return Err(Refusal::Process);
        }
        if !self.entry_points.get(entry_point).is_none_or(Gate::enter) {
            self.process.leave();
            return Err(Refusal::EntryPoint);
        }
        Ok(())
    }

    /// Counts the same connection for its address, once that is known.
    pub(crate) fn enter_address(&self, entry_point: usize, client: IpAddr) -> Result<Counted, Refusal> {
        let Some(addresses) = &self.addresses else { return Ok(Counted::default()) };
        let mut counted = Counted::default();
        if let Some(most) = self.process.most.per_address {
            counted.process = addresses.enter(usize::MAX, client, most).map_err(|Full| Refusal::Address)?;
        }
        if let Some(most) = self.entry_points.get(entry_point).and_then(|gate| gate.most.per_address) {
            let entered = addresses.enter(entry_point, client, most);
            counted.entry_point = entered.map_err(|Full| {
                addresses.leave(counted.process);
                Refusal::AddressOnEntryPoint
            })?;
        }
        Ok(counted)
    }

    /// The connection is gone.
    pub(crate) fn leave(&self, entry_point: usize, counted: Counted) {
        self.process.leave();
        if let Some(gate) = self.entry_points.get(entry_point) {
            gate.leave();
        }
        if let Some(addresses) = &self.addresses {
            addresses.leave(counted.process);
            addresses.leave(counted.entry_point);
        }
    }
}

/// Bits of a cell that count; the rest tells addresses apart.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Connections by address, without locks: buckets of cells, each a tag (what the address hashes to) and a count. A cell
/// whose count is zero is free, so an address takes room only while it is here. An address that finds its bucket full is
/// let in uncounted: the attacker who fills buckets has so many addresses that no limit per address would stop him.
#[derive(Debug)]
struct Addresses {
    cells: Box<[AtomicU64]>,
    /// Its keys are secret: nobody can choose addresses that share a bucket.
    hash: RandomState,
}

/// A cell, numbered from 1, that holds a count of ours and so cannot change its tag.
#[derive(Clone, Copy, Debug)]
struct Place(NonZeroU32);

struct Full;

impl Default for Addresses {
    fn default() -> Addresses {
        let cells = (0..ADDRESS_BUCKETS * ADDRESSES_PER_BUCKET).map(|_| AtomicU64::new(0)).collect();
        Addresses { cells, hash: RandomState::new() }
    }
}

impl Addresses {
    /// `scope` keeps the counts of entry points apart.
    fn enter(&self, scope: usize, client: IpAddr, most: u64) -> Result<Option<Place>, Full> {
        let hash = self.hash.hash_one((scope, network(client)));
        let first = hash as usize % ADDRESS_BUCKETS * ADDRESSES_PER_BUCKET;
        let tag = hash & !COUNT;
        let bucket = &self.cells[first..first + ADDRESSES_PER_BUCKET];
        loop {
            let mut sum = 0;
            let (mut mine, mut free) = (None, None);
            for (n, cell) in bucket.iter().enumerate() {
                let value = cell.load(Ordering::Relaxed);
                if value & COUNT == 0 {
                    free = free.or(Some((n, value)));
                } else if value & !COUNT == tag {
                    // Two cells of one address can come from two workers at once; the sum is right all the same.
                    sum += value & COUNT;
                    mine = mine.or(Some((n, value)));
                }
            }
            if sum >= most.min(COUNT - 1) {
                return Err(Full);
            }
            let Some((n, value)) = mine.or(free) else { return Ok(None) };
            let next = if mine.is_some() { value + 1 } else { tag | 1 };
            if bucket[n].compare_exchange(value, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(NonZeroU32::new((first + n + 1) as u32).map(Place));
            }
        }
    }

    fn leave(&self, place: Option<Place>) {
        if let Some(Place(n)) = place {
            self.cells[n.get() as usize - 1].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What counts as one client.
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        // Never below 2^32, but for addresses that nobody has.
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_process_and_each_entry_point_take_so_many() {
        let three = Most { all: Some(3), per_address: None };
        let two = Most { all: Some(2), per_address: None };
        let gate = Admission::new(three, vec![two, Most::default()]);
        assert_eq!([gate.enter(0), gate.enter(0)], [Ok(()), Ok(())]);
        assert_eq!(gate.enter(0), Err(Refusal::EntryPoint));
        assert_eq!([gate.enter(1), gate.enter(1)], [Ok(()), Err(Refusal::Process)]);
        gate.leave(0, Counted::default());
        assert_eq!([gate.enter(0), gate.enter(0)], [Ok(()), Err(Refusal::Process)]);
    }

    #[test]
    fn an_address_takes_so_many_and_an_ipv6_network_is_one_address() {
        let most = |per_address| Most { all: None, per_address: Some(per_address) };
        let gate = Admission::new(most(3), vec![most(2), Most::default()]);
        let one = gate.enter_address(0, ip("10.0.0.1")).unwrap();
        gate.enter_address(0, ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(gate.enter_address(0, ip("10.0.0.1")).err(), Some(Refusal::AddressOnEntryPoint));
        gate.enter_address(1, ip("10.0.0.1")).unwrap();
        assert_eq!(gate.enter_address(1, ip("10.0.0.1")).err(), Some(Refusal::Address));
        gate.enter_address(1, ip("10.0.0.2")).unwrap();
        gate.leave(0, one);
        gate.enter_address(0, ip("10.0.0.1")).unwrap();
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            gate.enter_address(1, ip(host)).unwrap();
        }
        assert_eq!(gate.enter_address(1, ip("2001:db8::4:4")).err(), Some(Refusal::Address));
        gate.enter_address(1, ip("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn counts_of_many_workers_are_exact() {
        let most = Most { all: Some(50), per_address: Some(40) };
        let gate = Admission::new(most, vec![Most::default()]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000u32 {
                        let client = IpAddr::from((round % 5).to_be_bytes());
                        if gate.enter(0).is_err() {
                            continue;
                        }
                        let counted = gate.enter_address(0, client).unwrap();
                        gate.leave(0, counted);
                    }
                });
            }
        });
        assert_eq!(gate.process.open.load(Ordering::Relaxed), 0);
        let left = gate.addresses.as_ref().unwrap().cells.iter();
        assert_eq!(left.map(|cell| cell.load(Ordering::Relaxed) & COUNT).sum::<u64>(), 0);
    }

    #[test]
    fn a_full_bucket_lets_in_uncounted() {
        let gate = Admission::new(Most { all: None, per_address: Some(1) }, vec![]);
        let addresses = gate.addresses.as_ref().unwrap();
        for cell in &addresses.cells {
            cell.store(1 | 1 << 40, Ordering::Relaxed);
        }
        for _ in 0..2 {
            assert!(gate.enter_address(0, ip("10.0.0.1")).unwrap().process.is_none());
        }
    }
}
