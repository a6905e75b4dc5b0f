/* Guarded code as a compiler with __try makes it, one case for each build: what handlers see, in which order, and where
 * control goes on. What happened is written into `result`, which the test reads by its name. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

struct record { u32 code, flags; struct record *nested; void *address; u32 count; u64 information[15]; };
struct context { u64 home[6]; u32 flags, mxcsr; u16 segments[6]; u32 eflags; u64 debug[6], general[16], rip; u8 rest[0x3D0]; };
struct pointers { struct record *record; struct context *context; };

IMPORT void ExRaiseStatus(NTSTATUS status) __attribute__((noreturn));
IMPORT void RtlRaiseException(struct record *record);
IMPORT void RtlCaptureContext(struct context *context);
IMPORT void RtlRestoreContext(struct context *context, struct record *record);
IMPORT void *RtlLookupFunctionEntry(u64 pc, u64 *base, void *history);
IMPORT void *RtlVirtualUnwind(u32 kind, u64 base, u64 pc, void *function, struct context *context, void **data, u64 *frame, void *pointers);
IMPORT void RtlUnwindEx(void *frame, void *ip, struct record *record, u64 value, struct context *context, void *history);
IMPORT void *RtlPcToFileHeader(void *pc, void **base);
IMPORT u16 RtlCaptureStackBackTrace(u32 skip, u32 count, void **trace, u32 *hash);
IMPORT NTSTATUS __C_specific_handler(struct record *record, void *frame, struct context *context, void *dispatcher);
IMPORT NTSTATUS KeExpandKernelStackAndCalloutEx(void (*callout)(void *), void *parameter, u64 size, u8 wait, void *context);
IMPORT void RtlInitializeGenericTable(void *table, void *compare, void *allocate, void *release, void *context);
IMPORT void *RtlInsertElementGenericTable(void *table, void *buffer, u32 size, u8 *new);
IMPORT NTSTATUS IoCreateDevice(void *driver, u32 extension, void *name, u32 type, u32 flags, u8 exclusive, void **device);
IMPORT void IoDeleteDevice(void *device);
IMPORT void *IoAllocateIrp(char stack, u8 quota);
IMPORT void IoFreeIrp(void *irp);
IMPORT NTSTATUS IofCallDriver(void *device, void *irp);
IMPORT void *memcpy(void *to, const void *from, u64 count);
IMPORT void *ExAllocatePool2(u64 flags, u64 size, u32 tag);
IMPORT void *ExAllocatePoolWithTag(u32 type, u64 size, u32 tag);
IMPORT void *ExAllocatePoolWithQuotaTag(u32 type, u64 size, u32 tag);
IMPORT void IoGetStackLimits(u64 *low, u64 *high);
IMPORT void RtlCopyUnicodeString(void *to, const void *from);
IMPORT u64 RtlCompareMemory(const void *one, const void *two, u64 length);
IMPORT void *memchr(const void *memory, int c, u64 count);
IMPORT u64 wcslen(const u16 *text);
IMPORT void RtlInitUnicodeString(void *string, const u16 *text);

#define EXCEPTION_EXECUTE_HANDLER 1
#define EXCEPTION_CONTINUE_SEARCH 0
#define EXCEPTION_CONTINUE_EXECUTION (-1)
#define FIRST ((NTSTATUS)0xC0000099)
#define SECOND ((NTSTATUS)0xC000009A)

int _fltused;
volatile u64 result[32];
static volatile u32 step;
/* Notes what has happened, in the order in which it did. */
static void note(u64 what) { if (step < 32) result[step++] = what; }
volatile u32 *volatile nothing = (u32 *)0x123450000ull;

static int asked(u32 code, int answer, u64 what) { note(what); note(code); return answer; }

#if defined(CASE_nested_filter)
/* A filter that fails the first time: the frames above are asked about its exception, and so is the filter again. */
static volatile u32 fails = 1;
static int failing(struct pointers *pointers)
{
    note(0x100 + pointers->record->flags);
    if (fails-- == 1)
        ExRaiseStatus(SECOND);
    return EXCEPTION_CONTINUE_SEARCH;
}
static NOINLINE void inner(void)
{
    __try { note(1); ExRaiseStatus(FIRST); } __except (failing(_exception_info())) { note(99); }
}
static NOINLINE void middle(void)
{
    __try { inner(); } __finally { note(2); note(_abnormal_termination()); }
}
static int outermost(struct pointers *pointers)
{
    note(0x200 + pointers->record->flags);
    note((u32)pointers->record->code);
    return EXCEPTION_EXECUTE_HANDLER;
}
static void run(void)
{
    __try { middle(); } __except (outermost(_exception_info())) { note(3); note((u32)_exception_code()); }
}

#elif defined(CASE_nested_fault)
/* A page fault inside a filter, handled two functions further up; the code there goes on as it should, twice. */
static NOINLINE int reads(u32 code) { return code == (u32)FIRST ? (int)*nothing : 0; }
static NOINLINE u64 guarded(u64 value)
{
    u64 sum = value;
    __try { ExRaiseStatus(FIRST); } __except (reads((u32)_exception_code())) { sum += 1000; }
    return sum;
}
static NOINLINE u64 around(u64 value)
{
    u64 kept = value * 3;
    __try { kept += guarded(value); } __except (_exception_code() == 0xC0000005 ? 1 : 0) { kept += 7; }
    return kept;
}
static void run(void) { note(around(1)); note(around(2)); }

#elif defined(CASE_collided)
/* A __finally block fails while its frame is left for a handler further up: what was unwound is not unwound again, and
 * the frames between are asked about the second exception. */
static NOINLINE void lowest(void)
{
    __try { note(1); ExRaiseStatus(FIRST); } __finally { note(2); }
}
/* A call of which the compiler does not know that it never returns: it would forget what comes after. */
static void (*volatile raise)(NTSTATUS) = (void (*)(NTSTATUS))0;
static NOINLINE void fail(void) { raise(SECOND); step += 0; }
static NOINLINE void low(void)
{
    __try {
        /* What follows a call keeps its return address out of the next range. */
        __try { lowest(); step += 0; } __finally { note(3); fail(); step += 0; }
    } __finally { note(4); }
}
static NOINLINE void high(void)
{
    __try { low(); } __except (asked(_exception_code(), (u32)_exception_code() == (u32)SECOND, 0x10)) { note(5); }
}
static void run(void)
{
    raise = ExRaiseStatus;
    __try { high(); note(6); } __except (asked(_exception_code(), 1, 0x20)) { note(7); note((u32)_exception_code()); }
}

#elif defined(CASE_finally_handles)
/* A __finally block that handles its own exception disturbs nobody. */
static NOINLINE void lowest(void)
{
    __try { ExRaiseStatus(FIRST); }
    __finally { __try { note(1); note(*nothing); } __except (1) { note(2); note((u32)_exception_code()); } }
}
static void run(void) { __try { lowest(); } __except (1) { note(3); note((u32)_exception_code()); } }

#elif defined(CASE_filter_unhandled)
/* Nobody takes what a filter does. */
static NOINLINE int reads(void) { return (int)*nothing; }
static void run(void) { __try { ExRaiseStatus(FIRST); } __except (reads()) { note(99); } }

#elif defined(CASE_leave)
/* Leaving a __try by every door runs its __finally once. */
static NOINLINE int leaves(int how)
{
    int value = 0;
    __try {
        if (how == 1) __leave;
        value = 5;
        if (how == 2) return 20 + value;
    } __finally { note(10 + how); note(_abnormal_termination()); value = 6; }
    return value;
}
static void run(void) { for (int how = 0; how < 3; how++) note(leaves(how)); }

#elif defined(CASE_record)
/* A record of the driver's own: its parameters arrive, and a filter may go on behind the call. */
static int passes(struct pointers *pointers)
{
    note((u32)pointers->record->code); note(pointers->record->count); note(pointers->record->information[14]);
    note((u64)pointers->record->address == pointers->context->rip);
    return EXCEPTION_CONTINUE_EXECUTION;
}
static void run(void)
{
    struct record record = { .code = 0xE0000001, .count = 15 };
    record.information[14] = 0x1414;
    __try { RtlRaiseException(&record); note(1); } __except (passes(_exception_info())) { note(99); }
}

#elif defined(CASE_not_continuable)
static int goes_on(struct record *record)
{
    note(record->code);
    if (record->code == (u32)FIRST) return EXCEPTION_CONTINUE_EXECUTION;
    note(record->flags); note(record->nested->code);
    return EXCEPTION_CONTINUE_SEARCH;
}
static NOINLINE void inner(void) { __try { ExRaiseStatus(FIRST); note(98); } __except (goes_on(((struct pointers *)_exception_info())->record)) { note(99); } }
static void run(void) { __try { inner(); } __except (EXCEPTION_EXECUTE_HANDLER) { note(2); note((u32)_exception_code()); } }

#elif defined(CASE_never_continuable)
static void run(void) { __try { ExRaiseStatus(FIRST); } __except (EXCEPTION_CONTINUE_EXECUTION) { note(99); } }

#elif defined(CASE_breakpoint)
static NOINLINE void stop(void) { __asm__ volatile("int3" : : : "memory"); }
static void run(void) { __try { stop(); note(99); } __except (asked(_exception_code(), EXCEPTION_EXECUTE_HANDLER, (u32)_exception_code()), EXCEPTION_EXECUTE_HANDLER) { result[1] = 7; } }

#elif defined(CASE_continue)
/* A filter mends what the instruction stumbled over. */
static volatile u32 there = 0x55;
static NOINLINE u32 load(volatile u32 *from) { u32 value; __asm__ volatile("mov (%%rcx), %0" : "=r"(value) : "c"(from) : "memory"); return value; }
static int mends(struct pointers *pointers) { pointers->context->general[1] = (u64)&there; return EXCEPTION_CONTINUE_EXECUTION; }
static void run(void) { __try { note(load(nothing)); } __except (mends(_exception_info())) { note(99); } }

#elif defined(CASE_capture)
/* RtlCaptureContext, then back to it once. */
static volatile u32 times;
static void run(void)
{
    struct context context;
    RtlCaptureContext(&context);
    note(0x10 + times);
    note((context.flags & 0x10000B) == 0x10000B);
    if (times++ == 0)
        RtlRestoreContext(&context, 0);
    note(2);
}

#elif defined(CASE_walk)
/* A stack walk as drivers write it, and the one that is ready made: the same return addresses. */
static NOINLINE void walk(void)
{
    struct context context;
    void *frames[8], *trace[8], *data, *base;
    u64 frame, image, count = 0, same = 1;
    RtlCaptureContext(&context);
    while (count < 8) {
        void *function = RtlLookupFunctionEntry(context.rip, &image, 0);
        if (!function) break;
        frames[count++] = (void *)context.rip;
        RtlVirtualUnwind(0, image, context.rip, function, &context, &data, &frame, 0);
    }
    note(RtlPcToFileHeader(frames[0], &base) == (void *)image);
    u16 found = RtlCaptureStackBackTrace(0, 8, trace, 0);
    for (u64 i = 1; i < count && i < found; i++) same &= trace[i] == frames[i];
    note(count); note(found); note(same);
}
static NOINLINE void calls(void) { walk(); step += 0; }
static void run(void) { calls(); step += 0; }

#elif defined(CASE_unwind)
/* RtlUnwindEx as a language handler of a driver's own uses it: to a place in a frame further up. */
extern char landing[];
__asm__(".text\n.globl own_frame\n.def own_frame; .scl 2; .type 32; .endef\n.seh_proc own_frame\nown_frame:\n"
        "push %rbx\n.seh_pushreg %rbx\nsub $0x20, %rsp\n.seh_stackalloc 0x20\n.seh_endprologue\n"
        "mov $0x4321, %ebx\ncall deeper\nud2\n"
        ".globl landing\nlanding: mov %rax, %rcx\nmov %rbx, %rdx\ncall landed\nadd $0x20, %rsp\npop %rbx\nret\n"
        ".seh_handler own_handler, @except\n.seh_handlerdata\n.text\n.seh_endproc\n");
void own_frame(void);
void landed(u64 rax, u64 rbx) { note(rax); note(rbx); }
u32 own_handler(struct record *record, void *frame, struct context *context, void *dispatcher)
{
    note(0x30); note((u32)record->code);
    record->flags |= 2;
    RtlUnwindEx(frame, landing, record, 0x99, context, 0);
    note(99);
    return 1;
}
static NOINLINE void cleans(void) { __try { ExRaiseStatus(FIRST); } __finally { note(0x31); } }
void deeper(void) { cleans(); step += 0; }
static void run(void) { own_frame(); }

#elif defined(CASE_jump)
/* Out of a function that cleans up, to the one that called _setjmpex, whose registers are as they were; and without a frame,
 * past the cleaning up. */
IMPORT int _setjmp(void *buffer);
IMPORT int _setjmpex(void *buffer, void *frame);
IMPORT void longjmp(void *buffer, int value);
__attribute__((aligned(16))) u8 buffer[0x100];
#define JUMPER(NAME, SET) \
__asm__(".text\n.globl " #NAME "\n.def " #NAME "; .scl 2; .type 32; .endef\n.seh_proc " #NAME "\n" #NAME ":\n" \
        "push %rbx\n.seh_pushreg %rbx\nsub $0x40, %rsp\n.seh_stackalloc 0x40\nmovaps %xmm6, 0x20(%rsp)\n.seh_savexmm %xmm6, 0x20\n.seh_endprologue\n" \
        "mov $0x4321, %ebx\nmovq %rbx, %xmm6\nlea buffer(%rip), %rcx\nmov %rsp, %rdx\ncall *__imp_" SET "(%rip)\n" \
        "test %eax, %eax\njne 1f\ncall deeper\nud2\n" \
        "1: mov %eax, %ecx\nmov %rbx, %rdx\nmovq %xmm6, %r8\ncall landed\nmovaps 0x20(%rsp), %xmm6\nadd $0x40, %rsp\npop %rbx\nret\n.seh_endproc\n"); \
void NAME(void)
JUMPER(jumps, "_setjmpex");
JUMPER(skips, "_setjmp");
static volatile int value;
void landed(u64 rax, u64 rbx, u64 xmm) { note(rax); note(rbx); note(xmm); }
/* Calls of which the compiler does not know that they never return. */
static NOINLINE void leaps(void) { longjmp(buffer, value); step += 0; }
static NOINLINE void cleans(void) { __try { leaps(); step += 0; } __finally { note(2); note(_abnormal_termination()); } }
void deeper(void) { note(1); cleans(); step += 0; }
static void run(void)
{
    value = 0x99;
    jumps();
    value = 0;
    jumps();
    skips();
    /* A record of the driver's own that is one of a jump. */
    __try { longjmp((void *)nothing, 1); note(98); } __except (1) { note((u32)_exception_code()); }
}

#elif defined(CASE_cookie)
/* A handler as Microsoft's library has for functions with a stack cookie and a __try: statically linked, it looks at the cookie
 * and goes on to the imported handler. */
u32 checks_cookie(struct record *record, u64 frame, struct context *context, u64 *dispatcher)
{
    note(0x10 + (record->flags & 2) / 2);
    note(*(u64 *)(frame + 0x28) ^ frame);
    return (u32)__C_specific_handler(record, (void *)frame, context, dispatcher);
}
void body(void) { ExRaiseStatus(FIRST); step += 0; }
u32 filters(struct pointers *pointers, void *frame) { (void)frame; note((u32)pointers->record->code); return 1; }
__asm__(".text\n.globl protected\n.def protected; .scl 2; .type 32; .endef\n.seh_proc protected\nprotected:\n"
        "sub $0x38, %rsp\n.seh_stackalloc 0x38\n.seh_endprologue\n"
        "mov $0xC00C1E, %eax\nxor %rsp, %rax\nmov %rax, 0x28(%rsp)\n"
        "guarded_begin: call body\nnop\nguarded_end: ud2\nguarded_target: add $0x38, %rsp\nret\n"
        ".seh_handler checks_cookie, @except, @unwind\n.seh_handlerdata\n.long 1\n.rva guarded_begin\n.rva guarded_end\n.rva filters\n.rva guarded_target\n.long 0x2b\n.text\n.seh_endproc\n");
u32 protected(void);
static void run(void) { note(protected()); }

#elif defined(CASE_callout)
/* Inside a callout its own handlers are asked; one that is outside of it is not. */
static void callout(void *parameter)
{
    __try { note(*(volatile u32 *)parameter); } __except (1) { note(1); note((u32)_exception_code()); }
}
static void run(void)
{
    __try { note(KeExpandKernelStackAndCalloutEx(callout, (void *)nothing, 0x6000, 0, 0)); } __except (1) { note(99); }
}

#elif defined(CASE_kernel_reads)
/* What the kernel reads on a driver's behalf is guarded like the driver's own reads. */
static void run(void)
{
    u64 string[2] = { 1, 1 };
    __try { note(wcslen((u16 *)nothing)); } __except (1) { note(1); note((u32)_exception_code()); }
    __try { RtlInitUnicodeString(string, (u16 *)nothing); note(98); } __except (1) { note(2); note((u32)_exception_code()); }
    __try { RtlInitUnicodeString((void *)nothing, (u16 *)"a\0b\0\0"); note(97); } __except (1) { note(3); note((u32)_exception_code()); }
    __try { IoGetStackLimits((u64 *)nothing, string); note(96); } __except (1) { note(4); note((u32)_exception_code()); }
    __try { RtlCaptureContext((void *)nothing); note(95); } __except (1) { note(5); note((u32)_exception_code()); }
    __try { RtlRestoreContext((void *)nothing, 0); note(94); } __except (1) { note(6); note((u32)_exception_code()); }
    __try { RtlCopyUnicodeString(string, (void *)nothing); note(93); } __except (1) { note(7); note((u32)_exception_code()); }
    __try { note(RtlCompareMemory(string, (void *)nothing, 8)); } __except (1) { note(8); note((u32)_exception_code()); }
    __try { note((u64)memchr((void *)nothing, 1, 0x7FFFFFFFFFFF)); } __except (1) { note(9); note((u32)_exception_code()); }
}

#elif defined(CASE_kernel_reads_unguarded)
static void run(void) { note(wcslen((u16 *)nothing)); }

#elif defined(CASE_through)
/* An exception in a routine that the kernel's library calls goes to whoever called the library: filters first, then what was
 * entered on the way is left, then the caller goes on with the registers that it had. The table is in order afterwards. */
static u64 first[16], second[16], block[16];
static volatile u32 fault;
static void *raises(void *table, u32 bytes)
{
    (void)table, (void)bytes;
    __try { note(1); if (fault) note(*nothing); else ExRaiseStatus(FIRST); } __finally { note(2); }
    note(99);
    return 0;
}
static void *inserts(void *table, u32 bytes)
{
    u64 value = 1;
    (void)table, (void)bytes;
    __try { RtlInsertElementGenericTable(first, &value, 8, 0); note(98); } __finally { note(3); }
    return 0;
}
static void *gives(void *table, u32 bytes) { (void)table, (void)bytes; return block; }
static int compares(void *table, void *one, void *two) { (void)table, (void)one, (void)two; return 2; }
static NOINLINE u64 insert(void *table, u64 value)
{
    u64 kept = value * 3;
    u8 new = 7;
    __try { RtlInsertElementGenericTable(table, &value, 8, &new); note(97); } __except (asked(_exception_code(), 1, 0x10)) { kept += new; }
    return kept;
}
static void run(void)
{
    RtlInitializeGenericTable(first, compares, raises, 0, 0);
    RtlInitializeGenericTable(second, compares, inserts, 0, 0);
    note(insert(first, 5));
    fault = 1;
    note(insert(second, 6));
    first[0] = 0;
    RtlInitializeGenericTable(first, compares, gives, 0, 0);
    u64 value = 9;
    note(RtlInsertElementGenericTable(first, &value, 8, 0) != 0);
}

#elif defined(CASE_through_continue)
/* The library's caller may answer that the routine goes on. */
static u64 first[16];
static void *raises(void *table, u32 bytes)
{
    struct record record = { .code = 0xE0000001 };
    (void)table, (void)bytes;
    RtlRaiseException(&record);
    note(1);
    return 0;
}
static void run(void)
{
    u64 value = 1;
    RtlInitializeGenericTable(first, 0, raises, 0, 0);
    __try { note((u64)RtlInsertElementGenericTable(first, &value, 8, 0)); } __except (asked(_exception_code(), -1, 0x10)) { note(99); }
}

#elif defined(CASE_through_filter)
/* In a filter, for an exception of its own. */
static u64 first[16];
static void *raises(void *table, u32 bytes) { (void)table, (void)bytes; ExRaiseStatus(SECOND); note(98); return 0; }
static NOINLINE int filters(u32 code)
{
    u64 value = 1;
    note(code);
    __try { RtlInsertElementGenericTable(first, &value, 8, 0); note(97); } __except (1) { note((u32)_exception_code()); }
    return 1;
}
static NOINLINE int fails(void)
{
    static volatile u32 times;
    u64 value = 1;
    /* It is asked about its own exception, too. */
    return times++ == 0 && RtlInsertElementGenericTable(first, &value, 8, 0) != 0;
}
static void run(void)
{
    RtlInitializeGenericTable(first, 0, raises, 0, 0);
    __try { ExRaiseStatus(FIRST); } __except (filters(_exception_code())) { note(1); }
    /* And as a filter's own, for the frames above it. */
    __try {
        __try { ExRaiseStatus(FIRST); } __except (fails()) { note(96); }
    } __except (1) { note(2); note((u32)_exception_code()); }
}

#elif defined(CASE_through_driver)
/* Out of a dispatch routine to who sent it the packet. */
static void *object;
static NTSTATUS dispatches(void *device, void *irp) { (void)device, (void)irp; note(1); note(*nothing); return 0; }
static void run(void)
{
    void *device, *irp = IoAllocateIrp(1, 0);
    ((void **)((u8 *)object + 0x70))[0xE] = (void *)dispatches;
    IoCreateDevice(object, 0, 0, 0x22, 0, 0, &device);
    /* The next stack location: IoGetNextIrpStackLocation. */
    *(*(u8 **)((u8 *)irp + 0xB8) - 72) = 0xE;
    __try { IofCallDriver(device, irp); note(99); } __except (1) { note(2); note((u32)_exception_code()); }
    IoFreeIrp(irp);
    IoDeleteDevice(device);
}

#elif defined(CASE_completion)
/* Out of a completion routine there is no way. */
IMPORT NTSTATUS IoSetCompletionRoutineEx(void *device, void *irp, void *routine, void *context, u8 success, u8 error, u8 cancel);
IMPORT void IofCompleteRequest(void *irp, char boost);
static void *object;
static NOINLINE NTSTATUS completes(void *device, void *irp, void *context) { (void)device, (void)irp, (void)context; note(*nothing); return 0; }
static void run(void)
{
    void *device, *irp = IoAllocateIrp(1, 0);
    IoCreateDevice(object, 0, 0, 0x22, 0, 0, &device);
    IoSetCompletionRoutineEx(device, irp, (void *)completes, 0, 1, 1, 1);
    /* IoSetNextIrpStackLocation */
    *((u8 *)irp + 67) -= 1;
    *(u64 *)((u8 *)irp + 0xB8) -= 72;
    __try { IofCompleteRequest(irp, 0); } __except (1) { note(99); }
}

#elif defined(CASE_through_unhandled)
/* Nobody takes it: the machine ends where the exception was. */
static u64 first[16];
static NOINLINE void *raises(void *table, u32 bytes) { (void)table, (void)bytes; note(*nothing); return 0; }
static void run(void)
{
    u64 value = 1;
    RtlInitializeGenericTable(first, 0, raises, 0, 0);
    __try { RtlInsertElementGenericTable(first, &value, 8, 0); } __except (asked(_exception_code(), 0, 0x10)) { note(99); }
}

#elif defined(CASE_pool)
/* More than there is: NULL, or an exception for who asked for one. */
#define TOO_MUCH (1ull << 46)
static NOINLINE void ask(u32 way)
{
    static void *block;
    __try {
        block = way == 0 ? ExAllocatePool2(0x40, TOO_MUCH, 'looP') : way == 1 ? ExAllocatePool2(0x60, TOO_MUCH, 'looP') :
            way == 2 ? ExAllocatePoolWithTag(0x210, TOO_MUCH, 'looP') : way == 3 ? ExAllocatePoolWithQuotaTag(0x200, TOO_MUCH, 'looP') :
            ExAllocatePoolWithQuotaTag(0x208, TOO_MUCH, 'looP');
        note(block == 0);
    } __except (1) { note((u32)_exception_code()); }
}
static void run(void) { for (u32 way = 0; way < 5; way++) ask(way); }

#elif defined(CASE_deep)
/* Exceptions on the way through many frames, each of which cleans up. */
static NOINLINE u64 deep(u32 depth)
{
    u64 sum = depth;
    __try { if (depth == 0) ExRaiseStatus(FIRST); sum += deep(depth - 1); } __finally { result[30]++; }
    return sum;
}
static void run(void) { __try { deep(20); } __except (1) { note((u32)_exception_code()); } }
#else
#error "no such case"
#endif

NTSTATUS DriverEntry(void *driver, void *path)
{
    (void)driver, (void)path;
#if defined(CASE_through_driver) || defined(CASE_completion)
    object = driver;
#endif
    run();
    return 0;
}
