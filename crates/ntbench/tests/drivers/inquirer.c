/*
 * Has two instances on the first volume and asks who is where; says of each read and create whether its sender waits.
 */
#include "files.h"

IMPORT NTSTATUS FltGetTopInstance(PVOID, PVOID *);
IMPORT NTSTATUS FltGetBottomInstance(PVOID, PVOID *);
IMPORT NTSTATUS FltGetUpperInstance(PVOID, PVOID *);
IMPORT NTSTATUS FltGetLowerInstance(PVOID, PVOID *);
IMPORT NTSTATUS FltGetFilterFromName(UNICODE_STRING *, PVOID *);
IMPORT NTSTATUS FltGetFilterFromInstance(PVOID, PVOID *);
IMPORT NTSTATUS FltGetFilterInformation(PVOID, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltGetVolumeInformation(PVOID, ULONG, PVOID, ULONG, ULONG *);
IMPORT BOOLEAN FltIsOperationSynchronous(FLT_CALLBACK_DATA *);
IMPORT BOOLEAN FltIs32bitProcess(FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltGetRequestorSessionId(FLT_CALLBACK_DATA *, ULONG *);
IMPORT NTSTATUS FltIsVolumeSnapshot(PVOID, BOOLEAN *);

#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    ULONG session = 9;
    NTSTATUS status = FltGetRequestorSessionId(data, &session);
    (void)objects, (void)context;
    DbgPrint("%s synchronous=%u session %08x %u wow=%u\n", FltGetIrpName(data->Iopb->MajorFunction), FltIsOperationSynchronous(data),
             status, session, FltIs32bitProcess(data));
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

/* Says what a question about an instance brought, and gives it back. */
static void Tell(const char *question, NTSTATUS status, const PVOID *found, PVOID expected)
{
    DbgPrint("%s %08x same=%d\n", question, status, NT_SUCCESS(status) && *found == expected);
    if (NT_SUCCESS(status))
        FltObjectDereference(*found);
}

static void Ask(PVOID volume, PVOID upper, PVOID lower)
{
    UNICODE_STRING own = STRING(L"INQUIRER"), other = STRING(L"nobody");
    union { ULONG Numbers[64]; WCHAR Text[128]; } answer = { { 0 } };
    ULONG needed = 0;
    BOOLEAN snapshot = 9;
    NTSTATUS status;
    PVOID found = 0;

    Tell("top", FltGetTopInstance(volume, &found), &found, upper);
    Tell("bottom", FltGetBottomInstance(volume, &found), &found, lower);
    Tell("above the lower", FltGetUpperInstance(lower, &found), &found, upper);
    Tell("below the upper", FltGetLowerInstance(upper, &found), &found, lower);
    Tell("above the upper", FltGetUpperInstance(upper, &found), &found, 0);
    Tell("below the lower", FltGetLowerInstance(lower, &found), &found, 0);
    Tell("by name", FltGetFilterFromName(&own, &found), &found, Filter);
    Tell("by another", FltGetFilterFromName(&other, &found), &found, 0);
    Tell("by instance", FltGetFilterFromInstance(upper, &found), &found, Filter);
    status = FltGetFilterInformation(Filter, 0, &answer, 4, &needed);
    DbgPrint("filter %08x %u\n", status, needed);
    status = FltGetFilterInformation(Filter, 0, &answer, sizeof answer, &needed);
    DbgPrint("filter %08x %u instances, %u %c\n", status, answer.Numbers[2], answer.Text[6], answer.Text[7]);
    status = FltGetVolumeInformation(volume, 1, &answer, sizeof answer, &needed);
    DbgPrint("volume %08x fs %u, %u %c\n", status, answer.Numbers[3], answer.Text[8], answer.Text[10]);
    DbgPrint("no class %08x\n", FltGetVolumeInformation(volume, 7, &answer, sizeof answer, &needed));
    status = FltIsVolumeSnapshot(volume, &snapshot);
    DbgPrint("snapshot %08x %u\n", status, snapshot);
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, 0, 0 }, { IRP_MJ_READ, 0, Pre, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};

NTSTATUS DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    static const FLT_REGISTRATION registration = { .Size = sizeof(registration), .Version = 0x0203, .Operations = Operations, .Unload = Unload };
    UNICODE_STRING name = STRING(L"\\Device\\HarddiskVolume1"), altitude = STRING(L"100"), low = STRING(L"low");
    PVOID volume, upper, lower;
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    (void)path;
    if (!NT_SUCCESS(status))
        return status;
    status = FltStartFiltering(Filter);
    if (NT_SUCCESS(status))
        status = FltGetVolumeFromName(Filter, &name, &volume);
    if (NT_SUCCESS(status)) {
        status = FltGetTopInstance(volume, &upper);
        if (NT_SUCCESS(status)) {
            status = FltAttachVolumeAtAltitude(Filter, volume, &altitude, &low, &lower);
            if (NT_SUCCESS(status)) {
                Ask(volume, upper, lower);
                FltObjectDereference(lower);
            }
            FltObjectDereference(upper);
        }
        FltObjectDereference(volume);
    }
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
