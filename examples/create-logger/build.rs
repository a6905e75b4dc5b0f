//! Configures the link of `create_logger.sys`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    wdk_build::configure_wdk_binary_build()?;
    versioninfo::link_driver("create-logger.sys", "create-logger")
}
