//! The catalog, its sources and its health checks.
