/* What the programs need of the board: files and exit by semihosting, a clock, a serial port.
 *
 * Written for QEMU's mps2-an500. On a board of your own, replace board.c, start.c and the linker
 * script by your vendor's; network.c needs nothing of this file.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Opens a file of the host, to read or, where `write` is set, to write anew; -1 where it cannot. */
int32_t board_open(const char *path, int write);

/* Reads at most `count` bytes, and returns how many there were. */
uint32_t board_read(int32_t file, void *bytes, uint32_t count);

/* Writes `count` bytes, and returns how many of them were not written. */
uint32_t board_write(int32_t file, const void *bytes, uint32_t count);

void board_close(int32_t file);

/* Prints on the host's console. */
void board_print(const char *text);

/* Ends the emulation with an exit status. */
void board_exit(int status) __attribute__((noreturn));

/* Starts the count of board_instructions. */
void board_start_counting(void);

/* Returns how many instructions were executed since, to the next 40; true under `-icount shift=0`
 * alone, where each instruction takes a nanosecond of the timer's time. Wraps after 2^32. */
uint32_t board_instructions(void);

/* Starts the clock of board_ms. */
void board_start_clock(void);

/* Returns the time in milliseconds; call it at least every two minutes. */
uint32_t board_ms(void);

/* Gets the first UART ready. */
void board_serial_start(void);

/* Sends, and waits until all is sent. */
void board_serial_write(const uint8_t *bytes, uint32_t count);

/* Returns how many bytes had come, without waiting. */
uint32_t board_serial_read(uint8_t *bytes, uint32_t room);

/* Returns the most bytes of stack that were ever used. */
uint32_t board_stack_bytes(void);

#endif
