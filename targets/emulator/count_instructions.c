// QEMU plugin: counts the guest's instructions and says how many at exit.
//
// Distributions ship QEMU without its plugin header, so what is used of it is declared here:
// https://www.qemu.org/docs/master/devel/tcg-plugins.html. PLUGIN_VERSION is that of the
// interface: 1 before QEMU 9.0, 2 since. What is declared is the same in both.

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb; // a block of guest code, translated once and executed many times

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_outs(const char *);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

static const int NO_REGISTERS_READ = 0;
static uint64_t executed;

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

static void on_exit(plugin_id id, void *unused) {
    (void)id;
    (void)unused;
    char text[64];
    snprintf(text, sizeof text, "instructions: %" PRIu64 "\n", executed);
    qemu_plugin_outs(text);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit, NULL);
    return 0;
}
