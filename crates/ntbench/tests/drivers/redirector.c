/*
 * A reparse redirector: creates below \fs\data\Old start again below \fs\data\New; and files that carry its own tag are
 * opened as what they are. With GRAFT the name is replaced and the create goes on below with it. DEFECT 1: completes with STATUS_REPARSE without a new name, again and again.
 * 2: fails a create that succeeded and leaves the file open.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif
#define OWN_TAG 0x00001234
static const GUID Own = { 0x11223344, 0x5566, 0x7788, { 1, 2, 3, 4, 5, 6, 7, 8 } };

#ifdef GRAFT
#define DEVICE u""
#else
#define DEVICE u"\\Device\\Mup"
#endif

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    static const WCHAR from[] = u"\\fs\\data\\Old", to[] = DEVICE u"\\fs\\data\\New";
    const size_t from_length = sizeof(from) - 2, to_length = sizeof(to) - 2;
    const UNICODE_STRING *name = (const UNICODE_STRING *)((uint8_t *)objects->FileObject + 0x58);
    UNICODE_STRING prefix = { (uint16_t)from_length, (uint16_t)from_length, (WCHAR *)from };
    NTSTATUS status = STATUS_SUCCESS;
    uint8_t *whole;
    size_t rest;
    (void)context;

    if (name->Length < from_length || !RtlPrefixUnicodeString(&prefix, name, 1))
        return PREOP_WITH_CALLBACK;
    if (DEFECT != 1) {
        rest = name->Length - from_length;
        whole = ExAllocatePool2(POOL_FLAG_PAGED, to_length + rest, TAG);
        if (whole == 0)
            return PREOP_NO_CALLBACK;
        memcpy(whole, to, to_length);
        memcpy(whole + to_length, (uint8_t *)name->Buffer + from_length, rest);
        status = IoReplaceFileObjectName(objects->FileObject, (WCHAR *)whole, (uint16_t)(to_length + rest));
        ExFreePoolWithTag(whole, TAG);
    }
#ifdef GRAFT
    if (NT_SUCCESS(status)) {
        *(PVOID *)((uint8_t *)objects->FileObject + 0x40) = 0; /* RelatedFileObject */
        return PREOP_NO_CALLBACK;
    }
#endif
    data->IoStatus.Status = NT_SUCCESS(status) ? STATUS_REPARSE : status;
    data->IoStatus.Information = 0; /* IO_REPARSE */
    return PREOP_COMPLETE;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    const ULONG *tag = data->TagData;
    (void)context;
    if (flags & POST_DRAINING)
        return POSTOP_FINISHED;
    if (data->IoStatus.Status == STATUS_REPARSE && tag && *tag == OWN_TAG) {
        DbgPrint("tag information=%x length=%u rest=%u\n", (unsigned)data->IoStatus.Information, tag[1] & 0xFFFF, tag[1] >> 16);
        data->Iopb->Create.Options |= FILE_OPEN_REPARSE_POINT;
        FltSetCallbackDataDirty(data);
        FltReissueSynchronousIo(objects->Instance, data);
        DbgPrint("again %08x\n", data->IoStatus.Status);
    } else if (DEFECT == 2 && NT_SUCCESS(data->IoStatus.Status) && data->IoStatus.Status != STATUS_REPARSE) {
        data->IoStatus.Status = STATUS_ACCESS_DENIED;
    }
    return POSTOP_FINISHED;
}

/* Writing to a file makes it carry the tag. */
static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    NTSTATUS status = FltTagFile(objects->Instance, objects->FileObject, OWN_TAG, &Own, "data", 4);
    (void)context;
    DbgPrint("tagged %08x\n", status);
    data->IoStatus.Status = status;
    data->IoStatus.Information = 0;
    return PREOP_COMPLETE;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, Post, 0 },
    { IRP_MJ_WRITE, 0, PreWrite, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
