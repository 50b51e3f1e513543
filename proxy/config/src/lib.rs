//! Configuration text to snapshots and process settings, with source spans.
