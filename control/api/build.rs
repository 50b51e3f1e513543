//! Generates the gRPC code with protox: no protoc is needed to build.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

const CONTROL: &str = "proto/control.proto";
const ROUTING: &str = "../../proxy/table/proto/routing.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={CONTROL}");
    println!("cargo:rerun-if-changed={ROUTING}");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let control = compile(CONTROL)?;
    std::fs::write(out.join("control.bin"), control.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(true).compile_fds(control)?;

    // The messages are pancake-table's own, so that both planes share one set of types.
    let routing = compile(ROUTING)?;
    std::fs::write(out.join("routing.bin"), routing.encode_to_vec())?;
    if std::env::var_os("CARGO_FEATURE_ROUTING").is_some() {
        tonic_prost_build::configure()
            .extern_path(".pancake.routing.v1", "::pancake_table::proto")
            .compile_fds(routing)?;
    }
    Ok(())
}

fn compile(file: &str) -> Result<tonic_prost_build::FileDescriptorSet, Box<dyn Error>> {
    let include = Path::new(file).parent().expect("the proto files are in a directory");
    let set = protox::compile([file], [include])?;
    Ok(tonic_prost_build::FileDescriptorSet::decode(set.encode_to_vec().as_slice())?)
}
