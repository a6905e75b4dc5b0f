/*
 * An activity monitor: told of processes, threads and images by the routines that real ones register, it prints what it is told, and
 * forbids what its name says. Written against the DDK's own headers.
 *
 * DEFECT: 1 a routine stays registered at unload, 2 a routine is registered twice, 3 a routine takes itself away, 4 a thread routine
 * returns at DISPATCH_LEVEL, 5 registered at DISPATCH_LEVEL.
 */
#include <ntifs.h>
#include <ntstrsafe.h>

#ifndef DEFECT
#define DEFECT 0
#endif

NTKERNELAPI PCHAR NTAPI PsGetProcessImageFileName(PEPROCESS process);

static ULONG Images;
static BOOLEAN Extended;

/* What a routine may rely on: it runs at PASSIVE_LEVEL inside a critical region. */
static void Expect(const char *what)
{
    if (KeGetCurrentIrql() != PASSIVE_LEVEL || !KeAreApcsDisabled())
        DbgPrint("%s: IRQL %d, APCs %s\n", what, KeGetCurrentIrql(), KeAreApcsDisabled() ? "disabled" : "enabled");
}

static VOID NTAPI ProcessPlain(HANDLE parent, HANDLE id, BOOLEAN create)
{
    Expect("process");
    DbgPrint("process %s, parent %s\n", create ? "starts" : "ends", parent == (HANDLE)4 ? "System" : "another");
    (void)id;
#if DEFECT == 3
    PsSetCreateProcessNotifyRoutine(ProcessPlain, TRUE);
#endif
}

static VOID NTAPI ProcessEx(PEPROCESS process, HANDLE id, PPS_CREATE_NOTIFY_INFO info)
{
    PEPROCESS found;
    UNICODE_STRING denied = RTL_CONSTANT_STRING(L"\\??\\C:\\Windows\\System32\\denied.exe");

    Expect("process, extended");
    if (PsGetProcessId(process) != id)
        DbgPrint("a process that is not its id's\n");
    if (!NT_SUCCESS(PsLookupProcessByProcessId(id, &found)) || found != process)
        DbgPrint("its id leads elsewhere\n");
    else
        ObDereferenceObject(found);
    if (info == NULL) {
        DbgPrint("%s ends in %s\n", PsGetProcessImageFileName(process), PsGetCurrentProcess() == process ? "itself" : "another");
        return;
    }
    DbgPrint("%wZ from %s, \"%wZ\", %s\n", info->ImageFileName,
             PsGetCurrentProcessId() == info->CreatingThreadId.UniqueProcess && PsGetCurrentThreadId() == info->CreatingThreadId.UniqueThread
                 ? "its creator" : "elsewhere",
             info->CommandLine, info->FileOpenNameAvailable && info->FileObject != NULL && info->Size == sizeof(*info) ? "whole" : "not whole");
    if (RtlEqualUnicodeString(info->ImageFileName, &denied, TRUE))
        info->CreationStatus = STATUS_ACCESS_DENIED;
}

static VOID NTAPI Thread(HANDLE process, HANDLE thread, BOOLEAN create)
{
    PETHREAD found;

    Expect("thread");
    if (!NT_SUCCESS(PsLookupThreadByThreadId(thread, &found)))
        DbgPrint("a thread that is not there\n");
    else {
        if (PsGetThreadProcessId(found) != process || PsGetThreadId(found) != thread)
            DbgPrint("a thread that is not its id's\n");
        ObDereferenceObject(found);
    }
    DbgPrint("thread %s %s\n", create ? "starts" : "ends", PsGetCurrentThreadId() == thread ? "here" : "elsewhere");
#if DEFECT == 4
    KIRQL old;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
#endif
}

static VOID NTAPI Image(PUNICODE_STRING name, HANDLE process, PIMAGE_INFO info)
{
    Expect("image");
    if (process == NULL || process == PsGetCurrentProcessId())
        Images++;
    const IMAGE_INFO_EX *more = CONTAINING_RECORD(info, IMAGE_INFO_EX, ImageInfo);
    if (!info->ExtendedInfoPresent || more->Size != sizeof(*more) || more->FileObject == NULL)
        DbgPrint("an image without more\n");
    DbgPrint("image %wZ%s\n", name, info->SystemModeImage ? ", a driver's" : "");
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    (void)driver;
#if DEFECT != 1
    if (PsSetCreateProcessNotifyRoutine(ProcessPlain, TRUE) != (DEFECT == 3 ? STATUS_PROCEDURE_NOT_FOUND : STATUS_SUCCESS))
        DbgPrint("the process routine was not there\n");
#endif
    if (Extended && PsSetCreateProcessNotifyRoutineEx(ProcessEx, TRUE) != STATUS_SUCCESS)
        DbgPrint("the extended process routine was not there\n");
    if (PsRemoveCreateThreadNotifyRoutine(Thread) != STATUS_SUCCESS)
        DbgPrint("the thread routine was not there\n");
#if DEFECT == 2
    PsRemoveCreateThreadNotifyRoutine(Thread);
#endif
    if (PsRemoveCreateThreadNotifyRoutine(Thread) != STATUS_PROCEDURE_NOT_FOUND)
        DbgPrint("the thread routine was there twice\n");
    if (PsRemoveLoadImageNotifyRoutine(Image) != STATUS_SUCCESS || PsRemoveLoadImageNotifyRoutine(Image) != STATUS_PROCEDURE_NOT_FOUND)
        DbgPrint("the image routine was not there once\n");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    NTSTATUS status;

    (void)path;
    driver->DriverUnload = Unload;
#if DEFECT == 5
    KIRQL old;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    status = PsSetCreateProcessNotifyRoutine(ProcessPlain, FALSE);
    KeLowerIrql(old);
#else
    status = PsSetCreateProcessNotifyRoutine(ProcessPlain, FALSE);
#endif
    if (!NT_SUCCESS(status))
        return status;
    if (PsSetCreateProcessNotifyRoutine(ProcessPlain, FALSE) != STATUS_INVALID_PARAMETER)
        DbgPrint("a process routine was registered twice\n");
    status = PsSetCreateProcessNotifyRoutineEx(ProcessEx, FALSE);
    Extended = NT_SUCCESS(status);
    DbgPrint("extended: %s\n", Extended ? "yes" : status == STATUS_ACCESS_DENIED ? "denied" : "no");
    PsSetCreateThreadNotifyRoutine(Thread);
#if DEFECT == 2
    PsSetCreateThreadNotifyRoutine(Thread);
#endif
    return PsSetLoadImageNotifyRoutine(Image);
}
