//! The header in the repository is what the source says.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Set, the test writes the header.
const BLESS: &str = "EDGEPRUNE_BLESS";

#[test]
fn the_header_is_made_from_the_source() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = root.join("include/edgeprune.h");
    let bindings = cbindgen::Builder::new()
        .with_src(root.join("src/lib.rs"))
        .with_config(cbindgen::Config::from_file(root.join("cbindgen.toml"))?)
        .generate()?;
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made)?;
    if std::env::var_os(BLESS).is_some() {
        fs::write(&header, &made)?;
    }
    assert!(
        fs::read_to_string(&header)? == made,
        "{} is old: `{BLESS}=1 cargo test -p edgeprune-c` writes it anew",
        header.display()
    );
    Ok(())
}
