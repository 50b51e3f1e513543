//! The gRPC contract of the control plane.
