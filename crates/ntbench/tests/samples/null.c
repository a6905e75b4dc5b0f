/* In the manner of a filter that filters nothing: it registers, attaches everywhere, lets itself be detached and goes. */
#include "fltkernel.h"

static PFLT_FILTER Filter;

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI QueryTeardown(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Flags);
    return STATUS_SUCCESS;
}

static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION, 0, NULL, NULL, Unload, NULL, QueryTeardown,
};

#ifdef ALLOC_PRAGMA
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath);
#pragma alloc_text(INIT, DriverEntry)
#endif

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    FLT_ASSERT(NT_SUCCESS(status));
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
