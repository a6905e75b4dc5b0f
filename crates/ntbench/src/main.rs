//! The `ntbench` command: any minifilter's .sys, from a shell.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cli;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    ntbench::host_main();
    cli::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "ntbench runs drivers on Linux on x86-64 only; on Windows, load them into a test machine"
    );
    std::process::ExitCode::from(2)
}
