/* One thing that a kernel does not survive, chosen by MISUSE. */
#include "flt.h"

static PVOID Nowhere;

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    static uint64_t lock, event[3];
    static struct { int Count; PVOID Owner; ULONG Contention; uint64_t Event[3]; ULONG Irql; } mutex = { 1, 0, 0, { 0 }, 0 };
    (void)driver, (void)path;

    switch (MISUSE) {
    case 1: /* raises to a lower IRQL */
        KfRaiseIrql(2);
        KfRaiseIrql(1);
        break;
    case 2: /* lowers to a higher one */
        KeLowerIrql(2);
        break;
    case 3: /* takes a spin lock twice */
        KeAcquireSpinLockRaiseToDpc(&lock);
        KeAcquireSpinLockRaiseToDpc(&lock);
        break;
    case 4: /* takes a mutex twice */
        KeInitializeEvent(mutex.Event, 1, 0);
        ExAcquireFastMutex(&mutex);
        ExAcquireFastMutex(&mutex);
        break;
    case 5: /* waits at DISPATCH_LEVEL */
        KeInitializeEvent(event, 0, 0);
        KfRaiseIrql(2);
        KeWaitForSingleObject(event, 0, 0, 0, 0);
        break;
    case 6: /* dereferences what is no object */
        ObfDereferenceObject(&lock);
        break;
    case 7: /* closes a kernel handle that there is not */
        ZwClose((HANDLE)0xFFFFFFFF80001234);
        break;
    case 8: /* paged pool at DISPATCH_LEVEL */
        KfRaiseIrql(2);
        ExAllocatePool2(POOL_FLAG_PAGED, 16, TAG);
        break;
    case 9: /* frees what is no block */
        ExFreePool(&lock);
        break;
    case 10: /* a null pointer where a string is wanted */
        RtlInitUnicodeString(0, u"x");
        break;
    case 12: /* copies to a null pointer */
        memcpy(*(PVOID volatile *)&Nowhere, &mutex, sizeof(mutex));
        break;
    case 13: /* moves from one */
        memmove(&mutex, *(PVOID volatile *)&Nowhere, sizeof(mutex));
        break;
    case 14: /* fills at one */
        memset(*(PVOID volatile *)&Nowhere, 1, 8);
        break;
    case 11: /* releases a spin lock that nobody owns */
        KeReleaseSpinLock(&lock, 0);
        break;
    }
    return STATUS_SUCCESS;
}
