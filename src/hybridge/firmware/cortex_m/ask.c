/* Selective query on the board: base and router here, the rest asked over the first UART.
 *
 * Runs every image of images.bin, and writes a line for each to asked.txt: its index, `kept`,
 * `cloud` or `base`, and the label. `base` is the base's own answer to what the router would have
 * sent, where the cloud did not answer in time; how the ask ended (a hybridge_link_state) and why
 * it was refused (a hybridge_status) follow.
 */
#include <string.h>

#include "board.h"
#include "hex_float.h"
#include "hybridge_link.h"
#include "network.h"

#ifndef NETWORK_CLOUD_PROGRAM
#error "this network has no router, or what it sends goes to no program in the cloud"
#endif

static uint8_t pixels[NETWORK_PIXEL_BYTES];
static float outputs[NETWORK_OUTPUTS];
static hybridge_link link;

static uint32_t base_label(void) {
    const float *logits = outputs + NETWORK_LOGITS;
    uint32_t best = 0;
    for (uint32_t label = 1; label < NETWORK_CLASSES; ++label) {
        if (logits[label] > logits[best]) {
            best = label;
        }
    }
    return best;
}

/* A score that is no number speaks for nothing, least of all for the base. */
static bool is_sent(void) {
    return !(outputs[NETWORK_SCORE] <= NETWORK_THRESHOLD);
}

/* Asks the cloud, until there is an answer or the time is up. */
static void ask(void) {
    const hybridge_ask asked = {
        .program = NETWORK_CLOUD_PROGRAM, .form = HYBRIDGE_FORM_RAW, .wants = HYBRIDGE_WANTS_CLASS,
        .scale = 1.0f, .left_ms = DEADLINE_MS, .payload = pixels, .payload_bytes = sizeof pixels};
    uint8_t bytes[HYBRIDGE_FRAME_BYTES];
    if (!hybridge_link_begin(&link, &asked, board_ms())) {
        return;
    }
    while (hybridge_link_result(&link) <= HYBRIDGE_LINK_WAITING) {
        size_t count;
        while ((count = hybridge_link_poll(&link, board_ms(), bytes)) > 0) {
            board_serial_write(bytes, (uint32_t)count);
        }
        count = board_serial_read(bytes, sizeof bytes);
        hybridge_link_receive(&link, bytes, count, board_ms());
    }
}

static size_t put(char *text, const char *word, unsigned value) {
    const size_t length = strlen(word);
    memcpy(text, word, length);
    return length + decimal(value, text + length);
}

static void write_line(int32_t file, unsigned index, bool sent, const hybridge_reply *reply) {
    char text[80];
    const bool answered =
        hybridge_link_result(&link) == HYBRIDGE_LINK_ANSWERED && reply->status == HYBRIDGE_ANSWERED;
    size_t at = put(text, "", index);
    if (!sent) {
        at += put(text + at, " kept ", base_label());
    } else if (answered) {
        at += put(text + at, " cloud ", reply->label);
    } else {
        at += put(text + at, " base ", base_label());
        at += put(text + at, " ", hybridge_link_result(&link));
        at += put(text + at, " ", reply->status);
    }
    text[at++] = '\n';
    board_write(file, text, (uint32_t)at);
}

int main(void) {
    const hybridge_link_settings settings = {
        .frame_bytes = FRAME_BYTES, .retry_ms = RETRY_MS, .tries = TRIES, .window = WINDOW};
    const int32_t images = board_open("images.bin", 0);
    const int32_t answers = board_open("asked.txt", 1);
    if (images < 0 || answers < 0) {
        board_print("cannot open images.bin or asked.txt\n");
        return 1;
    }
    board_start_clock();
    board_serial_start();
    if (!hybridge_link_init(&link, &settings, FIRST_REQUEST)) {
        board_print("FRAME_BYTES, RETRY_MS, TRIES or WINDOW cannot be used\n");
        return 1;
    }
    for (unsigned index = 0; board_read(images, pixels, sizeof pixels) == sizeof pixels; ++index) {
        hybridge_reply reply = {0};
        network_run(pixels, outputs);
        const bool sent = is_sent();
        if (sent) {
            ask();
            hybridge_link_reply(&link, &reply);
        }
        write_line(answers, index, sent, &reply);
    }
    board_close(answers);
    board_close(images);
    return 0;
}
