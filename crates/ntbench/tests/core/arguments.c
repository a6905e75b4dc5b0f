/* Calls one function of the kernel's or the Filter Manager's with an address in each argument where no program has
 * anything, under __try. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)

struct string { u16 length, maximum; u16 *buffer; };
IMPORT void *MmGetSystemRoutineAddress(struct string *name);
IMPORT void *FltGetRoutineAddress(const char *name);
IMPORT NTSTATUS __C_specific_handler(void *record, void *frame, void *context, void *dispatcher);

#define NOTHING 0x123450000ull
typedef u64 routine(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

/* The name comes in eight words; the answer is 1 where there was an exception, 2 where there was none. */
__declspec(dllexport) u64 probe(u64 n0, u64 n1, u64 n2, u64 n3, u64 n4, u64 n5, u64 n6, u64 n7)
{
    u64 words[9] = { n0, n1, n2, n3, n4, n5, n6, n7, 0 };
    const char *name = (const char *)words;
    u16 wide[64], count = 0;
    for (; name[count] && count < 63; count++) wide[count] = (u8)name[count];
    struct string string = { (u16)(2 * count), (u16)(2 * count), wide };
    routine *function = (routine *)(name[0] == 'F' && name[1] == 'l' && name[2] == 't' ? FltGetRoutineAddress(name) : MmGetSystemRoutineAddress(&string));
    if (!function) return 3;
    __try {
        function(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING);
    } __except (1) {
        return 1;
    }
    return 2;
}

NTSTATUS DriverEntry(void *driver, void *path)
{
    (void)driver, (void)path;
    return 0;
}
