/* A filter that takes memory in several ways and gives everything back whatever fails; LEAKS and TRUSTS make it worse. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

typedef struct {
    u16 size, version; u32 flags; const void *contexts, *operations;
    void *unload, *setup, *query_teardown, *teardown_start, *teardown_complete, *generate, *normalize, *cleanup,
        *transaction, *normalize_ex, *section;
} FLT_REGISTRATION;

IMPORT NTSTATUS FltRegisterFilter(void *driver, const FLT_REGISTRATION *registration, void **filter);
IMPORT NTSTATUS FltStartFiltering(void *filter);
IMPORT void FltUnregisterFilter(void *filter);
IMPORT void *ExAllocatePool2(u64 flags, u64 size, u32 tag);
IMPORT void ExFreePoolWithTag(void *block, u32 tag);
IMPORT NTSTATUS KeExpandKernelStackAndCalloutEx(void (*callout)(void *), void *parameter, u64 size, u8 wait, void *context);

#define TAG 0x656E694D
#define NON_PAGED 0x40
static void *filter, *first, *second, *third;

NOINLINE static void *take(u64 size) {
    void *block = ExAllocatePool2(NON_PAGED, size, TAG);
    /* What only happens once the first attempt has failed. */
    return block ? block : ExAllocatePool2(NON_PAGED, size / 2, TAG);
}
NOINLINE static void give(void **block) {
    if (*block) ExFreePoolWithTag(*block, TAG);
    *block = 0;
}
static void callout(void *unused) {
    (void)unused;
    third = ExAllocatePool2(NON_PAGED, 32, TAG);
}

static NTSTATUS unload(u32 flags) {
    (void)flags;
    FltUnregisterFilter(filter);
    give(&first);
    give(&second);
    give(&third);
    return 0;
}

static const struct { u8 major; u8 rest[31]; } operations[] = {{0x80, {0}}};
static const FLT_REGISTRATION registration = {sizeof registration, 0x203, 0, 0, operations, unload, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

NTSTATUS DriverEntry(void *driver, void *path) {
    NTSTATUS status = (NTSTATUS)0xC000009A;
    (void)path;
    first = take(64);
    second = take(128);
    /* Nothing of what follows is new, so only two ways lead to these allocations. */
    for (int i = 0; i < 3; i++) {
        void *block = ExAllocatePool2(NON_PAGED, 16, TAG);
        if (block) ExFreePoolWithTag(block, TAG);
    }
    if (!first || !second) goto fail;
    KeExpandKernelStackAndCalloutEx(callout, 0, 0x6000, 0, 0);
#ifdef TRUSTS
    *(volatile u8 *)third = 1;
#endif
    status = FltRegisterFilter(driver, &registration, &filter);
    if (status) goto fail;
    status = FltStartFiltering(filter);
    if (!status) return 0;
    FltUnregisterFilter(filter);
#ifdef LEAKS
    return status;
#endif
fail:
    give(&first);
    give(&second);
    give(&third);
    return status;
}
