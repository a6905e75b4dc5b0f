/* A driver whose DriverEntry does one thing, chosen when it is compiled. What it saw lies in globals that the test
 * reads as a debugger would. Declarations are its own: it must build with a bare compiler. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

IMPORT void IoGetStackLimits(u64 *low, u64 *high);
IMPORT NTSTATUS KeExpandKernelStackAndCalloutEx(void (*callout)(void *), void *parameter, u64 size, u8 wait, void *context);
IMPORT void KeBugCheckEx(u32 code, u64 p1, u64 p2, u64 p3, u64 p4);

volatile u64 result[16];

static inline u64 sp(void) { u64 value; __asm__ volatile("mov %%rsp, %0" : "=r"(value)); return value; }

static void limits(volatile u64 *into) {
    u64 low, high;
    IoGetStackLimits(&low, &high);
    into[0] = low;
    into[1] = high;
    into[2] = sp();
}

static void callout(void *parameter) {
    limits((volatile u64 *)parameter);
}

#if defined(CASE_limits)
NOINLINE NTSTATUS run(void) { limits(result); return 0; }

#elif defined(CASE_expand)
/* SIZE, WAIT, CONTEXT come from the command line. */
NOINLINE NTSTATUS run(void) {
    limits(result);
    result[9] = (u32)KeExpandKernelStackAndCalloutEx(callout, (void *)&result[3], SIZE, WAIT, (void *)(u64)CONTEXT);
    limits(&result[6]);
    return 0;
}

#elif defined(CASE_nest)
/* Expands again and again inside its own callout. */
static void again(void *parameter) {
    u64 depth = (u64)parameter;
    result[0] = depth;
    if (depth < DEPTH)
        result[1] = (u32)KeExpandKernelStackAndCalloutEx(again, (void *)(depth + 1), 0x6000, 0, 0);
}
NOINLINE NTSTATUS run(void) { again((void *)1); return 0; }

#elif defined(CASE_recurse)
NOINLINE u64 recurse(u64 depth) {
    volatile u8 frame[0x200];
    frame[0] = (u8)depth;
    result[0] = depth;
    return recurse(depth + 1) + frame[0];
}
NOINLINE NTSTATUS run(void) { return (NTSTATUS)recurse(1); }

#elif defined(CASE_guard)
/* Writes to the guard page with a stack pointer that is good. */
NOINLINE NTSTATUS run(void) { limits(result); *(volatile u64 *)(result[0] - 8) = 1; return 0; }

#elif defined(CASE_null)
NOINLINE void touch(volatile u32 *address) { *address = 1; }
NOINLINE NTSTATUS run(void) { touch((u32 *)0x10); return 0; }

#elif defined(CASE_wild)
NOINLINE NTSTATUS run(void) { return *(volatile NTSTATUS *)0xFFFFF80012345678ull; }

#elif defined(CASE_lost)
/* Loses its stack pointer, then touches anything. */
NOINLINE NTSTATUS run(void) { __asm__ volatile("mov $0x12345678, %%rsp\n\tpush %%rax" : : : "memory"); return 0; }

#elif defined(CASE_readonly)
const u64 constant = 7;
NOINLINE NTSTATUS run(void) { *(volatile u64 *)&constant = 8; return 0; }

#elif defined(CASE_execute)
static u8 data[16] = {0xC3};
NOINLINE NTSTATUS run(void) { ((void (*)(void))data)(); return 0; }

#elif defined(CASE_jump)
NOINLINE NTSTATUS run(void) { ((void (*)(void))0xFFFFDEAD00000000ull)(); return 0; }

#elif defined(CASE_divide)
volatile u32 zero;
NOINLINE NTSTATUS run(void) { return (NTSTATUS)(5 / zero); }

#elif defined(CASE_breakpoint)
NOINLINE NTSTATUS run(void) { __asm__ volatile("int3"); return 0; }

#elif defined(CASE_fastfail)
NOINLINE NTSTATUS run(void) { __asm__ volatile("int $0x29" : : "c"(3)); return 0; }

#elif defined(CASE_undefined)
NOINLINE NTSTATUS run(void) { __asm__ volatile("ud2"); return 0; }

#elif defined(CASE_privileged)
NOINLINE NTSTATUS run(void) { limits(result); __asm__ volatile("cli"); return 0; }

#elif defined(CASE_badargument)
NOINLINE NTSTATUS run(void) { u64 high; IoGetStackLimits((u64 *)0x18, &high); return 0; }

#elif defined(CASE_noncanonical)
NOINLINE NTSTATUS run(void) { u64 high; IoGetStackLimits((u64 *)0xDADADADADADADADAull, &high); return 0; }

#elif defined(CASE_bugcheck)
NOINLINE void deep(u64 n) { volatile u8 frame[0x100]; frame[0] = 1; if (n) deep(n - 1); else KeBugCheckEx(0xE2, 1, 2, 3, 4); frame[1] = 2; }
NOINLINE NTSTATUS run(void) { deep(3); return 0; }

#elif defined(CASE_irql)
NOINLINE NTSTATUS run(void) {
    u64 irql = 2, old, now;
    __asm__ volatile("mov %%cr8, %0" : "=r"(old));
    __asm__ volatile("mov %0, %%cr8" : : "r"(irql));
    __asm__ volatile("mov %%cr8, %0" : "=r"(now));
    result[0] = old;
    result[1] = now;
    result[2] = (u32)KeExpandKernelStackAndCalloutEx(callout, (void *)&result[3], 0x6000, 1, 0);
    __asm__ volatile("mov %0, %%cr8" : : "r"(old));
    return 0;
}

#elif defined(CASE_raised)
NOINLINE void raise(void *parameter) { u64 irql = 2; __asm__ volatile("mov %0, %%cr8" : : "r"(irql)); (void)parameter; }
NOINLINE NTSTATUS run(void) { return KeExpandKernelStackAndCalloutEx(raise, 0, 0x1000, 0, 0); }

#elif defined(CASE_escape)
NOINLINE void fail(void *parameter) { *(volatile u32 *)parameter = 1; }
NOINLINE NTSTATUS run(void) { return KeExpandKernelStackAndCalloutEx(fail, (void *)0x20, 0x6000, 0, 0); }

#elif defined(CASE_gs)
NOINLINE NTSTATUS run(void) {
    u64 self, prcb, thread;
    __asm__ volatile("mov %%gs:0x18, %0" : "=r"(self));
    __asm__ volatile("mov %%gs:0x20, %0" : "=r"(prcb));
    __asm__ volatile("mov %%gs:0x188, %0" : "=r"(thread));
    result[0] = prcb - self;
    result[1] = thread == *(u64 *)(prcb + 8);
    return 0;
}

#elif defined(CASE_chkstk)
IMPORT void __chkstk(void);
NOINLINE NTSTATUS run(void) {
    u64 before = 0x2468, size = SIZE, after;
    __asm__ volatile("sub $0x20, %%rsp\n\tcall *%3\n\tadd $0x20, %%rsp" : "=a"(after), "=d"(before)
        : "0"(size), "r"(&__chkstk), "1"(before) : "r10", "r11", "memory", "cc");
    result[0] = after;
    result[1] = before;
    return 0;
}

#elif defined(CASE_loop)
NOINLINE NTSTATUS run(void) { for (;;) result[0]++; return 0; }

#elif defined(CASE_call)
NOINLINE NTSTATUS run(void) { return ((NTSTATUS (*)(void))TARGET)(); }

#elif defined(CASE_wait)
IMPORT void KeInitializeEvent(void *event, u32 type, u8 state);
IMPORT NTSTATUS KeWaitForSingleObject(void *object, u32 reason, u8 mode, u8 alertable, void *timeout);
static u64 event[8];
NOINLINE NTSTATUS run(void) { KeInitializeEvent(event, 0, 0); return KeWaitForSingleObject(event, 0, 0, 0, 0); }

#elif defined(CASE_fail)
NOINLINE NTSTATUS run(void) { return (NTSTATUS)0xC000009A; }

#elif defined(CASE_unknown)
IMPORT void NoSuchFunction(void);
IMPORT void NorThisOne(void);
NOINLINE NTSTATUS run(void) { NoSuchFunction(); NorThisOne(); return 0; }

#elif defined(CASE_speed)
NOINLINE NTSTATUS run(void) {
    u64 low, high;
    for (u64 i = 0; i < COUNT; i++) IoGetStackLimits(&low, &high);
    result[0] = COUNT;
    return 0;
}

#elif defined(CASE_counted)
/* Called by the test. */
__declspec(dllexport) u64 count(u64 by) { result[0] += by; return result[0]; }
NTSTATUS run(void) { return 0; }

#elif defined(CASE_many)
/* Expands many times, one after the other. */
NOINLINE void nothing(void *parameter) { (void)parameter; }
NTSTATUS run(void) {
    for (u64 i = 0; i < COUNT; i++) result[0] = (u32)KeExpandKernelStackAndCalloutEx(nothing, 0, SIZE, 0, 0);
    return 0;
}
#else
#error "no such case"
#endif

NTSTATUS DriverEntry(void *driver, void *path) {
    (void)driver;
    (void)path;
    return run();
}
