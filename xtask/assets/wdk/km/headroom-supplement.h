/*
 * Synthetic WDK: documented kernel interfaces that mingw-w64's DDK headers do not declare, written from the WDK's public documentation.
 * Only what the published windows-drivers-rs crates and this workspace call.
 */
#pragma once

/* ExAllocatePool2, Windows 10 version 2004 */
typedef ULONG64 POOL_FLAGS;
PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);

/* KeExpandKernelStackAndCalloutEx, Windows Vista SP1; the last parameter is reserved and NULL */
NTSTATUS NTAPI KeExpandKernelStackAndCalloutEx(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, SIZE_T Size, BOOLEAN Wait, PVOID Context);
