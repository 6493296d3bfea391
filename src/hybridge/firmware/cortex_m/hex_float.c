#include "hex_float.h"

#include <stdint.h>
#include <string.h>

static size_t put(char *text, const char *what) {
    const size_t length = strlen(what);
    memcpy(text, what, length);
    return length;
}

size_t decimal(unsigned value, char *text) {
    char reversed[12];
    size_t digits = 0;
    do {
        reversed[digits++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < digits; ++i) {
        text[i] = reversed[digits - 1 - i];
    }
    return digits;
}

size_t hex_float(float value, char *text) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int exponent = (int)((bits >> 23) & 0xFF);
    const uint32_t fraction = (bits & 0x7FFFFF) << 1; /* six hexadecimal digits */
    size_t at = put(text, bits >> 31 ? "-" : "");
    if (exponent == 0xFF) {
        return at + put(text + at, fraction ? "nan" : "inf");
    }
    at += put(text + at, exponent ? "0x1." : "0x0.");
    for (int shift = 20; shift >= 0; shift -= 4) {
        text[at++] = "0123456789abcdef"[(fraction >> shift) & 0xF];
    }
    const int power = exponent ? exponent - 127 : -126;
    at += put(text + at, power < 0 ? "p-" : "p+");
    return at + decimal((unsigned)(power < 0 ? -power : power), text + at);
}
