/*
 * A guardian of processes: it takes the right to end a process from handles to it, looks at processes as such drivers do, and attaches to
 * them.
 *
 * DEFECT: 1 its callbacks stay registered, 2 it returns attached, 3 it detaches with another state, 4 it detaches unattached, 5 it adds
 * access, 6 it attaches to what is no process.
 */
#include <ntifs.h>
#include <ntstrsafe.h>

#ifndef DEFECT
#define DEFECT 0
#endif

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define PROCESS_TERMINATE 1
#ifndef PROCESS_QUERY_INFORMATION
#define PROCESS_QUERY_INFORMATION 0x400
#endif
#define NAME(text) RTL_CONSTANT_STRING(L##text)

NTKERNELAPI PCHAR NTAPI PsGetProcessImageFileName(PEPROCESS process);
NTKERNELAPI NTSTATUS NTAPI PsGetProcessExitStatus(PEPROCESS process);
NTKERNELAPI ULONG NTAPI PsGetCurrentProcessSessionId(void);
NTSYSAPI NTSTATUS NTAPI ZwQuerySystemInformation(ULONG class, PVOID buffer, ULONG length, PULONG needed);

/* These headers import the variables themselves, where the WDK's import their addresses. */
#define PROCESS_TYPE ((POBJECT_TYPE *)&PsProcessType)

static PVOID Handle;
static ULONG Kernel, User, After;

static OB_PREOP_CALLBACK_STATUS NTAPI Before(PVOID context, POB_PRE_OPERATION_INFORMATION information)
{
    POB_PRE_CREATE_HANDLE_INFORMATION create = &information->Parameters->CreateHandleInformation;

    CHECK(context == &Handle && information->ObjectType == *PROCESS_TYPE && information->Operation == OB_OPERATION_HANDLE_CREATE);
    CHECK(create->DesiredAccess == create->OriginalDesiredAccess && information->CallContext == NULL);
    information->CallContext = &Kernel;
    create->DesiredAccess &= ~PROCESS_TERMINATE;
#if DEFECT == 5
    create->DesiredAccess |= PROCESS_QUERY_INFORMATION;
#endif
    if (information->KernelHandle)
        Kernel++;
    else
        User++;
    return OB_PREOP_SUCCESS;
}

static VOID NTAPI Behind(PVOID context, POB_POST_OPERATION_INFORMATION information)
{
    CHECK(context == &Handle && information->CallContext == &Kernel && information->ReturnStatus == STATUS_SUCCESS);
    CHECK(information->KernelHandle || !(information->Parameters->CreateHandleInformation.GrantedAccess & PROCESS_TERMINATE));
    After++;
}

static void Processes(PEPROCESS process)
{
    HANDLE handle = NULL, id = PsGetProcessId(process);
    OBJECT_ATTRIBUTES attributes;
    CLIENT_ID client = { id, NULL };
    PROCESS_BASIC_INFORMATION basic;
    union { UNICODE_STRING name; UCHAR bytes[256]; } answer;
    UNICODE_STRING image = NAME("\\Device\\HarddiskVolume1\\Windows\\System32\\app.exe"), none = NAME("none");
    ULONG needed;
    static UCHAR system[8192];

    InitializeObjectAttributes(&attributes, &none, OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(ZwOpenProcess(&handle, PROCESS_ALL_ACCESS, &attributes, &client) == STATUS_INVALID_PARAMETER_MIX);
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(ZwOpenProcess(&handle, PROCESS_ALL_ACCESS, &attributes, &client) == STATUS_SUCCESS);
    CHECK(ZwQueryInformationProcess(handle, ProcessBasicInformation, &basic, sizeof(basic), &needed) == STATUS_SUCCESS);
    CHECK(basic.UniqueProcessId == (ULONG_PTR)id && basic.InheritedFromUniqueProcessId == 4 && basic.ExitStatus == STATUS_PENDING);
    CHECK(ZwQueryInformationProcess(handle, ProcessBasicInformation, &basic, 8, &needed) == STATUS_INFO_LENGTH_MISMATCH && needed == 48);
    CHECK(ZwQueryInformationProcess(handle, ProcessImageFileName, &answer, sizeof(answer), &needed) == STATUS_SUCCESS);
    CHECK(RtlEqualUnicodeString(&answer.name, &image, FALSE) && needed == sizeof(UNICODE_STRING) + image.Length + 2);
    CHECK(ZwQueryInformationProcess(handle, 0x7F, &answer, sizeof(answer), NULL) == STATUS_INVALID_INFO_CLASS);
    CHECK(ZwClose(handle) == STATUS_SUCCESS);
    client.UniqueProcess = (HANDLE)0x7FFC;
    CHECK(ZwOpenProcess(&handle, PROCESS_ALL_ACCESS, &attributes, &client) == STATUS_INVALID_CID);
    CHECK(PsGetProcessCreateTimeQuadPart(process) > 132223104000000000LL && PsGetProcessExitStatus(process) == STATUS_PENDING);
    CHECK(PsGetCurrentProcessSessionId() == 0 && PsIsSystemThread(PsGetCurrentThread()));
    CHECK(ZwQuerySystemInformation(5, system, 16, &needed) == STATUS_INFO_LENGTH_MISMATCH && needed > 0x280);
    CHECK(ZwQuerySystemInformation(5, system, sizeof(system), &needed) == STATUS_SUCCESS);
    /* The first is the system's, with its id; the second the program's. */
    CHECK(*(HANDLE *)(system + 80) == (HANDLE)4 && *(PULONG)system != 0 && *(HANDLE *)(system + *(PULONG)system + 80) == id);
    CHECK(((PUNICODE_STRING)(system + *(PULONG)system + 56))->Buffer[0] == 'a');
}

static void Attach(PEPROCESS process)
{
    KAPC_STATE state, inner;
    HANDLE handle, found;
    OBJECT_ATTRIBUTES attributes;
    CLIENT_ID client = { PsGetProcessId(process), NULL };
    PVOID object;

    InitializeObjectAttributes(&attributes, NULL, 0, NULL, NULL);
    CHECK(ZwOpenProcess(&handle, PROCESS_ALL_ACCESS, &attributes, &client) == STATUS_SUCCESS);
    CHECK(PsGetCurrentProcess() == PsInitialSystemProcess);
    KeStackAttachProcess((PKPROCESS)process, &state);
    CHECK(PsGetCurrentProcess() == process && PsGetCurrentProcessId() == (HANDLE)4 && PsGetCurrentProcessSessionId() == 1);
    /* A handle of the system's table is none here. */
    CHECK(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &object, NULL) == STATUS_INVALID_HANDLE);
    KeStackAttachProcess((PKPROCESS)PsInitialSystemProcess, &inner);
    CHECK(PsGetCurrentProcess() == PsInitialSystemProcess);
    CHECK(ObReferenceObjectByHandle(handle, 0, *PROCESS_TYPE, KernelMode, &object, NULL) == STATUS_SUCCESS && object == process);
    ObDereferenceObject(object);
#if DEFECT == 3
    KeUnstackDetachProcess(&state);
#endif
    KeUnstackDetachProcess(&inner);
    KeUnstackDetachProcess(&state);
    CHECK(PsGetCurrentProcess() == PsInitialSystemProcess && ZwClose(handle) == STATUS_SUCCESS);
    CHECK(ObOpenObjectByPointer(process, OBJ_KERNEL_HANDLE, NULL, PROCESS_TERMINATE, *PROCESS_TYPE, KernelMode, &found) == STATUS_SUCCESS);
    CHECK(ZwClose(found) == STATUS_SUCCESS);
#if DEFECT == 2
    KeStackAttachProcess((PKPROCESS)process, &state);
#elif DEFECT == 4
    KeUnstackDetachProcess(&state);
#elif DEFECT == 6
    KeStackAttachProcess((PKPROCESS)&Checks, &state);
#endif
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    (void)driver;
#if DEFECT != 1
    ObUnRegisterCallbacks(Handle);
#endif
    DbgPrint("kernel %lu, user %lu, after %lu\n", Kernel, User, After);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    OB_OPERATION_REGISTRATION operations[] = { { PROCESS_TYPE, OB_OPERATION_HANDLE_CREATE, Before, Behind } };
    OB_CALLBACK_REGISTRATION registration = {
        OB_FLT_REGISTRATION_VERSION, 1, RTL_CONSTANT_STRING(L"385200"), &Handle, operations
    };
    PVOID second;
    ULONG_PTR id;
    NTSTATUS status;

    (void)path;
    driver->DriverUnload = Unload;
    CHECK(ObGetFilterVersion() == OB_FLT_REGISTRATION_VERSION);
    registration.Version = 0x200;
    CHECK(ObRegisterCallbacks(&registration, &Handle) == STATUS_INVALID_PARAMETER);
    registration.Version = OB_FLT_REGISTRATION_VERSION;
    operations[0].ObjectType = (POBJECT_TYPE *)&IoFileObjectType;
    CHECK(ObRegisterCallbacks(&registration, &Handle) == STATUS_INVALID_PARAMETER);
    operations[0].ObjectType = PROCESS_TYPE;
    status = ObRegisterCallbacks(&registration, &Handle);
    if (!NT_SUCCESS(status))
        return status;
    CHECK(ObRegisterCallbacks(&registration, &second) == STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    /* The one program there is. */
    for (id = 8; id < 0x1000; id += 4) {
        PEPROCESS process;

        if (NT_SUCCESS(PsLookupProcessByProcessId((HANDLE)id, &process))) {
            Processes(process);
            Attach(process);
            ObDereferenceObject(process);
        }
    }
    DbgPrint("%lu checks\n", Checks);
    return STATUS_SUCCESS;
}
