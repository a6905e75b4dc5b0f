# Debugging a driver in ntbench: gdb -x crates/ntbench/gdb/ntbench.gdb --args ntbench run --debugger some.sys …

# The machine is a child process, which the command starts from itself.
set follow-fork-mode child
set detach-on-fork on

# A driver's functions are known once it is mapped; ntbench says so before DriverEntry runs.
set breakpoint pending on

# What the processor tells a kernel arrives as signals that are ntbench's to answer: CR8, page faults, single steps, a time limit.
set confirm off
handle SIGSEGV SIGUSR2 nostop noprint pass

# A driver's code is Intel's.
set disassembly-flavor intel
