/*
 * Drivers that are not as others are. CASE: 1 no filter at all, 2 the same without an unload routine, 3 a DriverEntry that fails, 4 that
 * raises an exception, 5 that never returns, 6 whose registration is refused, 7 that registers a second filter, 8 a filter that cannot be
 * unloaded, 9 one that cannot be stopped, 10 one that refuses while it may, 11 one that is not for remote volumes, 12 one that
 * refuses whether it may or not.
 */
#include "flt.h"

IMPORT void ExRaiseStatus(NTSTATUS);

/* DRIVER_OBJECT, as far as its unload routine. */
typedef struct { uint8_t Before[0x68]; PVOID DriverUnload; } DRIVER;

static volatile ULONG Never;

static void LegacyUnload(PVOID driver)
{
    (void)driver;
    DbgPrint("legacy unload\n");
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)objects, (void)context;
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    (void)objects, (void)flags, (void)file_system;
    DbgPrint("setup device=%x\n", device);
    return CASE == 11 && device == 0x14 ? STATUS_FLT_DO_NOT_ATTACH : STATUS_SUCCESS;
}

static NTSTATUS Unload(ULONG flags)
{
    DbgPrint("unload flags=%x\n", flags);
    if (CASE == 10 && !(flags & 1))
        return STATUS_FLT_DO_NOT_DETACH;
    FltUnregisterFilter(Filter);
    return CASE == 12 ? STATUS_FLT_DO_NOT_DETACH : STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, Setup, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    PVOID second;
    (void)path;

    switch (CASE) {
    case 1:
        ((DRIVER *)driver)->DriverUnload = LegacyUnload;
        return STATUS_SUCCESS;
    case 2:
        return STATUS_SUCCESS;
    case 3:
        return (NTSTATUS)0xC00000BB; /* STATUS_NOT_SUPPORTED */
    case 4:
        ExRaiseStatus((NTSTATUS)0xC0000005);
        return STATUS_SUCCESS;
    case 5:
        while (!Never)
            ;
        return STATUS_SUCCESS;
    case 6:
        Registration.Version = 0x0100;
        break;
    case 8:
        Registration.Unload = 0;
        break;
    case 9:
        Registration.Flags = 1; /* FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP */
        break;
    }
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status) && CASE == 7) {
        status = FltRegisterFilter(driver, &Registration, &second);
        DbgPrint("second %08x\n", status);
    }
    if (NT_SUCCESS(status))
        status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status) && Filter != 0)
        FltUnregisterFilter(Filter);
    return status;
}
