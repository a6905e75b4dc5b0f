/* A driver with guarded code. A bare gcc has no __try for this target, so what a compiler would make of one is written
 * out: functions with __C_specific_handler as their language handler and a scope table behind their unwind codes. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

IMPORT void ExRaiseStatus(NTSTATUS status);
IMPORT void ExRaiseAccessViolation(void);
IMPORT void ExRaiseDatatypeMisalignment(void);
IMPORT void ProbeForRead(const void *address, u64 length, u32 alignment);
IMPORT void ProbeForWrite(void *address, u64 length, u32 alignment);
IMPORT NTSTATUS KeExpandKernelStackAndCalloutEx(void (*callout)(void *), void *parameter, u64 size, u8 wait, void *context);
IMPORT void IoGetStackLimits(u64 *low, u64 *high);
IMPORT void KeBugCheckEx(u32 code, u64 p1, u64 p2, u64 p3, u64 p4);
IMPORT void *memcpy(void *to, const void *from, u64 count);
IMPORT extern u64 *MmHighestUserAddress;

struct record { u32 code, flags; struct record *nested; u64 address; u32 count; u64 information[15]; };
struct context { u8 before[0xF8]; u64 rip; u8 after[0x3D0]; };
struct pointers { struct record *record; struct context *context; };

volatile u64 result[16];
/* A user address where nothing is, and a system address where nothing is. */
#define NOTHING ((void *)0x123450000ull)
#define SYSTEM ((void *)0xFFFFF80012345678ull)

/* u64 NAME(u64 (*f)(u64), u64 argument): f(argument) in a guarded range; the exception's code if it is taken.
 * FILTER and TARGET as they stand in the scope table. Saves and clobbers two registers and an XMM register of its own. */
#define GUARDED(NAME, FILTER, TARGET) \
    __asm__(".text\n.globl " #NAME "\n.def " #NAME "; .scl 2; .type 32; .endef\n.seh_proc " #NAME "\n" #NAME ":\n" \
            "push %rbx\n.seh_pushreg %rbx\npush %r12\n.seh_pushreg %r12\nsub $0x38, %rsp\n.seh_stackalloc 0x38\n" \
            "movaps %xmm6, 0x20(%rsp)\n.seh_savexmm %xmm6, 0x20\n.seh_endprologue\n" \
            "mov $0x5678, %ebx\nmovq %rbx, %xmm6\nmov %rcx, %rax\nmov %rdx, %rcx\n" \
            "1: call *%rax\nnop\n2: jmp 4f\n" \
            "3: mov %eax, %eax\ncmp $0x5678, %rbx\njne 5f\nmovq %xmm6, %rcx\ncmp %rcx, %rbx\njne 5f\n" \
            "4: movaps 0x20(%rsp), %xmm6\nadd $0x38, %rsp\npop %r12\npop %rbx\nret\n5: mov $0xBAD, %eax\njmp 4b\n" \
            ".seh_handler __C_specific_handler, @except, @unwind\n.seh_handlerdata\n.long 1\n.rva 1b\n.rva 2b\n" \
            FILTER "\n" TARGET "\n.text\n.seh_endproc\n"); \
    u64 NAME(u64 (*f)(u64), u64 argument)

#define EXECUTE ".long 1"
#define HANDLER ".rva 3b"

GUARDED(guarded, EXECUTE, HANDLER);
GUARDED(filtered, ".rva filter", HANDLER);
GUARDED(finally, ".rva finally_block", ".long 0");

/* Clobbers what a function must preserve, and reads its argument. */
u64 clobber(u64 argument);
__asm__(".text\n.globl clobber\n.def clobber; .scl 2; .type 32; .endef\n.seh_proc clobber\nclobber:\n"
        "push %rbp\n.seh_pushreg %rbp\nsub $0x60, %rsp\n.seh_stackalloc 0x60\n"
        "lea 0x20(%rsp), %rbp\n.seh_setframe %rbp, 0x20\nmov %rbx, 0x30(%rbp)\n.seh_savereg %rbx, 0x50\n"
        "mov %r12, 0x28(%rbp)\n.seh_savereg %r12, 0x48\nmovaps %xmm6, (%rbp)\n.seh_savexmm %xmm6, 0x20\n"
        ".seh_endprologue\nsub $0x40, %rsp\n"
        "xor %ebx, %ebx\nxor %r12d, %r12d\nxorps %xmm6, %xmm6\n"
        "mov $0x77, %eax\nmov (%rcx), %eax\n"
        "movaps (%rbp), %xmm6\nmov 0x28(%rbp), %r12\nmov 0x30(%rbp), %rbx\nlea 0x40(%rbp), %rsp\npop %rbp\nret\n.seh_endproc\n");

NOINLINE u64 touch(u64 address) { return *(volatile u32 *)address; }
NOINLINE u64 store(u64 address) { *(volatile u32 *)address = 1; return 1; }

/* What the filter answers, and what it saw. */
volatile int answer;
int filter(struct pointers *pointers, void *frame) {
    result[8]++;
    result[9] = pointers->record->code;
    result[10] = pointers->record->information[0];
    result[11] = pointers->record->information[1];
    result[12] = (u64)frame;
#ifdef CASE_filter_fails
    result[13] = guarded(touch, (u64)NOTHING + 0x40);
#elif defined(CASE_filter_stops)
    KeBugCheckEx(0xE2, 1, 2, 3, 4);
#endif
    /* Behind `mov (%rcx),%eax`. */
    if (answer < 0) pointers->context->rip += 2;
    return answer;
}

void finally_block(u8 abnormal, void *frame) { result[4] = 0x10 + abnormal; result[5] = (u64)frame; result[6]++; }

#if defined(CASE_handled)
NTSTATUS run(void) {
    result[0] = guarded(clobber, (u64)NOTHING);
    result[1] = guarded(store, 0x10);
    result[2] = guarded(touch, (u64)result);
    return 0;
}

#elif defined(CASE_filter) || defined(CASE_filter_fails) || defined(CASE_filter_stops)
/* ANSWER comes from the command line. */
NOINLINE u64 ask(u64 address) { return filtered(clobber, address); }
NTSTATUS run(void) {
    answer = ANSWER;
    result[0] = guarded(ask, (u64)NOTHING);
    return 0;
}

#elif defined(CASE_finally)
NOINLINE u64 inner(u64 address) { return finally(touch, address); }
NTSTATUS run(void) {
    result[0] = guarded(inner, (u64)NOTHING);
    return 0;
}

#elif defined(CASE_raise)
NOINLINE u64 raise(u64 status) { ExRaiseStatus((NTSTATUS)status); return 7; }
NOINLINE u64 violate(u64 unused) { ExRaiseAccessViolation(); return unused; }
NOINLINE u64 misalign(u64 unused) { ExRaiseDatatypeMisalignment(); return unused; }
NTSTATUS run(void) {
    result[0] = guarded(raise, 0xC000009A);
    result[1] = guarded(violate, 1);
    result[2] = guarded(misalign, 1);
    return 0;
}

#elif defined(CASE_probe)
NOINLINE u64 read(u64 address) { ProbeForRead((void *)address, 0x10, 4); return 1; }
NOINLINE u64 write(u64 address) { ProbeForWrite((void *)address, 0x10, 4); return 1; }
NTSTATUS run(void) {
    result[0] = guarded(read, (u64)NOTHING);
    result[1] = guarded(read, (u64)NOTHING + 2);
    result[2] = guarded(read, (u64)SYSTEM);
    result[3] = guarded(write, (u64)NOTHING);
    result[4] = guarded(read, (u64)result);
    result[5] = (u64)MmHighestUserAddress;
    return 0;
}

#elif defined(CASE_copy)
static u8 local[64];
NOINLINE u64 from(u64 address) { memcpy(local, (void *)address, 16); return 1; }
NOINLINE u64 to(u64 address) { memcpy((void *)address, local, 16); return 1; }
NOINLINE u64 caught(u64 address) { return filtered(from, address); }
NTSTATUS run(void) {
    answer = 1;
    result[0] = guarded(caught, (u64)NOTHING);
    result[1] = filtered(to, (u64)NOTHING + 8);
    result[2] = guarded(from, (u64)result);
    return 0;
}

#elif defined(CASE_copy_system)
static u8 local[64];
NOINLINE u64 from(u64 address) { memcpy(local, (void *)address, 16); return 1; }
NTSTATUS run(void) { return (NTSTATUS)guarded(from, (u64)SYSTEM); }

#elif defined(CASE_divide)
volatile u32 zero;
NOINLINE u64 divide(u64 value) { return (u32)value / zero; }
NTSTATUS run(void) { result[0] = guarded(divide, 5); return 0; }

#elif defined(CASE_system)
NTSTATUS run(void) { return (NTSTATUS)guarded(touch, (u64)SYSTEM); }

#elif defined(CASE_unhandled)
NTSTATUS run(void) { ExRaiseStatus((NTSTATUS)0xC000009A); return 0; }

#elif defined(CASE_callout)
NOINLINE void callout(void *address) { touch((u64)address); }
NOINLINE u64 expand(u64 address) { return (u32)KeExpandKernelStackAndCalloutEx(callout, (void *)address, 0x6000, 0, 0); }
NTSTATUS run(void) { return (NTSTATUS)guarded(expand, (u64)NOTHING); }

#elif defined(CASE_raised)
NOINLINE u64 high(u64 address) { u64 irql = 2; __asm__ volatile("mov %0, %%cr8" : : "r"(irql)); return touch(address); }
NTSTATUS run(void) { return (NTSTATUS)guarded(high, (u64)NOTHING); }

#elif defined(CASE_low)
/* An exception where the stack has room for the trap frame, but not for the kernel to look for a handler. */
NOINLINE u64 deep(u64 address) {
    volatile u8 frame[0x100];
    u64 low, high;
    frame[0] = 1;
    IoGetStackLimits(&low, &high);
    if ((u64)frame - low > 0x800) return deep(address) + frame[0];
    return guarded(touch, address) + frame[0];
}
NTSTATUS run(void) { return (NTSTATUS)deep((u64)NOTHING); }

#elif defined(CASE_many)
NTSTATUS run(void) {
    for (u64 i = 0; i < COUNT; i++) result[0] += guarded(clobber, (u64)NOTHING) == 0xC0000005;
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
