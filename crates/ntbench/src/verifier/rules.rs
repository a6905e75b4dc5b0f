//! How each broken rule is mended: one line for each, which the guide's tables repeat.

/// A rule's name, and what to do.
type Rule = (&'static str, &'static str);

/// Every rule that a finding can name.
const RULES: &[Rule] = &[
    // Locks, IRQL and regions.
    (
        "irql",
        "call it before raising the IRQL or taking a spin lock, or from a work item",
    ),
    ("apcs-enabled", "leave the guarded region before the call"),
    (
        "critical-region",
        "call KeEnterCriticalRegion (FsRtlEnterFileSystem) first, or use the Flt form, which does",
    ),
    (
        "critical-region-imbalance",
        "give each enter its leave, on every path out of the routine",
    ),
    (
        "lock-held-at-return",
        "release it on every path out of the routine",
    ),
    (
        "lock-not-held",
        "release a lock in the thread that acquired it, once",
    ),
    ("lock-order", "take the two locks in one order everywhere"),
    (
        "spin-lock-irql",
        "call the form that raises the IRQL (KeAcquireSpinLock)",
    ),
    (
        "spin-lock-mixed",
        "acquire and release a spin lock either as a queued one or as an ordinary one, everywhere",
    ),
    (
        "resource-upgrade",
        "release the shared acquisition before asking for the exclusive one",
    ),
    ("resource-alignment", "do not pack the structure around it"),
    (
        "resource-initialised-twice",
        "call ExDeleteResourceLite before it is initialised again",
    ),
    (
        "resource-deleted-in-use",
        "wait for the owners before ExDeleteResourceLite",
    ),
    (
        "resource-not-deleted",
        "call ExDeleteResourceLite before the driver goes away",
    ),
    (
        "push-lock-flags",
        "pass 0, FLT_PUSH_LOCK_ENABLE_AUTO_BOOST or FLT_PUSH_LOCK_DISABLE_AUTO_BOOST",
    ),
    (
        "push-lock-deleted-in-use",
        "wait for the holders before FltDeletePushLock",
    ),
    (
        "push-lock-not-deleted",
        "call FltDeletePushLock before the driver goes away",
    ),
    (
        "rundown-released-too-often",
        "release once for each acquisition that succeeded",
    ),
    (
        "process-attached-at-return",
        "call KeUnstackDetachProcess for each KeStackAttachProcess, on every path",
    ),
    (
        "stack-use",
        "take large variables from pool or a lookaside list, or do the deep work by KeExpandKernelStackAndCalloutEx",
    ),
    (
        "stream-context-left",
        "remove the context (FsRtlRemovePer…Context) and free it before the driver goes away",
    ),
    (
        "sync-paged",
        "put the object into non-paged pool: for a context, pass NonPagedPoolNx to FltAllocateContext",
    ),
    // Memory.
    (
        "crt-invalid-parameter",
        "give it what its reference asks for, or _TRUNCATE",
    ),
    (
        "pool-leak",
        "free the blocks before the unload routine returns",
    ),
    (
        "pool-tag",
        "give each use a tag of its own, and the same tag where it is freed",
    ),
    (
        "pool-aligned",
        "call FltFreePoolAlignedWithTag for what FltAllocatePoolAlignedWithTag has returned",
    ),
    (
        "pool-flags",
        "pass exactly one of POOL_FLAG_NON_PAGED, POOL_FLAG_NON_PAGED_EXECUTE and POOL_FLAG_PAGED, and no unknown bit",
    ),
    (
        "pool-exhausted",
        "put a bound on what is kept, and free what is no longer needed",
    ),
    ("pool-zero-bytes", "ask only for what is needed"),
    (
        "pool-use-after-free",
        "clear the pointer where the block is freed",
    ),
    (
        "lookaside-alignment",
        "align the list to 16 bytes (DECLSPEC_ALIGN), in non-paged memory",
    ),
    (
        "lookaside-initialised-twice",
        "delete the list before it is initialised again",
    ),
    (
        "lookaside-unknown",
        "initialise the list in DriverEntry, and delete it once",
    ),
    (
        "lookaside-not-deleted",
        "delete the list (ExDeleteNPagedLookasideList) before the driver goes away",
    ),
    (
        "lookaside-in-freed-pool",
        "delete the list before the memory that holds it is freed",
    ),
    (
        "table-restart-key",
        "start again from the first element, or delete behind the enumeration",
    ),
    ("mdl-leak", "call IoFreeMdl for each IoAllocateMdl"),
    ("mdl-freed-locked", "call MmUnlockPages before IoFreeMdl"),
    (
        "mdl-not-locked",
        "call MmProbeAndLockPages or FltLockUserBuffer first, or MmBuildMdlForNonPagedPool for pool",
    ),
    (
        "mdl-not-nonpaged",
        "lock a user's pages with MmProbeAndLockPages",
    ),
    ("mdl-too-short", "swap buffer, MDL and length together"),
    (
        "swapped-without-mdl",
        "swap the MDL together with the buffer",
    ),
    (
        "swapped-mdl-freed",
        "leave it to the Filter Manager, or call FltRetainSwappedBufferMdlAddress",
    ),
    (
        "user-buffer-in-wrong-process",
        "call FltLockUserBuffer before the operation is pended",
    ),
    (
        "user-address-in-wrong-process",
        "lock and map the buffer (MmProbeAndLockPages, FltLockUserBuffer) while its own thread runs, or attach to its process",
    ),
    // IRPs and devices.
    (
        "irp-not-completed",
        "call IoCompleteRequest on every path, or return STATUS_PENDING",
    ),
    (
        "irp-status-mismatch",
        "keep the status in one variable for both, read before IoCompleteRequest",
    ),
    (
        "irp-pending-not-marked",
        "call IoMarkIrpPending before, or in the completion routine where PendingReturned is set",
    ),
    (
        "irp-marked-not-pending",
        "return STATUS_PENDING for an IRP that is marked",
    ),
    (
        "irp-completed-pending",
        "set IoStatus.Status to a final status first",
    ),
    (
        "irp-cancel-routine-set",
        "call IoSetCancelRoutine(Irp, NULL) first, and complete the IRP only where that returns the routine",
    ),
    (
        "irp-not-taken-back",
        "return STATUS_MORE_PROCESSING_REQUIRED from the completion routine, and free or reuse the IRP",
    ),
    (
        "irp-leak",
        "call IoFreeIrp for each IoAllocateIrp, once the IRP has come back",
    ),
    (
        "irp-initialised",
        "use IoReuseIrp for an IRP of IoAllocateIrp, and IoSizeOfIrp bytes for one of the driver's own",
    ),
    ("irp-reused", "reuse only IRPs of IoAllocateIrp"),
    (
        "irp-freed",
        "free the memory, where the driver allocated it itself",
    ),
    (
        "irp-major",
        "allocate the IRP with IoAllocateIrp for other requests",
    ),
    (
        "cancel-lock-held",
        "call IoReleaseCancelSpinLock(Irp->CancelIrql) in the cancel routine",
    ),
    (
        "device-still-attached",
        "call IoDetachDevice before IoDeleteDevice",
    ),
    (
        "device-not-attached",
        "pass the device below the driver's own",
    ),
    (
        "symbolic-link-leak",
        "call IoDeleteSymbolicLink before the driver goes away",
    ),
    // Handles and objects.
    ("handle-leak", "close each handle by ZwClose or FltClose"),
    (
        "handle-in-user-process",
        "set OBJ_KERNEL_HANDLE in the object attributes",
    ),
    (
        "object-reference-leak",
        "call ObDereferenceObject for each reference",
    ),
    ("device-leak", "call IoDeleteDevice in the unload routine"),
    (
        "etw-provider-leak",
        "call EtwUnregister for each EtwRegister",
    ),
    ("view-leak", "call ZwUnmapViewOfSection for each view"),
    (
        "fltmgr-leak",
        "give back what was taken, by the function that the text names, on every path",
    ),
    // Callbacks and operations.
    (
        "oplock-fast-io",
        "return FLT_PREOP_DISALLOW_FASTIO for fast I/O first",
    ),
    (
        "oplock-not-uninitialised",
        "call FltUninitializeOplock before the memory or the driver goes away",
    ),
    (
        "oplock-not-null",
        "set the pointer to NULL before the first FltInitializeOplock",
    ),
    (
        "name-control-buffer",
        "fill the buffer that is there, and let FltCheckAndGrowNameControl make it longer",
    ),
    ("registration", "mend the structure that the text names"),
    (
        "preop-status",
        "return a member of FLT_PREOP_CALLBACK_STATUS that fits the operation",
    ),
    (
        "postop-status",
        "return a member of FLT_POSTOP_CALLBACK_STATUS",
    ),
    (
        "altitude-collision",
        "give the instance an altitude of its own",
    ),
    (
        "pended-fast-io",
        "return FLT_PREOP_DISALLOW_FASTIO, and pend the IRP that comes instead",
    ),
    (
        "completion-context",
        "leave it NULL, or ask for the post-operation callback",
    ),
    (
        "changed-without-dirty",
        "call FltSetCallbackDataDirty after the change",
    ),
    (
        "close-not-succeeded",
        "set IoStatus.Status to STATUS_SUCCESS: a handle's end cannot be refused",
    ),
    (
        "posted-after-transfer",
        "do the work in a safe post-operation callback (FltDoCompletionProcessingWhenSafe), or before the operation",
    ),
    (
        "cannot-be-synchronized",
        "return FLT_PREOP_SUCCESS_WITH_CALLBACK; of a read or a write ask FltIsOperationSynchronous first",
    ),
    (
        "completed-with-pending",
        "set IoStatus.Status to a final status first",
    ),
    (
        "completed-not-pended",
        "return FLT_PREOP_PENDING or FLT_POSTOP_MORE_PROCESSING_REQUIRED for what is completed later",
    ),
    ("completed-twice", "let exactly one path complete it"),
    (
        "never-completed",
        "complete or cancel what is pended in the instance teardown start callback",
    ),
    (
        "cancel-routine-left",
        "call FltClearCancelCompletion before it goes on",
    ),
    (
        "failed-create-not-cancelled",
        "call FltCancelFileOpen before the create is failed",
    ),
    (
        "reissued-while-open",
        "call FltCancelFileOpen before the create is sent again",
    ),
    (
        "callback-data-in-use",
        "wait until the operation is over, then call FltReuseCallbackData",
    ),
    (
        "safe-while-draining",
        "test FLTFL_POST_OPERATION_DRAINING first, and only free the completion context",
    ),
    (
        "work-item-freed-queued",
        "free a work item in its own routine, or before it is queued",
    ),
    (
        "work-item-without-device",
        "allocate the work item for a device object, or queue it by IoQueueWorkItemEx",
    ),
    (
        "work-item-leak",
        "call IoFreeWorkItem for each IoAllocateWorkItem",
    ),
    (
        "instance-of-other-volume",
        "pass the filter's instance on the file's volume",
    ),
    (
        "target-instance",
        "name the filter's instance on the other volume, at the same altitude",
    ),
    (
        "driver-create-context",
        "initialise it with IoInitializeDriverCreateContext",
    ),
    (
        "transaction-status",
        "return STATUS_SUCCESS or STATUS_PENDING",
    ),
    ("generated-name", "begin the name with the volume's"),
    (
        "dbgprint-unicode-irql",
        "print narrow text, or print from a work item",
    ),
    ("expand-context", "pass NULL"),
    (
        "expression-case",
        "call RtlUpcaseUnicodeString for the expression, once",
    ),
    (
        "system-thread-process",
        "start the thread in the system's process",
    ),
    // Ports and unload.
    (
        "port-attributes",
        "set OBJ_KERNEL_HANDLE in the object attributes",
    ),
    ("port-message-pending", "answer before the callback returns"),
    (
        "port-output-length",
        "write at most OutputBufferLength bytes, and say how many",
    ),
    (
        "server-port-open-at-unregister",
        "call FltCloseCommunicationPort before FltUnregisterFilter",
    ),
    (
        "unload-without-unregister",
        "call FltUnregisterFilter before the unload callback returns STATUS_SUCCESS",
    ),
    (
        "filter-unloads-itself",
        "leave it to whoever has the filter unloaded, or to the filter that had it loaded",
    ),
    (
        "mandatory-unload-refused",
        "refuse only where FLTFL_FILTER_UNLOAD_MANDATORY is not set",
    ),
    (
        "refused",
        "look into the list of what the bench has (ntbench coverage) for what a driver gets",
    ),
    (
        "bench",
        "run fewer threads, or give the host more memory: the driver has done nothing wrong",
    ),
    // Cryptography.
    (
        "cng-handle",
        "use a handle between its opening and its closing, where the opening succeeded",
    ),
    (
        "cng-leak",
        "call BCryptDestroyKey, BCryptDestroyHash and BCryptCloseAlgorithmProvider before the driver goes away",
    ),
    (
        "cng-object-memory",
        "leave the memory that was given for a hash or a key alone until the object is destroyed",
    ),
    // Others.
    ("ex-timer-leak", "ExDeleteTimer"),
    (
        "notify-left",
        "take it away before the unload routine returns",
    ),
    ("notify-registered-twice", "register it once"),
    (
        "notify-removed-inside",
        "take it away in the unload routine",
    ),
    ("object-access-added", "only take away"),
    (
        "remove-lock-released-too-often",
        "one release for each acquisition that succeeded",
    ),
    (
        "subject-released-twice",
        "one SeReleaseSubjectContext for each capture",
    ),
];

/// The names of all rules.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// What to do where that rule is broken.
pub(crate) fn advice(rule: &str) -> &'static str {
    RULES
        .iter()
        .find(|(name, _)| *name == rule)
        .map_or("", |(_, advice)| advice)
}
