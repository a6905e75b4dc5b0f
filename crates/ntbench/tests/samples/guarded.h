/*
 * What Microsoft's linker adds to a driver that is built with /GS and /guard:cf: the cookie, the pointer by which indirect
 * calls are checked, and the load configuration that tells the loader of both.
 */
#pragma once
#include "fltkernel.h"

ULONG_PTR __security_cookie = 0x00002B992DDFA232;
__attribute__((no_stack_protector)) VOID __security_check_cookie(ULONG_PTR cookie)
{
    if (cookie != __security_cookie)
        __asm__ volatile("int $0x29" : : "c"(2));
}
/* The call goes to where RAX points, until the system puts its own check there. */
__asm__(".text\n.globl guard_dispatch_nop\n.def guard_dispatch_nop; .scl 2; .type 32; .endef\nguard_dispatch_nop:\njmp *%rax\n"
        ".globl guard_check_nop\n.def guard_check_nop; .scl 2; .type 32; .endef\nguard_check_nop:\nret\n");
extern VOID guard_dispatch_nop(VOID), guard_check_nop(VOID);
__attribute__((used, section(".00cfg"))) VOID (*const __guard_dispatch_icall_fptr)(VOID) = guard_dispatch_nop;
__attribute__((used, section(".00cfg"))) VOID (*const __guard_check_icall_fptr)(VOID) = guard_check_nop;
extern const char __guard_fids_table[], __guard_fids_count[];

__attribute__((used)) const struct {
    ULONG Size, TimeDateStamp; USHORT MajorVersion, MinorVersion; ULONG GlobalFlagsClear, GlobalFlagsSet, CriticalSection;
    ULONGLONG DeCommit[2], LockPrefix, Maximum, Threshold, Affinity; ULONG HeapFlags; USHORT CsdVersion, DependentLoadFlags;
    ULONGLONG EditList, SecurityCookie, SEHandlerTable, SEHandlerCount, GuardCFCheckFunctionPointer,
        GuardCFDispatchFunctionPointer, GuardCFFunctionTable, GuardCFFunctionCount; ULONG GuardFlags, Pad;
} _load_config_used = {
    .Size = sizeof(_load_config_used), .SecurityCookie = (ULONGLONG)&__security_cookie,
    .GuardCFCheckFunctionPointer = (ULONGLONG)&__guard_check_icall_fptr,
    .GuardCFDispatchFunctionPointer = (ULONGLONG)&__guard_dispatch_icall_fptr,
    .GuardCFFunctionTable = (ULONGLONG)__guard_fids_table, .GuardCFFunctionCount = (ULONGLONG)__guard_fids_count,
    .GuardFlags = 0x500 /* instrumented, with a table of functions */,
};
