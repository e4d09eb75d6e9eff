//! Compiles `mesh/v1/*.proto` in pure Rust, so that no protoc is needed on a user's machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "mesh/v1/facts.proto",
        "mesh/v1/agent.proto",
        "mesh/v1/operator.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("mesh_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=mesh");
    Ok(())
}
