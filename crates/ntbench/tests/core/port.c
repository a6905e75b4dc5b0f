/* A filter with nothing but a communication port. A message is a byte that says what to do, then data; each access to
 * the program's buffers is guarded, but for the one that is a defect on purpose. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)

typedef struct { u16 length, maximum; u16 *buffer; } UNICODE_STRING;
typedef struct { u32 length; void *root; UNICODE_STRING *name; u32 attributes; void *descriptor, *quality; } OBJECT_ATTRIBUTES;
typedef struct {
    u16 size, version; u32 flags; const void *contexts, *operations;
    void *unload, *setup, *query_teardown, *teardown_start, *teardown_complete, *generate, *normalize, *cleanup,
        *transaction, *normalize_ex, *section;
} FLT_REGISTRATION;

IMPORT NTSTATUS FltRegisterFilter(void *driver, const FLT_REGISTRATION *registration, void **filter);
IMPORT NTSTATUS FltStartFiltering(void *filter);
IMPORT void FltUnregisterFilter(void *filter);
IMPORT NTSTATUS FltBuildDefaultSecurityDescriptor(void **descriptor, u32 access);
IMPORT void FltFreeSecurityDescriptor(void *descriptor);
IMPORT NTSTATUS FltCreateCommunicationPort(void *filter, void **port, OBJECT_ATTRIBUTES *attributes, void *cookie,
                                           void *connect, void *disconnect, void *message, int most);
IMPORT void FltCloseCommunicationPort(void *port);
IMPORT void FltCloseClientPort(void *filter, void **port);
IMPORT NTSTATUS FltSendMessage(void *filter, void **port, void *message, u32 length, void *reply, u32 *reply_length,
                               long long *timeout);

/* u64 copy(void *to, const void *from, u64 count): 0, or the code of the exception. */
__asm__(".text\n.globl copy\n.def copy; .scl 2; .type 32; .endef\n.seh_proc copy\ncopy:\n"
        "push %rsi\n.seh_pushreg %rsi\npush %rdi\n.seh_pushreg %rdi\nsub $0x28, %rsp\n.seh_stackalloc 0x28\n.seh_endprologue\n"
        "mov %rcx, %rdi\nmov %rdx, %rsi\nmov %r8, %rcx\n1: rep movsb\n2: xor %eax, %eax\n"
        "3: add $0x28, %rsp\npop %rdi\npop %rsi\nret\n"
        ".seh_handler __C_specific_handler, @except\n.seh_handlerdata\n.long 1\n.rva 1b\n.rva 2b\n.long 1\n.rva 3b\n"
        ".text\n.seh_endproc\n");
u64 copy(void *to, const void *from, u64 count);

static void *filter, *server, *client;
static u16 name[] = u"\\TestPort";
#define LONGEST 8192
static u8 local[LONGEST];
volatile u64 result[16];

static NTSTATUS connect(void *port, void *server_cookie, void *context, u32 size, void **cookie) {
    (void)server_cookie;
    if (size != 4 || *(u32 *)context != 1) return (NTSTATUS)0xC0000059;
    client = port;
    *cookie = &client;
    return 0;
}

static void disconnect(void *cookie) { (void)cookie; FltCloseClientPort(filter, &client); }

static NTSTATUS message(void *cookie, u8 *input, u32 input_length, u8 *output, u32 output_length, u32 *returned) {
    u64 code;
    (void)cookie;
    *returned = 0;
    if (!input_length || input_length > LONGEST) return (NTSTATUS)0xC000000D;
    if ((code = copy(local, input, input_length))) return (NTSTATUS)code;
    switch (local[0]) {
    case 'e': /* Echo. */
        if (input_length > output_length) return (NTSTATUS)0xC0000023;
        if ((code = copy(output, local, input_length))) return (NTSTATUS)code;
        *returned = input_length;
        return 0;
#ifdef DEFECT
    case 'd': /* Trusts the program. */
        if (input_length >= 8 && *(u32 *)&local[4] == 0xFFFFFFFF) return *(volatile int *)0;
        return 0;
#endif
    case 'n': { /* "notify": notifies, and takes an answer. */
        u8 answer[8] = {0};
        if (input_length != 6 || local[5] != 'y') return (NTSTATUS)0xC000000D;
        u32 length = sizeof answer;
        long long timeout = -250000000;
        NTSTATUS status = FltSendMessage(filter, &client, local, input_length, answer, &length, &timeout);
        if (status) return status;
        if (length > output_length) return (NTSTATUS)0xC0000023;
        if ((code = copy(output, answer, length))) return (NTSTATUS)code;
        *returned = length;
        return 0;
    }
    default:
        return (NTSTATUS)0xC0000010;
    }
}

static NTSTATUS unload(u32 flags) {
    (void)flags;
    FltCloseCommunicationPort(server);
    FltUnregisterFilter(filter);
    return 0;
}

static const struct { u8 major; u8 rest[31]; } operations[] = {{0x80, {0}}};
static const FLT_REGISTRATION registration = {sizeof registration, 0x203, 0, 0, operations, unload, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

NTSTATUS DriverEntry(void *driver, void *path) {
    UNICODE_STRING string = {sizeof name - 2, sizeof name, name};
    OBJECT_ATTRIBUTES attributes = {sizeof attributes, 0, &string, 0x240, 0, 0};
    NTSTATUS status = FltRegisterFilter(driver, &registration, &filter);
    (void)path;
    if (status) return status;
    status = FltBuildDefaultSecurityDescriptor(&attributes.descriptor, 0x1F0001);
    if (status) goto fail;
    status = FltCreateCommunicationPort(filter, &server, &attributes, 0, connect, disconnect, message, 1);
    FltFreeSecurityDescriptor(attributes.descriptor);
    if (status) goto fail;
    status = FltStartFiltering(filter);
    if (!status) return 0;
    FltCloseCommunicationPort(server);
fail:
    FltUnregisterFilter(filter);
    return status;
}
