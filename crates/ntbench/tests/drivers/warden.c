/*
 * Keeps an oplock on whatever file, by the newer calls. Which one an operation makes, and how, is what a program last said by the
 * file system control MODE; what came of it is printed. A create with the options that ask for an oplock has it asked for.
 */
#include "files.h"

#define MODE 0x93FFC
#define FILE_OPEN_REQUIRING_OPLOCK 0x10000
#define FILE_RESERVE_OPFILTER 0x100000
enum { CHECK, BREAK_H, BREAK_TO_NONE, BREAK_TO_NONE_EX };
enum { NO_KEY, OLD_KEY, TARGET_KEY, PARENT_KEY };

IMPORT void FltInitializeOplock(PVOID *);
IMPORT void FltUninitializeOplock(PVOID *);
IMPORT int FltOplockFsctrlEx(PVOID *, FLT_CALLBACK_DATA *, ULONG, ULONG);
IMPORT int FltCheckOplockEx(PVOID *, FLT_CALLBACK_DATA *, ULONG, PVOID, PVOID, PVOID);
IMPORT int FltOplockBreakH(PVOID *, FLT_CALLBACK_DATA *, ULONG, PVOID, PVOID, PVOID);
IMPORT int FltOplockBreakToNone(PVOID *, FLT_CALLBACK_DATA *, PVOID, PVOID, PVOID);
IMPORT int FltOplockBreakToNoneEx(PVOID *, FLT_CALLBACK_DATA *, ULONG, PVOID, PVOID, PVOID);
IMPORT BOOLEAN FltOplockKeysEqual(PVOID, PVOID);
IMPORT BOOLEAN FltCurrentOplock(PVOID *);
IMPORT BOOLEAN FltCurrentOplockH(PVOID *);
IMPORT NTSTATUS FltSetEcpListIntoCallbackData(PVOID, FLT_CALLBACK_DATA *, PVOID);

static const GUID KeyKind = { 0x48850596, 0x3050, 0x4be7, { 0x98, 0x63, 0xfe, 0xc3, 0x50, 0xce, 0x8d, 0x7f } };
static const GUID DualKind = { 0x41621a14, 0xb08b, 0x4df1, { 0xb6, 0x76, 0xa0, 0x5f, 0xfd, 0xf0, 0x1b, 0xea } };
static struct { ULONG Call, Flags, Pends, Count, AllAlike, Key, First; } Mode = { CHECK, 0, 1, 1, 0, NO_KEY, 0 };
static PVOID Oplock, First;

static void Prepare(FLT_CALLBACK_DATA *data, PVOID context)
{
    (void)data;
    DbgPrint("prepare %p\n", context);
}

static void Waited(FLT_CALLBACK_DATA *data, PVOID context)
{
    NTSTATUS status = data->IoStatus.Status;
    DbgPrint("waited %08x %p\n", status, context);
    FltCompletePendedPreOperation(data, NT_SUCCESS(status) ? PREOP_NO_CALLBACK : PREOP_COMPLETE, 0);
}

static int Call(FLT_CALLBACK_DATA *data)
{
    PVOID waited = Mode.Pends ? Waited : 0, prepare = Mode.Pends ? Prepare : 0, context = (PVOID)0x0C;
    switch (Mode.Call) {
    case BREAK_H: return FltOplockBreakH(&Oplock, data, Mode.Flags, context, waited, prepare);
    case BREAK_TO_NONE: return FltOplockBreakToNone(&Oplock, data, context, waited, prepare);
    case BREAK_TO_NONE_EX: return FltOplockBreakToNoneEx(&Oplock, data, Mode.Flags, context, waited, prepare);
    default: return FltCheckOplockEx(&Oplock, data, Mode.Flags, context, waited, prepare);
    }
}

/* Puts a key into a create's extra parameters. */
static void Key(FLT_CALLBACK_DATA *data)
{
    const ULONG sizes[] = { 0, 20, 40, 40 };
    uint8_t *context;
    PVOID list;

    if (Mode.Key == NO_KEY || !NT_SUCCESS(FltAllocateExtraCreateParameterList(Filter, 0, &list)))
        return;
    if (!NT_SUCCESS(FltAllocateExtraCreateParameter(Filter, Mode.Key == OLD_KEY ? &KeyKind : &DualKind, sizes[Mode.Key], 0, 0, TAG,
                                                    (PVOID *)&context)))
        return;
    memset(context, 0, sizes[Mode.Key]);
    if (Mode.Key == OLD_KEY) {
        memset(context, 7, 16);
    } else {
        context[0] = 2;
        context[2] = Mode.Key == TARGET_KEY ? 2 : 1;
        memset(context + (Mode.Key == TARGET_KEY ? 20 : 4), 7, 16);
    }
    FltInsertExtraCreateParameter(Filter, list, context);
    FltSetEcpListIntoCallbackData(Filter, data, list);
}

static int PreControl(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    int status;
    (void)objects, (void)context;
    if (CONTROL(data)->Code == MODE) {
        memcpy(&Mode, CONTROL(data)->Input, sizeof(Mode));
        data->IoStatus.Status = STATUS_SUCCESS;
        data->IoStatus.Information = 0;
        return PREOP_COMPLETE;
    }
    status = FltOplockFsctrlEx(&Oplock, data, Mode.Count, Mode.AllAlike);
    DbgPrint("fsctrl %d held=%d handles=%d\n", status, FltCurrentOplock(&Oplock), FltCurrentOplockH(&Oplock));
    return status;
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    uint8_t major = data->Iopb->MajorFunction;
    PVOID file = objects->FileObject;
    int status;
    (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    if (major == IRP_MJ_CLEANUP) {
        FltCheckOplockEx(&Oplock, data, 0, 0, 0, 0);
        if (First == file)
            First = 0;
        return PREOP_NO_CALLBACK;
    }
    if (data->RequestorMode == 0)
        return PREOP_NO_CALLBACK;
    if (major == IRP_MJ_CREATE)
        Key(data);
    status = Call(data);
    DbgPrint("%s %d %08x\n", FltGetIrpName(major), status, status == PREOP_PENDING ? 0 : data->IoStatus.Status);
    if (status != PREOP_WITH_CALLBACK || major != IRP_MJ_CREATE)
        return status == PREOP_WITH_CALLBACK ? PREOP_NO_CALLBACK : status;
    if (First && !Mode.First)
        DbgPrint("like the first %d\n", FltOplockKeysEqual(file, First));
    else
        First = file;
    if (data->Iopb->Create.Options & (FILE_RESERVE_OPFILTER | FILE_OPEN_REQUIRING_OPLOCK)) {
        NTSTATUS told;
        status = FltOplockFsctrlEx(&Oplock, data, Mode.Count, Mode.AllAlike);
        told = data->IoStatus.Status;
        DbgPrint("asked %d %08x held=%d\n", status, told, FltCurrentOplock(&Oplock));
        if (!NT_SUCCESS(told))
            return PREOP_COMPLETE;
        /* The file system below is to keep no second one. */
        data->Iopb->Create.Options &= ~(FILE_RESERVE_OPFILTER | FILE_OPEN_REQUIRING_OPLOCK);
        FltSetCallbackDataDirty(data);
        if (Mode.Flags & 4) {
            FltCheckOplockEx(&Oplock, data, 4, 0, 0, 0);
            DbgPrint("taken back, held=%d\n", FltCurrentOplock(&Oplock));
        }
    }
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    FltUninitializeOplock(&Oplock);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, 0, 0 },
    { IRP_MJ_READ, 0, Pre, 0, 0 },
    { IRP_MJ_CLEANUP, 0, Pre, 0, 0 },
    { IRP_MJ_FILE_SYSTEM_CONTROL, 0, PreControl, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    FltInitializeOplock(&Oplock);
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
