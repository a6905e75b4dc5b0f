//! The `ntbench` command.

fn main() {
    ntbench::host_main();
}
