/*
 * What the parts of the driver that breaks every rule have in common. A part says which rule a line breaks by IS("rule") or
 * IS("rule: how"), where the line is marked by the word "here", or, where a whole routine is at fault, by "in" and its name; a
 * name that begins with 0x is the bug check that the line ends in.
 */
#pragma once
#include "../samples/fltkernel.h"

#define TAG 'eluR'
#define NTOS __declspec(dllimport)

/* What mingw-w64's headers are too old for. */
NTOS PVOID NTAPI ExAllocatePool2(ULONG64, SIZE_T, ULONG);
#define POOL_FLAG_NON_PAGED 0x40ull
#define POOL_FLAG_PAGED 0x100ull
typedef VOID(NTAPI *CALLOUT)(PVOID);
NTOS NTSTATUS NTAPI KeExpandKernelStackAndCalloutEx(CALLOUT, PVOID, SIZE_T, BOOLEAN, PVOID);

typedef PVOID PFLT_DEFERRED_IO_WORKITEM;
NTFLT NTSTATUS FLTAPI FltObjectReference(PVOID);
NTFLT VOID FLTAPI FltObjectDereference(PVOID);
NTFLT NTSTATUS FLTAPI FltUnloadFilter(PCUNICODE_STRING);
NTFLT NTSTATUS FLTAPI FltGetVolumeFromInstance(PFLT_INSTANCE, PFLT_VOLUME *);
NTFLT NTSTATUS FLTAPI FltGetFilterFromInstance(PFLT_INSTANCE, PFLT_FILTER *);
NTFLT NTSTATUS FLTAPI FltEnumerateInstances(PFLT_VOLUME, PFLT_FILTER, PFLT_INSTANCE *, ULONG, PULONG);
NTFLT NTSTATUS FLTAPI FltOpenVolume(PFLT_INSTANCE, PHANDLE, PFILE_OBJECT *);
NTFLT NTSTATUS FLTAPI FltBuildDefaultSecurityDescriptor(PSECURITY_DESCRIPTOR *, ACCESS_MASK);
NTFLT VOID FLTAPI FltFreeSecurityDescriptor(PSECURITY_DESCRIPTOR);
NTFLT NTSTATUS FLTAPI FltCreateCommunicationPort(PFLT_FILTER, PFLT_PORT *, POBJECT_ATTRIBUTES, PVOID, PVOID, PVOID, PVOID, LONG);
NTFLT VOID FLTAPI FltCloseCommunicationPort(PFLT_PORT);
NTFLT VOID FLTAPI FltCloseClientPort(PFLT_FILTER, PFLT_PORT *);
NTFLT NTSTATUS FLTAPI FltAllocateExtraCreateParameterList(PFLT_FILTER, ULONG, PVOID *);
NTFLT NTSTATUS FLTAPI FltAllocateExtraCreateParameter(PFLT_FILTER, LPCGUID, ULONG, ULONG, PVOID, ULONG, PVOID *);
NTFLT NTSTATUS FLTAPI FltAllocateCallbackData(PFLT_INSTANCE, PFILE_OBJECT, PFLT_CALLBACK_DATA *);
NTFLT VOID FLTAPI FltFreeCallbackData(PFLT_CALLBACK_DATA);
NTFLT VOID FLTAPI FltReuseCallbackData(PFLT_CALLBACK_DATA);
NTFLT NTSTATUS FLTAPI FltPerformAsynchronousIo(PFLT_CALLBACK_DATA, PVOID, PVOID);
NTFLT VOID FLTAPI FltPerformSynchronousIo(PFLT_CALLBACK_DATA);
NTFLT VOID FLTAPI FltReissueSynchronousIo(PFLT_INSTANCE, PFLT_CALLBACK_DATA);
NTFLT VOID FLTAPI FltSetCallbackDataDirty(PFLT_CALLBACK_DATA);
NTFLT NTSTATUS FLTAPI FltLockUserBuffer(PFLT_CALLBACK_DATA);
NTFLT VOID FLTAPI FltCompletePendedPreOperation(PFLT_CALLBACK_DATA, FLT_PREOP_CALLBACK_STATUS, PVOID);
NTFLT VOID FLTAPI FltCompletePendedPostOperation(PFLT_CALLBACK_DATA);
NTFLT NTSTATUS FLTAPI FltSetCancelCompletion(PFLT_CALLBACK_DATA, PVOID);
NTFLT NTSTATUS FLTAPI FltClearCancelCompletion(PFLT_CALLBACK_DATA);
NTFLT BOOLEAN FLTAPI FltDoCompletionProcessingWhenSafe(PFLT_CALLBACK_DATA, PCFLT_RELATED_OBJECTS, PVOID, ULONG, PVOID, PVOID);
NTFLT PFLT_DEFERRED_IO_WORKITEM FLTAPI FltAllocateDeferredIoWorkItem(VOID);
NTFLT VOID FLTAPI FltFreeDeferredIoWorkItem(PFLT_DEFERRED_IO_WORKITEM);
NTFLT NTSTATUS FLTAPI FltQueueDeferredIoWorkItem(PFLT_DEFERRED_IO_WORKITEM, PFLT_CALLBACK_DATA, PVOID, WORK_QUEUE_TYPE, PVOID);
NTFLT PVOID FLTAPI FltAllocatePoolAlignedWithTag(PFLT_INSTANCE, POOL_TYPE, SIZE_T, ULONG);
NTFLT VOID FLTAPI FltInitializePushLock(PVOID);
NTFLT VOID FLTAPI FltDeletePushLock(PVOID);
NTFLT VOID FLTAPI FltAcquirePushLockExclusive(PVOID);
NTFLT VOID FLTAPI FltAcquirePushLockShared(PVOID);
NTFLT VOID FLTAPI FltAcquirePushLockExclusiveEx(PVOID, ULONG);
NTFLT VOID FLTAPI FltReleasePushLock(PVOID);
NTFLT NTSTATUS FLTAPI FltCheckAndGrowNameControl(PVOID, USHORT);
NTFLT VOID FLTAPI FltInitializeOplock(PVOID);
NTFLT VOID FLTAPI FltUninitializeOplock(PVOID);
NTFLT NTSTATUS FLTAPI FltCheckOplock(PVOID, PFLT_CALLBACK_DATA, PVOID, PVOID, PVOID);
NTFLT VOID FLTAPI FltCancelFileOpen(PFLT_INSTANCE, PFILE_OBJECT);

/* The misuse that this load is for. */
static WCHAR Misuse[64];
static PFLT_FILTER Filter;
static PDRIVER_OBJECT Driver;
/* What a misuse leaves lying about. */
static PVOID volatile Left;

static BOOLEAN IsMisuse(const WCHAR *name)
{
    ULONG at = 0;
    while (Misuse[at] == name[at] && name[at])
        at++;
    return Misuse[at] == name[at];
}
#define IS(name) IsMisuse(L"" name)
