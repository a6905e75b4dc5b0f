/*
 * In the manner of an activity monitor that follows transactions: what it needs of newer Windows is looked up by name, the
 * first transacted create of a transaction enlists, and each notification is told of. ANSWER 1 pends the commit and answers
 * it from another thread; 2 returns what no such callback may.
 */
#include "fltkernel.h"
#ifndef ANSWER
#define ANSWER 0
#endif
#define TAG 'ypsM'

typedef NTSTATUS(FLTAPI *SET_CONTEXT)(PFLT_INSTANCE, PVOID, FLT_SET_CONTEXT_OPERATION, PFLT_CONTEXT, PFLT_CONTEXT *);
typedef NTSTATUS(FLTAPI *GET_CONTEXT)(PFLT_INSTANCE, PVOID, PFLT_CONTEXT *);
typedef NTSTATUS(FLTAPI *ENLIST)(PFLT_INSTANCE, PVOID, PFLT_CONTEXT, ULONG);
typedef struct { ULONG Creates; PFLT_INSTANCE Instance; PVOID Transaction; } SPY_TRANSACTION;

NTFLT extern POBJECT_TYPE *TmTransactionObjectType;

static PFLT_FILTER Filter;
static SET_CONTEXT SetTransactionContext;
static GET_CONTEXT GetTransactionContext;
static ENLIST EnlistInTransaction;
static FAST_MUTEX Lock;

static VOID Ask(PVOID Transaction)
{
    TRANSACTION_BASIC_INFORMATION basic = { 0 };
    HANDLE handle;
    NTSTATUS status = ObOpenObjectByPointer(Transaction, OBJ_KERNEL_HANDLE, NULL, GENERIC_READ, *TmTransactionObjectType,
                                            KernelMode, &handle);
    if (NT_SUCCESS(status)) {
        status = ZwQueryInformationTransaction(handle, TransactionBasicInformation, &basic, sizeof(basic), NULL);
        ZwClose(handle);
    }
    DbgPrint("transaction %08x state %u outcome %u\n", status, basic.State, basic.Outcome);
}

static VOID Enlist(PCFLT_RELATED_OBJECTS FltObjects)
{
    PTXN_PARAMETER_BLOCK block = IoGetTransactionParameterBlock(FltObjects->FileObject);
    SPY_TRANSACTION *mine, *old = NULL;
    NTSTATUS status;

    DbgPrint("in a transaction: block %d, view %x %x\n", block && block->TransactionObject == FltObjects->Transaction,
             block ? block->TxFsContext : 0, FltObjects->TransactionContext);
    ExAcquireFastMutex(&Lock);
    status = GetTransactionContext(FltObjects->Instance, FltObjects->Transaction, (PFLT_CONTEXT *)&mine);
    if (NT_SUCCESS(status)) {
        mine->Creates++;
        FltReleaseContext(mine);
        goto Leave;
    }
    DbgPrint("no context yet %08x\n", status);
    status = FltAllocateContext(Filter, FLT_TRANSACTION_CONTEXT, sizeof(*mine), PagedPool, (PFLT_CONTEXT *)&mine);
    if (!NT_SUCCESS(status))
        goto Leave;
    mine->Creates = 1;
    mine->Instance = FltObjects->Instance;
    mine->Transaction = FltObjects->Transaction;
    status = SetTransactionContext(FltObjects->Instance, FltObjects->Transaction, FLT_SET_CONTEXT_KEEP_IF_EXISTS, mine,
                                   (PFLT_CONTEXT *)&old);
    if (old)
        FltReleaseContext(old);
    if (NT_SUCCESS(status))
        status = EnlistInTransaction(FltObjects->Instance, FltObjects->Transaction, mine,
                                     FLT_MAX_TRANSACTION_NOTIFICATIONS | TRANSACTION_NOTIFY_COMMIT_FINALIZE);
    DbgPrint("enlisted %08x, again %08x, for nothing %08x\n", status,
             EnlistInTransaction(FltObjects->Instance, FltObjects->Transaction, mine, TRANSACTION_NOTIFY_COMMIT),
             EnlistInTransaction(FltObjects->Instance, FltObjects->Transaction, mine, 0));
    FltReleaseContext(mine);
Leave:
    ExReleaseFastMutex(&Lock);
    Ask(FltObjects->Transaction);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                    ULONG Flags)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    if (NT_SUCCESS(Data->IoStatus.Status) && FltObjects->Transaction)
        Enlist(FltObjects);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static VOID FLTAPI Answer(PFLT_GENERIC_WORKITEM Item, PVOID Object, PVOID Context)
{
    SPY_TRANSACTION *mine = Context;
    LARGE_INTEGER wait = { .QuadPart = -200000 };

    UNREFERENCED_PARAMETER(Object);
    KeDelayExecutionThread(KernelMode, FALSE, &wait);
    DbgPrint("answering\n");
    if (!NT_SUCCESS(FltCommitComplete(mine->Instance, mine->Transaction, mine)))
        DbgPrint("nothing was owed\n");
    FltReleaseContext(mine);
    FltFreeGenericWorkItem(Item);
}

static NTSTATUS FLTAPI Notification(PCFLT_RELATED_OBJECTS FltObjects, PFLT_CONTEXT Context, ULONG Mask)
{
    SPY_TRANSACTION *mine = Context;

    DbgPrint("notification %x creates %u same %d file %p\n", Mask, mine->Creates, FltObjects->Transaction == mine->Transaction,
             FltObjects->FileObject);
    if (ANSWER == 1 && Mask == TRANSACTION_NOTIFY_COMMIT) {
        PFLT_GENERIC_WORKITEM item = FltAllocateGenericWorkItem();
        if (item) {
            FltReferenceContext(mine);
            if (NT_SUCCESS(FltQueueGenericWorkItem(item, Filter, (PVOID)Answer, DelayedWorkQueue, mine)))
                return STATUS_PENDING;
            FltReleaseContext(mine);
            FltFreeGenericWorkItem(item);
        }
    }
    return ANSWER == 2 ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
}

static VOID FLTAPI Gone(PFLT_CONTEXT Context, FLT_CONTEXT_TYPE Type)
{
    DbgPrint("context %x gone after %u\n", Type, ((SPY_TRANSACTION *)Context)->Creates);
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_TRANSACTION_CONTEXT, 0, Gone, sizeof(SPY_TRANSACTION), TAG }, { FLT_CONTEXT_END }
};
static const FLT_OPERATION_REGISTRATION Callbacks[] = { { IRP_MJ_CREATE, 0, NULL, PostCreate }, { IRP_MJ_OPERATION_END } };
static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION), .Version = FLT_REGISTRATION_VERSION, .ContextRegistration = Contexts,
    .OperationRegistration = Callbacks, .FilterUnloadCallback = Unload, .TransactionNotificationCallback = Notification,
};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    SetTransactionContext = (SET_CONTEXT)FltGetRoutineAddress("FltSetTransactionContext");
    GetTransactionContext = (GET_CONTEXT)FltGetRoutineAddress("FltGetTransactionContext");
    EnlistInTransaction = (ENLIST)FltGetRoutineAddress("FltEnlistInTransaction");
    if (!SetTransactionContext || !GetTransactionContext || !EnlistInTransaction)
        return STATUS_NOT_SUPPORTED;
    ExInitializeFastMutex(&Lock);
    status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
