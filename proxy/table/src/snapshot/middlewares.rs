//! What happens to requests on their way from a router to its service, and to their answers.

/// A named middleware. Routers name those that their requests go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Middleware {
    /// Qualified name.
    pub name: String,
    /// What it does.
    pub kind: MiddlewareKind,
}

/// What a middleware does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MiddlewareKind {
    /// gRPC-Web from browsers, gRPC to servers.
    GrpcWeb(GrpcWeb),
}

/// `grpcWeb`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcWeb {
    /// Origins whose scripts may read the answers: as browsers send them (`https://app.example`), or `*` for all.
    pub allow_origins: Vec<String>,
}
