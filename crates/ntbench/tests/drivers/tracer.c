/*
 * An event provider: registers, hears of being enabled, writes one event of each level as TraceLogging lays them out.
 * LEAK: 1 stays registered at unload.
 */
#include "flt.h"
#ifndef LEAK
#define LEAK 0
#endif

typedef struct { uint16_t Id; uint8_t Version, Channel, Level, Opcode; uint16_t Task; uint64_t Keyword; } EVENT;
typedef struct { const void *At; ULONG Size; uint8_t Type, Reserved[3]; } DATA;

static const GUID Provider = { 0x11223344, 0x5566, 0x7788, { 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0x00 } };
static uint64_t Handle;

static void Enabled(const GUID *source, ULONG code, uint8_t level, uint64_t any, uint64_t all, PVOID filter, PVOID context)
{
    (void)source, (void)filter;
    DbgPrint("enable code=%u level=%u any=%I64x all=%I64x context=%p\n", code, level, any, all, context);
}

static NTSTATUS Write(uint8_t level, uint64_t keyword, ULONG value)
{
    static const char traits[] = "\x0b\0Tracers", metadata[] = "\x0f\0\x80\0Measured\0\x08";
    EVENT event = { 7, 1, 11, level, 2, 3, keyword };
    DATA data[] = {
        { traits, sizeof(traits), 2, { 0 } }, { metadata, sizeof(metadata), 1, { 0 } }, { &value, sizeof(value), 0, { 0 } }, { "z", 2, 0, { 0 } },
    };
    return EtwWriteTransfer(Handle, &event, &Provider, 0, 4, data);
}

static void Unload(PVOID driver)
{
    EVENT event = { 0, 0, 0, 1, 0, 0, 0 };
    (void)driver;
    if (LEAK)
        return;
    DbgPrint("unregister %08x\n", EtwUnregister(Handle));
    DbgPrint("then %08x %08x\n", EtwUnregister(Handle), EtwWrite(Handle, &event, 0, 0, 0));
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    EVENT event = { 0, 0, 0, 3, 0, 0, 8 };
    static uint8_t large[0x10000];
    DATA much = { large, sizeof(large), 0, { 0 } };
    NTSTATUS status = EtwRegister(&Provider, Enabled, (PVOID)0x77, &Handle);
    (void)path;

    DbgPrint("register %08x\n", status);
    if (!NT_SUCCESS(status))
        return status;
    DbgPrint("traits %08x\n", EtwSetInformation(Handle, 2, "\x0b\0Tracers", 10));
    DbgPrint("enabled %u%u%u%u\n", EtwProviderEnabled(Handle, 3, 8), EtwProviderEnabled(Handle, 4, 8),
             EtwProviderEnabled(Handle, 3, 1), EtwEventEnabled(Handle, &event));
    DbgPrint("write %08x %08x %08x\n", Write(2, 8, 0x11223344), Write(4, 8, 2), Write(3, 1, 3));
    event.Level = 0;
    DbgPrint("plain %08x\n", EtwWrite(Handle, &event, 0, 0, 0));
    DbgPrint("wrong %08x %08x %08x\n", EtwWrite(Handle + 4, &event, 0, 0, 0), EtwWrite(Handle, &event, 0, 200, &much),
             EtwWrite(Handle, &event, 0, 1, &much));
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((uint8_t *)driver + 0x68) = Unload;
    return STATUS_SUCCESS;
}
