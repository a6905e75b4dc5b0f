/*
 * The C library and the run-time library as filters use them for names and numbers: what is documented of their results, and that
 * they look at no more than they have to. Every text lies at the end of its page where the bench puts pool blocks there.
 * DEFECT: one call that the reference forbids.
 */
#include <ntifs.h>

#ifndef DEFECT
#define DEFECT 0
#endif

#define IMPORT __declspec(dllimport)
#define TRUNCATE ((SIZE_T)-1)
#define RANGE 34
#define CUT 80

IMPORT int __cdecl wcscpy_s(WCHAR *, SIZE_T, const WCHAR *);
IMPORT int __cdecl wcsncpy_s(WCHAR *, SIZE_T, const WCHAR *, SIZE_T);
IMPORT int __cdecl wcscat_s(WCHAR *, SIZE_T, const WCHAR *);
IMPORT int __cdecl wcsncat_s(WCHAR *, SIZE_T, const WCHAR *, SIZE_T);
IMPORT int __cdecl strcpy_s(char *, SIZE_T, const char *);
IMPORT int __cdecl strncpy_s(char *, SIZE_T, const char *, SIZE_T);
IMPORT char *__cdecl strtok_s(char *, const char *, char **);
IMPORT int __cdecl swprintf_s(WCHAR *, SIZE_T, const WCHAR *, ...);
IMPORT int __cdecl _snwprintf_s(WCHAR *, SIZE_T, SIZE_T, const WCHAR *, ...);
IMPORT int __cdecl sprintf(char *, const char *, ...);
IMPORT int __cdecl _itow_s(int, WCHAR *, SIZE_T, int);
IMPORT int __cdecl _ui64toa_s(ULONGLONG, char *, SIZE_T, int);
IMPORT void __cdecl qsort(void *, SIZE_T, SIZE_T, int(__cdecl *)(const void *, const void *));
IMPORT void *__cdecl bsearch(const void *, const void *, SIZE_T, SIZE_T, int(__cdecl *)(const void *, const void *));
IMPORT NTSTATUS NTAPI RtlDuplicateUnicodeString(ULONG, PCUNICODE_STRING, PUNICODE_STRING);

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define TAG 0x7262694C

/* A text without its terminator, at the end of a block. */
static WCHAR *Bare(const WCHAR *text)
{
    SIZE_T length = wcslen(text) * sizeof(WCHAR);
    /* Whole pages end where the next page is not there. */
    SIZE_T size = PAGE_SIZE;
    char *block = ExAllocatePoolWithTag(NonPagedPool, size, TAG);
    WCHAR *start;
    if (!block)
        return NULL;
    start = (WCHAR *)(block + size - length);
    RtlCopyMemory(start, text, length);
    return start;
}

static void Free(WCHAR *text)
{
    ExFreePoolWithTag((PVOID)((ULONG_PTR)text & ~(ULONG_PTR)(PAGE_SIZE - 1)), TAG);
}

static void Bounds(void)
{
    WCHAR *bare = Bare(L"name"), copy[8] = L"xxxxxxx";

    CHECK(_wcsnicmp(bare, L"NAME", 4) == 0 && wcsncmp(bare, L"name.txt", 4) == 0);
    /* Different before the end: what is behind it is not looked at. */
    CHECK(_wcsnicmp(bare, L"nothing", 7) < 0 && wcsncmp(bare, L"nam", 8) > 0 && _wcsicmp(bare, L"nick") < 0);
    CHECK(wcsncpy(copy, bare, 4) == copy && copy[3] == L'e' && copy[4] == L'x');
    CHECK(wcsncpy_s(copy, 8, bare, 4) == 0 && wcscmp(copy, L"name") == 0);
    CHECK(wcsncat_s(copy, 8, bare, 3) == 0 && wcscmp(copy, L"namenam") == 0);
    Free(bare);
}

static void Room(void)
{
    WCHAR text[8] = { 0 };
    char narrow[8] = { 0 }, list[] = ",a,,bc;", *rest = NULL;

    CHECK(wcscpy_s(text, 8, L"1234567") == 0 && wcscmp(text, L"1234567") == 0);
    CHECK(wcscpy_s(text, 8, L"12") == 0 && wcscat_s(text, 8, L"34") == 0 && wcscmp(text, L"1234") == 0);
    CHECK(wcsncpy_s(text, 4, L"abcdef", TRUNCATE) == CUT && wcscmp(text, L"abc") == 0);
    CHECK(strncpy_s(narrow, 8, "abcdef", 2) == 0 && strcmp(narrow, "ab") == 0);
    CHECK(swprintf_s(text, 8, L"%d-%s", 7, L"x") == 3 && wcscmp(text, L"7-x") == 0);
    CHECK(_snwprintf_s(text, 8, TRUNCATE, L"%s", L"a long name") == -1 && wcscmp(text, L"a long ") == 0);
    CHECK(_snwprintf_s(text, 8, 3, L"%s", L"a long name") == -1 && wcscmp(text, L"a l") == 0);
    CHECK(sprintf(narrow, "%x %s", 255, "y") == 4 && strcmp(narrow, "ff y") == 0);
    CHECK(strcmp(strtok_s(list, ",;", &rest), "a") == 0 && strcmp(strtok_s(NULL, ",;", &rest), "bc") == 0);
    CHECK(strtok_s(NULL, ",;", &rest) == NULL);
}

static int __cdecl Compare(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

static void Numbers(void)
{
    int list[] = { 5, -1, 3, 3, 0 }, key = 3, absent = 4;
    WCHAR text[12];
    char narrow[21];

    qsort(list, 5, sizeof(int), Compare);
    CHECK(list[0] == -1 && list[1] == 0 && list[2] == 3 && list[3] == 3 && list[4] == 5);
    CHECK(*(int *)bsearch(&key, list, 5, sizeof(int), Compare) == 3 && bsearch(&absent, list, 5, sizeof(int), Compare) == NULL);
    CHECK(_itow_s(-10, text, 12, 10) == 0 && wcscmp(text, L"-10") == 0);
    CHECK(_itow_s(-1, text, 12, 16) == 0 && wcscmp(text, L"ffffffff") == 0);
    CHECK(_ui64toa_s(~0ULL, narrow, 21, 10) == 0 && strcmp(narrow, "18446744073709551615") == 0);
}

static void Times(void)
{
    TIME_FIELDS fields = { .Year = 2024, .Month = 2, .Day = 29, .Hour = 23, .Minute = 59, .Second = 59, .Milliseconds = 123 }, back;
    LARGE_INTEGER time, again;
    ULONG seconds;

    CHECK(RtlTimeFieldsToTime(&fields, &time) && time.QuadPart == 133537247991230000LL);
    RtlTimeToTimeFields(&time, &back);
    CHECK(back.Day == 29 && back.Weekday == 4 && back.Milliseconds == 123);
    fields.Year = 2023;
    CHECK(!RtlTimeFieldsToTime(&fields, &time));
    RtlSecondsSince1970ToTime(86400, &time);
    CHECK(RtlTimeToSecondsSince1970(&time, &seconds) && seconds == 86400 && !RtlTimeToSecondsSince1980(&time, &seconds));
    RtlSecondsSince1980ToTime(1, &again);
    CHECK(RtlTimeToSecondsSince1970(&again, &seconds) && seconds == 315532801);
}

static void Strings(void)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"Name"), copy, empty = { 0 };
    RTL_OSVERSIONINFOEXW version;

    CHECK(RtlDuplicateUnicodeString(1, &name, &copy) == STATUS_SUCCESS && copy.Length == 8 && copy.Buffer[4] == 0);
    RtlFreeUnicodeString(&copy);
    CHECK(RtlDuplicateUnicodeString(1, &empty, &copy) == STATUS_SUCCESS && !copy.Buffer);
    CHECK(RtlDuplicateUnicodeString(2, &name, &copy) == STATUS_INVALID_PARAMETER);
    RtlFillMemory(&version, sizeof(version), 0x55);
    version.dwOSVersionInfoSize = sizeof(version);
    CHECK(RtlGetVersion((PRTL_OSVERSIONINFOW)&version) == STATUS_SUCCESS && version.dwMajorVersion == 10);
    CHECK(version.szCSDVersion[0] == 0 && version.wServicePackMajor == 0 && version.wProductType == VER_NT_WORKSTATION);
}

static NTSTATUS Target(PCWSTR link, PUNICODE_STRING target, PULONG needed)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle;
    NTSTATUS status;

    RtlInitUnicodeString(&name, link);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwOpenSymbolicLinkObject(&handle, SYMBOLIC_LINK_QUERY, &attributes);
    if (!NT_SUCCESS(status))
        return status;
    status = ZwQuerySymbolicLinkObject(handle, target, needed);
    ZwClose(handle);
    return status;
}

static void Links(void)
{
    WCHAR buffer[64];
    UNICODE_STRING target = { 0, sizeof(buffer), buffer }, small = { 0, 2, buffer };
    UNICODE_STRING mup = RTL_CONSTANT_STRING(L"\\Device\\Mup"), own = RTL_CONSTANT_STRING(L"\\DosDevices\\OwnLink");
    ULONG needed = 0;

    CHECK(Target(L"\\??\\UNC", &target, NULL) == STATUS_SUCCESS && RtlEqualUnicodeString(&target, &mup, FALSE));
    CHECK(Target(L"\\??\\UNC", &small, &needed) == STATUS_BUFFER_TOO_SMALL && needed == mup.Length);
    CHECK(Target(L"\\??\\NoSuchLink", &target, NULL) == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(IoCreateSymbolicLink(&own, &mup) == STATUS_SUCCESS);
    CHECK(Target(L"\\GLOBAL??\\ownlink", &target, NULL) == STATUS_SUCCESS && RtlEqualUnicodeString(&target, &mup, FALSE));
    CHECK(IoDeleteSymbolicLink(&own) == STATUS_SUCCESS);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    WCHAR text[4] = L"abc";
    UNREFERENCED_PARAMETER(path);

    driver->DriverUnload = Unload;
    Bounds();
    Room();
    Numbers();
    Times();
    Strings();
    Links();
    if (DEFECT == 1)
        CHECK(wcscpy_s(text, 4, L"1234") == RANGE && text[0] == 0);
    if (DEFECT == 2)
        CHECK(wcscat_s(text, 4, L"d") == RANGE && text[0] == 0);
    if (DEFECT == 3)
        CHECK(swprintf_s(text, 4, L"%d", 12345) == -1 && text[0] == 0);
    if (DEFECT == 4)
        CHECK(strcpy_s(NULL, 4, "") == 22);
    if (DEFECT == 5)
        CHECK(_itow_s(12345, text, 4, 10) == 22 && text[0] == 0);
    if (DEFECT == 6)
        wcsncpy(text, Bare(L"name"), 5);
    DbgPrint("%d checks\n", Checks);
    return STATUS_SUCCESS;
}
