/*
 * Boot: vector table, floating point on, .data and .bss, then the self-test of main.c.
 *
 * The stack lies at the bottom of RAM and grows down: what overflows it faults at once instead of
 * overwriting the arena.
 */
#include <stdint.h>

#define CPACR (*(volatile uint32_t *)0xE000ED88u) /* coprocessor access, ARMv7-M B3.2.20 */
#define FULL_FPU_ACCESS (0xFu << 20)

extern uint32_t __stack_top[], __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

int main(void);

/* Where the program ends; `status` is the number of outputs that differ from the test vector. Weak: a debugger's
 * or an emulator's way to exit may take its place. */
__attribute__((noinline, noreturn, weak)) void firmware_done(int status)
{
    for (;;)
        __asm volatile("wfi" ::"r"(status));
}

static void fault(void)
{
    for (;;)
        __asm volatile("bkpt 0");
}

__attribute__((noreturn)) void reset(void)
{
    const uint32_t *source = __data_load;
    CPACR |= FULL_FPU_ACCESS;
    __asm volatile("dsb\n isb");
    for (volatile uint32_t *word = __data_start; word < __data_end; word++)
        *word = *source++;
    for (volatile uint32_t *word = __bss_start; word < __bss_end; word++)
        *word = 0;
    firmware_done(main());
}

typedef void (*handler)(void);
__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)__stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault,
};
