/* Pool, lookaside lists, tables and memory descriptor lists, misused in DriverEntry. */
#include "rules.h"

static DECLSPEC_ALIGN(16) UCHAR Lists[2 * sizeof(NPAGED_LOOKASIDE_LIST) + 16];
#define LIST ((PNPAGED_LOOKASIDE_LIST)Lists)
#define LATE_LIST ((PNPAGED_LOOKASIDE_LIST)(Lists + 8))
static RTL_GENERIC_TABLE Table;

static VOID Initialise(PNPAGED_LOOKASIDE_LIST list, ULONG tag)
{
    ExInitializeNPagedLookasideList(list, NULL, NULL, 0, 64, tag, 0);
}

static RTL_GENERIC_COMPARE_RESULTS NTAPI Compare(PRTL_GENERIC_TABLE table, PVOID left, PVOID right)
{
    ULONG a = *(ULONG *)left, b = *(ULONG *)right;
    UNREFERENCED_PARAMETER(table);
    return a < b ? GenericLessThan : a > b ? GenericGreaterThan : GenericEqual;
}

static PVOID NTAPI AllocateEntry(PRTL_GENERIC_TABLE table, CLONG bytes)
{
    UNREFERENCED_PARAMETER(table);
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes, TAG);
}

static VOID NTAPI FreeEntry(PRTL_GENERIC_TABLE table, PVOID entry)
{
    UNREFERENCED_PARAMETER(table);
    ExFreePoolWithTag(entry, TAG);
}

static VOID Tables(VOID)
{
    PVOID key = NULL;
    ULONG value;

    RtlInitializeGenericTable(&Table, Compare, AllocateEntry, FreeEntry, NULL);
    for (value = 1; value < 4; value++)
        RtlInsertElementGenericTable(&Table, &value, sizeof(value), NULL);
    RtlEnumerateGenericTableWithoutSplaying(&Table, &key);
    value = 1;
    RtlDeleteElementGenericTable(&Table, &value);
    RtlEnumerateGenericTableWithoutSplaying(&Table, &key); /* here: table-restart-key */
    for (value = 2; value < 4; value++)
        RtlDeleteElementGenericTable(&Table, &value);
}

static VOID Memory(VOID)
{
    volatile UCHAR *block;
    PMDL mdl;

    if (IS("crt-invalid-parameter"))
        wcscpy_s(NULL, 4, L"text"); /* here */
    else if (IS("pool-leak"))
        Left = ExAllocatePool2(POOL_FLAG_PAGED, 100, TAG); /* here */
    else if (IS("pool-tag: none"))
        ExFreePool(ExAllocatePool2(POOL_FLAG_PAGED, 100, 0)); /* here */
    else if (IS("pool-flags"))
        Left = ExAllocatePool2(0, 100, TAG); /* here */
    else if (IS("pool-zero-bytes"))
        ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPool, 0, TAG), TAG); /* here */
    else if (IS("pool-exhausted")) {
        PVOID *last = NULL, *next;
        while ((next = ExAllocatePool2(POOL_FLAG_NON_PAGED, 1 << 20, TAG)) != NULL) { /* here */
            *next = last;
            last = next;
        }
        for (; last; last = next) {
            next = *last;
            ExFreePoolWithTag(last, TAG);
        }
    } else if (IS("pool-use-after-free: without special pool")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG); /* here */
        ExFreePoolWithTag((PVOID)block, TAG);
        block[8] = 1;
    } else if (IS("0xD5: used after it was freed")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        ExFreePoolWithTag((PVOID)block, TAG);
        block[8] = 1; /* here */
    } else if (IS("0xD6: overrun")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4096, TAG);
        block[4096] = 1; /* here */
    } else if (IS("0xC1: overrun by less than a page's rest")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        block[100] = 1;
        ExFreePoolWithTag((PVOID)block, TAG); /* here */
    } else if (IS("0xC1: underrun")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        block[-1] = 1;
        ExFreePoolWithTag((PVOID)block, TAG); /* here */
    } else if (IS("0x19: overrun without special pool")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        block[100] = 1;
        ExFreePoolWithTag((PVOID)block, TAG); /* here */
    } else if (IS("0xC2: freed twice")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        ExFreePoolWithTag((PVOID)block, TAG);
        ExFreePoolWithTag((PVOID)block, TAG); /* here */
    } else if (IS("0xC2: freed by another tag")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        ExFreePoolWithTag((PVOID)block, 'xxxx'); /* here */
    } else if (IS("lookaside-alignment: and 0x7E")) {
        ExInitializeNPagedLookasideList(LATE_LIST, NULL, NULL, 0, 64, TAG, 0); /* here */
        ExDeleteNPagedLookasideList(LATE_LIST);
    } else if (IS("pool-tag: lookaside list")) {
        ExInitializeNPagedLookasideList(LIST, NULL, NULL, 0, 64, 0, 0); /* here */
        ExDeleteNPagedLookasideList(LIST);
    } else if (IS("lookaside-initialised-twice")) {
        Initialise(LIST, TAG);
        ExInitializeNPagedLookasideList(LIST, NULL, NULL, 0, 64, TAG, 0); /* here */
        ExDeleteNPagedLookasideList(LIST);
    } else if (IS("lookaside-unknown"))
        ExDeleteNPagedLookasideList(LIST); /* here */
    else if (IS("lookaside-not-deleted"))
        ExInitializeNPagedLookasideList(LIST, NULL, NULL, 0, 64, TAG, 0); /* here */
    else if (IS("lookaside-in-freed-pool")) {
        PNPAGED_LOOKASIDE_LIST list = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*list), TAG);
        Initialise(list, TAG);
        ExFreePoolWithTag(list, TAG); /* here */
    } else if (IS("table-restart-key"))
        Tables();
    else if (IS("mdl-leak"))
        Left = IoAllocateMdl(Lists, 16, FALSE, FALSE, NULL); /* here */
    else if (IS("mdl-freed-locked")) {
        mdl = IoAllocateMdl(Lists, 16, FALSE, FALSE, NULL);
        MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
        IoFreeMdl(mdl); /* here */
    } else if (IS("mdl-not-locked: unlocked")) {
        mdl = IoAllocateMdl(Lists, 16, FALSE, FALSE, NULL);
        MmUnlockPages(mdl); /* here */
        IoFreeMdl(mdl);
    } else if (IS("mdl-not-locked: mapped")) {
        mdl = IoAllocateMdl(Lists, 16, FALSE, FALSE, NULL);
        MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority); /* here */
        IoFreeMdl(mdl);
    } else if (IS("refused: user mapping")) {
        mdl = IoAllocateMdl(Lists, 16, FALSE, FALSE, NULL);
        MmBuildMdlForNonPagedPool(mdl);
        MmMapLockedPagesSpecifyCache(mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority); /* here */
        IoFreeMdl(mdl);
    }
}
