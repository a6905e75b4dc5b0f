/* The library that Rust's standard library takes random numbers from, for a Wine that lacks it (before version 9): its one documented
   function, by the one of advapi32 that did the same before. */
typedef unsigned char BYTE;

__declspec(dllimport) BYTE __stdcall SystemFunction036(void *buffer, unsigned long length);

__declspec(dllexport) int __stdcall ProcessPrng(BYTE *buffer, unsigned long long length)
{
    while (length != 0) {
        unsigned long part = length > 0x10000000 ? 0x10000000 : (unsigned long)length;
        if (!SystemFunction036(buffer, part))
            return 0;
        buffer += part;
        length -= part;
    }
    return 1;
}

int __stdcall DllMain(void *instance, unsigned long reason, void *reserved)
{
    (void)instance;
    (void)reason;
    (void)reserved;
    return 1;
}
