/*
 * Wants to hear of the volume's own handles alone, and says of each operation whether the file object is a volume's.
 */
#include "files.h"

#define SKIP_NON_DASD_IO 4
/* FILE_OBJECT.Flags, and FO_VOLUME_OPEN in them */
#define IS_VOLUME(file) ((*(ULONG *)((char *)(file) + 80) >> 22) & 1)

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)context;
    DbgPrint("%s volume=%u", FltGetIrpName(data->Iopb->MajorFunction), IS_VOLUME(objects->FileObject));
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, SKIP_NON_DASD_IO, Pre, 0, 0 }, { IRP_MJ_CLEANUP, SKIP_NON_DASD_IO, Pre, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};

NTSTATUS DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    static const FLT_REGISTRATION registration = { .Size = sizeof(registration), .Version = 0x0203, .Operations = Operations, .Unload = Unload };
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    (void)path;
    return NT_SUCCESS(status) ? FltStartFiltering(Filter) : status;
}
