//! What a connection does, on any engine.
