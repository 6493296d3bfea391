/* Floats as text that holds every bit of them: 0x1.8p+1 is three. */
#ifndef HEX_FLOAT_H
#define HEX_FLOAT_H

#include <stddef.h>

#define HEX_FLOAT_BYTES 24

/* Writes `value` without an end mark, and returns the bytes written, under HEX_FLOAT_BYTES. */
size_t hex_float(float value, char *text);

/* Writes `value` in decimals, likewise. */
size_t decimal(unsigned value, char *text);

#endif
