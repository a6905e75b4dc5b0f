/*
 * What filters of reads, writes, directories and names need beside flt.h, declared from the public documentation.
 */
#pragma once
#include "flt.h"

#define IRP_MJ_READ 3
#define IRP_MJ_WRITE 4
#define IRP_MJ_QUERY_INFORMATION 5
#define IRP_MJ_SET_INFORMATION 6
#define IRP_MJ_QUERY_EA 7
#define IRP_MJ_SET_EA 8
#define IRP_MJ_FLUSH_BUFFERS 9
#define IRP_MJ_QUERY_VOLUME_INFORMATION 0xA
#define IRP_MJ_SET_VOLUME_INFORMATION 0xB
#define IRP_MJ_DIRECTORY_CONTROL 0xC
#define IRP_MJ_FILE_SYSTEM_CONTROL 0xD
#define IRP_MJ_DEVICE_CONTROL 0xE
#define IRP_MJ_LOCK_CONTROL 0x11
#define IRP_MJ_QUERY_SECURITY 0x14
#define IRP_MJ_SET_SECURITY 0x15

#define STATUS_REPARSE ((NTSTATUS)0x104)
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define STATUS_CANCELLED ((NTSTATUS)0xC0000120)
#define POSTOP_MORE_PROCESSING 1
#define DATA_SYSTEM_BUFFER 0x8
#define POST_DRAINING 1
#define FILE_OPEN_REPARSE_POINT 0x200000

typedef struct { ULONG Length, Pad0, Key, Pad1; int64_t Offset; PVOID Buffer, Mdl; } FLT_TRANSFER;
typedef struct { ULONG Length, Pad0; UNICODE_STRING *FileName; ULONG Class, Pad1, Index, Pad2; PVOID Buffer, Mdl; } FLT_DIRECTORY;
typedef struct { ULONG Length, Pad0, Class, Pad1; PVOID ParentOfTarget; uint64_t Flags; PVOID Buffer; } FLT_SET;
typedef struct { ULONG Out, Pad0, In, Pad1, Code, Pad2; PVOID Input, Output, OutputMdl; } FLT_CONTROL;
#define TRANSFER(data) ((FLT_TRANSFER *)&(data)->Iopb->Create)
#define DIRECTORY(data) ((FLT_DIRECTORY *)&(data)->Iopb->Create)
#define SETINFO(data) ((FLT_SET *)&(data)->Iopb->Create)
#define CONTROL(data) ((FLT_CONTROL *)&(data)->Iopb->Create)

typedef struct {
    PVOID Next; int16_t Size; uint16_t Flags; ULONG Reserved; PVOID Process, MappedSystemVa, StartVa; ULONG ByteCount, ByteOffset;
} MDL;
typedef struct { UNICODE_STRING Name; } FLT_NAME_CONTROL;

IMPORT PVOID IoAllocateMdl(PVOID, ULONG, BOOLEAN, BOOLEAN, PVOID);
IMPORT void IoFreeMdl(PVOID);
IMPORT void MmBuildMdlForNonPagedPool(PVOID);
IMPORT PVOID MmMapLockedPagesSpecifyCache(PVOID, int8_t, ULONG, PVOID, ULONG, ULONG);
IMPORT NTSTATUS IoReplaceFileObjectName(PVOID, const WCHAR *, uint16_t);
IMPORT const char *FltGetIrpName(uint8_t);
IMPORT NTSTATUS FltLockUserBuffer(FLT_CALLBACK_DATA *);
IMPORT BOOLEAN FltDoCompletionProcessingWhenSafe(FLT_CALLBACK_DATA *, const FLT_RELATED_OBJECTS *, PVOID, ULONG, PVOID, int *);
IMPORT void FltCompletePendedPostOperation(FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltRequestOperationStatusCallback(FLT_CALLBACK_DATA *, PVOID, PVOID);
IMPORT NTSTATUS FltReadFile(PVOID, PVOID, int64_t *, ULONG, PVOID, ULONG, ULONG *, PVOID, PVOID);
IMPORT NTSTATUS FltWriteFile(PVOID, PVOID, int64_t *, ULONG, PVOID, ULONG, ULONG *, PVOID, PVOID);
IMPORT NTSTATUS FltSetInformationFile(PVOID, PVOID, PVOID, ULONG, ULONG);
IMPORT NTSTATUS FltQueryDirectoryFile(PVOID, PVOID, PVOID, ULONG, ULONG, BOOLEAN, UNICODE_STRING *, BOOLEAN, ULONG *);
IMPORT NTSTATUS FltTagFile(PVOID, PVOID, ULONG, const GUID *, const void *, uint16_t);
IMPORT NTSTATUS FltUntagFile(PVOID, PVOID, ULONG, const GUID *);
IMPORT void FltCancelFileOpen(PVOID, PVOID);
IMPORT NTSTATUS FltIsDirectory(PVOID, PVOID, BOOLEAN *);
IMPORT void FltReissueSynchronousIo(PVOID, FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltAllocateCallbackData(PVOID, PVOID, FLT_CALLBACK_DATA **);
IMPORT void FltFreeCallbackData(FLT_CALLBACK_DATA *);
IMPORT void FltReuseCallbackData(FLT_CALLBACK_DATA *);
IMPORT void FltPerformSynchronousIo(FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltPerformAsynchronousIo(FLT_CALLBACK_DATA *, PVOID, PVOID);
IMPORT BOOLEAN FltCancelIo(FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltCancellableWaitForSingleObject(PVOID, int64_t *, FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltGetVolumeProperties(PVOID, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltGetVolumeGuidName(PVOID, UNICODE_STRING *, ULONG *);
IMPORT NTSTATUS FltGetDiskDeviceObject(PVOID, PVOID *);
IMPORT NTSTATUS FltOpenVolume(PVOID, HANDLE *, PVOID *);
IMPORT NTSTATUS FltQueryVolumeInformation(PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG);
IMPORT NTSTATUS FltCreateSystemVolumeInformationFolder(PVOID);
IMPORT NTSTATUS FltIsVolumeWritable(PVOID, BOOLEAN *);
IMPORT NTSTATUS IoVolumeDeviceToDosName(PVOID, UNICODE_STRING *);
IMPORT PVOID FltAllocatePoolAlignedWithTag(PVOID, ULONG, size_t, ULONG);
IMPORT void FltFreePoolAlignedWithTag(PVOID, PVOID, ULONG);
IMPORT NTSTATUS FltGetDestinationFileNameInformation(PVOID, PVOID, HANDLE, const WCHAR *, ULONG, ULONG, FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltGetTunneledName(FLT_CALLBACK_DATA *, FLT_FILE_NAME_INFORMATION *, FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltGetFileNameInformationUnsafe(PVOID, PVOID, ULONG, FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltCheckAndGrowNameControl(FLT_NAME_CONTROL *, uint16_t);
IMPORT NTSTATUS FltParseFileName(const UNICODE_STRING *, UNICODE_STRING *, UNICODE_STRING *, UNICODE_STRING *);

/* What MmGetSystemAddressForMdlSafe is. */
static inline PVOID SystemAddress(MDL *mdl)
{
    return mdl->Flags & 5 ? mdl->MappedSystemVa : MmMapLockedPagesSpecifyCache(mdl, 0, 1, 0, 0, 16);
}
