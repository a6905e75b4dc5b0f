//! Configures the link of `create_logger.sys`.

fn main() -> Result<(), wdk_build::ConfigError> {
    wdk_build::configure_wdk_binary_build()?;

    // What wdk-build leaves open:
    for argument in [
        // The loader refuses a driver whose header checksum is wrong. link.exe writes it for every /DRIVER, lld only when told to.
        "/RELEASE",
        // Digests instead of times, so that the same source gives the same bytes.
        "/BREPRO",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    Ok(())
}
