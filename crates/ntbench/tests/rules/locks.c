/* Locks, IRQL and regions, misused in DriverEntry. */
#include "rules.h"

static FAST_MUTEX Mutex, Other;
static KGUARDED_MUTEX Guarded;
static ERESOURCE Resource;
static DECLSPEC_ALIGN(16) UCHAR Packed[sizeof(ERESOURCE) + 8];
static ULONG_PTR Push, Push2;
static KSPIN_LOCK Spin;
static KLOCK_QUEUE_HANDLE Queued;
static EX_RUNDOWN_REF Rundown;

/* Jumps to the function that it calls last, as optimising compilers do: the call leaves no address of the driver's on the stack. */
static VOID NTAPI LastCall(PKDPC dpc, PVOID context, PVOID one, PVOID two)
{
    __attribute__((musttail)) return ((PKDEFERRED_ROUTINE)(PVOID)RtlGetVersion)(dpc, context, one, two);
}

/* Outlives the driver. */
static VOID NTAPI Outlives(PVOID context)
{
    LARGE_INTEGER moment = { .QuadPart = -20000000ll };
    UNREFERENCED_PARAMETER(context);
    KeDelayExecutionThread(KernelMode, FALSE, &moment);
}

static VOID Locks(VOID)
{
    KIRQL irql;
    PSECURITY_DESCRIPTOR descriptor;

    ExInitializeFastMutex(&Mutex);
    ExInitializeFastMutex(&Other);
    KeInitializeGuardedMutex(&Guarded);
    KeInitializeSpinLock(&Spin);
    if (IS("irql")) {
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        FltBuildDefaultSecurityDescriptor(&descriptor, GENERIC_READ); /* here */
        KeLowerIrql(irql);
        FltFreeSecurityDescriptor(descriptor);
    } else if (IS("lock-held-at-return: fast mutex"))
        ExAcquireFastMutexUnsafe(&Mutex); /* here */
    else if (IS("lock-held-at-return: push lock")) {
        FltInitializePushLock(&Push);
        FltAcquirePushLockExclusive(&Push); /* here */
    } else if (IS("lock-held-at-return: resource")) {
        ExInitializeResourceLite(&Resource);
        FltAcquireResourceExclusive(&Resource); /* here */
    } else if (IS("lock-held-at-return: guarded mutex"))
        KeAcquireGuardedMutex(&Guarded); /* here */
    else if (IS("irql: last call")) { /* in LastCall */
        static struct { KDPC dpc; UCHAR room[sizeof(RTL_OSVERSIONINFOW)]; } last;
        KeInitializeDpc(&last.dpc, LastCall, NULL);
        KeInsertQueueDpc(&last.dpc, NULL, NULL);
        KeFlushQueuedDpcs();
    } else if (IS("critical-region-imbalance: critical"))
        KeEnterCriticalRegion(); /* here */
    else if (IS("critical-region-imbalance: file system"))
        FsRtlEnterFileSystem(); /* here */
    else if (IS("critical-region-imbalance: guarded"))
        KeEnterGuardedRegion(); /* here */
    else if (IS("lock-not-held"))
        ExReleaseFastMutexUnsafe(&Mutex); /* here */
    else if (IS("lock-order")) {
        KeEnterCriticalRegion();
        ExAcquireFastMutexUnsafe(&Mutex);
        ExAcquireFastMutexUnsafe(&Other);
        ExReleaseFastMutexUnsafe(&Other);
        ExReleaseFastMutexUnsafe(&Mutex);
        ExAcquireFastMutexUnsafe(&Other);
        ExAcquireFastMutexUnsafe(&Mutex); /* here */
        ExReleaseFastMutexUnsafe(&Mutex);
        ExReleaseFastMutexUnsafe(&Other);
        KeLeaveCriticalRegion();
    } else if (IS("spin-lock-irql")) {
        KeAcquireSpinLockAtDpcLevel(&Spin); /* here */
        KeReleaseSpinLockFromDpcLevel(&Spin);
    } else if (IS("spin-lock-irql: queued")) {
        KeAcquireInStackQueuedSpinLockAtDpcLevel(&Spin, &Queued); /* here */
        KeReleaseInStackQueuedSpinLockFromDpcLevel(&Queued);
    } else if (IS("spin-lock-irql: released")) {
        KeAcquireSpinLock(&Spin, &irql);
        KeLowerIrql(irql);
        KeReleaseSpinLockFromDpcLevel(&Spin); /* here */
    } else if (IS("spin-lock-mixed: queued")) {
        KeAcquireInStackQueuedSpinLock(&Spin, &Queued);
        KeReleaseSpinLock(&Spin, PASSIVE_LEVEL); /* here */
    } else if (IS("spin-lock-mixed: ordinary")) {
        KeAcquireInStackQueuedSpinLock(&Spin, &Queued);
        KeReleaseInStackQueuedSpinLock(&Queued);
        KeAcquireSpinLock(&Spin, &irql);
        KeReleaseInStackQueuedSpinLock(&Queued); /* here */
    } else if (IS("resource-upgrade: and 0xC4")) {
        ExInitializeResourceLite(&Resource);
        KeEnterCriticalRegion();
        ExAcquireResourceSharedLite(&Resource, TRUE);
        ExAcquireResourceExclusiveLite(&Resource, TRUE); /* here */
    } else if (IS("resource-alignment")) {
        ExInitializeResourceLite((PERESOURCE)(Packed + 4)); /* here */
        ExDeleteResourceLite((PERESOURCE)(Packed + 4));
    } else if (IS("resource-initialised-twice")) {
        ExInitializeResourceLite(&Resource);
        ExInitializeResourceLite(&Resource); /* here */
        ExDeleteResourceLite(&Resource);
    } else if (IS("resource-deleted-in-use")) {
        ExInitializeResourceLite(&Resource);
        FltAcquireResourceExclusive(&Resource);
        ExDeleteResourceLite(&Resource); /* here */
    } else if (IS("resource-not-deleted"))
        ExInitializeResourceLite(&Resource); /* here */
    else if (IS("push-lock-flags")) {
        FltInitializePushLock(&Push);
        FltAcquirePushLockExclusiveEx(&Push, 0x10); /* here */
        FltReleasePushLock(&Push);
        FltDeletePushLock(&Push);
    } else if (IS("push-lock-deleted-in-use")) {
        FltInitializePushLock(&Push);
        FltAcquirePushLockShared(&Push);
        FltDeletePushLock(&Push); /* here */
        FltReleasePushLock(&Push);
    } else if (IS("push-lock-not-deleted: static"))
        FltInitializePushLock(&Push2); /* here */
    else if (IS("push-lock-not-deleted: pool")) {
        PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, TAG);
        FltInitializePushLock(block); /* here */
        ExFreePoolWithTag(block, TAG);
    } else if (IS("rundown-released-too-often")) {
        ExInitializeRundownProtection(&Rundown);
        ExReleaseRundownProtection(&Rundown); /* here */
    } else if (IS("sync-paged: event") || IS("sync-paged: mutex") || IS("sync-paged: resource")) {
        PUCHAR block = ExAllocatePool2(POOL_FLAG_PAGED, 256, TAG);
        PVOID inside = block + 64;
        if (IS("sync-paged: event"))
            KeInitializeEvent(inside, NotificationEvent, FALSE); /* here: sync-paged: event */
        else if (IS("sync-paged: mutex"))
            KeInitializeMutex(inside, 0); /* here: sync-paged: mutex */
        else {
            ExInitializeResourceLite(inside); /* here: sync-paged: resource */
            ExDeleteResourceLite(inside);
        }
        ExFreePoolWithTag(block, TAG);
    } else if (IS("process-attached-at-return")) {
        KAPC_STATE state;
        KeStackAttachProcess((PVOID)PsGetCurrentProcess(), &state); /* here */
    } else if (IS("0xC8: irql at return"))
        KeRaiseIrql(APC_LEVEL, &irql);
    else if (IS("0xCE: work item without a device")) {
        static WORK_QUEUE_ITEM item;
        ExInitializeWorkItem(&item, Outlives, NULL);
        ExQueueWorkItem(&item, DelayedWorkQueue);
    } else if (IS("0xC4: mutex taken twice")) {
        ExAcquireFastMutex(&Mutex);
        ExAcquireFastMutex(&Mutex); /* here */
    } else if (IS("0xC4: mutex released at another level")) {
        ExAcquireFastMutex(&Mutex);
        KeLowerIrql(PASSIVE_LEVEL);
        ExReleaseFastMutex(&Mutex); /* here */
    } else if (IS("0xC4: spin lock released at another level")) {
        KeAcquireSpinLock(&Spin, &irql);
        KeLowerIrql(irql);
        KeReleaseSpinLock(&Spin, irql); /* here */
    } else if (IS("0x01: region left too often"))
        KeLeaveGuardedRegion(); /* here */
}
