//! What a node knows of each node, in a few bytes.
//!
//! Two catalogs with equal digests hold the same records. Where they differ, `newer_than` says what to send. What
//! this module does not do: send it.

use std::collections::BTreeMap;

use pancake_model::instance::Record;
use pancake_model::name::NodeId;
use pancake_model::stamp::Stamp;

use crate::catalog::Catalog;

/// A summary of the records of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The newest record.
    pub newest: Stamp,
    /// How many, tombstones included.
    pub records: u32,
    /// Of (id, stamp, state) of all, in any order.
    pub hash: u64,
}

/// The summary of every node that has records.
pub fn digest(catalog: &Catalog) -> BTreeMap<NodeId, Summary> {
    let mut all: BTreeMap<NodeId, Summary> = BTreeMap::new();
    for record in catalog.records() {
        let summary = all.entry(record.instance.node.clone()).or_default();
        summary.newest = summary.newest.max(record.stamp);
        summary.records += 1;
        summary.hash ^= hash(record);
    }
    all
}

/// Records that a catalog with the digest `theirs` lacks. Where the newest stamps agree and the hashes do not,
/// something in between is missing, and all records of that node are returned.
pub fn newer_than(catalog: &Catalog, theirs: &BTreeMap<NodeId, Summary>) -> Vec<Record> {
    let ours = digest(catalog);
    let lacks = |record: &&Record| {
        let node = &record.instance.node;
        match (ours.get(node), theirs.get(node)) {
            (Some(our), Some(their)) if our == their => false,
            (Some(our), Some(their)) if our.newest > their.newest => {
                record.stamp > their.newest || our.records != their.records
            }
            _ => true,
        }
    };
    catalog.records().filter(lacks).cloned().collect()
}

/// FNV-1a: it is the same in every process, unlike the standard library's.
fn hash(record: &Record) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    eat(record.instance.id.as_str().as_bytes());
    eat(&record.stamp.incarnation.to_be_bytes());
    eat(&record.stamp.sequence.to_be_bytes());
    eat(&[record.state.code()]);
    hash
}
