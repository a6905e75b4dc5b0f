/*
 * cng.sys's functions as filters use them to encrypt and to compare: published test vectors, lengths, statuses, and what is where after a
 * failure. DEFECT: one thing that the reference forbids.
 */
#include <ntifs.h>

#ifndef DEFECT
#define DEFECT 0
#endif

typedef PVOID HANDLE_OF;
#define IMPORT __declspec(dllimport) NTSTATUS NTAPI
IMPORT BCryptOpenAlgorithmProvider(HANDLE_OF *, PCWSTR, PCWSTR, ULONG);
IMPORT BCryptCloseAlgorithmProvider(HANDLE_OF, ULONG);
IMPORT BCryptGetProperty(HANDLE_OF, PCWSTR, PUCHAR, ULONG, ULONG *, ULONG);
IMPORT BCryptSetProperty(HANDLE_OF, PCWSTR, PUCHAR, ULONG, ULONG);
IMPORT BCryptCreateHash(HANDLE_OF, HANDLE_OF *, PUCHAR, ULONG, PUCHAR, ULONG, ULONG);
IMPORT BCryptHashData(HANDLE_OF, PUCHAR, ULONG, ULONG);
IMPORT BCryptFinishHash(HANDLE_OF, PUCHAR, ULONG, ULONG);
IMPORT BCryptDuplicateHash(HANDLE_OF, HANDLE_OF *, PUCHAR, ULONG, ULONG);
IMPORT BCryptDestroyHash(HANDLE_OF);
IMPORT BCryptHash(HANDLE_OF, PUCHAR, ULONG, PUCHAR, ULONG, PUCHAR, ULONG);
IMPORT BCryptGenRandom(HANDLE_OF, PUCHAR, ULONG, ULONG);
IMPORT BCryptDeriveKeyPBKDF2(HANDLE_OF, PUCHAR, ULONG, PUCHAR, ULONG, ULONGLONG, PUCHAR, ULONG, ULONG);
IMPORT BCryptGenerateSymmetricKey(HANDLE_OF, HANDLE_OF *, PUCHAR, ULONG, PUCHAR, ULONG, ULONG);
IMPORT BCryptImportKey(HANDLE_OF, HANDLE_OF, PCWSTR, HANDLE_OF *, PUCHAR, ULONG, PUCHAR, ULONG, ULONG);
IMPORT BCryptExportKey(HANDLE_OF, HANDLE_OF, PCWSTR, PUCHAR, ULONG, ULONG *, ULONG);
IMPORT BCryptDuplicateKey(HANDLE_OF, HANDLE_OF *, PUCHAR, ULONG, ULONG);
IMPORT BCryptDestroyKey(HANDLE_OF);
IMPORT BCryptEncrypt(HANDLE_OF, PUCHAR, ULONG, PVOID, PUCHAR, ULONG, PUCHAR, ULONG, ULONG *, ULONG);
IMPORT BCryptDecrypt(HANDLE_OF, PUCHAR, ULONG, PVOID, PUCHAR, ULONG, PUCHAR, ULONG, ULONG *, ULONG);

typedef struct {
    ULONG Size, Version;
    PUCHAR Nonce;
    ULONG NonceLength;
    PUCHAR Aad;
    ULONG AadLength;
    PUCHAR Tag;
    ULONG TagLength;
    PUCHAR Context;
    ULONG ContextLength, AadSoFar;
    ULONGLONG DataSoFar;
    ULONG Flags;
} AUTH_INFO;

#define DISPATCH 1
#define HMAC 8
#define REUSABLE 0x20
#define PADDING 1
#define SHA256_HANDLE ((HANDLE_OF)0x41)
#define TAG 0x74797243
#define STATUS_TAG_MISMATCH ((NTSTATUS)0xC000A002)
#define ECB L"ChainingModeECB"
#define GCM L"ChainingModeGCM"

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define GOOD(call) CHECK(NT_SUCCESS(call))

static UCHAR Digit(char digit)
{
    return (UCHAR)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* Whether these bytes are those, in hexadecimal digits. */
static BOOLEAN Same(const UCHAR *bytes, const char *digits)
{
    for (; *digits; digits += 2, bytes++)
        if (*bytes != (UCHAR)(Digit(digits[0]) * 16 + Digit(digits[1])))
            return FALSE;
    return TRUE;
}

static ULONG Number(HANDLE_OF handle, PCWSTR name)
{
    ULONG number = 0, length = 0;
    GOOD(BCryptGetProperty(handle, name, (PUCHAR)&number, sizeof(number), &length, 0));
    CHECK(length == sizeof(number));
    return number;
}

static void Digest(PCWSTR name, ULONG length, const char *abc)
{
    HANDLE_OF provider = NULL, hash = NULL, copy = NULL;
    UCHAR out[64];
    ULONG size;
    PUCHAR object;
    GOOD(BCryptOpenAlgorithmProvider(&provider, name, NULL, DISPATCH));
    CHECK(Number(provider, L"HashDigestLength") == length);
    size = Number(provider, L"ObjectLength");
    object = ExAllocatePoolWithTag(NonPagedPool, size, TAG);
    if (!object)
        return;
    CHECK(BCryptCreateHash(provider, &hash, object, size - 1, NULL, 0, 0) == STATUS_BUFFER_TOO_SMALL);
    GOOD(BCryptCreateHash(provider, &hash, object, size, NULL, 0, 0));
    GOOD(BCryptHashData(hash, (PUCHAR)"a", 1, 0));
    GOOD(BCryptDuplicateHash(hash, &copy, NULL, 0, 0));
    GOOD(BCryptHashData(hash, (PUCHAR)"bc", 2, 0));
    GOOD(BCryptHashData(copy, (PUCHAR)"bc", 2, 0));
    CHECK(BCryptFinishHash(hash, out, length - 1, 0) == STATUS_INVALID_PARAMETER);
    GOOD(BCryptFinishHash(hash, out, length, 0));
    CHECK(Same(out, abc));
    CHECK(BCryptHashData(hash, (PUCHAR)"d", 1, 0) == STATUS_INVALID_HANDLE);
    GOOD(BCryptFinishHash(copy, out, length, 0));
    CHECK(Same(out, abc));
    GOOD(BCryptDestroyHash(hash));
    GOOD(BCryptDestroyHash(copy));
    ExFreePoolWithTag(object, TAG);
    GOOD(BCryptCloseAlgorithmProvider(provider, 0));
}

static void Keyed(void)
{
    static UCHAR key[] = "Jefe", text[] = "what do ya want for nothing?", salt[] = "salt", password[] = "password";
    HANDLE_OF provider = NULL, hash = NULL, sha1 = NULL;
    UCHAR out[32];
    int turn;
    GOOD(BCryptOpenAlgorithmProvider(&provider, L"SHA256", NULL, HMAC | REUSABLE));
    GOOD(BCryptCreateHash(provider, &hash, NULL, 0, key, 4, 0));
    for (turn = 0; turn < 2; turn++) {
        GOOD(BCryptHashData(hash, text, sizeof(text) - 1, 0));
        GOOD(BCryptFinishHash(hash, out, sizeof(out), 0));
        CHECK(Same(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    }
    GOOD(BCryptDestroyHash(hash));
    GOOD(BCryptCloseAlgorithmProvider(provider, 0));
    GOOD(BCryptHash(SHA256_HANDLE, NULL, 0, (PUCHAR)"abc", 3, out, sizeof(out)));
    CHECK(Same(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    GOOD(BCryptOpenAlgorithmProvider(&sha1, L"SHA1", L"Microsoft Primitive Provider", HMAC));
    GOOD(BCryptDeriveKeyPBKDF2(sha1, password, 8, salt, 4, 2, out, 20, 0));
    CHECK(Same(out, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"));
    GOOD(BCryptCloseAlgorithmProvider(sha1, 0));
}

static HANDLE_OF Aes(PCWSTR mode, UCHAR first, UCHAR step, ULONG length, HANDLE_OF *provider)
{
    UCHAR secret[32];
    HANDLE_OF key = NULL;
    ULONG index;
    for (index = 0; index < length; index++)
        secret[index] = (UCHAR)(first + step * index);
    GOOD(BCryptOpenAlgorithmProvider(provider, L"AES", NULL, 0));
    if (mode)
        GOOD(BCryptSetProperty(*provider, L"ChainingMode", (PUCHAR)mode, 16 * sizeof(WCHAR), 0));
    GOOD(BCryptGenerateSymmetricKey(*provider, &key, NULL, 0, secret, length, 0));
    return key;
}

static void Blocks(void)
{
    UCHAR text[32], out[48], iv[16] = { 0 }, blob[64];
    HANDLE_OF provider = NULL, key, copy = NULL, same = NULL;
    ULONG length = 0, index;
    for (index = 0; index < sizeof(text); index++)
        text[index] = (UCHAR)(index % 16 * 0x11);
    key = Aes(ECB, 0, 1, 16, &provider);
    CHECK(Number(key, L"KeyLength") == 128 && Number(provider, L"BlockLength") == 16);
    GOOD(BCryptEncrypt(key, text, 16, NULL, NULL, 0, out, sizeof(out), &length, 0));
    CHECK(length == 16 && Same(out, "69c4e0d86a7b0430d8cdb78070b4c55a"));
    CHECK(BCryptEncrypt(key, text, 15, NULL, NULL, 0, out, sizeof(out), &length, 0) == STATUS_INVALID_BUFFER_SIZE);
    GOOD(BCryptEncrypt(key, text, 15, NULL, NULL, 0, NULL, 0, &length, PADDING));
    CHECK(length == 16);
    CHECK(BCryptEncrypt(key, text, 16, NULL, NULL, 0, out, 31, &length, PADDING) == STATUS_BUFFER_TOO_SMALL);
    CHECK(length == 32);
    /* In place, and back. */
    GOOD(BCryptEncrypt(key, text, 20, NULL, NULL, 0, out, 32, &length, PADDING));
    GOOD(BCryptDecrypt(key, out, 32, NULL, NULL, 0, out, 32, &length, PADDING));
    CHECK(length == 20 && RtlCompareMemory(out, text, 20) == 20);
    CHECK(!NT_SUCCESS(BCryptDecrypt(key, text, 16, NULL, NULL, 0, out, 32, &length, PADDING)));
    GOOD(BCryptExportKey(key, NULL, L"KeyDataBlob", blob, sizeof(blob), &length, 0));
    CHECK(length == 28 && Same(blob, "4b44424d0100000010000000000102"));
    GOOD(BCryptImportKey(provider, NULL, L"KeyDataBlob", &same, NULL, 0, blob, length, 0));
    GOOD(BCryptDuplicateKey(same, &copy, NULL, 0, 0));
    GOOD(BCryptDestroyKey(same));
    GOOD(BCryptEncrypt(copy, text, 16, NULL, NULL, 0, out, 16, &length, 0));
    CHECK(Same(out, "69c4e0d86a7b0430d8cdb78070b4c55a"));
    GOOD(BCryptDestroyKey(copy));
    GOOD(BCryptDestroyKey(key));
    GOOD(BCryptCloseAlgorithmProvider(provider, 0));

    key = Aes(NULL, 0, 1, 32, &provider);
    GOOD(BCryptEncrypt(key, text, 16, NULL, iv, 16, out, 16, &length, 0));
    /* One block with zeros for a vector is what ECB makes of it, and the vector is the block now. */
    CHECK(Same(out, "8ea2b7ca516745bfeafc49904b496089") && RtlCompareMemory(iv, out, 16) == 16);
    GOOD(BCryptEncrypt(key, text + 16, 16, NULL, iv, 16, out + 16, 16, &length, 0));
    RtlZeroMemory(iv, sizeof(iv));
    GOOD(BCryptDecrypt(key, out, 32, NULL, iv, 16, out, 32, &length, 0));
    CHECK(RtlCompareMemory(out, text, 32) == 32);
    CHECK(BCryptEncrypt(key, text, 16, NULL, iv, 8, out, 16, &length, 0) == STATUS_INVALID_PARAMETER);
    CHECK(BCryptGenerateSymmetricKey(provider, &copy, NULL, 0, text, 17, 0) == STATUS_INVALID_PARAMETER);
    GOOD(BCryptDestroyKey(key));
    GOOD(BCryptCloseAlgorithmProvider(provider, 0));
}

static void Authenticated(void)
{
    UCHAR text[16] = { 0 }, nonce[12] = { 0 }, tag[16], out[16];
    AUTH_INFO info = { sizeof(info), 1, nonce, sizeof(nonce), NULL, 0, tag, sizeof(tag) };
    HANDLE_OF provider = NULL, key = Aes(GCM, 0, 0, 16, &provider);
    ULONG length = 0;
    GOOD(BCryptEncrypt(key, text, 16, &info, NULL, 0, out, 16, &length, 0));
    CHECK(Same(out, "0388dace60b6a392f328c2b971b2fe78") && Same(tag, "ab6e47d42cec13bdf53a67b21257bddf"));
    info.TagLength = 12;
    GOOD(BCryptDecrypt(key, out, 16, &info, NULL, 0, out, 16, &length, 0));
    CHECK(length == 16 && Same(out, "00000000000000000000000000000000"));
    tag[11] ^= 1;
    CHECK(BCryptDecrypt(key, out, 16, &info, NULL, 0, out, 16, &length, 0) == STATUS_TAG_MISMATCH);
    CHECK(BCryptEncrypt(key, text, 16, NULL, NULL, 0, out, 16, &length, 0) == STATUS_INVALID_PARAMETER);
    GOOD(BCryptDestroyKey(key));
    GOOD(BCryptCloseAlgorithmProvider(provider, 0));
}

static void Random(void)
{
    UCHAR first[16] = { 0 }, second[16] = { 0 };
    HANDLE_OF provider = NULL;
    GOOD(BCryptGenRandom(NULL, first, sizeof(first), 2));
    GOOD(BCryptOpenAlgorithmProvider(&provider, L"RNG", NULL, 0));
    GOOD(BCryptGenRandom(provider, second, sizeof(second), 0));
    CHECK(RtlCompareMemory(first, second, 16) != 16);
    CHECK(BCryptGenRandom(NULL, first, sizeof(first), 0) == STATUS_INVALID_HANDLE);
    GOOD(BCryptCloseAlgorithmProvider(provider, 0));
    CHECK(BCryptOpenAlgorithmProvider(&provider, L"Rot13", NULL, 0) == STATUS_NOT_FOUND);
}

static void Defect(void)
{
    HANDLE_OF provider = NULL, key = Aes(ECB, 0, 1, 16, &provider);
    UCHAR text[16] = { 0 };
    PUCHAR object;
    ULONG length;
    KIRQL irql;
    switch (DEFECT) {
    case 1:
        return;
    case 2:
        BCryptDestroyKey(key);
        BCryptEncrypt(key, text, 16, NULL, NULL, 0, text, 16, &length, 0);
        BCryptCloseAlgorithmProvider(provider, 0);
        return;
    case 3:
        BCryptDestroyKey(key);
        length = Number(provider, L"ObjectLength");
        object = ExAllocatePoolWithTag(NonPagedPool, length, TAG);
        if (object) {
            BCryptGenerateSymmetricKey(provider, &key, object, length, text, 16, 0);
            object[0] = 0;
            BCryptDestroyKey(key);
            ExFreePoolWithTag(object, TAG);
        }
        BCryptCloseAlgorithmProvider(provider, 0);
        return;
    case 4:
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        BCryptEncrypt(key, text, 16, NULL, NULL, 0, text, 16, &length, 0);
        KeLowerIrql(irql);
        break;
    case 5: {
        HANDLE_OF des = NULL;
        BCryptOpenAlgorithmProvider(&des, L"DES", NULL, 0);
        break;
    }
    }
    BCryptDestroyKey(key);
    BCryptCloseAlgorithmProvider(provider, 0);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    (void)driver;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    (void)path;
    driver->DriverUnload = Unload;
    if (DEFECT) {
        Defect();
        return STATUS_SUCCESS;
    }
    Digest(L"MD5", 16, "900150983cd24fb0d6963f7d28e17f72");
    Digest(L"SHA1", 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
    Digest(L"SHA256", 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    Digest(L"SHA384", 48, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    Digest(L"SHA512", 64,
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    Keyed();
    Blocks();
    Authenticated();
    Random();
    DbgPrint("%u checks\n", Checks);
    return STATUS_SUCCESS;
}
