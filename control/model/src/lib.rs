//! Nodes, instances, services: plain data and state machines.
