#include "hybridge_link.h"

#include <string.h>

#define ASK_HEAD_BYTES 24u
#define REPLY_HEAD_BYTES 18u
#define CRC_BYTES 4u

static void put_u16(uint8_t *out, uint32_t value) {
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static void put_u32(uint8_t *out, uint32_t value) {
    put_u16(out, value);
    put_u16(out + 2, value >> 16);
}

static uint16_t get_u16(const uint8_t *in) {
    return (uint16_t)(in[0] | (uint16_t)(in[1] << 8));
}

static uint32_t get_u32(const uint8_t *in) {
    return get_u16(in) | (uint32_t)get_u16(in + 2) << 16;
}

static bool has_bit(const uint8_t *bits, uint32_t number) {
    return (bits[number / 8u] >> (number % 8u)) & 1u;
}

static void set_bit(uint8_t *bits, uint32_t number) {
    bits[number / 8u] = (uint8_t)(bits[number / 8u] | 1u << (number % 8u));
}

static bool has_all(const uint8_t *bits, uint32_t count) {
    for (uint32_t number = 0; number < count; number++) {
        if (!has_bit(bits, number)) {
            return false;
        }
    }
    return true;
}

bool hybridge_link_init(hybridge_link *link, const hybridge_link_settings *settings,
                        uint16_t first_request) {
    memset(link, 0, sizeof *link);
    link->settings = *settings;
    link->request = (uint16_t)(first_request - 1u);
    link->body_bytes = hybridge_body_bytes(settings->frame_bytes);
    return link->body_bytes != 0 && settings->retry_ms != 0 && settings->tries != 0 &&
           settings->window != 0;
}

static void write_head(hybridge_link *link) {
    const hybridge_ask *ask = &link->ask;
    uint32_t scale;
    memcpy(&scale, &ask->scale, sizeof scale);
    link->head[0] = ask->form;
    link->head[1] = ask->wants;
    put_u16(link->head + 2, link->settings.frame_bytes);
    put_u32(link->head + 4, ask->left_ms);
    memcpy(link->head + 8, ask->program, HYBRIDGE_PROGRAM_BYTES);
    put_u32(link->head + 16, scale);
    put_u32(link->head + 20, (uint32_t)ask->zero_point);
}

static void forget_reply(hybridge_link *link) {
    memset(link->got, 0, sizeof link->got);
    link->reply_fragments = 0;
    link->reply_length = 0;
}

/* Begins to send the ask under the next number. */
static void ask_as_next(hybridge_link *link) {
    uint8_t number[2];
    link->request++;
    put_u16(number, link->request);
    link->crc = hybridge_crc32(0, number, sizeof number);
    link->crc = hybridge_crc32(link->crc, link->head, ASK_HEAD_BYTES);
    link->crc = hybridge_crc32(link->crc, link->ask.payload, link->ask.payload_bytes);
    memset(link->held, 0, sizeof link->held);
    forget_reply(link);
    link->burst = 0;
    link->due = true;
    link->state = HYBRIDGE_LINK_ASKING;
}

bool hybridge_link_begin(hybridge_link *link, const hybridge_ask *ask, uint32_t now_ms) {
    link->state = HYBRIDGE_LINK_IDLE;
    /* Compared before anything is added, so that no sum overflows. */
    uint32_t most = (uint32_t)HYBRIDGE_MAX_FRAGMENTS * link->body_bytes;
    if (most < ASK_HEAD_BYTES + CRC_BYTES ||
        ask->payload_bytes > most - ASK_HEAD_BYTES - CRC_BYTES) {
        return false;
    }
    link->ask = *ask;
    link->message_bytes = ASK_HEAD_BYTES + ask->payload_bytes + CRC_BYTES;
    link->fragments =
        (uint8_t)((link->message_bytes + link->body_bytes - 1u) / link->body_bytes);
    write_head(link);
    link->tried = 0;
    link->began_ms = now_ms;
    link->silent_since_ms = now_ms;
    ask_as_next(link);
    return true;
}

static bool is_under_way(const hybridge_link *link) {
    return link->state == HYBRIDGE_LINK_ASKING || link->state == HYBRIDGE_LINK_WAITING;
}

/* --- what comes in ------------------------------------------------------------------------ */

static void take_held(hybridge_link *link, const hybridge_frame *frame) {
    /* Where the gateway has started anew, it holds less than before. */
    memset(link->held, 0, sizeof link->held);
    if (frame->count == link->fragments && frame->body_bytes <= sizeof link->held) {
        memcpy(link->held, frame->body, frame->body_bytes);
    }
    bool whole = has_all(link->held, link->fragments);
    link->state = whole ? HYBRIDGE_LINK_WAITING : HYBRIDGE_LINK_ASKING;
    link->due = !whole;
    link->burst = 0;
}

static void check_reply(hybridge_link *link) {
    const uint8_t *reply = link->reply;
    uint32_t length = link->reply_length;
    uint32_t content = length - CRC_BYTES;
    if (length < REPLY_HEAD_BYTES + CRC_BYTES ||
        hybridge_crc32(link->crc, reply, content) != get_u32(reply + content)) {
        /* It answers what was asked under this number before a reset, or is damaged. */
        ask_as_next(link);
        return;
    }
    uint32_t value_bytes = reply[1] == HYBRIDGE_WANTS_FLOAT16 ? 2u
                           : reply[1] == HYBRIDGE_WANTS_INT8  ? 1u
                                                              : 0u;
    if (content - REPLY_HEAD_BYTES != get_u16(reply + 8) * value_bytes) {
        ask_as_next(link);
        return;
    }
    link->state = reply[0] == HYBRIDGE_ANSWERED ? HYBRIDGE_LINK_ANSWERED : HYBRIDGE_LINK_REFUSED;
}

static void take_reply(hybridge_link *link, const hybridge_frame *frame) {
    uint32_t at = (uint32_t)frame->number * link->body_bytes;
    bool last = frame->number + 1u == frame->count;
    /* All but the last are full: that is how each has its place, in whatever order they come. */
    if (!last && frame->body_bytes != link->body_bytes) {
        return;
    }
    if (at + frame->body_bytes > sizeof link->reply) {
        link->state = HYBRIDGE_LINK_TOO_LONG;
        return;
    }
    if (frame->count != link->reply_fragments) {
        forget_reply(link);
        link->reply_fragments = frame->count;
    }
    link->state = HYBRIDGE_LINK_WAITING;
    link->burst = 0;
    memcpy(link->reply + at, frame->body, frame->body_bytes);
    set_bit(link->got, frame->number);
    if (last) {
        link->reply_length = (uint16_t)(at + frame->body_bytes);
    }
    bool whole = has_all(link->got, frame->count);
    link->due = last && !whole;
    if (whole) {
        check_reply(link);
    }
}

void hybridge_link_receive(hybridge_link *link, const uint8_t *bytes, size_t count,
                           uint32_t now_ms) {
    hybridge_frame frame;
    for (size_t index = 0; index < count; index++) {
        if (!hybridge_decoder_feed(&link->decoder, bytes[index], &frame) ||
            frame.request != link->request || !is_under_way(link)) {
            continue;
        }
        if (frame.kind == HYBRIDGE_HELD) {
            take_held(link, &frame);
        } else if (frame.kind == HYBRIDGE_REPLY && frame.number < frame.count) {
            take_reply(link, &frame);
        } else {
            continue;
        }
        link->tried = 0;
        link->silent_since_ms = now_ms;
    }
}

/* --- what goes out ------------------------------------------------------------------------ */

/* Copies bytes of the message: head, payload and checksum are never in one piece. */
static void copy_message(const hybridge_link *link, uint32_t at, uint8_t *out, uint16_t count) {
    uint8_t crc[CRC_BYTES];
    put_u32(crc, link->crc);
    for (uint16_t index = 0; index < count; index++, at++) {
        if (at < ASK_HEAD_BYTES) {
            out[index] = link->head[at];
        } else if (at - ASK_HEAD_BYTES < link->ask.payload_bytes) {
            out[index] = link->ask.payload[at - ASK_HEAD_BYTES];
        } else {
            out[index] = crc[at - ASK_HEAD_BYTES - link->ask.payload_bytes];
        }
    }
}

static size_t send_fragment(hybridge_link *link, uint8_t *out) {
    uint8_t body[HYBRIDGE_FRAME_BYTES];
    uint32_t number = link->next;
    while (number < link->fragments && has_bit(link->held, number)) {
        number++;
    }
    link->next = (uint16_t)(number + 1u);
    uint32_t after = link->next;
    while (after < link->fragments && has_bit(link->held, after)) {
        after++;
    }
    link->burst--;
    bool last = link->burst == 0 || after >= link->fragments;
    if (last) {
        link->burst = 0;
    }
    uint32_t at = number * link->body_bytes;
    uint32_t left = link->message_bytes - at;
    hybridge_frame frame = {
        .kind = HYBRIDGE_ASK,
        .please = last,
        .request = link->request,
        .number = (uint8_t)number,
        .count = link->fragments,
        .body = body,
        .body_bytes = (uint16_t)(left < link->body_bytes ? left : link->body_bytes),
    };
    copy_message(link, at, body, frame.body_bytes);
    return hybridge_frame_encode(&frame, out, link->settings.frame_bytes);
}

static size_t send_have(const hybridge_link *link, uint8_t *out) {
    hybridge_frame frame = {
        .kind = HYBRIDGE_HAVE,
        .request = link->request,
        .count = link->reply_fragments,
        .body = link->got,
        .body_bytes = (uint16_t)((link->reply_fragments + 7u) / 8u),
    };
    return hybridge_frame_encode(&frame, out, link->settings.frame_bytes);
}

size_t hybridge_link_poll(hybridge_link *link, uint32_t now_ms, uint8_t *out) {
    if (!is_under_way(link)) {
        return 0;
    }
    /* Differences of unsigned times are right across the clock's overflow. */
    if ((uint32_t)(now_ms - link->began_ms) >= link->ask.left_ms) {
        link->state = HYBRIDGE_LINK_TIMED_OUT;
        return 0;
    }
    if (link->burst == 0) {
        if (!link->due) {
            if ((uint32_t)(now_ms - link->silent_since_ms) < link->settings.retry_ms) {
                return 0;
            }
            if (link->tried == link->settings.tries) {
                link->state = HYBRIDGE_LINK_SILENT;
                return 0;
            }
            link->tried++;
        }
        link->due = false;
        link->silent_since_ms = now_ms;
        if (link->state == HYBRIDGE_LINK_WAITING) {
            return send_have(link, out);
        }
        link->burst = link->settings.window;
        link->next = 0;
    }
    link->silent_since_ms = now_ms;
    return send_fragment(link, out);
}

hybridge_link_state hybridge_link_result(const hybridge_link *link) {
    return link->state;
}

bool hybridge_link_reply(const hybridge_link *link, hybridge_reply *reply) {
    const uint8_t *head = link->reply;
    if (link->state != HYBRIDGE_LINK_ANSWERED && link->state != HYBRIDGE_LINK_REFUSED) {
        return false;
    }
    uint32_t scale = get_u32(head + 10);
    reply->status = head[0];
    reply->wants = head[1];
    reply->label = get_u16(head + 2);
    reply->probability = get_u16(head + 4);
    reply->cloud_ms = get_u16(head + 6);
    reply->count = get_u16(head + 8);
    memcpy(&reply->scale, &scale, sizeof scale);
    reply->zero_point = (int32_t)get_u32(head + 14);
    reply->values = head + REPLY_HEAD_BYTES;
    return true;
}
