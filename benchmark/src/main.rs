//! `headroom-bench`: what a create costs, with and without the driver, and how that grows. `cargo xtask bench` builds the
//! drivers and runs it.

#![forbid(unsafe_code)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod bench;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    ntbench::host_main();
    bench::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "ntbench runs drivers on Linux on x86-64 only; on Windows, `headroom run` measures on the machine itself"
    );
    std::process::ExitCode::from(2)
}
