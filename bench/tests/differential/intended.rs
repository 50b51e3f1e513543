//! Where Pancake answers otherwise than Traefik on purpose, and why. A difference that is gone must be taken off.

/// Name of the case, and the reason.
pub const INTENDED: &[(&str, &str)] = &[];
