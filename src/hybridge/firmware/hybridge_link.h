/* One ask at a time over a serial line, and its reply. See docs/gateway.md.
 *
 * It does no I/O and knows no clock: give it the bytes that come in and the time, send what
 * hybridge_link_poll writes. Where it ends without an answer, answer with your own base, and mark
 * the answer as such.
 */
#ifndef HYBRIDGE_LINK_H
#define HYBRIDGE_LINK_H

#include "hybridge_frame.h"

/* Most bytes of a reply: 22, and what logits take. */
#ifndef HYBRIDGE_REPLY_BYTES
#define HYBRIDGE_REPLY_BYTES 512
#endif

#if HYBRIDGE_REPLY_BYTES < 22 || HYBRIDGE_REPLY_BYTES > 65535
#error "HYBRIDGE_REPLY_BYTES: expected 22 to 65535"
#endif

#define HYBRIDGE_PROGRAM_BYTES 8

typedef enum {
    HYBRIDGE_FORM_RAW = 0,  /* the program's input as it is, little-endian */
    HYBRIDGE_FORM_IMAGE = 1, /* an encoded image, such as JPEG */
    HYBRIDGE_FORM_INT8 = 2  /* (integer - zero_point) * scale */
} hybridge_form;

typedef enum {
    HYBRIDGE_WANTS_CLASS = 0,
    HYBRIDGE_WANTS_INT8 = 1,   /* logits, with scale and zero point */
    HYBRIDGE_WANTS_FLOAT16 = 2 /* logits, two bytes each */
} hybridge_wants;

typedef enum {
    HYBRIDGE_ANSWERED = 0,
    HYBRIDGE_UNKNOWN_PROGRAM = 1,
    HYBRIDGE_BAD_INPUT = 2,
    HYBRIDGE_NO_CLOUD = 3,
    HYBRIDGE_CLOUD_REFUSED = 4,
    HYBRIDGE_TOO_LATE = 5,
    HYBRIDGE_BUSY = 6
} hybridge_status;

typedef struct {
    uint8_t program[HYBRIDGE_PROGRAM_BYTES]; /* first bytes of the program's sha256 */
    uint8_t form;                            /* a hybridge_form */
    uint8_t wants;                           /* a hybridge_wants */
    float scale;                             /* of an int8 payload; 1 otherwise */
    int32_t zero_point;                      /* of an int8 payload */
    uint32_t left_ms;                        /* time left until the answer is of no use */
    const uint8_t *payload;                  /* must stay as it is until the ask has ended */
    uint32_t payload_bytes;
} hybridge_ask;

typedef struct {
    uint8_t status;       /* a hybridge_status; all else is zero where it is not ANSWERED */
    uint8_t wants;        /* what the values are */
    uint16_t label;       /* the most probable class */
    uint16_t probability; /* its probability, in 65535ths */
    uint16_t cloud_ms;    /* time the server spent */
    uint16_t count;       /* logits */
    float scale;          /* of int8 logits */
    int32_t zero_point;   /* of int8 logits */
    const uint8_t *values; /* until the next ask begins */
} hybridge_reply;

typedef struct {
    uint16_t frame_bytes; /* 48 to HYBRIDGE_FRAME_BYTES; LoRa: what your data rate allows */
    uint16_t retry_ms;    /* silence after which it repeats itself: at least what a burst and its
                             acknowledgement take on the line */
    uint8_t tries;        /* repetitions in a row, without a sign of the gateway, to give up after */
    uint8_t window;       /* fragments sent before it waits for an acknowledgement */
} hybridge_link_settings;

typedef enum {
    HYBRIDGE_LINK_IDLE = 0, /* nothing has been asked */
    HYBRIDGE_LINK_ASKING,   /* the ask is being sent */
    HYBRIDGE_LINK_WAITING,  /* the gateway holds the ask */
    HYBRIDGE_LINK_ANSWERED, /* there is an answer */
    HYBRIDGE_LINK_REFUSED,  /* the reply says why there is none */
    HYBRIDGE_LINK_TIMED_OUT, /* the time was up */
    HYBRIDGE_LINK_SILENT,    /* the gateway gave no sign, however often it was tried */
    HYBRIDGE_LINK_TOO_LONG   /* the reply is longer than HYBRIDGE_REPLY_BYTES */
} hybridge_link_state;

typedef struct {
    hybridge_link_settings settings;
    hybridge_link_state state;
    hybridge_ask ask;
    hybridge_decoder decoder;
    uint16_t request;
    uint16_t body_bytes;
    uint32_t message_bytes;
    uint32_t began_ms;
    uint32_t silent_since_ms;
    uint32_t crc;
    uint16_t next; /* fragment to look at next in the burst under way */
    uint16_t reply_length;
    uint8_t fragments;
    uint8_t burst; /* fragments still to be sent in the burst under way */
    uint8_t tried;
    uint8_t reply_fragments; /* 0: none has come */
    bool due;                /* something is to be said at once */
    uint8_t head[24];
    uint8_t held[HYBRIDGE_BITMAP_BYTES];
    uint8_t got[HYBRIDGE_BITMAP_BYTES];
    uint8_t reply[HYBRIDGE_REPLY_BYTES];
} hybridge_link;

/* Gets ready. `first_request` is the number of the first ask; one that differs from start to start
 * saves a round trip where the gateway still knows an ask of before. Returns whether the settings
 * can be used. */
bool hybridge_link_init(hybridge_link *link, const hybridge_link_settings *settings,
                        uint16_t first_request);

/* Begins an ask, and gives up the one before. Returns whether it fits into 255 frames. */
bool hybridge_link_begin(hybridge_link *link, const hybridge_ask *ask, uint32_t now_ms);

/* Takes bytes from the line, in whatever pieces. */
void hybridge_link_receive(hybridge_link *link, const uint8_t *bytes, size_t count,
                           uint32_t now_ms);

/* Writes one frame that is to be sent now, and returns its bytes; 0 for nothing. Call it until it
 * returns 0, after every receive and at least every few milliseconds. `out` has room for
 * HYBRIDGE_FRAME_BYTES. */
size_t hybridge_link_poll(hybridge_link *link, uint32_t now_ms, uint8_t *out);

/* Says how it stands; from ANSWERED on it has ended. */
hybridge_link_state hybridge_link_result(const hybridge_link *link);

/* Fills in the reply; returns whether there is one (ANSWERED or REFUSED). */
bool hybridge_link_reply(const hybridge_link *link, hybridge_reply *reply);

#endif
