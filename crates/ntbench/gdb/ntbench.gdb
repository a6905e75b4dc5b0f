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

# Where the bench called driver code, the driver that made the bench do it is further up, often on another stack segment. The words
# that lead there are those that `enter` in src/gate.rs saves on the host's stack; the first is found by the processor's block
# (src/cpu/pcr.rs: host_rsp, and low, the bounds of the segment that the thread is on).
python
import gdb
from gdb.unwinder import Unwinder

class Crossing(Unwinder):
    BLOCK, LOW, MOST = 0x10000, 0x10050, 4096

    class Id:
        def __init__(self, sp, pc):
            self.sp, self.pc = sp, pc

    def __init__(self):
        super().__init__("ntbench")

    def word(self, address):
        memory = gdb.selected_inferior().read_memory(address, 8)
        return int.from_bytes(memory.tobytes(), "little")

    # RIP's place and RBP in the driver above the call into a driver whose frame begins at sp; None: there is none.
    def above(self, gs, sp):
        host, newest = self.word(gs + self.BLOCK), self.word(gs + self.LOW)
        best, found = -1, None
        for _ in range(self.MOST):
            rbp, place, before = self.word(host), self.word(host + 0x10), self.word(host + 0x20)
            # Of the calls whose driver code has been as low as `newest`, the one nearest below sp.
            if best < newest <= sp:
                best, found = newest, (place, rbp)
            if place == 0:
                break
            newest, host = place, before
        return found if found and found[0] else None

    def __call__(self, pending):
        try:
            point = int(gdb.parse_and_eval("(unsigned long)&ntbench_return_point"))
            pc, sp = pending.read_register("rip"), pending.read_register("rsp")
            if int(pc) % 2**64 != point:
                return None
            gs = pending.read_register("gs_base")
            above = self.above(int(gs) % 2**64, int(sp) % 2**64)
        except gdb.error:
            return None
        if above is None:
            return None
        info, word = pending.create_unwind_info(self.Id(sp, pc)), gdb.lookup_type("unsigned long")
        values = {"rip": self.word(above[0]), "rsp": above[0] + 8, "rbp": above[1], "gs_base": int(gs)}
        for name, value in values.items():
            info.add_saved_register(name, gdb.Value(value).cast(word))
        return info

gdb.unwinder.register_unwinder(None, Crossing(), replace=True)
end
