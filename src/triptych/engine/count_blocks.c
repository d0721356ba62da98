/*
 * Unicorn block hook: counts Thumb instructions at native speed (a Python hook is 20 times slower
 * than the simulation).
 *
 * An instruction counts each time the processor comes by, also where an IT block skips its effect:
 * it takes its place in the pipeline. First halfwords from 0xE800 begin a 32-bit instruction
 * (ARMv7-M A5.1).
 */
#include <stdint.h>

typedef struct {
    const uint8_t *flash;
    uint64_t origin, count;
} counter;

void count_block(void *engine, uint64_t address, uint32_t size, void *user)
{
    counter *c = user;
    const uint8_t *code = c->flash + (address - c->origin);
    const uint8_t *const end = code + size;
    (void)engine;
    for (; code < end; c->count++)
        code += code[1] >= 0xE8 ? 4 : 2;
}
