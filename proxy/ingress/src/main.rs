//! The ingress proxy binary.

fn main() {}
