// The messages and the service's trait, of our own proto; protox needs no protoc.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../../service/api/proto/myservice/v1";
    println!("cargo::rerun-if-changed={root}/records.proto");
    let files = protox::compile([format!("{root}/records.proto")], [root])?;
    tonic_prost_build::configure().build_client(false).compile_fds(files)?;
    Ok(())
}
