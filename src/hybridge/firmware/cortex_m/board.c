#include "board.h"

#include <string.h>

/* Arm's semihosting: an operation and its arguments, which the debugger or emulator carries out. */
enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06,
       SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ_BINARY = 1, MODE_WRITE_BINARY = 5 };
#define APPLICATION_EXIT 0x20026u

static int32_t semihost(uint32_t operation, const void *arguments) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

int32_t board_open(const char *path, int write) {
    const uint32_t arguments[3] = {
        (uint32_t)path, write ? MODE_WRITE_BINARY : MODE_READ_BINARY, (uint32_t)strlen(path)};
    return semihost(SYS_OPEN, arguments);
}

uint32_t board_read(int32_t file, void *bytes, uint32_t count) {
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)bytes, count};
    return count - (uint32_t)semihost(SYS_READ, arguments);
}

uint32_t board_write(int32_t file, const void *bytes, uint32_t count) {
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)bytes, count};
    return (uint32_t)semihost(SYS_WRITE, arguments);
}

void board_close(int32_t file) {
    const uint32_t arguments[1] = {(uint32_t)file};
    semihost(SYS_CLOSE, arguments);
}

void board_print(const char *text) {
    semihost(SYS_WRITE0, text);
}

void board_exit(int status) {
    const uint32_t arguments[2] = {APPLICATION_EXIT, (uint32_t)status};
    for (;;) {
        semihost(SYS_EXIT_EXTENDED, arguments);
    }
}

/* The first CMSDK timer, which counts down at 25 MHz. */
typedef struct {
    volatile uint32_t control, value, reload;
} timer;
#define TIMER0 ((timer *)0x40000000u)
#define INSTRUCTIONS_PER_TICK 40u

void board_start_counting(void) {
    TIMER0->control = 0;
    TIMER0->reload = UINT32_MAX;
    TIMER0->value = UINT32_MAX;
    TIMER0->control = 1;
}

uint32_t board_instructions(void) {
    return (UINT32_MAX - TIMER0->value) * INSTRUCTIONS_PER_TICK;
}
