/* Frames of a serial line: COBS, CRC-16, a header of five bytes. See docs/gateway.md.
 *
 * Plain C99, freestanding but for string.h: no heap, no operating system, no recursion. The same
 * in Python is src/hybridge/runtime/wire/frames.py; both are tested with the same vectors.
 */
#ifndef HYBRIDGE_FRAME_H
#define HYBRIDGE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most bytes of a frame on the wire, its zero included; define it smaller or larger (48 to 1024)
 * for all sources alike. It is what buffers take. */
#ifndef HYBRIDGE_FRAME_BYTES
#define HYBRIDGE_FRAME_BYTES 256
#endif

#if HYBRIDGE_FRAME_BYTES < 48 || HYBRIDGE_FRAME_BYTES > 1024
#error "HYBRIDGE_FRAME_BYTES: expected 48 to 1024"
#endif

#define HYBRIDGE_VERSION 1
#define HYBRIDGE_MIN_FRAME_BYTES 48
#define HYBRIDGE_MAX_FRAGMENTS 255
#define HYBRIDGE_BITMAP_BYTES 32

typedef enum {
    HYBRIDGE_ASK = 1,   /* a fragment of an ask, from the device */
    HYBRIDGE_HELD = 2,  /* which fragments of an ask are held, from the gateway */
    HYBRIDGE_REPLY = 3, /* a fragment of a reply, from the gateway */
    HYBRIDGE_HAVE = 4   /* which fragments of a reply are held, from the device */
} hybridge_kind;

typedef struct {
    uint8_t kind;      /* a hybridge_kind */
    bool please;       /* whether the other end is to say at once what it holds */
    uint16_t request;  /* number of the request */
    uint8_t number;    /* which fragment, from 0 */
    uint8_t count;     /* fragments of the message; 0 where that is not known */
    uint16_t body_bytes;
    const uint8_t *body;
} hybridge_frame;

/* CRC-16/CCITT-FALSE. */
uint16_t hybridge_crc16(const uint8_t *bytes, size_t count);

/* CRC-32 (IEEE, as zlib has it), going on from `crc`; 0 to begin. */
uint32_t hybridge_crc32(uint32_t crc, const uint8_t *bytes, size_t count);

/* Most bytes of a body in frames of `frame_bytes`; 0 where frames cannot be of that length. */
uint16_t hybridge_body_bytes(uint16_t frame_bytes);

/* Writes the bytes that cross, the zero included, and returns how many; 0 where the frame would
 * be longer than `room`. */
size_t hybridge_frame_encode(const hybridge_frame *frame, uint8_t *out, size_t room);

/* Finds frames in bytes as they come. */
typedef struct {
    uint8_t content[HYBRIDGE_FRAME_BYTES];
    uint16_t length;  /* bytes of content so far */
    uint8_t code;     /* of the COBS block under way; 0 at a frame's beginning */
    uint8_t left;     /* bytes of that block still to come */
    bool lost;        /* until the next zero, nothing makes sense */
    uint32_t damaged; /* stretches between zeros that were no frame, so far */
} hybridge_decoder;

void hybridge_decoder_init(hybridge_decoder *decoder);

/* Takes one byte. Returns whether it ends a frame, which is then in `frame`; its body points into
 * the decoder, and is gone with the next byte. */
bool hybridge_decoder_feed(hybridge_decoder *decoder, uint8_t byte, hybridge_frame *frame);

#endif
