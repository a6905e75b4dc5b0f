/* What a loader does for an image, and what an image may not do afterwards, one case for each build. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))
#define UNCHECKED __attribute__((no_stack_protector))

IMPORT void IoGetStackLimits(u64 *low, u64 *high);
IMPORT void KeBugCheckEx(u32 code, u64 p1, u64 p2, u64 p3, u64 p4);
IMPORT u8 KfRaiseIrql(u8 level);
IMPORT void KeLowerIrql(u8 level);
#ifdef IMPORTED_CHECK
IMPORT void __security_check_cookie(u64 cookie);
#endif

volatile u64 result[8];

/* What a linker leaves there; the loader is to change it. */
u64 __security_cookie = 0x2B992DDFA232;

#ifndef IMPORTED_CHECK
/* As the libraries for drivers have it: the new one, and the one before. */
UNCHECKED void __security_check_cookie(u64 cookie)
{
    if (cookie == __security_cookie)
        return;
#ifdef CASE_overran
    KeBugCheckEx(0xF7, cookie, __security_cookie, ~__security_cookie, 0);
#else
    __asm__ volatile("int $0x29" : : "c"(2));
#endif
}
#endif

/* The pointers that the loader fills in, and what they are without a loader that does. */
UNCHECKED static void check_nothing(void) { }
__asm__(".text\n.globl dispatch_nothing\n.def dispatch_nothing; .scl 2; .type 32; .endef\ndispatch_nothing: jmp *%rax\n");
void dispatch_nothing(void);
__attribute__((section(".00cfg"), used)) void (*const __guard_check_icall_fptr)(void) = check_nothing;
__attribute__((section(".00cfg"), used)) void (*const __guard_dispatch_icall_fptr)(void) = dispatch_nothing;

#ifdef GUARDED
extern u8 __guard_fids_table[], __guard_fids_count[], __guard_flags[];
#define GUARD (u64)&__guard_check_icall_fptr, (u64)&__guard_dispatch_icall_fptr, (u64)__guard_fids_table, (u64)__guard_fids_count
#endif

#ifdef RETPOLINES
/* What Windows may patch where an indirect call goes through the import table: one place, in a table that a section of the
 * linker's own goes with (IMAGE_DYNAMIC_RELOCATION_TABLE, then one for IMAGE_DYNAMIC_RELOCATION_GUARD_IMPORT_CONTROL_TRANSFER). */
__attribute__((section("DVRT"), used)) static const u32 dynamic[] = { 1, 24, 3, 0, 12, 0x1000, 12, 0 };
__attribute__((section(".retplne"), used)) static const u8 retpolines[16] = { 0x52, 0x65, 0x74, 0x70 };
#endif

__attribute__((used)) const struct {
    u32 size, rest[21];
    u64 cookie, handlers[2], guard[4];
    u32 flags, more[3];
    u64 others[20];
} _load_config_used = {
    .size = sizeof(_load_config_used),
    .cookie = (u64)&__security_cookie,
#ifdef RETPOLINES
    .others[8] = (u64)RETPOLINES << 32, /* the table begins that section */
#endif
#ifdef GUARDED
    .guard = { GUARD },
    .flags = 0x500, /* instrumented, with a table */
#endif
};

struct driver { u8 before[0x68]; void (*unload)(struct driver *); };

#if defined(CASE_cookie)
static NTSTATUS run(struct driver *driver) { result[0] = __security_cookie; return 0; }

#elif defined(CASE_smashed) || defined(CASE_overran)
static NOINLINE void smash(u64 length)
{
    volatile u8 buffer[16];
    for (u64 i = 0; i < length; i++) buffer[i] = 0x41;
}
static NTSTATUS run(struct driver *driver) { smash(16); result[0] = 1; smash(result[1] + SMASH); result[0] = 2; return 0; }

#elif defined(CASE_guard)
static NOINLINE u64 good(u64 a, u64 b, u64 c, u64 d) { return a + 10 * b + 100 * c + 1000 * d; }
static u64 (*volatile pointer)(u64, u64, u64, u64) = good;
static NTSTATUS run(struct driver *driver)
{
    result[0] = pointer(1, 2, 3, 4);
    pointer = (u64 (*)(u64, u64, u64, u64))((u64)pointer + OFFSET);
    result[1] = pointer(1, 2, 3, 4);
    return 0;
}

#elif defined(CASE_guard_import)
static void (*volatile pointer)(u64 *, u64 *);
static NTSTATUS run(struct driver *driver)
{
    u64 low = 0, high = 0;
    pointer = IoGetStackLimits;
    pointer(&low, &high);
    result[0] = high - low;
    return 0;
}

#elif defined(CASE_init)
/* Called once as it should be, and once when it is gone. */
__attribute__((section("INIT"))) NOINLINE static u64 once(u64 value) { return value + result[2]; }
static void unload(struct driver *driver) { result[1] = once(2); }
static NTSTATUS run(struct driver *driver) { driver->unload = unload; result[0] = once(1); return 0; }

#elif defined(CASE_paged)
__attribute__((section("PAGE"))) NOINLINE static u64 paged(u64 value) { return value + result[2]; }
static NTSTATUS run(struct driver *driver)
{
    result[0] = paged(1);
    u8 old = KfRaiseIrql(LEVEL);
    result[1] = paged(2);
    KeLowerIrql(old);
    return 0;
}

#elif defined(CASE_paged_data)
__attribute__((section("PAGEDATA"))) volatile u64 paged_value = 7;
static NTSTATUS run(struct driver *driver)
{
    result[0] = paged_value;
    u8 old = KfRaiseIrql(LEVEL);
    paged_value = 8;
    KeLowerIrql(old);
    return 0;
}
#else
#error "no such case"
#endif

NTSTATUS DriverEntry(struct driver *driver, void *path) { (void)path; return run(driver); }
