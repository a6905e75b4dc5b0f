/*
 * Opens the parent of what is created, below its own instance or from the top of the stack (TOP), and tells nested
 * creates apart by an extra create parameter. DENY fails each create; PEND pends it: 1 and completes it at once, 2 from a
 * work item, which 3 forgets to free.
 */
#include "flt.h"
#ifndef TOP
#define TOP 0
#endif
#ifndef DENY
#define DENY 0
#endif
#ifndef PEND
#define PEND 0
#endif
/* What to leave out: 1 the handle's close, 2 the object's dereference, 3 the list's free, 4 OBJ_KERNEL_HANDLE. */
#ifndef LEAK
#define LEAK 0
#endif

static const GUID Kind = { 0x6f1e5ab2, 0x1111, 0x2222, { 1, 2, 3, 4, 5, 6, 7, 8 } };
typedef struct { ULONG Depth; } NEST;

static ULONG DepthOf(FLT_CALLBACK_DATA *data)
{
    PVOID list = 0;
    NEST *nest;
    ULONG size;

    if (!NT_SUCCESS(FltGetEcpListFromCallbackData(Filter, data, &list)) || list == 0)
        return 0;
    if (!NT_SUCCESS(FltFindExtraCreateParameter(Filter, list, &Kind, (PVOID *)&nest, &size)) || size != sizeof(*nest))
        return 0;
    if (FltIsEcpFromUserMode(Filter, nest))
        return 0;
    FltAcknowledgeEcp(Filter, nest);
    return nest->Depth;
}

static void Cleanup(PVOID context, const GUID *kind)
{
    DbgPrint("cleanup depth=%u kind=%08x\n", ((NEST *)context)->Depth, kind->Data1);
}

static void OpenParent(const FLT_RELATED_OBJECTS *objects, UNICODE_STRING *parent, ULONG depth)
{
    OBJECT_ATTRIBUTES attributes = {
        sizeof(attributes), 0, parent, OBJ_CASE_INSENSITIVE | (LEAK == 4 ? 0 : OBJ_KERNEL_HANDLE), 0, 0
    };
    IO_DRIVER_CREATE_CONTEXT context = { sizeof(context), 0, 0, 0, 0 };
    IO_STATUS_BLOCK io;
    HANDLE handle;
    PVOID file, list;
    NEST *nest;
    NTSTATUS status;
    struct { ULONG Attributes, Tag; } tag = { 0, 0 };

    if (!NT_SUCCESS(FltAllocateExtraCreateParameterList(Filter, 0, &list)))
        return;
    if (!NT_SUCCESS(FltAllocateExtraCreateParameter(Filter, &Kind, sizeof(*nest), 0, Cleanup, TAG, (PVOID *)&nest))) {
        FltFreeExtraCreateParameterList(Filter, list);
        return;
    }
    nest->Depth = depth + 1;
    FltInsertExtraCreateParameter(Filter, list, nest);
    context.Ecps = list;
    status = FltCreateFileEx2(Filter, TOP ? 0 : objects->Instance, &handle, &file, 0x100080, &attributes, &io, 0, 0x80, 7,
                              1, 0x21, 0, 0, 0, &context);
    DbgPrint("parent %wZ depth=%u status=%08x acknowledged=%u\n", parent, depth, status, FltIsEcpAcknowledged(Filter, nest));
    if (LEAK != 3)
        FltFreeExtraCreateParameterList(Filter, list);
    if (NT_SUCCESS(status)) {
        status = FltQueryInformationFile(objects->Instance, file, &tag, sizeof(tag), 35, 0);
        DbgPrint("tag %08x attributes=%x tag=%x\n", status, tag.Attributes, tag.Tag);
        if (LEAK != 2)
            ObfDereferenceObject(file);
        if (LEAK != 1)
            FltClose(handle);
    }
}

static void Later(PVOID item, FLT_CALLBACK_DATA *data, PVOID context)
{
    (void)context;
    DbgPrint("later mode=%d\n", data->RequestorMode);
    if (PEND != 3)
        FltFreeDeferredIoWorkItem(item);
    FltCompletePendedPreOperation(data, PREOP_NO_CALLBACK, 0);
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_FILE_NAME_INFORMATION *name;
    (void)context;

    if (NT_SUCCESS(FltGetFileNameInformation(data, NAME_NORMALIZED, &name))) {
        UNICODE_STRING parent;
        FltParseFileNameInformation(name);
        DbgPrint("normalized %wZ\n", &name->Name);
        if (name->ParentDir.Length > 2) {
            /* `\Device\Mup\server\share\a\`, without the last backslash */
            parent = name->Name;
            parent.Length = (uint16_t)((uint8_t *)name->ParentDir.Buffer - (uint8_t *)name->Name.Buffer +
                                       name->ParentDir.Length - 2);
            OpenParent(objects, &parent, DepthOf(data));
        }
        FltReleaseFileNameInformation(name);
    }
    if (DENY) {
        data->IoStatus.Status = STATUS_ACCESS_DENIED;
        data->IoStatus.Information = 0;
        return PREOP_COMPLETE;
    }
    if (PEND >= 2) {
        PVOID item = FltAllocateDeferredIoWorkItem();
        if (item == 0)
            return PREOP_NO_CALLBACK;
        if (!NT_SUCCESS(FltQueueDeferredIoWorkItem(item, data, Later, 1, 0))) {
            FltFreeDeferredIoWorkItem(item);
            return PREOP_NO_CALLBACK;
        }
        return PREOP_PENDING;
    }
    if (PEND) {
        FltCompletePendedPreOperation(data, PREOP_NO_CALLBACK, 0);
        return PREOP_PENDING;
    }
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
