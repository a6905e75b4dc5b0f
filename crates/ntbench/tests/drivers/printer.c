/* Prints and formats Unicode at DISPATCH_LEVEL, all of it in memory that is there: printing alone is not allowed. */
#include "flt.h"

IMPORT int _snwprintf(WCHAR *, size_t, const WCHAR *, ...);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    static WCHAR text[] = u"name", buffer[32];
    static UNICODE_STRING name = { 8, 8, text };
    uint8_t irql;
    int length;
    (void)driver, (void)path;

    irql = KfRaiseIrql(2);
    length = _snwprintf(buffer, 32, u"%wZ and %s", &name, text);
    DbgPrint("%d characters\n", length);
    DbgPrint("%wZ\n", &name);
    DbgPrint("%ws\n", text);
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, 0, "%C\n", text[0]);
    KeLowerIrql(irql);
    DbgPrint("%ws\n", buffer);
    return STATUS_SUCCESS;
}
