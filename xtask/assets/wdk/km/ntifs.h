/*
 * Synthetic WDK: the first header that wdk-build hands to bindgen. It prepares the compiler for mingw-w64's DDK headers, reads them, and
 * mends the one declaration that bindgen could not see.
 */
#pragma once

/* mingw-w64's headers are written for GCC and take another path, which clang's -msvc targets reject, when __GNUC__ is missing. */
#ifndef __GNUC__
#define __GNUC__ 8
#define __GNUC_MINOR__ 1
#endif

/* Windows 10, version 2004: the oldest system that has ExAllocatePool2, which wdk-alloc calls. */
#define _WIN32_WINNT 0x0A00
#define NTDDI_VERSION 0x0A000008

/* mingw-w64 has KeGetCurrentIrql as an inline function alone, and bindgen passes over those; ntoskrnl.exe exports it. */
#define KeGetCurrentIrql mingw_w64_inline_KeGetCurrentIrql
#include "mingw-ddk/ntifs.h"
#undef KeGetCurrentIrql
KIRQL NTAPI KeGetCurrentIrql(VOID);
