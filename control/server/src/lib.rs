//! The control plane: what is registered and discovered becomes snapshots that proxies serve.
//!
//! The walk of a change: a source (`serve`, `loops`) → `plane` (stored first where it must last) → `world`
//! (what is known) → `publish` (built, checked, guarded, numbered) → the streams of `serve` → ACK, NACK and drain
//! confirmations back into `proxies`. What it does not do yet: talk to other nodes, elect leaders, schedule.

/// Start and end.
pub mod boot;
/// What runs beside requests: the services file, checks, heartbeats.
pub mod loops;
/// The world behind a lock, with a store, events and a wake-up for those who follow it.
pub mod plane;
/// Who is connected, what each serves, which drains are confirmed.
pub mod proxies;
/// The world as snapshots.
pub mod publish;
/// Sockets: gRPC and HTTP on one port.
pub mod serve;
/// Settings and limits.
pub mod settings;
/// What proxies share: certificates, who orders them, challenges, ticket keys.
pub mod sharing;
/// What a caller must know to be given keys.
pub mod token;
/// The world as messages.
pub mod view;
/// The status page and its JSON.
pub mod web;
/// What is known, and every change to it.
pub mod world;
