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

/* CMSDK timers, which count down at 25 MHz: the first counts instructions, the second is a clock. */
typedef struct {
    volatile uint32_t control, value, reload;
} timer;
#define TIMER0 ((timer *)0x40000000u)
#define TIMER1 ((timer *)0x40001000u)
#define INSTRUCTIONS_PER_TICK 40u
#define TICKS_PER_MS 25000u

static void start(timer *of) {
    of->control = 0;
    of->reload = UINT32_MAX;
    of->value = UINT32_MAX;
    of->control = 1;
}

void board_start_counting(void) {
    start(TIMER0);
}

uint32_t board_instructions(void) {
    return (UINT32_MAX - TIMER0->value) * INSTRUCTIONS_PER_TICK;
}

static uint32_t last_ticks;
static uint64_t ticks;

void board_start_clock(void) {
    start(TIMER1);
    last_ticks = UINT32_MAX;
    ticks = 0;
}

uint32_t board_ms(void) {
    const uint32_t now = TIMER1->value;
    ticks += last_ticks - now;
    last_ticks = now;
    return (uint32_t)(ticks / TICKS_PER_MS);
}

/* The first CMSDK UART. */
typedef struct {
    volatile uint32_t data, state, control, interrupts, divider;
} uart;
#define UART0 ((uart *)0x40004000u)
enum { TRANSMIT_FULL = 1, RECEIVE_FULL = 2, TRANSMIT_AND_RECEIVE = 3, DIVIDER_115200 = 217 };

void board_serial_start(void) {
    UART0->divider = DIVIDER_115200;
    UART0->control = TRANSMIT_AND_RECEIVE;
}

void board_serial_write(const uint8_t *bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        while (UART0->state & TRANSMIT_FULL) {
        }
        UART0->data = bytes[i];
    }
}

uint32_t board_serial_read(uint8_t *bytes, uint32_t room) {
    uint32_t count = 0;
    while (count < room && (UART0->state & RECEIVE_FULL)) {
        bytes[count++] = (uint8_t)UART0->data;
    }
    return count;
}
