/* One way into each bug check, chosen by CASE. Before it goes wrong the driver writes down what the four parameters must
 * be, where a crash dump has it: numbers, addresses of its own, or one of the kinds below. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

IMPORT void KeBugCheckEx(u32 code, u64 p1, u64 p2, u64 p3, u64 p4);
IMPORT void KeLeaveGuardedRegion(void);
IMPORT void KeEnterCriticalRegion(void);
IMPORT void KeEnterGuardedRegion(void);
IMPORT void KeInitializeMutex(void *mutex, u32 level);
IMPORT NTSTATUS PsCreateSystemThread(void *handle, u32 access, void *attributes, void *process, void *id, void *routine, void *context);
IMPORT u64 MmSystemRangeStart;
IMPORT NTSTATUS KeWaitForSingleObject(void *object, u32 reason, u8 mode, u8 alertable, void *timeout);
IMPORT NTSTATUS KeWaitForMultipleObjects(u32 count, void **objects, u32 kind, u32 reason, u8 mode, u8 alertable, void *timeout, void *blocks);
IMPORT NTSTATUS KeDelayExecutionThread(u8 mode, u8 alertable, long long *interval);
IMPORT void KeReleaseSpinLockFromDpcLevel(u64 *lock);
IMPORT void *IoAllocateMdl(void *address, u32 length, u8 secondary, u8 quota, void *irp);
IMPORT void IoBuildPartialMdl(void *source, void *target, void *address, u32 length);
IMPORT void ObfDereferenceObject(void *object);
IMPORT NTSTATUS ZwOpenKey(void *handle, u32 access, void *attributes);
IMPORT NTSTATUS ObReferenceObjectByHandle(void *handle, u32 access, void *type, u8 mode, void **object, void *information);
IMPORT void *CmKeyObjectType;
IMPORT void *MmLockPagableDataSection(void *address);
IMPORT void *ExAllocatePool2(u64 flags, u64 size, u32 tag);
IMPORT void ExFreePoolWithTag(void *block, u32 tag);
IMPORT NTSTATUS KeExpandKernelStackAndCalloutEx(void (*callout)(void *), void *parameter, u64 size, u8 wait, void *context);
IMPORT void *IoAllocateIrp(char stack, u8 quota);
IMPORT void IoFreeIrp(void *irp);
IMPORT u8 IoCancelIrp(void *irp);
IMPORT NTSTATUS IofCallDriver(void *device, void *irp);
IMPORT void IofCompleteRequest(void *irp, char boost);
IMPORT NTSTATUS IoCreateDevice(void *driver, u32 extension, void *name, u32 type, u32 flags, u8 exclusive, void **device);
IMPORT void ExRaiseStatus(NTSTATUS status);
IMPORT NTSTATUS ZwClose(void *handle);
IMPORT u8 KfRaiseIrql(u8 level);
IMPORT void KeLowerIrql(u8 level);
IMPORT void KeInitializeDpc(void *dpc, void *routine, void *context);
IMPORT u8 KeInsertQueueDpc(void *dpc, void *one, void *two);
IMPORT NTSTATUS ExInitializeResourceLite(void *resource);
IMPORT void ExReleaseResourceLite(void *resource);
IMPORT void ExQueueWorkItem(void *item, u32 queue);
IMPORT NTSTATUS PsTerminateSystemThread(NTSTATUS status);
IMPORT void IoGetStackLimits(u64 *low, u64 *high);
IMPORT void FltObjectDereference(void *object);
IMPORT void *IoGetCurrentProcess(void);
IMPORT void KeStackAttachProcess(void *process, void *state);
IMPORT void KeUnstackDetachProcess(void *state);

/* Kinds of parameters: an address in this driver's code, a stack pointer of this thread's; a CONTEXT, an EXCEPTION_RECORD
 * and a KTRAP_FRAME of the exception. */
#define CODE 0xC0DE000000000001ull
#define STACK 0xC0DE000000000002ull
#define CONTEXT 0xC0DE000000000003ull
#define RECORD 0xC0DE000000000004ull
#define TRAP 0xC0DE000000000005ull
/* Statuses in 0x1E and 0x7E have their sign carried on. */
#define CARRIED 0xFFFFFFFF00000000ull
/* The contents of the page table entry of the first parameter's page. */
#define PTE 0xC0DE000000000006ull

__attribute__((section("EXPECT"))) volatile u64 expected[4] = { 1, 1, 1, 1 };
#define EXPECT(p1, p2, p3, p4) (expected[0] = (u64)(p1), expected[1] = (u64)(p2), expected[2] = (u64)(p3), expected[3] = (u64)(p4))

#define TAG 0x656E694D
#define VIOLATION 0xC0000005ull
#define NOTHING 0x123450000ull
#define WILD 0xFFFFF80012345678ull
#define THREAD __readgsqword(0x188)
static inline u64 __readgsqword(u32 at) { u64 value; __asm__ volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"((u64)at)); return value; }
static NOINLINE void touch(u64 address) { (void)*(volatile u32 *)address; }
static NOINLINE void store(u64 address) { *(volatile u8 *)address = 1; }
static NOINLINE void overflow(void) { __asm__ volatile("mov $1, %%edx\n\tmov $1, %%ecx\n\tdiv %%ecx" : : : "rax", "rcx", "rdx"); }
static NOINLINE void divide(void) { __asm__ volatile("xor %%ecx, %%ecx\n\tdiv %%ecx" : : : "rax", "rcx", "rdx"); }
static NOINLINE u64 recurse(u64 depth) { volatile u8 frame[0x200]; frame[0] = (u8)depth; return recurse(depth + 1) + frame[0]; }
static u64 object[2][32], lock;
static u8 data[16] = { 0xC3 };
static const volatile u64 constant = 7;
static void *driver;
static void routine(void *one, void *two, void *three, void *four) { (void)one, (void)two, (void)three, (void)four; }
static void fails(void *address) { store((u64)address); }
static void raises(void *unused) { (void)unused; KfRaiseIrql(2); }
static void ends(void *unused) { (void)unused; PsTerminateSystemThread(0); }
static u64 dpc[16];
/* What is expected: of an exception without an address, of one with, and of a fault that is none at this level. */
static void interrupt(void *one, void *two, void *three, void *four)
{
    (void)one, (void)two, (void)three, (void)four;
    if (CASE == 0x201E) EXPECT(CARRIED | 0xC000009A, CODE, 0, 0), ExRaiseStatus((NTSTATUS)0xC000009A);
    if (CASE == 0x301E) EXPECT(CARRIED | 0xC0000094, CODE, 0, 0), divide();
    if (CASE == 0x10C7) EXPECT(4, interrupt, 0, 0xFFFF0000), KeEnterGuardedRegion();
    if (CASE == 0x20D1) EXPECT(NOTHING, 2, 1, CODE), store(NOTHING);
}
/* A thread that ends with a mutex. */
static u64 mutex[7];
static void keeps(void *unused)
{
    (void)unused;
    KeInitializeMutex(mutex, 0);
    KeWaitForSingleObject(mutex, 0, 0, 0, 0);
    EXPECT(THREAD, mutex, 0, 0);
}
static long long while_ = -10;
static const struct { u16 length, room; const u16 *text; } machine = { 34, 34, u"\\Registry\\Machine" };

NOINLINE void run(void)
{
    void *block, *other, *objects[4] = { object[0], object[0], object[0], object[0] };
    switch (CASE) {
    case 0x01: EXPECT(CODE, 0, 0x1FFFF, 0); KeEnterCriticalRegion(); KeLeaveGuardedRegion(); break;
    case 0x05: EXPECT(object, IoGetCurrentProcess(), 0, 0); KeStackAttachProcess(object, object[1]); break;
    case 0x06: EXPECT(object[1], 0, 0, 0); KeUnstackDetachProcess(object[1]); break;
    case 0x0A: EXPECT(8, 2, 1, CODE); KeWaitForSingleObject(object[0], 0, 0, 0, 0); break;
    case 0x0C: EXPECT(0, 0, 0, 0); KeWaitForMultipleObjects(4, objects, 0, 0, 0, 0, 0, 0); break;
    case 0x10: EXPECT(&lock, 0, 0, 0); KfRaiseIrql(2); KeReleaseSpinLockFromDpcLevel(&lock); break;
    case 0x12:
        block = IoAllocateMdl(data, 16, 0, 0, 0), other = IoAllocateMdl(data, 16, 0, 0, 0);
        EXPECT(0, block, object[1], 0);
        IoBuildPartialMdl(block, other, object[1], 0);
        break;
    case 0x18: EXPECT(0, object[0], 0, 0); ObfDereferenceObject(object[0]); break;
    case 0x1018: case 0x2018:
        /* A key's references: one too few while its handle is open, and after its end. */
        ZwOpenKey(&block, 0x20019, (u64[]){ 48, 0, (u64)&machine, 0x240, 0, 0 });
        ObReferenceObjectByHandle(block, 0, CmKeyObjectType, 0, &other, 0);
        if (CASE == 0x2018) ZwClose(block);
        EXPECT(CmKeyObjectType, other, CASE == 0x1018 ? 2 : 0, 0);
        for (;;) ObfDereferenceObject(other);
    case 0x19: case 0xC1:
        block = ExAllocatePool2(0x40, 24, TAG);
        if (CASE == 0x19) EXPECT(0x20, block, (u64)block + 24, 0); else EXPECT(block, (u64)block + 24, 0, 0x24);
        store((u64)block + 24);
        ExFreePoolWithTag(block, TAG);
        break;
    case 0x1A: EXPECT(0x1234, NOTHING, 0, 0); MmLockPagableDataSection((void *)NOTHING); break;
    case 0x1E: EXPECT(CARRIED | VIOLATION, CODE, 1, NOTHING); KeExpandKernelStackAndCalloutEx(fails, (void *)NOTHING, 0x6000, 0, 0); break;
    case 0x201E: case 0x301E: case 0x20D1: case 0x10C7:
        KeInitializeDpc(dpc, (void *)interrupt, 0);
        KeInsertQueueDpc(dpc, 0, 0);
        for (;;) KeDelayExecutionThread(0, 0, &while_);
    case 0x35:
        block = IoAllocateIrp(1, 0);
        IoCreateDevice(driver, 0, 0, 0x22, 0, 0, &other);
        *((char *)block + 67) = 1;
        EXPECT(block, 0, 0, 0);
        IofCallDriver(other, block);
        break;
    case 0x3B: EXPECT(VIOLATION, CODE, CONTEXT, 0); touch(NOTHING); break;
    case 0x103B: EXPECT(0xC000009A, CODE, CONTEXT, 0); ExRaiseStatus((NTSTATUS)0xC000009A); break;
    case 0x203B: EXPECT(VIOLATION, CODE, CONTEXT, 0); IoBuildPartialMdl(object, object, object, 0); break;
    case 0x44: EXPECT(object[0], 0, 0, 0); IofCompleteRequest(object[0], 0); break;
    case 0x48:
        block = IoAllocateIrp(1, 0);
        *(void **)((u8 *)block + 104) = (void *)routine;
        EXPECT(block, routine, 0, 0);
        IoCancelIrp(block);
        break;
    case 0x50: EXPECT(WILD, 0, CODE, 2); touch(WILD); break;
    case 0x1050: EXPECT(WILD, 2, CODE, 2); store(WILD); break;
    case 0x2050: IoGetStackLimits((u64 *)&object[0][0], (u64 *)&object[0][1]); EXPECT(object[0][0] - 8, 0, CODE, 2); touch(object[0][0] - 8); break;
    case 0x3050: EXPECT(WILD, 2, CODE, 2); IoGetStackLimits((u64 *)WILD, (u64 *)object); break;
    case 0x7E: EXPECT(CARRIED | VIOLATION, CODE, RECORD, CONTEXT); touch(NOTHING); break;
    case 0x107E: EXPECT(CARRIED | 0xC000009A, CODE, RECORD, CONTEXT); ExRaiseStatus((NTSTATUS)0xC000009A); break;
    case 0x207E: EXPECT(CARRIED | VIOLATION, CODE, RECORD, CONTEXT); IoBuildPartialMdl(object, object, object, 0); break;
    case 0x307E: EXPECT(CARRIED | 0xC0000094, CODE, RECORD, CONTEXT); divide(); break;
    case 0x407E: EXPECT(CARRIED | 0x80000003, CODE, RECORD, CONTEXT); __asm__ volatile("int3"); break;
    case 0x507E: EXPECT(CARRIED | 0xC0000095, CODE, RECORD, CONTEXT); overflow(); break;
    case 0x7F: IoGetStackLimits((u64 *)&object[0][0], (u64 *)&object[0][1]); EXPECT(8, STACK, object[0][0], 0); recurse(1); break;
    case 0x93: EXPECT(0xFFFFFFFF80001234, 1, 0, 0); ZwClose((void *)0xFFFFFFFF80001234); break;
    case 0xB8: EXPECT(THREAD, 0, STACK, 0); KfRaiseIrql(2); KeDelayExecutionThread(0, 0, &while_); break;
    case 0xBE: EXPECT(&constant, PTE, 0, 0); store((u64)&constant); break;
    case 0x10BE: EXPECT(run, PTE, 0, 0); store((u64)run); break;
    case 0xC2: block = ExAllocatePool2(0x40, 24, TAG); EXPECT(7, 0, TAG, block); ExFreePoolWithTag(block, TAG); ExFreePoolWithTag(block, TAG); break;
    case 0x50C2: EXPECT(0x40, 0x10000, MmSystemRangeStart, 0); ExFreePoolWithTag((void *)0x10000, TAG); break;
    case 0x10C2: EXPECT(0x46, object, 0, 0); ExFreePoolWithTag(object, TAG); break;
    case 0x20C2: block = ExAllocatePool2(0x40, 24, TAG); EXPECT(0xA, block, TAG, 'xxxx'); ExFreePoolWithTag(block, 'xxxx'); break;
    case 0x30C2: block = ExAllocatePool2(0x100, 24, TAG); EXPECT(9, 2, 1, block); KfRaiseIrql(2); ExFreePoolWithTag(block, TAG); break;
    case 0x40C2: EXPECT(8, 2, 1, 24); KfRaiseIrql(2); ExAllocatePool2(0x100, 24, TAG); break;
    case 0xC4: KfRaiseIrql(2); EXPECT(0x30, 2, 1, 0); KfRaiseIrql(1); break;
    case 0x10C4: EXPECT(0x31, 0, 2, 0); KeLowerIrql(2); break;
    case 0xC7:
        block = ExAllocatePool2(0x40, 128, TAG);
        KeInitializeDpc((u8 *)block + 64, (void *)routine, 0);
        KfRaiseIrql(2);
        KeInsertQueueDpc((u8 *)block + 64, 0, 0);
        EXPECT(1, (u64)block + 64, block, (u64)block + 128);
        ExFreePoolWithTag(block, TAG);
        break;
    case 0xC8: EXPECT(0x20002, 0, 0, 0); KeExpandKernelStackAndCalloutEx(raises, 0, 0x1000, 0, 0); break;
    case 0xC9: EXPECT(1, object, 0, 0); IoFreeIrp(object); break;
    case 0x10C9: block = IoAllocateIrp(1, 0); EXPECT(4, object, 0, 0); IofCallDriver(object, block); break;
    case 0xCE: EXPECT(GONE, 0, CODE, 0); touch(GONE); break;
    case 0xD1: KfRaiseIrql(2); EXPECT(WILD, 2, 1, CODE); store(WILD); break;
    case 0x10D1: block = ExAllocatePool2(0x100, 24, TAG); KfRaiseIrql(2); EXPECT(block, 2, 0, CODE); touch((u64)block); break;
    case 0xD5: block = ExAllocatePool2(0x40, 24, TAG); ExFreePoolWithTag(block, TAG); EXPECT((u64)block + 8, 1, CODE, 0); store((u64)block + 8); break;
    case 0xD6: block = ExAllocatePool2(0x40, 0x1000, TAG); EXPECT((u64)block + 0x1000, 0, CODE, 0); touch((u64)block + 0x1000); break;
    case 0xE3: ExInitializeResourceLite(object[0]); EXPECT(object[0], THREAD, 0, 0); ExReleaseResourceLite(object[0]); break;
    case 0xE4:
        object[0][2] = (u64)routine;
        EXPECT(1, object[0], 0, 0);
        for (;;) ExQueueWorkItem(object[0], 1);
    case 0xF5: EXPECT(0x6E, object, 0, 0); FltObjectDereference(object); break;
    case 0xFC: EXPECT(data, PTE, 0, 0); ((void (*)(void))data)(); break;
    case 0x10FC: block = ExAllocatePool2(0x40, 24, TAG); EXPECT(block, PTE, 0, 0); ((void (*)(void))block)(); break;
    case 0x107: EXPECT(THREAD, 0, 0, 0); KeExpandKernelStackAndCalloutEx(ends, 0, 0x1000, 0, 0); break;
    case 0x8A:
        PsCreateSystemThread(&block, 0x1FFFFF, 0, 0, 0, keeps, 0);
        for (;;) KeDelayExecutionThread(0, 0, &while_);
    case 0x139: EXPECT(3, TRAP, RECORD, 0); __asm__ volatile("int $0x29" : : "c"(3)); break;
    /* What a driver ends the machine with itself. */
    case 0xC5: case 0xE2: case 0xF7: EXPECT(1, 2, 3, 4); KeBugCheckEx(CASE, 1, 2, 3, 4); break;
    }
}

NTSTATUS DriverEntry(void *object_, void *path)
{
    (void)path;
    driver = object_;
    if (!(USER)) run();
    return 0;
}
