/* What runs before main on a Cortex-M7: vectors, FPU, memory, and a painted stack. */
#include <stdint.h>

#include "board.h"

extern uint32_t board_stack_bottom[], board_stack_top[];
extern uint32_t board_data_load[], board_data_start[], board_data_end[];
extern uint32_t board_bss_start[], board_bss_end[];

int main(void);

#define PAINT 0xA5C3A5C3u
#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88u)
#define FULL_ACCESS_TO_FPU (0xFu << 20)

/* Inlined, so that all below the stack pointer is free to be painted. */
static inline __attribute__((always_inline)) void paint_stack(void) {
    uint32_t *stack_pointer;
    __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
    for (volatile uint32_t *word = board_stack_bottom; word < stack_pointer; ++word) {
        *word = PAINT;
    }
}

uint32_t board_stack_bytes(void) {
    const volatile uint32_t *word = board_stack_bottom;
    while (word < board_stack_top && *word == PAINT) {
        ++word;
    }
    return (uint32_t)((uintptr_t)board_stack_top - (uintptr_t)word);
}

void board_reset(void) {
    COPROCESSOR_ACCESS |= FULL_ACCESS_TO_FPU;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    const uint32_t *from = board_data_load;
    for (uint32_t *to = board_data_start; to < board_data_end; ++to, ++from) {
        *to = *from;
    }
    for (uint32_t *word = board_bss_start; word < board_bss_end; ++word) {
        *word = 0;
    }
    paint_stack();
    board_exit(main());
}

/* The stack lies below all else, so that one that grows too large ends here. */
static void fault(void) {
    board_print("fault: the stack grew beyond its reserve, or memory was touched that is not there\n");
    board_exit(70);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    board_stack_top, board_reset, fault, fault, fault, fault, fault, 0,
    0, 0, 0, fault, fault, 0, fault, fault,
};
