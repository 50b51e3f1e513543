//! Load scenarios against peers.

fn main() {}
