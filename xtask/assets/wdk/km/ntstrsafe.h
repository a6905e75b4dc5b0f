/* Synthetic WDK: the last header that wdk-build hands to bindgen for a WDM driver, and so the place for what mingw-w64 lacks. */
#pragma once
#include "mingw-ddk/ntstrsafe.h"
#include "headroom-supplement.h"
