/*
 * Says how its instances come and go. ANSWER is what it says to whoever attaches one by hand; WITHOUT_QUERY: it has nobody to ask whether
 * one may be detached.
 */
#include "flt.h"
#ifndef ANSWER
#define ANSWER STATUS_SUCCESS
#endif
#define MANUAL 2
#define READ 3
#define WRITE 4

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    (void)data, (void)objects, (void)completion;
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    (void)objects, (void)file_system;
    if (device == 8)
        DbgPrint("setup %u\n", flags);
    return flags & MANUAL ? ANSWER : STATUS_SUCCESS;
}

static NTSTATUS __attribute__((unused)) QueryTeardown(const FLT_RELATED_OBJECTS *objects, ULONG flags)
{
    (void)objects;
    DbgPrint("may it go? %u\n", flags);
    return STATUS_SUCCESS;
}

static void TeardownStart(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("going %u\n", reason);
}

static void TeardownComplete(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("gone %u\n", reason);
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, 0, 0 },
    { READ, 0, Pre, 0, 0 },
    { WRITE, 0, Pre, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    FLT_REGISTRATION registration = REGISTRATION(Operations, Unload, Setup, TeardownStart, TeardownComplete);
    NTSTATUS status;
    (void)path;
#ifndef WITHOUT_QUERY
    registration.QueryTeardown = QueryTeardown;
#endif
    status = FltRegisterFilter(driver, &registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
