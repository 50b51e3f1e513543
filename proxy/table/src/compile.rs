//! Snapshot to table; unchanged objects keep their identity.

use std::sync::Arc;

use crate::check::Report;
use crate::compiled::Table;
use crate::snapshot::Snapshot;

/// An entry point of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPointSpec {
    /// Its name.
    pub name: String,
    /// Whether routers that name no entry point are served here. If no entry point says so, all do, as in Traefik.
    pub default: bool,
}

/// Slot numbers in use.
#[derive(Clone, Debug, Default)]
pub struct Slots {}

/// Makes the table that workers look routes up in. `report` is what [`crate::check::check`] said about `snapshot`.
pub fn compile(
    snapshot: Arc<Snapshot>,
    report: &Report,
    entry_points: &[EntryPointSpec],
    previous: Option<&Table>,
) -> Table {
    let _ = (report, entry_points, previous);
    Table {
        version: snapshot.version,
        snapshot,
        routes: vec![],
        services: vec![],
        index: crate::lookup::Index {},
        slots: Slots {},
    }
}
