// QEMU plugin: counts the guest's instructions between its calls of getppid, which mark where an
// inference or a layer begins and ends, and says how many at each. What a whole process executes
// differs from run to run: its start reads its memory map, whose addresses are random.
//
// Distributions ship QEMU without its plugin header, so what is used of it is declared here:
// https://www.qemu.org/docs/master/devel/tcg-plugins.html. PLUGIN_VERSION is that of the
// interface: 1 before QEMU 9.0, 2 since. What is declared is the same in both.

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb; // a block of guest code, translated once and executed many times
struct machine {       // what is used of qemu_info_t
    const char *target_name;
};

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned cpu, int64_t number, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_outs(const char *);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

static const int NO_REGISTERS_READ = 0;
// getppid's number is 64 on 32-bit ARM, and 173 in the table that newer architectures share.
static int64_t mark_number = 173;
static uint64_t executed;
static uint64_t mark;

static void on_execution(unsigned cpu, void *instructions) {
    (void)cpu;
    // guest threads are threads of the host
    __atomic_fetch_add(&executed, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_execution, NO_REGISTERS_READ,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void on_system_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                           uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == mark_number) {
        uint64_t now = __atomic_load_n(&executed, __ATOMIC_RELAXED);
        char text[64];
        snprintf(text, sizeof text, "instructions: %" PRIu64 "\n", now - mark);
        qemu_plugin_outs(text);
        mark = now;
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const struct machine *machine, int argc, char **argv) {
    (void)argc;
    (void)argv;
    if (strcmp(machine->target_name, "arm") == 0) {
        mark_number = 64;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
