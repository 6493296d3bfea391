#include "hybridge_frame.h"

#include <string.h>

#define HEADER_BYTES 5u
#define CRC_BYTES 2u
#define PLEASE 0x08u
#define LONGEST_BLOCK 254u

static uint16_t crc16_on(uint16_t crc, uint8_t byte) {
    crc = (uint16_t)(crc ^ (uint16_t)(byte << 8));
    for (int bit = 0; bit < 8; bit++) {
        crc = (uint16_t)((crc & 0x8000u) ? (uint32_t)(crc << 1) ^ 0x1021u : (uint32_t)(crc << 1));
    }
    return crc;
}

uint16_t hybridge_crc16(const uint8_t *bytes, size_t count) {
    uint16_t crc = 0xFFFFu;
    for (size_t index = 0; index < count; index++) {
        crc = crc16_on(crc, bytes[index]);
    }
    return crc;
}

uint32_t hybridge_crc32(uint32_t crc, const uint8_t *bytes, size_t count) {
    crc = ~crc;
    for (size_t index = 0; index < count; index++) {
        crc ^= bytes[index];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1u) ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
        }
    }
    return ~crc;
}

uint16_t hybridge_body_bytes(uint16_t frame_bytes) {
    if (frame_bytes < HYBRIDGE_MIN_FRAME_BYTES || frame_bytes > HYBRIDGE_FRAME_BYTES) {
        return 0;
    }
    uint32_t encoded = frame_bytes - 1u;
    uint32_t overhead = (encoded + LONGEST_BLOCK) / (LONGEST_BLOCK + 1u);
    return (uint16_t)(encoded - overhead - HEADER_BYTES - CRC_BYTES);
}

/* A frame being written: COBS needs the length of a block before the block. */
typedef struct {
    uint8_t *out;
    size_t room;
    size_t length;
    size_t code_at; /* where the block under way has its length */
    uint16_t crc;
    bool overflows;
    bool block_ended; /* a full block ended; the next begins only if there is more */
} writer;

static void put_out(writer *writer, uint8_t byte) {
    if (writer->length < writer->room) {
        writer->out[writer->length++] = byte;
    } else {
        writer->overflows = true;
    }
}

static void begin_block(writer *writer) {
    writer->code_at = writer->length;
    put_out(writer, 0);
}

static void end_block(writer *writer) {
    if (!writer->overflows) {
        writer->out[writer->code_at] = (uint8_t)(writer->length - writer->code_at);
    }
}

static void put(writer *writer, uint8_t byte) {
    if (writer->block_ended) {
        begin_block(writer);
        writer->block_ended = false;
    }
    if (byte == 0) {
        end_block(writer);
        begin_block(writer);
        return;
    }
    put_out(writer, byte);
    if (writer->length - writer->code_at == LONGEST_BLOCK + 1u) {
        end_block(writer);
        writer->block_ended = true;
    }
}

static void put_covered(writer *writer, uint8_t byte) {
    writer->crc = crc16_on(writer->crc, byte);
    put(writer, byte);
}

size_t hybridge_frame_encode(const hybridge_frame *frame, uint8_t *out, size_t room) {
    writer writer = {.out = out, .room = room, .crc = 0xFFFFu};
    begin_block(&writer);
    put_covered(&writer, (uint8_t)((HYBRIDGE_VERSION << 4) | (frame->please ? PLEASE : 0u) |
                                   frame->kind));
    put_covered(&writer, (uint8_t)(frame->request & 0xFFu));
    put_covered(&writer, (uint8_t)(frame->request >> 8));
    put_covered(&writer, frame->number);
    put_covered(&writer, frame->count);
    for (uint16_t index = 0; index < frame->body_bytes; index++) {
        put_covered(&writer, frame->body[index]);
    }
    uint16_t crc = writer.crc;
    put(&writer, (uint8_t)(crc & 0xFFu));
    put(&writer, (uint8_t)(crc >> 8));
    if (!writer.block_ended) {
        end_block(&writer);
    }
    put_out(&writer, 0);
    return writer.overflows ? 0 : writer.length;
}

static void begin_frame(hybridge_decoder *decoder) {
    decoder->length = 0;
    decoder->code = 0;
    decoder->left = 0;
    decoder->lost = false;
}

void hybridge_decoder_init(hybridge_decoder *decoder) {
    memset(decoder, 0, sizeof *decoder);
}

static void add(hybridge_decoder *decoder, uint8_t byte) {
    if (decoder->length < sizeof decoder->content) {
        decoder->content[decoder->length++] = byte;
    } else {
        decoder->lost = true;
    }
}

static bool read_frame(const hybridge_decoder *decoder, hybridge_frame *frame) {
    const uint8_t *content = decoder->content;
    if (decoder->lost || decoder->left != 0 || decoder->length < HEADER_BYTES + CRC_BYTES) {
        return false;
    }
    uint16_t covered = (uint16_t)(decoder->length - CRC_BYTES);
    uint16_t told = (uint16_t)(content[covered] | (uint16_t)(content[covered + 1u] << 8));
    uint8_t kind = content[0] & (PLEASE - 1u);
    if (told != hybridge_crc16(content, covered) || content[0] >> 4 != HYBRIDGE_VERSION ||
        kind < HYBRIDGE_ASK || kind > HYBRIDGE_HAVE) {
        return false;
    }
    frame->kind = kind;
    frame->please = (content[0] & PLEASE) != 0;
    frame->request = (uint16_t)(content[1] | (uint16_t)(content[2] << 8));
    frame->number = content[3];
    frame->count = content[4];
    frame->body = content + HEADER_BYTES;
    frame->body_bytes = (uint16_t)(covered - HEADER_BYTES);
    return true;
}

bool hybridge_decoder_feed(hybridge_decoder *decoder, uint8_t byte, hybridge_frame *frame) {
    if (byte == 0) {
        bool empty = decoder->code == 0 && !decoder->lost;
        bool whole = !empty && read_frame(decoder, frame);
        decoder->damaged += !empty && !whole;
        begin_frame(decoder);
        return whole;
    }
    if (decoder->lost) {
        return false;
    }
    if (decoder->left == 0) {
        /* Between two blocks stands a zero, but not after a block of full length. */
        if (decoder->code != 0 && decoder->code <= LONGEST_BLOCK) {
            add(decoder, 0);
        }
        decoder->code = byte;
        decoder->left = (uint8_t)(byte - 1u);
    } else {
        add(decoder, byte);
        decoder->left--;
    }
    return false;
}
