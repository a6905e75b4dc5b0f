//! `fuzz`: seeded runs of the targets, and single inputs again.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod command;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    // Machines are processes that this executable starts from itself.
    ntbench::host_main();
    command::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    eprintln!("fuzz runs on x86-64 Linux, as ntbench does");
}
