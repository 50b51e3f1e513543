//! Generates the gRPC code with protox: no protoc is needed to build.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;
use tonic_prost_build::FileDescriptorSet;

const CONTROL: &str = "proto/control.proto";
const ROUTING: &str = "../../proxy/table/proto/routing.proto";
const CERTIFICATES: &str = "../../proxy/table/proto/certificates.proto";

/// Fields that hold an enum, which JSON shows by name.
const STATES: [&str; 4] =
    ["Instance.state", "RegisterResponse.state", "DeregisterResponse.state", "RenewResponse.state"];
const MODES: [&str; 2] = ["Instance.mode", "RegisterRequest.mode"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={CONTROL}");
    println!("cargo:rerun-if-changed={ROUTING}");
    println!("cargo:rerun-if-changed={CERTIFICATES}");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let control = compile(CONTROL)?;
    std::fs::write(out.join("control.bin"), control.encode_to_vec())?;
    let mut builder = tonic_prost_build::configure()
        .btree_map(".")
        .type_attribute(".", "#[derive(serde::Serialize)] #[serde(rename_all = \"camelCase\")]")
        // Oneofs are shown as a field of their own name beside the others.
        .field_attribute("Event.kind", "#[serde(flatten)]")
        .field_attribute("Check.kind", "#[serde(flatten)]")
        .field_attribute(
            "InstanceChanged.previous",
            "#[serde(serialize_with = \"crate::json::maybe_state\")]",
        );
    for field in STATES {
        builder = builder.field_attribute(field, "#[serde(serialize_with = \"crate::json::state\")]");
    }
    for field in MODES {
        builder = builder.field_attribute(field, "#[serde(serialize_with = \"crate::json::mode\")]");
    }
    builder.compile_fds(control)?;

    // The messages are pancake-table's own, so that both planes share one set of types.
    if std::env::var_os("CARGO_FEATURE_ROUTING").is_some() {
        tonic_prost_build::configure()
            .extern_path(".pancake.routing.v1", "::pancake_table::proto")
            .compile_fds(compile(ROUTING)?)?;
        tonic_prost_build::configure()
            .extern_path(".pancake.certificates.v1", "::pancake_table::certificates")
            .compile_fds(compile(CERTIFICATES)?)?;
    }
    Ok(())
}

fn compile(file: &str) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let include = Path::new(file).parent().ok_or("the proto files are in a directory")?;
    let set = protox::compile([file], [include])?;
    Ok(FileDescriptorSet::decode(set.encode_to_vec().as_slice())?)
}
