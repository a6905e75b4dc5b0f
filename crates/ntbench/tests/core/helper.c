/* A driver whose functions other drivers import: with HELPER, the one that exports; without, the one that imports. */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)

#ifdef HELPER
__declspec(dllexport) u64 HelperAdd(u64 left, u64 right) { return left + right; }
__declspec(dllexport) u64 HelperRead(volatile u64 *address) { return *address; }
#else
__declspec(dllimport) u64 HelperAdd(u64 left, u64 right);
__declspec(dllimport) u64 HelperRead(volatile u64 *address);
__declspec(dllimport) void HelperLimits(u64 *low, u64 *high);
__declspec(dllimport) void HelperSecond(u64 *low, u64 *high);
IMPORT NTSTATUS __C_specific_handler(void *record, void *frame, void *context, void *dispatcher);
__attribute__((used)) volatile u64 result[4];
#endif

NTSTATUS DriverEntry(void *driver, void *path)
{
    (void)driver, (void)path;
#ifndef HELPER
    u64 low, high;
    result[0] = HelperAdd(40, 2);
    __try { result[1] = HelperRead((u64 *)0x123450000ull); } __except (1) { result[1] = _exception_code(); }
    HelperLimits(&low, &high);
    result[2] = low < (u64)&low && (u64)&low < high;
    low = high = 0;
    HelperSecond(&low, &high);
    result[3] = high != 0;
#endif
    return 0;
}
