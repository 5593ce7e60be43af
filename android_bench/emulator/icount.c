/* TCG plugin for user-mode QEMU: executed guest instructions, in all and between marks.
 *
 * Writes to the file named by the plugin argument out=PATH:
 *   mark <argument> <instructions so far>      a guest's prctl(MARK, argument)
 *   end <instructions>                         the guest's exit
 * and with blocks=PATH to that file, of all translated blocks that ran between a mark 0 and a mark 1:
 *   block <address> <instructions in it> <times it ran>
 *   map <line of /proc/self/maps>              where the guest's libraries are
 * A mark counts what the marking thread's process executed until then, all its threads together.
 *
 * The declarations are those of qemu-plugin.h, which no distribution packages with user-mode QEMU. The functions used here are the
 * same in plugin API 0 to 5 (QEMU 4.2 to 10); only the number that a plugin must claim differs: PLUGIN_VERSION is given by the build.
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
#define MAX_THREADS 256

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), enum qemu_plugin_cb_flags,
                                                 void *);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t,
                                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

/* A counter a thread, on cache lines of their own: each is written by its thread alone. */
static struct {
    _Alignas(64) uint64_t instructions;
} threads[MAX_THREADS];
static FILE *out;

/* Only where blocks are asked for; on one thread, as they are not locked. */
typedef struct Block {
    uint64_t address, instructions, executions;
    struct Block *before;
} Block;
static Block *last_block;
static FILE *blocks_out;
static bool is_between_marks;

static uint64_t total(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < MAX_THREADS; i++)
        sum += threads[i].instructions;
    return sum;
}

static void on_execution(unsigned thread, void *instructions)
{
    threads[thread % MAX_THREADS].instructions += (uintptr_t)instructions;
}

static void on_block(unsigned thread, void *data)
{
    Block *block = data;
    threads[thread % MAX_THREADS].instructions += block->instructions;
    block->executions += is_between_marks;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    uintptr_t instructions = qemu_plugin_tb_n_insns(block);
    Block *made = blocks_out ? malloc(sizeof *made) : NULL;
    if (made) {
        *made = (Block){qemu_plugin_tb_vaddr(block), instructions, 0, last_block};
        last_block = made;
        qemu_plugin_register_vcpu_tb_exec_cb(block, on_block, QEMU_PLUGIN_CB_NO_REGS, made);
        return;
    }
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_execution, QEMU_PLUGIN_CB_NO_REGS, (void *)instructions);
}

static void on_system_call(qemu_plugin_id_t id, unsigned thread, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                           uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)thread, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == PRCTL_ARM64 && (uint32_t)a1 == MARK) {
        fprintf(out, "mark %" PRIu64 " %" PRIu64 "\n", a2, total());
        is_between_marks = a2 == 0;
    }
}

static void write_blocks(void)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        fprintf(blocks_out, "map %s", line);
    for (Block *block = last_block; block; block = block->before)
        if (block->executions)
            fprintf(blocks_out, "block %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address, block->instructions, block->executions);
    fclose(blocks_out);
}

static void on_end(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    fprintf(out, "end %" PRIu64 "\n", total());
    fclose(out);
    if (blocks_out)
        write_blocks();
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments)
{
    (void)info;
    bool are_blocks_wanted = false;
    for (int i = 0; i < count; i++)
        if (!strncmp(arguments[i], "out=", 4)) {
            out = fopen(arguments[i] + 4, "w");
        } else if (!strncmp(arguments[i], "blocks=", 7)) {
            are_blocks_wanted = true;
            blocks_out = fopen(arguments[i] + 7, "w");
        }
    if (!out || (are_blocks_wanted && !blocks_out)) {
        fprintf(stderr, "ERROR: icount: give out=PATH and, if wanted, blocks=PATH, files that can be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}
