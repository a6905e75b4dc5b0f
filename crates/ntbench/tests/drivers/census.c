/*
 * Registers every major function that a minifilter can, the Filter Manager's own among them, and prints each that comes before and
 * after, with its parameters. An attribute query of a name that ends in "irp" it wants as a create; a section over a file that ends in
 * "kept" it refuses.
 */
#include "files.h"

static const WCHAR *Last(PVOID file)
{
    const UNICODE_STRING *name = (const UNICODE_STRING *)((const uint8_t *)file + 88);
    return name->Length < 8 ? (const WCHAR *)L"    " : name->Buffer + name->Length / 2 - 3;
}

static int Is(PVOID file, char a, char b, char c)
{
    const WCHAR *last = Last(file);
    return last[0] == a && last[1] == b && last[2] == c;
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const FLT_IO_PARAMETER_BLOCK *block = data->Iopb;
    const ULONG *words = (const ULONG *)&block->Create;
    const uint64_t *quads = (const uint64_t *)&block->Create;
    uint8_t major = block->MajorFunction;
    const char *name = FltGetIrpName(major);
    switch (major) {
    case IRP_MJ_CREATE: case IRP_MJ_CLEANUP: case IRP_MJ_CLOSE: case IRP_MJ_QUERY_INFORMATION:
        return PREOP_NO_CALLBACK;
    case 0xFF:
        DbgPrint("pre %s type=%u protection=%u kind=%x\n", name, words[0], words[2], data->Flags & 7);
        if (Is(objects->FileObject, 'e', 'p', 't')) {
            data->IoStatus.Status = STATUS_ACCESS_DENIED;
            return PREOP_COMPLETE;
        }
        break;
    case 0xFD:
        DbgPrint("pre %s until=%d resource=%d kind=%x\n", name, (int)*(int64_t *)quads[0], (int)(quads[1] != 0), data->Flags & 7);
        break;
    case 0xF2: {
        /* The create that the question would be: its packet's current stack location. */
        const uint8_t *create = *(const uint8_t *const *)(quads[0] + 0xB8);
        DbgPrint("pre %s create=%u options=%08x same file=%d information=%d kind=%x\n", name, create[0], *(const ULONG *)(create + 0x10),
                 *(const PVOID *)(create + 0x30) == objects->FileObject, (int)(quads[1] != 0), data->Flags & 7);
        if (Is(objects->FileObject, 'i', 'r', 'p'))
            return PREOP_DISALLOW_FASTIO;
        break;
    }
    case 0xF1: case 0xEF:
        DbgPrint("pre %s offset=%d length=%u chain=%d kind=%x\n", name, (int)quads[0], words[2], (int)(quads[3] != 0), data->Flags & 7);
        break;
    case 0xF0:
        DbgPrint("pre %s chain=%d\n", name, (int)(quads[0] != 0));
        break;
    case 0xEE:
        DbgPrint("pre %s offset=%d chain=%d\n", name, (int)quads[0], (int)(quads[1] != 0));
        break;
    case IRP_MJ_READ: case IRP_MJ_WRITE:
        DbgPrint("pre %s offset=%d length=%u paging=%d mdl=%d\n", name, (int)quads[2], words[0], (block->IrpFlags & 2) != 0,
                 (int)(quads[4] != 0));
        break;
    case IRP_MJ_QUERY_EA:
        DbgPrint("pre %s length=%u list=%u flags=%u buffer=%d\n", name, words[0], words[4], block->OperationFlags, (int)(quads[4] != 0));
        break;
    case IRP_MJ_SET_EA: case 0x1A:
        DbgPrint("pre %s length=%u buffer=%d\n", name, words[0], (int)(quads[1] != 0));
        break;
    case IRP_MJ_SET_SECURITY:
        DbgPrint("pre %s information=%u descriptor=%d\n", name, words[0], (int)(quads[1] != 0));
        break;
    case 0x19:
        DbgPrint("pre %s length=%u buffer=%d\n", name, words[0], (int)(quads[4] != 0));
        break;
    case 0x10: case 0x1B:
        DbgPrint("pre %s minor=%u file=%d target=%d\n", name, block->MinorFunction, objects->FileObject != 0, block->TargetFileObject != 0);
        break;
    default:
        DbgPrint("pre %s minor=%u\n", name, block->MinorFunction);
    }
    *context = (PVOID)(uintptr_t)(major + 1);
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)flags;
    DbgPrint("post %s %08x mine=%d\n", FltGetIrpName(data->Iopb->MajorFunction), data->IoStatus.Status,
             (uintptr_t)context == data->Iopb->MajorFunction + 1u);
    return POSTOP_FINISHED;
}

static void TornDown(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("teardown %u\n", reason);
}

PLAIN_UNLOAD

#define BOTH(major) { major, 0, Pre, Post, 0 }
static const FLT_OPERATION_REGISTRATION Operations[] = {
    BOTH(0), BOTH(1), BOTH(2), BOTH(3), BOTH(4), BOTH(5), BOTH(6), BOTH(7), BOTH(8), BOTH(9), BOTH(0xA), BOTH(0xB), BOTH(0xC), BOTH(0xD),
    BOTH(0xE), BOTH(0xF), BOTH(0x10), BOTH(0x11), BOTH(0x12), BOTH(0x13), BOTH(0x14), BOTH(0x15), BOTH(0x19), BOTH(0x1A), BOTH(0x1B),
    BOTH(0xFF), BOTH(0xFE), BOTH(0xFD), BOTH(0xFC), BOTH(0xFB), BOTH(0xFA), BOTH(0xF9), BOTH(0xF3), BOTH(0xF2), BOTH(0xF1), BOTH(0xF0),
    BOTH(0xEF), BOTH(0xEE), BOTH(0xED), BOTH(0xEC), { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, TornDown, 0);

PLAIN_ENTRY
