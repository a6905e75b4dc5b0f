/* Two drivers that can be unloaded: with LENDER, one that exports a function; without, one that calls it when it is unloaded. */
typedef int NTSTATUS;
typedef struct { unsigned char Before[0x68]; void *DriverUnload; } DRIVER;

#ifdef LENDER
__declspec(dllexport) int LenderAdd(int left, int right) { return left + right; }
static void Unload(DRIVER *driver) { (void)driver; }
#else
__declspec(dllimport) int LenderAdd(int left, int right);
static void Unload(DRIVER *driver) { driver->Before[0] = (unsigned char)LenderAdd(driver->Before[0], 0); }
#endif

NTSTATUS DriverEntry(DRIVER *driver, void *path)
{
    (void)path;
    driver->DriverUnload = (void *)Unload;
    return 0;
}
