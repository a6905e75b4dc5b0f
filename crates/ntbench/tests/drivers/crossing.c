/* What a debugger walks over: driver code that had the bench call driver code, on another stack segment each time. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

IMPORT int KeExpandKernelStackAndCalloutEx(void (*callout)(void *), void *parameter, u64 size, u8 wait, void *context);

volatile u64 result[4];

NOINLINE void innermost(void) { result[0]++; }
NOINLINE static void second(void *unused) { (void)unused; innermost(); result[2]++; }
NOINLINE static void inner(void) { result[1] += KeExpandKernelStackAndCalloutEx(second, 0, 0x10000, 0, 0); }
NOINLINE static void first(void *unused) { (void)unused; inner(); result[2]++; }
NOINLINE static void outer(void) { result[1] += KeExpandKernelStackAndCalloutEx(first, 0, 0x10000, 0, 0); }

int DriverEntry(void *object, void *path) { (void)object, (void)path; outer(); return (int)result[1]; }
