/*
 * Just enough of the WDK for the test filters beside this file, declared from the public documentation so that they
 * compile with mingw-w64's gcc alone.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef int32_t NTSTATUS;
typedef void *PVOID;
typedef uint16_t WCHAR;
typedef uint8_t BOOLEAN;
typedef void *HANDLE;
typedef uint32_t ULONG;

#define STATUS_SUCCESS ((NTSTATUS)0)
#define STATUS_ACCESS_DENIED ((NTSTATUS)0xC0000022)
#define STATUS_FLT_DO_NOT_DETACH ((NTSTATUS)0xC01C0010)
#define STATUS_FLT_DO_NOT_ATTACH ((NTSTATUS)0xC01C000F)
#define NT_SUCCESS(s) ((NTSTATUS)(s) >= 0)

typedef struct { uint16_t Length, MaximumLength; WCHAR *Buffer; } UNICODE_STRING;
typedef struct { ULONG Data1; uint16_t Data2, Data3; uint8_t Data4[8]; } GUID;
typedef struct { NTSTATUS Status; uintptr_t Information; } IO_STATUS_BLOCK;
typedef struct {
    ULONG Length; HANDLE RootDirectory; UNICODE_STRING *ObjectName; ULONG Attributes; PVOID SecurityDescriptor, Qos;
} OBJECT_ATTRIBUTES;

typedef struct { PVOID SecurityContext; ULONG Options; ULONG Pad0; uint16_t FileAttributes, ShareAccess; } FLT_CREATE;
typedef struct {
    ULONG IrpFlags; uint8_t MajorFunction, MinorFunction, OperationFlags, Reserved;
    PVOID TargetFileObject, TargetInstance; FLT_CREATE Create; uint8_t Rest[24];
} FLT_IO_PARAMETER_BLOCK;
typedef struct {
    ULONG Flags; PVOID Thread; FLT_IO_PARAMETER_BLOCK *Iopb; IO_STATUS_BLOCK IoStatus; PVOID TagData; PVOID Context[4];
    int8_t RequestorMode;
} FLT_CALLBACK_DATA;
typedef struct {
    uint16_t Size, TransactionContext; PVOID Filter, Volume, Instance, FileObject, Transaction;
} FLT_RELATED_OBJECTS;
typedef struct { uint8_t MajorFunction; ULONG Flags; PVOID Pre, Post, Reserved; } FLT_OPERATION_REGISTRATION;
typedef struct {
    uint16_t Size, Version; ULONG Flags; const void *Contexts; const FLT_OPERATION_REGISTRATION *Operations;
    PVOID Unload, InstanceSetup, QueryTeardown, TeardownStart, TeardownComplete, GenerateName, Normalize,
        NormalizeCleanup, Transaction, NormalizeEx, Section;
} FLT_REGISTRATION;
typedef struct {
    uint16_t Size, NamesParsed; ULONG Format;
    UNICODE_STRING Name, Volume, Share, Extension, Stream, FinalComponent, ParentDir;
} FLT_FILE_NAME_INFORMATION;
typedef struct { int16_t Size; PVOID Ecps, DeviceObjectHint, Txn, Silo; } IO_DRIVER_CREATE_CONTEXT;

enum { PREOP_WITH_CALLBACK, PREOP_NO_CALLBACK, PREOP_PENDING, PREOP_DISALLOW_FASTIO, PREOP_COMPLETE, PREOP_SYNCHRONIZE };
#define POSTOP_FINISHED 0
#define IRP_MJ_CREATE 0
#define IRP_MJ_CLOSE 2
#define IRP_MJ_CLEANUP 0x12
#define IRP_MJ_OPERATION_END 0x80
#define OBJ_CASE_INSENSITIVE 0x40
#define OBJ_KERNEL_HANDLE 0x200
#define NAME_OPENED 0x102
#define NAME_NORMALIZED 0x101
#define POOL_FLAG_NON_PAGED 0x40ULL
#define POOL_FLAG_PAGED 0x100ULL
#define DPFLTR_IHVDRIVER_ID 77
#define TAG 0x74736554 /* 'Test' */

#define IMPORT __declspec(dllimport)
IMPORT ULONG DbgPrint(const char *, ...);
IMPORT ULONG DbgPrintEx(ULONG, ULONG, const char *, ...);
IMPORT PVOID ExAllocatePool2(uint64_t, size_t, ULONG);
IMPORT void ExFreePoolWithTag(PVOID, ULONG);
IMPORT uint8_t KfRaiseIrql(uint8_t);
IMPORT void KeLowerIrql(uint8_t);
IMPORT void KeEnterCriticalRegion(void);
IMPORT intptr_t ObfDereferenceObject(PVOID);
IMPORT NTSTATUS ZwOpenKey(HANDLE *, ULONG, OBJECT_ATTRIBUTES *);
IMPORT NTSTATUS ZwQueryValueKey(HANDLE, UNICODE_STRING *, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS ZwClose(HANDLE);
IMPORT void RtlInitUnicodeString(UNICODE_STRING *, const WCHAR *);
IMPORT PVOID MmGetSystemRoutineAddress(UNICODE_STRING *);

IMPORT PVOID ExAllocatePoolWithTag(ULONG, size_t, ULONG);
IMPORT void ExFreePool(PVOID);
IMPORT uint8_t KeGetCurrentIrql(void);
IMPORT void KeLeaveCriticalRegion(void);
IMPORT BOOLEAN KeAreApcsDisabled(void);
IMPORT BOOLEAN KeAreAllApcsDisabled(void);
IMPORT void KeEnterGuardedRegion(void);
IMPORT void KeLeaveGuardedRegion(void);
IMPORT int64_t KeQueryPerformanceCounter(int64_t *);
IMPORT void KeQuerySystemTimePrecise(int64_t *);
IMPORT HANDLE PsGetCurrentProcessId(void);
IMPORT HANDLE PsGetCurrentThreadId(void);
IMPORT PVOID IoGetCurrentProcess(void);
IMPORT HANDLE PsGetProcessId(PVOID);
IMPORT NTSTATUS SeLocateProcessImageName(PVOID, UNICODE_STRING **);
IMPORT BOOLEAN RtlEqualUnicodeString(const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT int RtlCompareUnicodeString(const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT BOOLEAN RtlPrefixUnicodeString(const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT void RtlCopyUnicodeString(UNICODE_STRING *, const UNICODE_STRING *);
IMPORT NTSTATUS RtlAppendUnicodeToString(UNICODE_STRING *, const WCHAR *);
IMPORT NTSTATUS RtlUpcaseUnicodeString(UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN);
IMPORT void RtlFreeUnicodeString(UNICODE_STRING *);
IMPORT WCHAR RtlUpcaseUnicodeChar(WCHAR);
IMPORT void KeInitializeEvent(PVOID, ULONG, BOOLEAN);
IMPORT int KeSetEvent(PVOID, int, BOOLEAN);
IMPORT int KeReadStateEvent(PVOID);
IMPORT NTSTATUS KeWaitForSingleObject(PVOID, ULONG, int8_t, BOOLEAN, int64_t *);
IMPORT uint8_t KeAcquireSpinLockRaiseToDpc(uint64_t *);
IMPORT void KeReleaseSpinLock(uint64_t *, uint8_t);
IMPORT void ExAcquireFastMutex(PVOID);
IMPORT void ExReleaseFastMutex(PVOID);
IMPORT BOOLEAN ExTryToAcquireFastMutex(PVOID);
IMPORT NTSTATUS IoOpenDriverRegistryKey(PVOID, ULONG, ULONG, ULONG, HANDLE *);
IMPORT intptr_t ObfReferenceObject(PVOID);
IMPORT size_t strlen(const char *);
IMPORT size_t wcslen(const WCHAR *);
IMPORT int memcmp(const void *, const void *, size_t);
IMPORT PVOID memcpy(PVOID, const void *, size_t);
IMPORT PVOID memmove(PVOID, const void *, size_t);
IMPORT PVOID memset(PVOID, int, size_t);

IMPORT NTSTATUS FltRegisterFilter(PVOID, const FLT_REGISTRATION *, PVOID *);
IMPORT NTSTATUS FltStartFiltering(PVOID);
IMPORT void FltUnregisterFilter(PVOID);
IMPORT NTSTATUS FltGetFileNameInformation(FLT_CALLBACK_DATA *, ULONG, FLT_FILE_NAME_INFORMATION **);
IMPORT NTSTATUS FltParseFileNameInformation(FLT_FILE_NAME_INFORMATION *);
IMPORT void FltReleaseFileNameInformation(FLT_FILE_NAME_INFORMATION *);
IMPORT void FltSetCallbackDataDirty(FLT_CALLBACK_DATA *);
IMPORT void FltCompletePendedPreOperation(FLT_CALLBACK_DATA *, int, PVOID);
IMPORT NTSTATUS FltCreateFileEx2(PVOID, PVOID, HANDLE *, PVOID *, ULONG, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *,
                                 int64_t *, ULONG, ULONG, ULONG, ULONG, PVOID, ULONG, ULONG, IO_DRIVER_CREATE_CONTEXT *);
IMPORT NTSTATUS FltQueryInformationFile(PVOID, PVOID, PVOID, ULONG, ULONG, ULONG *);
IMPORT NTSTATUS FltClose(HANDLE);
IMPORT NTSTATUS FltAllocateExtraCreateParameterList(PVOID, ULONG, PVOID *);
IMPORT void FltFreeExtraCreateParameterList(PVOID, PVOID);
IMPORT NTSTATUS FltAllocateExtraCreateParameter(PVOID, const GUID *, ULONG, ULONG, PVOID, ULONG, PVOID *);
IMPORT NTSTATUS FltInsertExtraCreateParameter(PVOID, PVOID, PVOID);
IMPORT NTSTATUS FltFindExtraCreateParameter(PVOID, PVOID, const GUID *, PVOID *, ULONG *);
IMPORT NTSTATUS FltGetEcpListFromCallbackData(PVOID, FLT_CALLBACK_DATA *, PVOID *);
IMPORT void FltAcknowledgeEcp(PVOID, PVOID);
IMPORT BOOLEAN FltIsEcpAcknowledged(PVOID, PVOID);
IMPORT BOOLEAN FltIsEcpFromUserMode(PVOID, PVOID);
IMPORT NTSTATUS FltObjectReference(PVOID);
IMPORT void FltObjectDereference(PVOID);
IMPORT ULONG FltGetRequestorProcessId(FLT_CALLBACK_DATA *);
IMPORT PVOID FltGetRoutineAddress(const char *);
IMPORT PVOID FltAllocateDeferredIoWorkItem(void);
IMPORT void FltFreeDeferredIoWorkItem(PVOID);
IMPORT NTSTATUS FltQueueDeferredIoWorkItem(PVOID, FLT_CALLBACK_DATA *, PVOID, ULONG, PVOID);
IMPORT NTSTATUS FltAllocateContext(PVOID, uint16_t, size_t, ULONG, PVOID *);
IMPORT void FltReleaseContext(PVOID);
IMPORT NTSTATUS FltSetInstanceContext(PVOID, ULONG, PVOID, PVOID *);
IMPORT NTSTATUS FltSetStreamContext(PVOID, PVOID, ULONG, PVOID, PVOID *);
IMPORT NTSTATUS FltSetStreamHandleContext(PVOID, PVOID, ULONG, PVOID, PVOID *);
IMPORT NTSTATUS FltGetStreamContext(PVOID, PVOID, PVOID *);
IMPORT NTSTATUS FltGetStreamHandleContext(PVOID, PVOID, PVOID *);

IMPORT NTSTATUS FltBuildDefaultSecurityDescriptor(PVOID *, ULONG);
IMPORT void FltFreeSecurityDescriptor(PVOID);
IMPORT NTSTATUS FltCreateCommunicationPort(PVOID, PVOID *, OBJECT_ATTRIBUTES *, PVOID, PVOID, PVOID, PVOID, int);
IMPORT void FltCloseCommunicationPort(PVOID);
IMPORT void FltCloseClientPort(PVOID, PVOID *);
IMPORT NTSTATUS FltSendMessage(PVOID, PVOID *, PVOID, ULONG, PVOID, ULONG *, int64_t *);
IMPORT NTSTATUS FltAttachVolume(PVOID, PVOID, UNICODE_STRING *, PVOID *);
IMPORT NTSTATUS FltAttachVolumeAtAltitude(PVOID, PVOID, UNICODE_STRING *, UNICODE_STRING *, PVOID *);
IMPORT NTSTATUS FltDetachVolume(PVOID, PVOID, UNICODE_STRING *);
IMPORT NTSTATUS FltEnumerateInstances(PVOID, PVOID, PVOID *, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateVolumes(PVOID, PVOID *, ULONG, ULONG *);
IMPORT NTSTATUS FltGetVolumeFromName(PVOID, UNICODE_STRING *, PVOID *);
IMPORT NTSTATUS FltGetVolumeInstanceFromName(PVOID, PVOID, UNICODE_STRING *, PVOID *);
IMPORT NTSTATUS FltGetInstanceInformation(PVOID, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltSetCancelCompletion(FLT_CALLBACK_DATA *, PVOID);
IMPORT NTSTATUS FltClearCancelCompletion(FLT_CALLBACK_DATA *);
IMPORT BOOLEAN FltIsIoCanceled(FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltCbdqInitialize(PVOID, PVOID, PVOID, PVOID, PVOID, PVOID, PVOID, PVOID);
IMPORT void FltCbdqEnable(PVOID);
IMPORT void FltCbdqDisable(PVOID);
IMPORT NTSTATUS FltCbdqInsertIo(PVOID, FLT_CALLBACK_DATA *, PVOID, PVOID);
IMPORT PVOID FltCbdqRemoveIo(PVOID, PVOID);
IMPORT PVOID FltCbdqRemoveNextIo(PVOID, PVOID);
IMPORT NTSTATUS EtwRegister(const GUID *, PVOID, PVOID, uint64_t *);
IMPORT NTSTATUS EtwUnregister(uint64_t);
IMPORT NTSTATUS EtwSetInformation(uint64_t, ULONG, const void *, ULONG);
IMPORT NTSTATUS EtwWrite(uint64_t, const void *, const GUID *, ULONG, const void *);
IMPORT NTSTATUS EtwWriteTransfer(uint64_t, const void *, const GUID *, const GUID *, ULONG, const void *);
IMPORT BOOLEAN EtwProviderEnabled(uint64_t, uint8_t, uint64_t);
IMPORT BOOLEAN EtwEventEnabled(uint64_t, const void *);

/* Without the CRT: the one filter object, and registration with the callbacks of this image. */
static PVOID Filter __attribute__((unused));
int DriverEntry(PVOID driver, UNICODE_STRING *path);

#define REGISTRATION(ops, unload, setup, start, complete) \
    { sizeof(FLT_REGISTRATION), 0x0203, 0, 0, ops, unload, setup, 0, start, complete, 0, 0, 0, 0, 0, 0 }

/* A filter that has nothing else to give back when it goes. */
#define PLAIN_UNLOAD                   \
    static NTSTATUS Unload(ULONG flags) \
    {                                  \
        (void)flags;                   \
        FltUnregisterFilter(Filter);   \
        return STATUS_SUCCESS;         \
    }

/* One that has nothing else to take when it comes. */
#define PLAIN_ENTRY                                                              \
    int DriverEntry(PVOID driver, UNICODE_STRING *path)                          \
    {                                                                            \
        NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);     \
        (void)path;                                                              \
        if (NT_SUCCESS(status)) {                                                \
            status = FltStartFiltering(Filter);                                  \
            if (!NT_SUCCESS(status))                                             \
                FltUnregisterFilter(Filter);                                     \
        }                                                                        \
        return status;                                                           \
    }
