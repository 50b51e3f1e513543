//! Seeded whole-proxy simulation.
