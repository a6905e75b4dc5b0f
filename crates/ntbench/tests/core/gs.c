/* Functions that guard their buffers and let exceptions through, as Microsoft's compiler makes them: the language handler is the
 * library's (`__GSHandlerCheck`, `__GSHandlerCheck_SEH` in BufferOverflowFastFailK.lib), linked into each driver, and looks at the
 * cookie before it lets the exception go on. The handlers here are of the same shape, by the layout of their data: where the
 * cookie is from the frame, with two flags in its low bits; behind the scope table, where there is one. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int NTSTATUS;
#define IMPORT __declspec(dllimport)
#define NOINLINE __attribute__((noinline))
#define HANDLER __attribute__((used))

struct dispatcher { u64 pc, image, entry, frame, target; void *context, *handler; u32 *data; };

IMPORT void ExRaiseStatus(NTSTATUS status) __attribute__((noreturn));
IMPORT NTSTATUS __C_specific_handler(void *record, u64 frame, void *context, struct dispatcher *dispatcher);

volatile u64 result[8];
u64 __security_cookie = 0x2B992DDFA232;
__attribute__((used)) const struct { u32 size, rest[21]; u64 cookie, others[28]; } _load_config_used = {
    .size = sizeof(_load_config_used), .cookie = (u64)&__security_cookie,
};

HANDLER void __security_check_cookie(u64 cookie)
{
    if (cookie != __security_cookie)
        __asm__ volatile("int $0x29" : : "c"(2));
}

static void check(u64 frame, u32 data)
{
    __security_check_cookie(*(u64 *)(frame + (data & ~7u)) ^ frame);
    result[1]++;
}

HANDLER int gs_handler(void *record, u64 frame, void *context, struct dispatcher *dispatcher)
{
    (void)record, (void)context;
    check(frame, dispatcher->data[0]);
    return 1; /* ExceptionContinueSearch */
}

HANDLER int gs_handler_seh(void *record, u64 frame, void *context, struct dispatcher *dispatcher)
{
    check(frame, dispatcher->data[1 + 4 * dispatcher->data[0]]);
    return __C_specific_handler(record, frame, context, dispatcher);
}

/* Fills the caller's buffer of 16 bytes, or more than that, and raises. */
HANDLER NOINLINE void fill(u8 *buffer)
{
    for (int i = 0; i < LENGTH; i++)
        ((volatile u8 *)buffer)[i] = 0x41;
    ExRaiseStatus((NTSTATUS)0xC000009A);
}

#define FRAME(name, handler, data) \
    __asm__(".intel_syntax noprefix\n.text\n.globl " name "\n.def " name "; .scl 2; .type 32; .endef\n" \
        ".seh_proc " name "\n" name ":\nsub rsp, 0x48\n.seh_stackalloc 0x48\n.seh_endprologue\n" \
        "mov rax, [rip + __security_cookie]\nxor rax, rsp\nmov [rsp + 0x30], rax\n" \
        name "_begin: lea rcx, [rsp + 0x20]\ncall fill\nnop\n" name "_end: xor eax, eax\njmp 2f\n" \
        name "_except: mov eax, 0x77\n" \
        "2: mov [rsp + 0x38], rax\nmov rcx, [rsp + 0x30]\nxor rcx, rsp\ncall __security_check_cookie\nmov rax, [rsp + 0x38]\n" \
        "add rsp, 0x48\nret\n.seh_handler " handler ", @except, @unwind\n.seh_handlerdata\n" data "\n.text\n.seh_endproc\n" \
        ".att_syntax\n")

FRAME("guarded", "gs_handler", ".long 0x30 | 3");
FRAME("guarded_seh", "gs_handler_seh",
    ".long 1\n.long guarded_seh_begin@IMGREL, guarded_seh_end@IMGREL, 1, guarded_seh_except@IMGREL\n.long 0x30 | 3");
u64 guarded(void);
u64 guarded_seh(void);

NTSTATUS DriverEntry(void *driver, void *path)
{
    (void)driver, (void)path;
    __try {
        result[0] = CASE();
    } __except (1) {
        result[0] = 0x99;
    }
    return 0;
}
