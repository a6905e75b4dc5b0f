/*
 * In the manner of a filter that detects deletions: after the clean-up it asks whether the stream, and whether the file is gone.
 */
#include "files.h"

#define FILE_STANDARD_INFORMATION 5
#define FSCTL_GET_OBJECT_ID 0x9009C
IMPORT NTSTATUS FltFsControlFile(PVOID, PVOID, ULONG, PVOID, ULONG, PVOID, ULONG, ULONG *);

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    (void)data, (void)objects, (void)completion;
    return PREOP_SYNCHRONIZE;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID completion, ULONG flags)
{
    uint64_t answer[8];
    NTSTATUS stream, file;
    (void)data, (void)completion, (void)flags;
    stream = FltQueryInformationFile(objects->Instance, objects->FileObject, answer, 24, FILE_STANDARD_INFORMATION, 0);
    file = FltFsControlFile(objects->Instance, objects->FileObject, FSCTL_GET_OBJECT_ID, 0, 0, answer, sizeof(answer), 0);
    DbgPrint("stream %08x file %08x\n", stream, file);
    return POSTOP_FINISHED;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CLEANUP, 0, Pre, Post, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
