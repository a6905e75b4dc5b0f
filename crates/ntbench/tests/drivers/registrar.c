/*
 * A registry monitor: it sees every registry operation before and after, keeps something with keys, forbids and answers what its names
 * say, and itself writes, lists and deletes keys and values.
 *
 * DEFECT: 1 the callback stays registered, 2 a key handle stays open, 3 unregistered from the callback itself, 4 the callback returns
 * at APC_LEVEL.
 */
#include <ntifs.h>
#include <ntstrsafe.h>

#ifndef DEFECT
#define DEFECT 0
#endif

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define RTL_QUERY_REGISTRY_TYPECHECK 0x100
#define STATUS_CALLBACK_BYPASS ((NTSTATUS)0xC0000503)
#define STATUS_KEY_DELETED ((NTSTATUS)0xC000017C)
#define STATUS_CHILD_MUST_BE_VOLATILE ((NTSTATUS)0xC0000181)
#define NAME(text) RTL_CONSTANT_STRING(L##text)

NTSTATUS NTAPI CmCallbackGetKeyObjectIDEx(PLARGE_INTEGER cookie, PVOID object, PULONG_PTR id, PCUNICODE_STRING *name, ULONG flags);

static LARGE_INTEGER Cookie, Legacy;
static ULONG Seen[64], Cleaned, LegacySeen;
static BOOLEAN Told;
static UNICODE_STRING Name = NAME("\\Registry\\Machine\\Software\\Bench");
static UNICODE_STRING Forbidden = NAME("forbidden"), Answered = NAME("answered"), Hidden = NAME("hidden");

static NTSTATUS NTAPI Callback(PVOID context, PVOID class, PVOID argument)
{
    REG_NOTIFY_CLASS what = (REG_NOTIFY_CLASS)(ULONG_PTR)class;

    CHECK(context == &Cookie && KeGetCurrentIrql() == PASSIVE_LEVEL);
    Seen[what & 63]++;
    switch (what) {
    case RegNtPreSetValueKey: {
        PREG_SET_VALUE_KEY_INFORMATION set = argument;
        PVOID old = (PVOID)1;
        PCUNICODE_STRING name;
        ULONG_PTR id, again;

        CHECK(NT_SUCCESS(CmCallbackGetKeyObjectID(&Cookie, set->Object, &id, &name)));
        CHECK(RtlPrefixUnicodeString(&Name, (PUNICODE_STRING)name, TRUE));
        if (Told)
            DbgPrint("sets %wZ of %wZ\n", set->ValueName, name);
        CHECK(CmSetCallbackObjectContext(set->Object, &Cookie, &Seen, &old) == STATUS_SUCCESS && (old == NULL || old == &Seen));
        CHECK(CmSetCallbackObjectContext(&Seen, &Cookie, &Seen, NULL) == STATUS_INVALID_PARAMETER);
        CHECK(CmCallbackGetKeyObjectID(&Cookie, set->Object, &again, NULL) == STATUS_SUCCESS && again == id);
        set->CallContext = set->Object;
        return RtlEqualUnicodeString(set->ValueName, &Forbidden, TRUE) ? STATUS_ACCESS_DENIED
             : RtlEqualUnicodeString(set->ValueName, &Answered, TRUE) ? STATUS_CALLBACK_BYPASS : STATUS_SUCCESS;
    }
    case RegNtPostSetValueKey: {
        PREG_POST_OPERATION_INFORMATION post = argument;

        CHECK(post->CallContext == post->Object && post->ObjectContext == &Seen);
        CHECK(post->Status == STATUS_SUCCESS || post->Status == STATUS_KEY_DELETED);
        CHECK(((PREG_SET_VALUE_KEY_INFORMATION)post->PreInformation)->Object == post->Object);
        return STATUS_SUCCESS;
    }
    case RegNtPreQueryValueKey: {
        PREG_QUERY_VALUE_KEY_INFORMATION query = argument;

        CHECK(query->KeyValueInformationClass == KeyValuePartialInformation && query->KeyValueInformation != NULL);
        return STATUS_SUCCESS;
    }
    case RegNtPostQueryValueKey: {
        PREG_POST_OPERATION_INFORMATION post = argument;
        PREG_QUERY_VALUE_KEY_INFORMATION query = post->PreInformation;

        if (RtlEqualUnicodeString(query->ValueName, &Hidden, TRUE)) {
            post->ReturnStatus = STATUS_OBJECT_NAME_NOT_FOUND;
            return STATUS_CALLBACK_BYPASS;
        }
        return STATUS_SUCCESS;
    }
    case RegNtPreCreateKeyEx: {
        PREG_CREATE_KEY_INFORMATION create = argument;

        CHECK(create->CompleteName->Length != 0 && create->DesiredAccess != 0 && (ULONG_PTR)create->Reserved == 1);
        return STATUS_SUCCESS;
    }
    case RegNtPostCreateKeyEx: {
        PREG_POST_OPERATION_INFORMATION post = argument;
        PREG_CREATE_KEY_INFORMATION create = post->PreInformation;

        CHECK(!NT_SUCCESS(post->Status) || (*create->ResultObject == post->Object && *create->Disposition != 0));
        return STATUS_SUCCESS;
    }
    case RegNtCallbackObjectContextCleanup:
        CHECK(((PREG_CALLBACK_CONTEXT_CLEANUP_INFORMATION)argument)->ObjectContext == &Seen);
        Cleaned++;
        return STATUS_SUCCESS;
    default:
#if DEFECT == 3
        if (what == RegNtPreFlushKey)
            CmUnRegisterCallback(Cookie);
#elif DEFECT == 4
        if (what == RegNtPreFlushKey) {
            KIRQL old;
            KeRaiseIrql(APC_LEVEL, &old);
        }
#endif
        return STATUS_SUCCESS;
    }
}

static NTSTATUS NTAPI LegacyCallback(PVOID context, PVOID class, PVOID argument)
{
    (void)class;
    (void)argument;
    CHECK(context == &Legacy);
    LegacySeen++;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Query(PWSTR name, ULONG type, PVOID data, ULONG length, PVOID context, PVOID entry)
{
    CHECK(type == REG_SZ && context == &Checks && entry == &Seen && name[0] == 'L');
    CHECK(length == 4 && (((PWCHAR)data)[0] == 'a' || ((PWCHAR)data)[0] == 'b'));
    return STATUS_SUCCESS;
}

__attribute__((unused)) static void Tables(void)
{
    ULONG number = 0, other = 0, fallback = 7;
    UNICODE_STRING text = { 0 };
    static WCHAR list[] = L"a\0b\0";
    RTL_QUERY_REGISTRY_TABLE table[] = {
        { NULL, RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_REQUIRED, L"Number", &number, REG_NONE, NULL, 0 },
        { NULL, RTL_QUERY_REGISTRY_DIRECT, L"Text", &text, REG_NONE, NULL, 0 },
        { NULL, RTL_QUERY_REGISTRY_DIRECT, L"None", &other, REG_DWORD, &fallback, sizeof(fallback) },
        { Query, 0, L"List", &Seen, REG_NONE, NULL, 0 },
        { NULL, 0, NULL, NULL, 0, NULL, 0 },
    };
    RTL_QUERY_REGISTRY_TABLE wrong[] = {
        { NULL, RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK, L"Text", &number, REG_DWORD << 24, NULL, 0 },
        { NULL, 0, NULL, NULL, 0, NULL, 0 },
    };
    ULONG value = 42;

    CHECK(RtlCheckRegistryKey(RTL_REGISTRY_CONTROL, L"Bench") == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(RtlCreateRegistryKey(RTL_REGISTRY_CONTROL, L"Bench") == STATUS_SUCCESS);
    CHECK(RtlCheckRegistryKey(RTL_REGISTRY_CONTROL, L"Bench") == STATUS_SUCCESS);
    CHECK(RtlWriteRegistryValue(RTL_REGISTRY_ABSOLUTE, Name.Buffer, L"Number", REG_DWORD, &value, sizeof(value)) == STATUS_SUCCESS);
    CHECK(RtlWriteRegistryValue(RTL_REGISTRY_ABSOLUTE, Name.Buffer, L"Text", REG_SZ, L"text", 10) == STATUS_SUCCESS);
    CHECK(RtlWriteRegistryValue(RTL_REGISTRY_ABSOLUTE, Name.Buffer, L"List", REG_MULTI_SZ, list, sizeof(list)) == STATUS_SUCCESS);
    CHECK(RtlQueryRegistryValues(RTL_REGISTRY_ABSOLUTE, Name.Buffer, table, &Checks, NULL) == STATUS_SUCCESS);
    CHECK(number == 42 && other == 7 && text.Length == 8 && text.Buffer[0] == 't');
    RtlFreeUnicodeString(&text);
    CHECK(RtlQueryRegistryValues(RTL_REGISTRY_ABSOLUTE, Name.Buffer, wrong, NULL, NULL) == STATUS_OBJECT_TYPE_MISMATCH);
    CHECK(RtlDeleteRegistryValue(RTL_REGISTRY_ABSOLUTE, Name.Buffer, L"List") == STATUS_SUCCESS);
    CHECK(RtlDeleteRegistryValue(RTL_REGISTRY_ABSOLUTE, Name.Buffer, L"List") == STATUS_OBJECT_NAME_NOT_FOUND);
}

static void Keys(void)
{
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING below = NAME("Below"), second = NAME("Second"), value = NAME("Value"), none = NAME("None"), class = NAME("class");
    HANDLE key, sub, other;
    ULONG disposition, needed, number = 5;
    union {
        KEY_BASIC_INFORMATION basic;
        KEY_FULL_INFORMATION full;
        struct { ULONG NameLength; WCHAR Name[1]; } name;
        KEY_VALUE_PARTIAL_INFORMATION partial;
        KEY_VALUE_FULL_INFORMATION value;
        UCHAR bytes[256];
    } answer;
    PVOID object;

    InitializeObjectAttributes(&attributes, &Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(ZwOpenKey(&key, KEY_READ, &attributes) == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(ZwCreateKey(&key, KEY_ALL_ACCESS, &attributes, 0, &class, 0, &disposition) == STATUS_SUCCESS && disposition == REG_CREATED_NEW_KEY);
    CHECK(ZwCreateKey(&other, KEY_ALL_ACCESS, &attributes, 0, NULL, 0, &disposition) == STATUS_SUCCESS && disposition == REG_OPENED_EXISTING_KEY);
    CHECK(ZwClose(other) == STATUS_SUCCESS);
    InitializeObjectAttributes(&attributes, &below, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, key, NULL);
    CHECK(ZwCreateKey(&sub, KEY_ALL_ACCESS, &attributes, 0, NULL, REG_OPTION_VOLATILE, NULL) == STATUS_SUCCESS);
    InitializeObjectAttributes(&attributes, &second, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, sub, NULL);
    CHECK(ZwCreateKey(&other, KEY_ALL_ACCESS, &attributes, 0, NULL, 0, NULL) == STATUS_CHILD_MUST_BE_VOLATILE);

    CHECK(ZwSetValueKey(key, &value, 0, REG_DWORD, &number, sizeof(number)) == STATUS_SUCCESS);
    CHECK(ZwSetValueKey(key, &Hidden, 0, REG_DWORD, &number, sizeof(number)) == STATUS_SUCCESS);
    CHECK(ZwSetValueKey(key, &Forbidden, 0, REG_DWORD, &number, sizeof(number)) == STATUS_ACCESS_DENIED);
    CHECK(ZwSetValueKey(key, &Answered, 0, REG_DWORD, &number, sizeof(number)) == STATUS_SUCCESS);
    CHECK(ZwQueryValueKey(key, &value, KeyValuePartialInformation, &answer, sizeof(answer), &needed) == STATUS_SUCCESS);
    CHECK(needed == 16 && answer.partial.Type == REG_DWORD && *(PULONG)answer.partial.Data == 5);
    CHECK(ZwQueryValueKey(key, &value, KeyValuePartialInformation, &answer, 4, &needed) == STATUS_BUFFER_TOO_SMALL);
    CHECK(ZwQueryValueKey(key, &Hidden, KeyValuePartialInformation, &answer, sizeof(answer), &needed) == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(ZwQueryValueKey(key, &Answered, KeyValuePartialInformation, &answer, sizeof(answer), &needed) == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(ZwEnumerateValueKey(key, 0, KeyValueFullInformation, &answer, sizeof(answer), &needed) == STATUS_SUCCESS && answer.value.NameLength == 10);
    CHECK(ZwEnumerateValueKey(key, 2, KeyValueFullInformation, &answer, sizeof(answer), &needed) == STATUS_NO_MORE_ENTRIES);
    CHECK(ZwQueryKey(key, KeyFullInformation, &answer, sizeof(answer), &needed) == STATUS_SUCCESS);
    CHECK(answer.full.SubKeys == 1 && answer.full.Values == 2 && answer.full.MaxNameLen == 10 && answer.full.ClassLength == 10 && answer.full.MaxValueDataLen == 4);
    CHECK(ZwQueryKey(key, KeyNameInformation, &answer, sizeof(answer), &needed) == STATUS_SUCCESS && answer.name.NameLength == 64);
    CHECK(answer.name.Name[1] == 'R' && answer.name.Name[2] == 'E' && needed == 68);
    CHECK(ZwEnumerateKey(key, 0, KeyBasicInformation, &answer, sizeof(answer), &needed) == STATUS_SUCCESS && answer.basic.NameLength == 10);
    CHECK(answer.basic.LastWriteTime.QuadPart > 132223104000000000LL);
    CHECK(ZwEnumerateKey(key, 1, KeyBasicInformation, &answer, sizeof(answer), &needed) == STATUS_NO_MORE_ENTRIES);
    CHECK(ZwFlushKey(key) == STATUS_SUCCESS);

    CHECK(ObReferenceObjectByHandle(key, KEY_READ, NULL, KernelMode, &object, NULL) == STATUS_SUCCESS);
    CHECK(ObQueryNameString(object, (POBJECT_NAME_INFORMATION)&answer, sizeof(answer), &needed) == STATUS_SUCCESS && needed == 16 + 64 + 2);
    ObDereferenceObject(object);

    CHECK(ZwDeleteKey(key) == STATUS_CANNOT_DELETE);
    CHECK(ZwDeleteKey(sub) == STATUS_SUCCESS && ZwDeleteKey(sub) == STATUS_KEY_DELETED);
    CHECK(ZwSetValueKey(sub, &value, 0, REG_DWORD, &number, sizeof(number)) == STATUS_KEY_DELETED);
    ZwClose(sub);
    CHECK(ZwDeleteValueKey(key, &value) == STATUS_SUCCESS && ZwDeleteValueKey(key, &none) == STATUS_OBJECT_NAME_NOT_FOUND);
#if DEFECT != 2
    ZwClose(key);
    InitializeObjectAttributes(&attributes, &Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(ZwOpenKey(&key, KEY_READ, &attributes) == STATUS_SUCCESS && ZwClose(key) == STATUS_SUCCESS);
#endif
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    (void)driver;
    DbgPrint("%lu checks, contexts cleaned up: %s\n", Checks > 100 ? 100 : Checks, Cleaned != 0 ? "yes" : "no");
#if DEFECT != 1
    CHECK(CmUnRegisterCallback(Cookie) == (DEFECT == 3 ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS));
#endif
    CHECK(CmUnRegisterCallback(Legacy) == STATUS_SUCCESS && CmUnRegisterCallback(Legacy) == STATUS_INVALID_PARAMETER);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNICODE_STRING altitude = NAME("385100"), same = NAME("385100.0"), none = NAME("high");
    LARGE_INTEGER cookie;
    ULONG major = 0, minor = 0;

    (void)path;
    driver->DriverUnload = Unload;
    CmGetCallbackVersion(&major, &minor);
    CHECK(major == 1 && minor == 1);
    CHECK(CmRegisterCallbackEx(Callback, &altitude, driver, &Cookie, &Cookie, NULL) == STATUS_SUCCESS);
    CHECK(CmRegisterCallbackEx(Callback, &same, driver, &Cookie, &cookie, NULL) == STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    CHECK(CmRegisterCallbackEx(Callback, &none, driver, &Cookie, &cookie, NULL) == STATUS_INVALID_PARAMETER);
    CHECK(CmRegisterCallback(LegacyCallback, &Legacy, &Legacy) == STATUS_SUCCESS);
    Keys();
#if DEFECT == 0
    Tables();
    CHECK(Seen[RegNtPreCreateKeyEx] == Seen[RegNtPostCreateKeyEx] && Seen[RegNtPreOpenKeyEx] == Seen[RegNtPostOpenKeyEx]);
    /* One was forbidden, one was answered. */
    CHECK(Seen[RegNtPreSetValueKey] == Seen[RegNtPostSetValueKey] + 2);
    CHECK(Seen[RegNtPreKeyHandleClose] == Seen[RegNtPostKeyHandleClose] && Seen[RegNtPreFlushKey] == 1 && Seen[RegNtPreDeleteKey] == 3);
    CHECK(LegacySeen > 0 && Cleaned != 0);
#endif
    Told = TRUE;
    return STATUS_SUCCESS;
}
