//! Request to route.
//!
//! Rules that demand certain hosts stand in maps by host, the others in a list; where many rules remain, those
//! that demand certain paths stand in maps by path. So a look-up asks few rules however many there are. What
//! remains a list: rules without host and path (headers, regular expressions).

/// Rules of an entry point, arranged.
mod index;

use std::net::IpAddr;
use std::sync::Arc;

use crate::compiled::{Route, Table};

pub(crate) use index::Index;

/// What rules ask of a request. Implemented by the session over its parsed head, without copying.
pub trait Request {
    /// As sent, case-sensitive.
    fn method(&self) -> &str;
    /// Host without port, lower case, no trailing dot; empty if the request has none.
    fn host(&self) -> &str;
    /// The routing path: percent-decoded except for reserved characters, cleaned; starts with `/`.
    fn path(&self) -> &str;
    /// The raw query, without `?`.
    fn query(&self) -> &str;
    /// Calls `visit` with each value of the header `name` (canonical or not; compare without case) until it returns
    /// true; returns whether one did.
    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// The address of the connection's peer.
    fn client_ip(&self) -> IpAddr;
}

/// An entry point's number: its place in the list of names that the table was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryPointId(pub u16);

impl Table {
    /// The route with the highest priority whose rule matches, on the entry point with this name. Routes of the
    /// same priority are tried in the order of their names. Allocates nothing (see [`crate::rule`] for the one
    /// exception).
    #[inline]
    pub fn route(&self, entry_point: EntryPointId, request: &impl Request) -> Option<&Arc<Route>> {
        self.index.entry_point(entry_point)?.route(request)
    }

    /// The number of the entry point with this name.
    pub fn entry_point(&self, name: &str) -> Option<EntryPointId> {
        let place = self.index.names().position(|known| known == name)?;
        u16::try_from(place).ok().map(EntryPointId)
    }
}

#[cfg(test)]
mod tests;
