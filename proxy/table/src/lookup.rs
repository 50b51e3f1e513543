//! Request to route.

use std::net::IpAddr;

use crate::compiled::{Route, Table};
use std::sync::Arc;

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
    /// Calls `visit` with each value of the header `name` (canonical or not; compare without case) until it returns true; returns whether one did.
    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// The address of the connection's peer.
    fn client_ip(&self) -> IpAddr;
}

/// Rules of each entry point, arranged for look-up.
pub struct Index {}

impl Table {
    /// The route with the highest priority whose rule matches, on the entry point with this name.
    pub fn route(&self, entry_point: EntryPointId, request: &impl Request) -> Option<&Arc<Route>> {
        let _ = (entry_point, request, &self.index);
        None
    }
}

/// An entry point's number: its place in the list of names that the table was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryPointId(pub u16);
