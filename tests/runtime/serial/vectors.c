/* The C end of the serial protocol, driven by lines on standard input: see c_end.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hybridge_link.h"

#define MOST 70000

static uint8_t bytes[MOST];
static uint8_t payload[MOST];
static char line[2 * MOST + 1000];

static size_t from_hex(const char *text, uint8_t *out) {
    size_t count = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    for (size_t index = 0; index < count; index++) {
        unsigned value = 0;
        if (sscanf(text + 2 * index, "%2x", &value) != 1) {
            exit(3);
        }
        out[index] = (uint8_t)value;
    }
    return count;
}

static void print_hex(const uint8_t *in, size_t count) {
    if (count == 0) {
        printf("-");
    }
    for (size_t index = 0; index < count; index++) {
        printf("%02x", in[index]);
    }
    printf("\n");
}

static long next(void) {
    return strtol(strtok(NULL, " \n"), NULL, 10);
}

static void encode(void) {
    hybridge_frame frame;
    uint8_t out[HYBRIDGE_FRAME_BYTES];
    frame.kind = (uint8_t)next();
    frame.please = next() != 0;
    frame.request = (uint16_t)next();
    frame.number = (uint8_t)next();
    frame.count = (uint8_t)next();
    frame.body_bytes = (uint16_t)from_hex(strtok(NULL, " \n"), bytes);
    frame.body = bytes;
    print_hex(out, hybridge_frame_encode(&frame, out, sizeof out));
}

static void decode(void) {
    hybridge_decoder decoder;
    hybridge_frame frame;
    size_t count = from_hex(strtok(NULL, " \n"), bytes);
    hybridge_decoder_init(&decoder);
    for (size_t index = 0; index < count; index++) {
        if (hybridge_decoder_feed(&decoder, bytes[index], &frame)) {
            printf("%u %d %u %u %u ", frame.kind, frame.please, frame.request, frame.number,
                   frame.count);
            print_hex(frame.body, frame.body_bytes);
        }
    }
    printf("end %" PRIu32 "\n", decoder.damaged);
}

static void begin(hybridge_link *link) {
    hybridge_link_settings settings;
    hybridge_ask ask;
    settings.frame_bytes = (uint16_t)next();
    settings.window = (uint8_t)next();
    settings.retry_ms = (uint16_t)next();
    settings.tries = (uint8_t)next();
    uint16_t request = (uint16_t)next();
    ask.form = (uint8_t)next();
    ask.wants = (uint8_t)next();
    ask.scale = strtof(strtok(NULL, " \n"), NULL);
    ask.zero_point = (int32_t)next();
    ask.left_ms = (uint32_t)next();
    uint32_t now_ms = (uint32_t)next();
    from_hex(strtok(NULL, " \n"), ask.program);
    ask.payload_bytes = (uint32_t)from_hex(strtok(NULL, " \n"), payload);
    ask.payload = payload;
    bool ready = hybridge_link_init(link, &settings, request);
    printf("%d\n", ready && hybridge_link_begin(link, &ask, now_ms));
}

static void result(const hybridge_link *link) {
    hybridge_reply reply;
    printf("%d ", hybridge_link_result(link));
    if (!hybridge_link_reply(link, &reply)) {
        printf("-\n");
        return;
    }
    printf("%u %u %u %u %u %u %.9g %" PRId32 " ", reply.status, reply.wants, reply.label,
           reply.probability, reply.cloud_ms, reply.count, (double)reply.scale, reply.zero_point);
    print_hex(reply.values, reply.count * (size_t)(reply.wants == HYBRIDGE_WANTS_FLOAT16 ? 2
                                                   : reply.wants == HYBRIDGE_WANTS_INT8  ? 1
                                                                                         : 0));
}

int main(void) {
    static hybridge_link link;
    uint8_t out[HYBRIDGE_FRAME_BYTES];
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *command = strtok(line, " \n");
        if (strcmp(command, "crc16") == 0) {
            size_t count = from_hex(strtok(NULL, " \n"), bytes);
            printf("%u\n", hybridge_crc16(bytes, count));
        } else if (strcmp(command, "crc32") == 0) {
            size_t count = from_hex(strtok(NULL, " \n"), bytes);
            printf("%" PRIu32 "\n", hybridge_crc32(0, bytes, count));
        } else if (strcmp(command, "encode") == 0) {
            encode();
        } else if (strcmp(command, "decode") == 0) {
            decode();
        } else if (strcmp(command, "begin") == 0) {
            begin(&link);
        } else if (strcmp(command, "receive") == 0) {
            uint32_t now_ms = (uint32_t)next();
            size_t count = from_hex(strtok(NULL, " \n"), bytes);
            hybridge_link_receive(&link, bytes, count, now_ms);
            printf("ok\n");
        } else if (strcmp(command, "poll") == 0) {
            print_hex(out, hybridge_link_poll(&link, (uint32_t)next(), out));
        } else if (strcmp(command, "result") == 0) {
            result(&link);
        } else {
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}
