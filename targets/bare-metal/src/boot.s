// From the firmware to Rust: one core at EL1, with floating point, memory map, caches, stack and cleared memory.
// Arm Architecture Reference Manual for A-profile (DDI 0487), chapters D8 (translation) and D24 (registers).

.equ SCTLR_OFF,     0x30d00800          // bits that must be one
.equ SCTLR_ON,      SCTLR_OFF | 0x100d  // instruction cache, stack alignment, data cache, translation
.equ SCTLR_EL2_OFF, 0x30c50830
.equ BLOCK,         0x200000
.equ NORMAL,        0x701               // a block, attribute 0, inner shareable, accessed
.equ DEVICE,        0x405               // a block, attribute 1, accessed
.equ ATTRIBUTES,    0x04ff              // 0: write-back memory; 1: nGnRE device
.equ TCR,           0x803520            // 32 address bits of 4 KiB pages, tables cached, no upper half

.section .text.boot, "ax"
.global _start
_start:
    b       reset
    .balign 8
    .quad   {slot_magic}                // where the image takes a package that comes behind it
    .quad   __free - _start
reset:
    mrs     x1, mpidr_el1
    and     x1, x1, #0xff
    cbnz    x1, park                    // one core runs, the others sleep
    mrs     x1, CurrentEL
    lsr     x1, x1, #2
    cmp     x1, #2
    b.lo    at_el1
    b.eq    at_el2

    ldr     x1, ={timer_hz}             // at EL3 there is no firmware that has done this
    msr     cntfrq_el0, x1
    mrs     x1, s3_1_c15_c2_1           // CPUECTLR_EL1.SMPEN of Cortex-A53 and A72: caches need it
    orr     x1, x1, #0x40
    msr     s3_1_c15_c2_1, x1
    mov     x1, #0x531                  // EL2 is 64-bit, not secure, may call
    msr     scr_el3, x1
    msr     cptr_el3, xzr
    ldr     x1, =SCTLR_EL2_OFF
    msr     sctlr_el2, x1
    mov     x1, #0x3c9                  // EL2, its own stack, interrupts masked
    msr     spsr_el3, x1
    adr     x1, at_el2
    msr     elr_el3, x1
    eret

at_el2:
    mov     x1, #0x80000000             // EL1 is 64-bit
    msr     hcr_el2, x1
    mov     x1, #3                      // EL1 may read the timers
    msr     cnthctl_el2, x1
    msr     cntvoff_el2, xzr
    mov     x1, #0x33ff                 // floating point does not trap
    msr     cptr_el2, x1
    msr     hstr_el2, xzr
    mrs     x1, midr_el1
    msr     vpidr_el2, x1
    ldr     x1, =SCTLR_OFF
    msr     sctlr_el1, x1
    mov     x1, #0x3c5                  // EL1, its own stack, interrupts masked
    msr     spsr_el2, x1
    adr     x1, at_el1
    msr     elr_el2, x1
    eret

at_el1:
    mov     x1, #(3 << 20)              // floating point and NEON
    msr     cpacr_el1, x1
    msr     tpidr_el1, xzr              // no fault yet
    adrp    x1, vectors
    add     x1, x1, :lo12:vectors
    msr     vbar_el1, x1
    adrp    x1, __stack_top
    mov     sp, x1
    isb

    adrp    x0, __bss_start
    ldr     x1, =__bss_end
0:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    0b

    adrp    x0, level2                  // 4 GiB in blocks of 2 MiB, each at its own address
    mov     x1, xzr
    ldr     x2, =__ram_start
    and     x2, x2, #-BLOCK
    ldr     x3, =__ram_end
    sub     x3, x3, x2
    ldr     x4, =__guard
    ldr     x5, =NORMAL | 1 << 54       // no instructions of EL0
    ldr     x6, =DEVICE | 3 << 53       // no instructions
0:  sub     x7, x1, x2
    cmp     x7, x3
    csel    x7, x5, x6, lo
    orr     x7, x7, x1
    cmp     x1, x4
    csel    x7, xzr, x7, eq
    str     x7, [x0], #8
    add     x1, x1, #BLOCK
    tbz     x1, #32, 0b

    adrp    x0, level1
    msr     ttbr0_el1, x0
    adrp    x1, level2
    orr     x1, x1, #3                  // a table
    add     x2, x1, #0x4000
0:  str     x1, [x0], #8
    add     x1, x1, #0x1000
    cmp     x1, x2
    b.lo    0b

    dsb     sy                          // what was written past the caches must not hide behind old lines
    adrp    x0, __bss_start
    ldr     x1, =__bss_end
0:  dc      ivac, x0
    add     x0, x0, #64
    cmp     x0, x1
    b.lo    0b

    ldr     x1, =ATTRIBUTES
    msr     mair_el1, x1
    ldr     x1, =TCR
    msr     tcr_el1, x1
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    ldr     x1, =SCTLR_ON
    msr     sctlr_el1, x1
    isb
    b       {start}

// Every exception is a defect: it goes to Rust with its syndrome, a second one to sleep.
fault_entry:
    mrs     x1, tpidr_el1
    cbnz    x1, park
    mov     x1, #1
    msr     tpidr_el1, x1
    adrp    x1, __fault_stack_top
    mov     sp, x1
    mrs     x1, esr_el1
    mrs     x2, elr_el1
    mrs     x3, far_el1
    b       {fault}

// Masked, and with no source enabled, interrupts never end it: unlike `wfe`, an emulator takes no turn for it.
.global park
park:
    wfi
    b       park

.section .vectors, "ax"
vectors:
.rept 16
    .balign 0x80
    adr     x0, .
    b       fault_entry
.endr

.section .tables, "aw", %nobits
.balign 4096
level1: .skip 4096
level2: .skip 16384
