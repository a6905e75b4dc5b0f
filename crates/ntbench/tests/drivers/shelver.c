/*
 * Keeps things in the kernel's tables: tunnel caches, prefix tables, map control blocks, hash tables, splay trees; and has names written
 * in the OEM code page. Prints what is not as
 * documented, then how much was asked.
 */
#include "flt.h"

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }
#define WRONG(s) ((NTSTATUS)(s))
#ifndef DEFECT
#define DEFECT 0
#endif

typedef struct { uint64_t Opaque[11]; } TUNNEL;
typedef struct { int16_t Type, Parts; PVOID Tree, Match, Links[3]; UNICODE_STRING *Prefix; } UNICODE_ENTRY;
typedef struct { uint16_t Length, MaximumLength; const char *Buffer; } STRING;
typedef struct { int16_t Type, Parts; PVOID Tree, Links[3]; STRING *Prefix; } ENTRY;
typedef struct { ULONG Max, Pairs; uint16_t Pool, Flags; PVOID Mapping; } BASE_MCB;
typedef struct { PVOID Mutex; BASE_MCB Base; } LARGE_MCB;
typedef struct { PVOID Next, Before; uintptr_t Signature; ULONG Value; } HASHED;
typedef struct { PVOID Chain, Before; uintptr_t Signature; } PLACE;
typedef struct { PVOID Next, Before; uintptr_t Signature; PVOID Chain; ULONG Bucket; } ENUMERATOR;
typedef struct { ULONG Flags, Shift, Size, Pivot, Mask, Entries, NonEmpty, Enumerators; PVOID Directory; } HASH_TABLE;
typedef struct LINKS { struct LINKS *Parent, *Left, *Right; } LINKS;

IMPORT void FsRtlInitializeTunnelCache(TUNNEL *);
IMPORT void FsRtlAddToTunnelCache(TUNNEL *, uint64_t, UNICODE_STRING *, UNICODE_STRING *, BOOLEAN, ULONG, PVOID);
IMPORT BOOLEAN FsRtlFindInTunnelCache(TUNNEL *, uint64_t, UNICODE_STRING *, UNICODE_STRING *, UNICODE_STRING *, ULONG *, PVOID);
IMPORT void FsRtlDeleteKeyFromTunnelCache(TUNNEL *, uint64_t);
IMPORT void FsRtlDeleteTunnelCache(TUNNEL *);
IMPORT void RtlInitializeUnicodePrefix(PVOID);
IMPORT BOOLEAN RtlInsertUnicodePrefix(PVOID, UNICODE_STRING *, UNICODE_ENTRY *);
IMPORT UNICODE_ENTRY *RtlFindUnicodePrefix(PVOID, UNICODE_STRING *, ULONG);
IMPORT UNICODE_ENTRY *RtlNextUnicodePrefix(PVOID, BOOLEAN);
IMPORT void RtlRemoveUnicodePrefix(PVOID, UNICODE_ENTRY *);
IMPORT void PfxInitialize(PVOID);
IMPORT BOOLEAN PfxInsertPrefix(PVOID, STRING *, ENTRY *);
IMPORT ENTRY *PfxFindPrefix(PVOID, STRING *);
IMPORT void PfxRemovePrefix(PVOID, ENTRY *);
IMPORT void FsRtlInitializeLargeMcb(LARGE_MCB *, ULONG);
IMPORT void FsRtlUninitializeLargeMcb(LARGE_MCB *);
IMPORT void FsRtlTruncateLargeMcb(LARGE_MCB *, int64_t);
IMPORT BOOLEAN FsRtlAddLargeMcbEntry(LARGE_MCB *, int64_t, int64_t, int64_t);
IMPORT void FsRtlRemoveLargeMcbEntry(LARGE_MCB *, int64_t, int64_t);
IMPORT BOOLEAN FsRtlLookupLargeMcbEntry(LARGE_MCB *, int64_t, int64_t *, int64_t *, int64_t *, int64_t *, ULONG *);
IMPORT BOOLEAN FsRtlLookupLastLargeMcbEntryAndIndex(LARGE_MCB *, int64_t *, int64_t *, ULONG *);
IMPORT ULONG FsRtlNumberOfRunsInLargeMcb(LARGE_MCB *);
IMPORT BOOLEAN FsRtlGetNextLargeMcbEntry(LARGE_MCB *, ULONG, int64_t *, int64_t *, int64_t *);
IMPORT BOOLEAN FsRtlSplitLargeMcb(LARGE_MCB *, int64_t, int64_t);
IMPORT void FsRtlInitializeBaseMcb(BASE_MCB *, ULONG);
IMPORT void FsRtlUninitializeBaseMcb(BASE_MCB *);
IMPORT BOOLEAN FsRtlAddBaseMcbEntry(BASE_MCB *, int64_t, int64_t, int64_t);
IMPORT BOOLEAN FsRtlRemoveBaseMcbEntry(BASE_MCB *, int64_t, int64_t);
IMPORT BOOLEAN FsRtlLookupLastBaseMcbEntry(BASE_MCB *, int64_t *, int64_t *);
IMPORT BOOLEAN RtlCreateHashTable(HASH_TABLE **, ULONG, ULONG);
IMPORT void RtlDeleteHashTable(HASH_TABLE *);
IMPORT BOOLEAN RtlInsertEntryHashTable(HASH_TABLE *, HASHED *, uintptr_t, PLACE *);
IMPORT BOOLEAN RtlRemoveEntryHashTable(HASH_TABLE *, HASHED *, PLACE *);
IMPORT HASHED *RtlLookupEntryHashTable(HASH_TABLE *, uintptr_t, PLACE *);
IMPORT HASHED *RtlGetNextEntryHashTable(HASH_TABLE *, PLACE *);
IMPORT BOOLEAN RtlInitEnumerationHashTable(HASH_TABLE *, ENUMERATOR *);
IMPORT HASHED *RtlEnumerateEntryHashTable(HASH_TABLE *, ENUMERATOR *);
IMPORT void RtlEndEnumerationHashTable(HASH_TABLE *, ENUMERATOR *);
IMPORT BOOLEAN RtlInitWeakEnumerationHashTable(HASH_TABLE *, ENUMERATOR *);
IMPORT HASHED *RtlWeaklyEnumerateEntryHashTable(HASH_TABLE *, ENUMERATOR *);
IMPORT void RtlEndWeakEnumerationHashTable(HASH_TABLE *, ENUMERATOR *);
IMPORT LINKS *RtlSplay(LINKS *);
IMPORT LINKS *RtlDelete(LINKS *);
IMPORT void RtlDeleteNoSplay(LINKS *, LINKS **);
IMPORT LINKS *RtlSubtreeSuccessor(LINKS *);
IMPORT LINKS *RtlSubtreePredecessor(LINKS *);
IMPORT LINKS *RtlRealSuccessor(LINKS *);
IMPORT LINKS *RtlRealPredecessor(LINKS *);
IMPORT NTSTATUS RtlUpcaseUnicodeStringToOemString(STRING *, UNICODE_STRING *, BOOLEAN);
IMPORT NTSTATUS RtlUpcaseUnicodeStringToCountedOemString(STRING *, UNICODE_STRING *, BOOLEAN);
IMPORT NTSTATUS RtlUnicodeStringToCountedOemString(STRING *, UNICODE_STRING *, BOOLEAN);
IMPORT NTSTATUS RtlOemStringToCountedUnicodeString(UNICODE_STRING *, STRING *, BOOLEAN);
IMPORT NTSTATUS RtlUnicodeToOemN(char *, ULONG, ULONG *, const WCHAR *, ULONG);
IMPORT NTSTATUS RtlUpcaseUnicodeToOemN(char *, ULONG, ULONG *, const WCHAR *, ULONG);
IMPORT ULONG RtlxOemStringToUnicodeSize(STRING *);
IMPORT void RtlFreeOemString(STRING *);
IMPORT ULONG RtlNtStatusToDosError(NTSTATUS);

static TUNNEL Tunnel;

static void Tunnels(void)
{
    UNICODE_STRING brief = STRING(u"LONGNA~1.TXT"), full = STRING(u"Long name.txt"), asked = STRING(u"LONG NAME.TXT"), other = STRING(u"other");
    WCHAR first[12], second[20];
    UNICODE_STRING small = { 0, sizeof(first), first }, large = { 0, sizeof(second), second }, none = { 0, 4, second };
    uint64_t data = 7, found = 0;
    ULONG length = sizeof(found);

    FsRtlInitializeTunnelCache(&Tunnel);
    FsRtlAddToTunnelCache(&Tunnel, 5, &brief, &full, 0, sizeof(data), &data);
    CHECK(!FsRtlFindInTunnelCache(&Tunnel, 6, &asked, &small, &large, &length, &found) && !FsRtlFindInTunnelCache(&Tunnel, 5, &other, &small, &large, &length, &found));
    CHECK(FsRtlFindInTunnelCache(&Tunnel, 5, &asked, &small, &large, &length, &found) && length == 8 && found == 7);
    CHECK(small.Length == brief.Length && memcmp(first, brief.Buffer, brief.Length) == 0 && large.Buffer == second && memcmp(second, full.Buffer, full.Length) == 0);
    data = 9;
    FsRtlAddToTunnelCache(&Tunnel, 5, &brief, &full, 0, sizeof(data), &data);
    CHECK(FsRtlFindInTunnelCache(&Tunnel, 5, &full, &small, &none, &length, &found) && found == 9 && none.Buffer != second && none.Length == full.Length);
    ExFreePoolWithTag(none.Buffer, 0);
    FsRtlAddToTunnelCache(&Tunnel, 6, &brief, &full, 1, 0, 0);
    CHECK(!FsRtlFindInTunnelCache(&Tunnel, 6, &full, &small, &large, &length, &found) && FsRtlFindInTunnelCache(&Tunnel, 6, &brief, &small, &large, &length, &found) && length == 0);
    FsRtlDeleteKeyFromTunnelCache(&Tunnel, 6);
    CHECK(!FsRtlFindInTunnelCache(&Tunnel, 6, &brief, &small, &large, &length, &found) && (uint16_t)Tunnel.Opaque[10] == 1);
#if DEFECT == 2 /* too little room for a short name */
    small.MaximumLength = 8;
    length = 8;
    FsRtlFindInTunnelCache(&Tunnel, 5, &full, &small, &large, &length, &found);
#endif
#if DEFECT != 1 /* left */
    FsRtlDeleteTunnelCache(&Tunnel);
#endif
#if DEFECT == 3 /* gone */
    FsRtlDeleteTunnelCache(&Tunnel);
#endif
}

static void Prefixes(void)
{
    UNICODE_STRING names[] = { STRING(u"\\"), STRING(u"\\a"), STRING(u"\\a\\b"), STRING(u"\\A") };
    UNICODE_STRING below = STRING(u"\\a\\b\\c"), near = STRING(u"\\ab"), upper = STRING(u"\\A\\x"), off = STRING(u"c:\\a");
    STRING narrow[] = { { 2, 2, "\\a" }, { 4, 4, "\\a\\b" } }, path = { 6, 6, "\\a\\b\\c" }, wrong = { 3, 3, "\\ab" };
    UNICODE_ENTRY entries[5];
    ENTRY bytes[2];
    uint64_t table[3], narrows[2];
    ULONG count = 0;

    RtlInitializeUnicodePrefix(table);
    CHECK(RtlFindUnicodePrefix(table, &below, 0) == 0 && RtlNextUnicodePrefix(table, 1) == 0);
    for (ULONG i = 0; i < 4; i++) CHECK(RtlInsertUnicodePrefix(table, &names[i], &entries[i]));
    CHECK(!RtlInsertUnicodePrefix(table, &names[2], &entries[4]) && entries[2].Prefix == &names[2]);
    CHECK(RtlFindUnicodePrefix(table, &below, 0) == &entries[2] && RtlFindUnicodePrefix(table, &names[2], 0) == &entries[2]);
    CHECK(RtlFindUnicodePrefix(table, &near, 0) == &entries[0] && RtlFindUnicodePrefix(table, &off, 0) == 0);
    CHECK(RtlFindUnicodePrefix(table, &upper, upper.Length / 2) == &entries[3]);
    for (PVOID at = RtlNextUnicodePrefix(table, 1); at; at = RtlNextUnicodePrefix(table, 0)) count++;
    RtlRemoveUnicodePrefix(table, &entries[2]);
    CHECK(count == 4 && RtlFindUnicodePrefix(table, &below, below.Length / 2) == &entries[1]);

    PfxInitialize(narrows);
    CHECK(PfxInsertPrefix(narrows, &narrow[0], &bytes[0]) && PfxInsertPrefix(narrows, &narrow[1], &bytes[1]) && !PfxInsertPrefix(narrows, &narrow[1], &bytes[1]));
    CHECK(PfxFindPrefix(narrows, &path) == &bytes[1] && PfxFindPrefix(narrows, &wrong) == 0);
    PfxRemovePrefix(narrows, &bytes[1]);
    CHECK(PfxFindPrefix(narrows, &path) == &bytes[0]);
}

static LARGE_MCB Map;
static BASE_MCB Base;

static void Maps(void)
{
    int64_t vbn, lbn, from, start, count;
    ULONG index;

    FsRtlInitializeLargeMcb(&Map, 0x200);
    CHECK(FsRtlNumberOfRunsInLargeMcb(&Map) == 0 && !FsRtlLookupLargeMcbEntry(&Map, 0, &lbn, 0, 0, 0, 0) && !FsRtlLookupLastLargeMcbEntryAndIndex(&Map, &vbn, &lbn, &index));
    CHECK(FsRtlAddLargeMcbEntry(&Map, 4, 100, 4) && FsRtlAddLargeMcbEntry(&Map, 8, 104, 4) && FsRtlAddLargeMcbEntry(&Map, 20, 50, 2));
    CHECK(!FsRtlAddLargeMcbEntry(&Map, 6, 400, 2) && FsRtlAddLargeMcbEntry(&Map, 6, 102, 2) && FsRtlNumberOfRunsInLargeMcb(&Map) == 4);
    CHECK(FsRtlLookupLargeMcbEntry(&Map, 9, &lbn, &from, &start, &count, &index) && lbn == 105 && from == 3 && start == 100 && count == 8 && index == 1);
    CHECK(FsRtlLookupLargeMcbEntry(&Map, 13, &lbn, &from, &start, 0, 0) && lbn == -1 && from == 7 && start == -1 && !FsRtlLookupLargeMcbEntry(&Map, 22, 0, 0, 0, 0, 0));
    CHECK(FsRtlLookupLastLargeMcbEntryAndIndex(&Map, &vbn, &lbn, &index) && vbn == 21 && lbn == 51 && index == 3);
    CHECK(FsRtlGetNextLargeMcbEntry(&Map, 0, &vbn, &lbn, &count) && vbn == 0 && lbn == -1 && count == 4 && !FsRtlGetNextLargeMcbEntry(&Map, 4, &vbn, &lbn, &count));
    FsRtlRemoveLargeMcbEntry(&Map, 6, 2);
    CHECK(FsRtlNumberOfRunsInLargeMcb(&Map) == 6 && Map.Base.Pairs == 6 && FsRtlSplitLargeMcb(&Map, 21, 100) && FsRtlLookupLargeMcbEntry(&Map, 121, &lbn, 0, 0, 0, 0) && lbn == 51);
    FsRtlTruncateLargeMcb(&Map, 5);
    CHECK(FsRtlNumberOfRunsInLargeMcb(&Map) == 2 && FsRtlLookupLastLargeMcbEntryAndIndex(&Map, &vbn, &lbn, &index) && vbn == 4 && lbn == 100);
    FsRtlInitializeBaseMcb(&Base, 1);
    CHECK(FsRtlAddBaseMcbEntry(&Base, 0, 7, 3) && FsRtlRemoveBaseMcbEntry(&Base, 2, 1) && FsRtlLookupLastBaseMcbEntry(&Base, &vbn, &lbn) && vbn == 1 && lbn == 8);
    FsRtlUninitializeBaseMcb(&Base);
#if DEFECT != 4 /* left */
    FsRtlUninitializeLargeMcb(&Map);
#endif
#if DEFECT == 5 /* twice */
    FsRtlUninitializeLargeMcb(&Map);
#endif
}

static void Hashes(void)
{
    HASHED entries[40], *found;
    HASH_TABLE *table = 0;
    ENUMERATOR enumerator;
    PLACE place;
    ULONG seen = 0, sum = 0;

    CHECK(!RtlCreateHashTable(&table, 0, 1) && RtlCreateHashTable(&table, 0, 0) && table->Size >= 128 && table->Entries == 0);
    for (ULONG i = 0; i < 40; i++) {
        entries[i].Value = i;
        RtlInsertEntryHashTable(table, &entries[i], i / 2, 0);
    }
    CHECK(table->Entries == 40 && table->NonEmpty > 1 && table->NonEmpty <= 20 && !RtlLookupEntryHashTable(table, 77, &place));
    for (found = RtlLookupEntryHashTable(table, 5, &place); found; found = RtlGetNextEntryHashTable(table, &place)) seen++, sum += found->Value;
    CHECK(seen == 2 && sum == 21);
    /* The signature 0 is the table's own and becomes another: four have it. */
    seen = 0;
    for (found = RtlLookupEntryHashTable(table, 0, &place); found; found = RtlGetNextEntryHashTable(table, &place)) seen++;
    CHECK(seen == 4 && entries[0].Signature == 1);
    seen = 0;
    CHECK(RtlInitEnumerationHashTable(table, &enumerator) && table->Enumerators == 1);
    while ((found = RtlEnumerateEntryHashTable(table, &enumerator)) != 0) {
        seen++;
        if (found->Value % 2) RtlRemoveEntryHashTable(table, found, 0);
    }
    RtlEndEnumerationHashTable(table, &enumerator);
    CHECK(seen == 40 && table->Entries == 20 && table->Enumerators == 0);
    seen = 0, sum = 0;
    CHECK(RtlInitWeakEnumerationHashTable(table, &enumerator));
    while ((found = RtlWeaklyEnumerateEntryHashTable(table, &enumerator)) != 0) seen++, sum += found->Value;
    RtlEndWeakEnumerationHashTable(table, &enumerator);
    CHECK(seen == 20 && sum == 380);
    for (ULONG i = 0; i < 40; i += 2) RtlRemoveEntryHashTable(table, &entries[i], &place);
    CHECK(table->Entries == 0 && table->NonEmpty == 0);
    RtlDeleteHashTable(table);
}

static void Trees(void)
{
    LINKS nodes[5], *root;

    for (ULONG i = 0; i < 5; i++) nodes[i].Parent = &nodes[i], nodes[i].Left = nodes[i].Right = 0;
    for (ULONG i = 1; i < 5; i++) nodes[i - 1].Right = &nodes[i], nodes[i].Parent = &nodes[i - 1];
    CHECK(RtlSplay(&nodes[3]) == &nodes[3] && nodes[3].Parent == &nodes[3]);
    CHECK(RtlSubtreePredecessor(&nodes[3]) == &nodes[2] && RtlSubtreeSuccessor(&nodes[3]) == &nodes[4] && RtlSubtreeSuccessor(&nodes[4]) == 0);
    CHECK(RtlRealSuccessor(&nodes[0]) == &nodes[1] && RtlRealPredecessor(&nodes[4]) == &nodes[3] && RtlRealSuccessor(&nodes[4]) == 0 && RtlRealPredecessor(&nodes[0]) == 0);
    RtlDeleteNoSplay(&nodes[1], &root);
    CHECK(root == &nodes[3] && RtlRealSuccessor(&nodes[0]) == &nodes[2]);
    root = RtlDelete(&nodes[3]);
    CHECK(root->Parent == root && RtlRealSuccessor(&nodes[2]) == &nodes[4]);
    RtlDelete(&nodes[0]), RtlDelete(&nodes[2]);
    CHECK(RtlDelete(&nodes[4]) == 0);
}

static void Texts(void)
{
    UNICODE_STRING name = STRING(u"na\u00efve"), back = { 0, 0, 0 };
    STRING oem = { 0, 0, 0 };
    char buffer[6];
    ULONG written;

    CHECK(RtlUpcaseUnicodeStringToOemString(&oem, &name, 1) == 0 && oem.Length == 5 && memcmp(oem.Buffer, "NA\xcfVE", 6) == 0);
    CHECK(RtlOemStringToCountedUnicodeString(&back, &oem, 1) == 0 && back.Length == 10 && back.Buffer[2] == 0xcf && RtlxOemStringToUnicodeSize(&oem) == 12);
    RtlFreeOemString(&oem), RtlFreeUnicodeString(&back);
    oem = (STRING){ 0, 5, buffer };
    CHECK(RtlUnicodeStringToCountedOemString(&oem, &name, 0) == 0 && oem.Length == 5 && memcmp(buffer, "na\xefve", 5) == 0);
    oem.MaximumLength = 4;
    CHECK(RtlUpcaseUnicodeStringToCountedOemString(&oem, &name, 0) == WRONG(0x80000005) && RtlUpcaseUnicodeStringToOemString(&oem, &name, 0) == WRONG(0x80000005));
    CHECK(RtlUpcaseUnicodeToOemN(buffer, 6, &written, name.Buffer, name.Length) == 0 && written == 5 && buffer[4] == 'E');
    CHECK(RtlUnicodeToOemN(buffer, 2, &written, name.Buffer, name.Length) == WRONG(0x80000005) && written == 2);
    CHECK(RtlNtStatusToDosError(WRONG(0xC0000034)) == 2 && RtlNtStatusToDosError(WRONG(0xC0000022)) == 5 && RtlNtStatusToDosError(WRONG(0xC0FFEE00)) == 317);
}

static void Unload(PVOID driver)
{
    (void)driver;
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    (void)path;
    Tunnels();
    Prefixes();
    Maps();
    Hashes();
    Trees();
    Texts();
    DbgPrint("%u checks\n", Checks);
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((uint8_t *)driver + 0x68) = Unload;
    return STATUS_SUCCESS;
}
