/*
 * What drivers commonly import beside the executive's locks and files: C library, bit maps, texts, work items, who is calling.
 * Prints what is not as documented, then how much was asked.
 */
#include <ntifs.h>
#include <string.h>
#include <stdlib.h>
#include <ctype.h>

#ifndef DEFECT
#define DEFECT 0
#endif

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))

NTKERNELAPI PCHAR NTAPI PsGetProcessImageFileName(PEPROCESS);
NTSYSAPI NTSTATUS NTAPI RtlUnicodeToUTF8N(PCHAR, ULONG, PULONG, PCWCH, ULONG);
NTSYSAPI NTSTATUS NTAPI RtlUTF8ToUnicodeN(PWSTR, ULONG, PULONG, PCCH, ULONG);
static PDEVICE_OBJECT Device;
static PIO_WORKITEM Item;
static KEVENT Ran;
static volatile LONG Lock;
/* These are newer than the headers. */
static KIRQL (NTAPI *TakeShared)(volatile LONG *), (NTAPI *TakeExclusive)(volatile LONG *);
static VOID (NTAPI *GiveShared)(volatile LONG *, KIRQL), (NTAPI *GiveExclusive)(volatile LONG *, KIRQL);

static PVOID Routine(PCWSTR name)
{
    UNICODE_STRING string;
    RtlInitUnicodeString(&string, name);
    return MmGetSystemRoutineAddress(&string);
}


static VOID Texts(VOID)
{
    CHAR text[16], utf8[8];
    WCHAR wide[16], back[8], *end;
    ULONG written, value;
    UNICODE_STRING lower = RTL_CONSTANT_STRING(L"Größe.TXT"), made;
    STRING a = RTL_CONSTANT_STRING("Abc"), b = RTL_CONSTANT_STRING("aBC");

    CHECK(strcmp(strcat(strcpy(text, "one"), "two"), "onetwo") == 0);
    CHECK(strncpy(text, "abcdef", 3)[3] == 't' && strncpy(text, "x", 4)[3] == 0);
    strcpy(text, "a.b.c");
    CHECK(strchr(text, '.') == text + 1 && strrchr(text, '.') == text + 3 && strstr(text, "b.") == text + 2 && !strchr(text, 'z'));
    CHECK(strcmp(_strupr(text), "A.B.C") == 0 && _strnicmp(text, "a.bX", 3) == 0 && _strnicmp(text, "a.bX", 4) != 0);
    CHECK(wcscmp(wcscat(wcscpy(wide, L"one"), L"two"), L"onetwo") == 0 && wcscmp(_wcsupr(wide), L"ONETWO") == 0);
    CHECK(wcscmp(_wcslwr(wide), L"onetwo") == 0 && wcsncpy(wide, L"xy", 5)[4] == 0);
    CHECK(toupper('q') == 'Q' && tolower('Q') == 'q' && toupper('1') == '1' && isdigit('7') && !isdigit('x') && isspace('\t'));
    CHECK(atoi(" -42x") == -42 && wcstoul(L"0x1fg", &end, 0) == 0x1f && *end == L'g');
    CHECK(RtlEqualString(&a, &b, TRUE) && !RtlEqualString(&a, &b, FALSE) && RtlCompareString(&a, &b, FALSE) < 0);
    CHECK(RtlCharToInteger("0x20", 0, &value) == STATUS_SUCCESS && value == 0x20);
    CHECK(RtlDowncaseUnicodeString(&made, &lower, TRUE) == STATUS_SUCCESS && made.Length == lower.Length && memcmp(made.Buffer, L"größe.txt", 18) == 0);
    CHECK(NT_SUCCESS(RtlUnicodeToUTF8N(utf8, 8, &written, L"ö€", 4)) && written == 5 && (UCHAR)utf8[0] == 0xC3);
    CHECK(NT_SUCCESS(RtlUTF8ToUnicodeN(back, sizeof(back), &written, utf8, 5)) && written == 4 && back[1] == L'€');
    CHECK(RtlUnicodeToUTF8N(utf8, 2, &written, L"abc", 6) == STATUS_BUFFER_TOO_SMALL && written == 2);
    RtlFreeUnicodeString(&made);
}

static VOID Bits(VOID)
{
    ULONG words[2] = { 0 };
    RTL_BITMAP map;

    RtlInitializeBitMap(&map, words, 40);
    RtlSetBits(&map, 30, 4);
    CHECK(words[0] == 0xC0000000 && words[1] == 3 && RtlNumberOfSetBits(&map) == 4 && RtlTestBit(&map, 33));
    CHECK(RtlAreBitsSet(&map, 30, 4) && !RtlAreBitsSet(&map, 29, 2) && RtlAreBitsClear(&map, 34, 6) && !RtlAreBitsClear(&map, 34, 7));
    CHECK(RtlFindClearBits(&map, 6, 29) == 34 && RtlFindClearBits(&map, 31, 0) == 0xFFFFFFFF && RtlFindSetBits(&map, 2, 31) == 31);
    CHECK(RtlFindClearBitsAndSet(&map, 3, 0) == 0 && words[0] == 0xC0000007);
    RtlClearBits(&map, 30, 4);
    RtlSetAllBits(&map);
    CHECK(words[0] == 0xFFFFFFFF && (words[1] & 0xFF) == 0xFF);
}

static VOID NTAPI Work(PDEVICE_OBJECT device, PVOID context)
{
    CHECK(device == Device && context == &Ran && KeGetCurrentIrql() == PASSIVE_LEVEL && PsGetCurrentProcess() == PsInitialSystemProcess);
    KeSetEvent(&Ran, 0, FALSE);
}

/* Nobody keeps the driver for an ExQueueWorkItem: it jumps to KeSetEvent as its last instruction, and so is over by then. */
__attribute__((optimize("O2"))) static VOID NTAPI Simple(PVOID context)
{
    KeSetEvent(context, 0, FALSE);
}

static VOID Who(PDRIVER_OBJECT driver)
{
    PEPROCESS process;
    PETHREAD thread;
    WORK_QUEUE_ITEM simple;
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Common");
    struct { UNICODE_STRING Name; WCHAR Text[32]; } info;
    ULONG needed;
    KIRQL irql;

    CHECK(PsLookupProcessByProcessId(PsGetCurrentProcessId(), &process) == STATUS_SUCCESS && process == PsGetCurrentProcess());
    CHECK(strcmp(PsGetProcessImageFileName(process), "System") == 0 && PsInitialSystemProcess == process);
    ObDereferenceObject(process);
    CHECK(PsLookupThreadByThreadId(PsGetCurrentThreadId(), &thread) == STATUS_SUCCESS && IoIsSystemThread(thread));
    ObDereferenceObject(thread);
    CHECK(PsLookupProcessByProcessId((HANDLE)0x7777, &process) == STATUS_INVALID_CID);
    CHECK(ExGetPreviousMode() == KernelMode && MmIsAddressValid(&info) && !MmIsAddressValid((PVOID)8));
    CHECK((PUCHAR)IoGetInitialStack() > (PUCHAR)&info && (PUCHAR)IoGetInitialStack() - (PUCHAR)&info < 0x6000);

    CHECK(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device) == STATUS_SUCCESS);
    CHECK(ObQueryNameString(Device, (PVOID)&info, 8, &needed) == STATUS_INFO_LENGTH_MISMATCH && needed == 16 + 30);
    CHECK(ObQueryNameString(Device, (PVOID)&info, sizeof(info), &needed) == STATUS_SUCCESS && RtlEqualUnicodeString(&info.Name, &name, TRUE));

    KeInitializeEvent(&Ran, SynchronizationEvent, FALSE);
    Item = IoAllocateWorkItem(Device);
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, &Ran);
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
#if DEFECT == 1 /* queued twice */
    for (int again = 0; again < 1000; again++)
        IoQueueWorkItem(Item, Work, DelayedWorkQueue, &Ran);
#endif
#if DEFECT != 2 /* never freed */
    IoFreeWorkItem(Item);
#endif
    ExInitializeWorkItem(&simple, Simple, &Ran);
    ExQueueWorkItem(&simple, DelayedWorkQueue);
    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, NULL);
    CHECK(simple.List.Flink == NULL);

    TakeShared = Routine(L"ExAcquireSpinLockShared");
    GiveShared = Routine(L"ExReleaseSpinLockShared");
    TakeExclusive = Routine(L"ExAcquireSpinLockExclusive");
    GiveExclusive = Routine(L"ExReleaseSpinLockExclusive");
    irql = TakeShared(&Lock);
    CHECK(irql == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL && Lock == 1);
    GiveShared(&Lock, irql);
    irql = TakeExclusive(&Lock);
    CHECK(Lock != 0);
#if DEFECT == 3 /* the other way round */
    GiveShared(&Lock, irql);
#endif
    GiveExclusive(&Lock, irql);
    CHECK(Lock == 0 && KeGetCurrentIrql() == PASSIVE_LEVEL);
    IoSetTopLevelIrp((PIRP)FSRTL_FSP_TOP_LEVEL_IRP);
    CHECK(IoGetTopLevelIrp() == (PIRP)FSRTL_FSP_TOP_LEVEL_IRP);
    IoSetTopLevelIrp(NULL);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    UNREFERENCED_PARAMETER(driver);
    IoDeleteDevice(Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = Unload;
    Texts();
    Bits();
    Who(driver);
    DbgPrint("%d checks", Checks);
    return STATUS_SUCCESS;
}
