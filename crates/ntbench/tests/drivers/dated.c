/* Tells which Windows it finds: by the function, and by the page that is mapped everywhere. */
#include "flt.h"

IMPORT NTSTATUS RtlGetVersion(ULONG *);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    ULONG version[69] = { sizeof(version) };
    NTSTATUS status = RtlGetVersion(version);
    (void)driver, (void)path;
    DbgPrint("%08x %u.%u.%u %u\n", status, version[1], version[2], version[3], *(volatile ULONG *)0xFFFFF78000000260);
    return STATUS_SUCCESS;
}
