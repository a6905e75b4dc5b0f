/* One misuse of a lock or of the thread's state, chosen by MISUSE; the line that does it says so. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
#define IMPORT __declspec(dllimport)

IMPORT u8 KfRaiseIrql(u8 level);
IMPORT void KeLowerIrql(u8 level);
IMPORT void KeInitializeEvent(void *event, u32 kind, u8 state);
IMPORT void ExAcquireFastMutex(void *mutex);
IMPORT void ExReleaseFastMutex(void *mutex);
IMPORT void KeInitializeGuardedMutex(void *mutex);
IMPORT void KeAcquireGuardedMutex(void *mutex);
IMPORT void KeReleaseGuardedMutex(void *mutex);
IMPORT void FltInitializePushLock(u64 *lock);
IMPORT void FltAcquirePushLockShared(u64 *lock);
IMPORT void FltReleasePushLock(u64 *lock);
IMPORT void KeInitializeMutex(void *mutex, u32 level);
IMPORT int KeReleaseMutex(void *mutex, u8 wait);
IMPORT void KeInitializeSemaphore(void *semaphore, int count, int limit);
IMPORT int KeReleaseSemaphore(void *semaphore, int increment, int count, u8 wait);
IMPORT void KeEnterCriticalRegion(void);
IMPORT void KeLeaveCriticalRegion(void);
IMPORT void KeEnterGuardedRegion(void);
IMPORT int ExInitializeResourceLite(void *resource);
IMPORT void ExReleaseResourceLite(void *resource);
IMPORT void KeInitializeSpinLock(u64 *lock);
IMPORT void KeAcquireSpinLockAtDpcLevel(u64 *lock);
IMPORT void KeReleaseSpinLockFromDpcLevel(u64 *lock);
IMPORT void KeAcquireInStackQueuedSpinLock(u64 *lock, void *handle);
IMPORT u8 ExAcquireResourceExclusiveLite(void *resource, u8 wait);
IMPORT u8 ExAcquireResourceSharedLite(void *resource, u8 wait);
IMPORT int ExDeleteResourceLite(void *resource);
IMPORT void ExAcquirePushLockExclusiveEx(u64 *lock, u32 flags);
IMPORT void ExReleasePushLockExclusiveEx(u64 *lock, u32 flags);
IMPORT u8 KeSetTimer(void *timer, i64 due, void *dpc);
IMPORT u8 KeInsertQueueDpc(void *dpc, void *one, void *two);
IMPORT int KeSetEvent(void *event, int increment, u8 wait);
IMPORT u8 KeAcquireSpinLockRaiseToDpc(u64 *lock);
IMPORT void KeReleaseSpinLock(u64 *lock, u8 level);
IMPORT void ExReleaseRundownProtection(u64 *lock);
IMPORT int KeWaitForSingleObject(void *object, u32 reason, u8 mode, u8 alertable, void *timeout);
IMPORT int KeDelayExecutionThread(u8 mode, u8 alertable, i64 *interval);

static u64 object[2][16], handle[2][4], lock[2];
static struct { int count; void *owner; u32 contention; u64 event[3]; u32 irql; } mutex[2] = { { 1 }, { 1 } };

__attribute__((noinline)) int misused(void)
{
    i64 while_ = -10;
    KeInitializeEvent(mutex[0].event, 1, 0);
    KeInitializeEvent(mutex[1].event, 1, 0);
    KeInitializeGuardedMutex(object[0]);
    FltInitializePushLock(&lock[0]);
    FltInitializePushLock(&lock[1]);
    switch (MISUSE) {
    case 0:
        ExAcquireFastMutex(&mutex[0]);
        ExReleaseFastMutex(&mutex[0]);
        break;
    case 1:
        ExReleaseFastMutex(&mutex[0]); /* misuse 1 */
        break;
    case 2:
        FltAcquirePushLockShared(&lock[0]);
        FltAcquirePushLockShared(&lock[0]); /* misuse 2 */
        break;
    case 3:
        KeAcquireGuardedMutex(object[0]);
        KeAcquireGuardedMutex(object[0]); /* misuse 3 */
        break;
    case 4:
        KeInitializeMutex(object[1], 0);
        KeReleaseMutex(object[1], 0); /* misuse 4 */
        break;
    case 5:
        KeInitializeSemaphore(object[1], 1, 1);
        KeReleaseSemaphore(object[1], 0, 1, 0); /* misuse 5 */
        break;
    case 6:
        KeLeaveCriticalRegion(); /* misuse 6 */
        break;
    case 7:
        ExInitializeResourceLite(object[1]);
        ExReleaseResourceLite(object[1]); /* misuse 7 */
        break;
    case 8:
        KfRaiseIrql(2);
        ExAcquireFastMutex(&mutex[0]); /* misuse 8 */
        ExReleaseFastMutex(&mutex[0]);
        KeLowerIrql(0);
        break;
    case 9:
        KfRaiseIrql(2);
        KeDelayExecutionThread(0, 0, &while_); /* misuse 9 */
        break;
    case 10:
        KfRaiseIrql(1); /* misuse 10 */
        break;
    case 11:
        KeEnterCriticalRegion(); /* misuse 11 */
        break;
    case 12:
        FltAcquirePushLockShared(&lock[0]); /* misuse 12 */
        KeLeaveCriticalRegion();
        break;
    case 13:
        KeInitializeSpinLock(&lock[0]);
        KeAcquireSpinLockAtDpcLevel(&lock[0]); /* misuse 13 */
        KeReleaseSpinLockFromDpcLevel(&lock[0]);
        break;
    case 14:
        FltAcquirePushLockShared(&lock[0]);
        FltAcquirePushLockShared(&lock[1]);
        FltReleasePushLock(&lock[1]);
        FltReleasePushLock(&lock[0]);
        FltAcquirePushLockShared(&lock[1]);
        FltAcquirePushLockShared(&lock[0]); /* misuse 14 */
        FltReleasePushLock(&lock[0]);
        FltReleasePushLock(&lock[1]);
        break;
    case 15:
        KeInitializeSpinLock(&lock[0]);
        KeAcquireInStackQueuedSpinLock(&lock[0], handle[0]);
        KeAcquireInStackQueuedSpinLock(&lock[0], handle[1]); /* misuse 15 */
        break;
    case 16:
        KeEnterGuardedRegion(); /* misuse 16 */
        break;
    case 17:
        FltReleasePushLock(&lock[0]); /* misuse 17 */
        break;
    case 18:
        KeReleaseGuardedMutex(object[0]); /* misuse 18 */
        break;
    case 19:
        ExInitializeResourceLite(object[1]);
        ExAcquireResourceExclusiveLite(object[1], 1); /* misuse 19 */
        ExReleaseResourceLite(object[1]);
        ExDeleteResourceLite(object[1]);
        break;
    case 20:
        ExAcquirePushLockExclusiveEx(&lock[0], 0); /* misuse 20 */
        ExReleasePushLockExclusiveEx(&lock[0], 0);
        break;
    case 21:
        KeSetTimer(object[1], 10, 0); /* misuse 21 */
        break;
    case 22:
        KeInsertQueueDpc(object[1], 0, 0); /* misuse 22 */
        break;
    case 23:
        KeSetEvent(object[1], 0, 0); /* misuse 23 */
        break;
    case 24:
        KeInitializeSpinLock(&lock[0]);
        KeAcquireSpinLockRaiseToDpc(&lock[0]); /* misuse 24 */
        KeLowerIrql(0);
        break;
    case 25:
        KeInitializeSpinLock(&lock[0]);
        KeAcquireSpinLockRaiseToDpc(&lock[0]);
        KeReleaseSpinLock(&lock[1], 0); /* misuse 25 */
        break;
    case 26:
        KfRaiseIrql(2);
        KeEnterCriticalRegion(); /* misuse 26 */
        KeLeaveCriticalRegion();
        KeLowerIrql(0);
        break;
    case 27:
        KfRaiseIrql(2);
        FltAcquirePushLockShared(&lock[0]); /* misuse 27 */
        FltReleasePushLock(&lock[0]);
        KeLowerIrql(0);
        break;
    case 28:
        ExInitializeResourceLite(object[1]);
        KfRaiseIrql(2);
        ExAcquireResourceSharedLite(object[1], 1); /* misuse 28 */
        ExReleaseResourceLite(object[1]);
        KeLowerIrql(0);
        ExDeleteResourceLite(object[1]);
        break;
    case 29:
        ExReleaseRundownProtection(&lock[0]); /* misuse 29 */
        break;
    case 30:
        KeInitializeEvent(object[1], 0, 0);
        KfRaiseIrql(3);
        KeSetEvent(object[1], 0, 0); /* misuse 30 */
        KeLowerIrql(0);
        break;
    case 31:
        KeInitializeEvent(object[1], 0, 1);
        KfRaiseIrql(2);
        KeWaitForSingleObject(object[1], 0, 0, 0, 0); /* misuse 31 */
        KeLowerIrql(0);
        break;
    case 33:
        KeReleaseSemaphore(object[1], 0, 1, 0); /* misuse 33 */
        break;
    case 32:
        KeInitializeMutex(object[1], 0);
        KeWaitForSingleObject(object[1], 0, 0, 0, 0); /* misuse 32 */
        break;
    }
    return 0;
}

/* By the system's thread that loads it, or by a program's later. */
int DriverEntry(void *driver, void *path)
{
    (void)driver, (void)path;
#ifndef USER
    misused();
#endif
    return 0;
}
