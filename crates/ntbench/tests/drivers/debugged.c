/* Something to look at in a debugger: frames of every kind between DriverEntry and a leaf. */
typedef unsigned char u8;
typedef unsigned long long u64;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))

IMPORT void IoGetStackLimits(u64 *low, u64 *high);
IMPORT void __chkstk(void);

volatile u64 result[4], large = 0x80;

NOINLINE static u64 leaf(u64 value)
{
    result[0] = value;   /* the leaf's first line */
    return value + 1;
}

/* Saves registers, and has a large fixed frame. */
NOINLINE static u64 fixed(u64 a, u64 b, u64 c)
{
    volatile u8 space[0x300];
    space[a & 0xFF] = (u8)b;
    u64 sum = leaf(a * 2) + b;
    sum += leaf(c) * a + b;
    return sum + space[b & 0xFF];
}

/* Its frame is as large as its argument says: RBP is its frame register. */
NOINLINE static u64 variable(u64 bytes)
{
    volatile u8 *space = __builtin_alloca(bytes);
    space[0] = 1;
    u64 low, high;
    IoGetStackLimits(&low, &high);
    return fixed(bytes, low, high) + space[0];
}

int DriverEntry(void *driver, void *path)
{
    (void)driver, (void)path;
    result[1] = variable(large);
    return 0;
}
