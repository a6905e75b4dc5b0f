/*
 * Synthetic WDK: the compiler intrinsics that inline functions of mingw-w64's wdm.h use, and no more. The full intrin.h would bring in SIMD
 * types, which need clang's own resource headers and have no place in kernel bindings.
 */
#pragma once
#include <psdk_inc/intrin-impl.h>
unsigned __int64 __umulh(unsigned __int64 Multiplier, unsigned __int64 Multiplicand);
