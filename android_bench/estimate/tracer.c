/* TCG plugin for user-mode QEMU: what one inference executed and how it used the caches. On one thread.
 *
 * Arguments: out=PATH, and caches=BYTES:WAYS/BYTES:WAYS/… from the first level to the last. Between a guest's prctl(MARK, 0) and
 * prctl(MARK, 1) it follows the code and the caches; the caches stay warm from one such stretch to the next. After a stretch of at
 * least ENOUGH instructions the guest ends: what the caches held when so long an inference began does not show in it. It writes:
 *
 *   start                             a stretch begins: what follows replaces the runs and traffic of the one before
 *   block ID ADDRESS INSTRUCTIONS     a translated block that ran
 *   context ID ID …                   a sequence of blocks: the last one ran, after the others
 *   run SEGMENT CONTEXT TIMES         how often the context's last block ran after the others (contexts count from 0)
 *   traffic SEGMENT ACCESSES WRITTEN STORED MISPREDICTED FETCHED STREAMED FETCHED STREAMED …
 *       accesses by instructions; lines written back to memory; lines that were in no cache when a store touched them; blocks that
 *       were not predicted; then for each level below the first, memory last, the lines that came from it (without the STORED ones,
 *       for a core that stores a stream does not read it), and how many of those a stride prefetcher would have asked for
 *   map LINE                          of /proc/self/maps: where the guest's libraries are
 *   end
 *
 * A segment ends wherever the guest reads a clock: under a profiler that is at the end of each op, without one hardly ever.
 *
 * A block's cost depends on what is still in flight when it starts, so executions are counted by the HISTORY blocks before: a loop's
 * first turn, its later turns and its exit are contexts of their own, whatever branches are inside.
 *
 * A block is a stretch of code up to a branch or the end of a page. QEMU divides a long one where its buffer for translated code is full,
 * which depends on what each instruction is translated to; here it stays one block.
 *
 * Branches: a table of what followed the last LONG_HISTORY blocks the last time, as a predictor with a long global history does.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x45564954u /* shared with runner.c */
#define PRCTL_ARM64 167
#define CLOCK_GETTIME_ARM64 113
#define ENOUGH UINT64_C(2000000000)

enum {
    HISTORY = 8,        /* blocks that tell contexts apart */
    LONG_HISTORY = 31,  /* blocks that the branch predictor remembers */
    KEPT = 32,          /* blocks of history that are kept, and written with a context */
    CONTEXT_BITS = 18,
    PREDICTOR_BITS = 16,
    WIDEST = 16,        /* bytes of one access of QEMU's */
    PAGE_BYTES = 4096,  /* no translation of QEMU's goes beyond */
};

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), enum qemu_plugin_cb_flags,
                                                 void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *),
                                             enum qemu_plugin_cb_flags, enum qemu_plugin_mem_rw, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t,
                                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);
extern unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
extern bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

static FILE *out;
static bool is_between_marks, continues;
static unsigned segment;
static uint64_t executed; /* instructions since the last mark 0 */

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory) {
        fprintf(stderr, "ERROR: tracer: no memory\n");
        exit(1);
    }
    return memory;
}

/* Code: blocks, contexts, and the branch predictor. */

typedef struct Block {
    uint64_t address, instructions, key; /* the key is of the code's place alone, so that it repeats */
    uint32_t id;                         /* in order of writing; 0 before */
    bool is_open;                        /* QEMU goes on with the rest of it in another translation */
} Block;

typedef struct {
    uint64_t key, times;
    uint32_t id;
    bool is_written, is_touched;
} Context;

typedef struct {
    uint64_t key, next; /* of the history, and of the block that followed */
} Prediction;

static uint32_t block_count;
static uint64_t mispredicted, history_key, long_key, history_drop, long_drop, position;
static Block *history[KEPT];
static Context contexts[1 << CONTEXT_BITS];
static uint32_t touched[1 << CONTEXT_BITS], context_count, touched_count;
static Prediction predictions[1 << PREDICTOR_BITS];
static Prediction *prediction;

/* Of a window of the last n blocks, rolling: sum of key x FACTOR^age. */
#define FACTOR UINT64_C(0x9E3779B97F4A7C15)

static uint64_t power(unsigned exponent)
{
    uint64_t result = 1;
    while (exponent--)
        result *= FACTOR;
    return result;
}

static uint64_t key_before(unsigned blocks)
{
    const Block *block = history[(position - blocks) % KEPT];
    return block ? block->key : 0;
}

static uint64_t mixed(uint64_t key)
{
    return (key ^ key >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
}

static void predict(const Block *block)
{
    if (prediction && prediction->next != block->key) {
        mispredicted++;
        prediction->next = block->key;
    }
    prediction = &predictions[mixed(long_key) >> (64 - PREDICTOR_BITS)];
    if (prediction->key != long_key)
        *prediction = (Prediction){long_key, prediction->next};
}

static void write_context(Context *context)
{
    for (unsigned age = KEPT; age--;) {
        Block *block = history[(position - age) % KEPT];
        if (block && !block->id) {
            block->id = ++block_count;
            fprintf(out, "block %" PRIu32 " %" PRIx64 " %" PRIu64 "\n", block->id, block->address, block->instructions);
        }
    }
    context->id = context_count++;
    context->is_written = true;
    fputs("context", out);
    for (unsigned age = KEPT; age--;)
        if (history[(position - age) % KEPT])
            fprintf(out, " %" PRIu32, history[(position - age) % KEPT]->id);
    fputc('\n', out);
}

static void count_context(void)
{
    uint64_t slot = mixed(history_key) >> (64 - CONTEXT_BITS);
    while (contexts[slot].key && contexts[slot].key != history_key)
        slot = (slot + 1) % (1 << CONTEXT_BITS);
    Context *context = &contexts[slot];
    if (!context->key) {
        if (context_count > (1 << CONTEXT_BITS) / 2) {
            fprintf(stderr, "ERROR: tracer: more than %u contexts\n", context_count);
            exit(1);
        }
        context->key = history_key;
    }
    if (!context->is_written)
        write_context(context);
    context->times++;
    if (!context->is_touched) {
        context->is_touched = true;
        touched[touched_count++] = slot;
    }
}

static void on_block(unsigned thread, void *data)
{
    (void)thread;
    Block *block = data;
    bool is_rest = continues;
    continues = block->is_open;
    if (is_rest || !is_between_marks)
        return;
    executed += block->instructions;
    predict(block);
    uint64_t dropped = key_before(HISTORY - 1), long_dropped = key_before(LONG_HISTORY - 1);
    history[++position % KEPT] = block;
    history_key = (history_key - dropped * history_drop) * FACTOR + block->key;
    long_key = (long_key - long_dropped * long_drop) * FACTOR + block->key;
    count_context();
}

#include "caches.h"

static void on_access(unsigned thread, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)thread, (void)data;
    if (!is_between_marks)
        return;
    accesses++;
    uint64_t dirty = qemu_plugin_mem_is_store(info) ? DIRTY : 0, line = address >> LINE_BITS;
    touch(line, dirty);
    if (address % LINE_BYTES <= LINE_BYTES - WIDEST)
        return;
    uint64_t last = (address + (UINT64_C(1) << qemu_plugin_mem_size_shift(info)) - 1) >> LINE_BITS;
    if (last != line)
        touch(last, dirty);
}

/* Segments. */

static void end_segment(void)
{
    for (uint32_t i = 0; i < touched_count; i++) {
        Context *context = &contexts[touched[i]];
        fprintf(out, "run %u %u %" PRIu64 "\n", segment, context->id, context->times);
        context->times = 0;
        context->is_touched = false;
    }
    touched_count = 0;
    fprintf(out, "traffic %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, segment, accesses, written, stored, mispredicted);
    accesses = written = stored = mispredicted = 0;
    for (unsigned level = 1; level <= levels; level++) {
        fprintf(out, " %" PRIu64 " %" PRIu64, fetched[level], streamed[level]);
        fetched[level] = streamed[level] = 0;
    }
    fputc('\n', out);
    segment++;
}

static void finish(void)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        fprintf(out, "map %s", line);
    fputs("end\n", out);
    fclose(out);
}

static void on_system_call(qemu_plugin_id_t id, unsigned thread, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                           uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)thread, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    bool is_mark = number == PRCTL_ARM64 && (uint32_t)a1 == MARK;
    if (is_between_marks && (number == CLOCK_GETTIME_ARM64 || is_mark))
        end_segment();
    if (!is_mark)
        return;
    is_between_marks = a2 == 0;
    if (is_between_marks) {
        segment = 0;
        executed = 0;
        fputs("start\n", out);
    } else if (executed >= ENOUGH) {
        finish();
        _Exit(0);
    }
}

/* Whether an instruction ends a block: branches, calls and exceptions, of whose group of encodings the rest (0xD5) goes on. */
static bool is_end(uint32_t instruction)
{
    return (instruction & 0x1C000000) == 0x14000000 && instruction >> 24 != 0xD5;
}

/* Instructions of the block that begins at an address. */
static uint64_t stretch(uint64_t address, const uint32_t *code)
{
    uint64_t length = 1, most = (PAGE_BYTES - address % PAGE_BYTES) / sizeof *code;
    while (length < most && !is_end(code[length - 1]))
        length++;
    return length;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *translated)
{
    (void)id;
    Block *block = allocate(1, sizeof *block);
    block->address = qemu_plugin_tb_vaddr(translated);
    size_t instructions = qemu_plugin_tb_n_insns(translated);
    block->instructions = stretch(block->address, qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(translated, 0)));
    block->is_open = instructions < block->instructions;
    block->key = mixed(block->address * FACTOR + block->instructions);
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
    for (size_t i = 0; i < instructions; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(translated, i), on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
                                         NULL);
}

static void on_end(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    finish();
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments)
{
    (void)info;
    for (int i = 0; i < count; i++)
        if (!strncmp(arguments[i], "out=", 4))
            out = fopen(arguments[i] + 4, "w");
        else if (!strncmp(arguments[i], "caches=", 7) && !read_caches(arguments[i] + 7))
            levels = 0;
    if (!out || levels < 2) {
        fprintf(stderr, "ERROR: tracer: give out=PATH and caches=BYTES:WAYS/BYTES:WAYS of 2 to %d levels\n", MAX_LEVELS);
        return -1;
    }
    history_drop = power(HISTORY - 1);
    long_drop = power(LONG_HISTORY - 1);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
