/* A device on the host: asks over a serial port, and answers by its own base where it must.
 *
 *     device PORT FRAME_BYTES WINDOW RETRY_MS TRIES < asks > answers
 *
 * An ask is a line: base's label, left_ms, form, program in hex, payload in hex. An answer is a
 * line: its index, cloud or base, label, state, status.
 */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "hybridge_link.h"

static uint8_t payload[70000];
static char line[150000];

static size_t from_hex(const char *text, uint8_t *out) {
    size_t count = strlen(text) / 2;
    for (size_t index = 0; index < count; index++) {
        unsigned value = 0;
        if (sscanf(text + 2 * index, "%2x", &value) != 1) {
            exit(3);
        }
        out[index] = (uint8_t)value;
    }
    return count;
}

static uint32_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static int open_port(const char *path) {
    struct termios attributes;
    int port = open(path, O_RDWR | O_NOCTTY);
    if (port < 0 || tcgetattr(port, &attributes) != 0) {
        perror(path);
        exit(2);
    }
    cfmakeraw(&attributes);
    tcsetattr(port, TCSANOW, &attributes);
    return port;
}

static void write_all(int port, const uint8_t *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = write(port, bytes, count);
        if (written < 0) {
            perror("write");
            exit(2);
        }
        bytes += written;
        count -= (size_t)written;
    }
}

static void ask(hybridge_link *link, const hybridge_ask *asked, int port) {
    uint8_t bytes[HYBRIDGE_FRAME_BYTES];
    if (!hybridge_link_begin(link, asked, now_ms())) {
        return;
    }
    while (hybridge_link_result(link) <= HYBRIDGE_LINK_WAITING) {
        size_t count;
        while ((count = hybridge_link_poll(link, now_ms(), bytes)) > 0) {
            write_all(port, bytes, count);
        }
        struct pollfd ready = {.fd = port, .events = POLLIN, .revents = 0};
        if (poll(&ready, 1, 1) > 0) {
            ssize_t got = read(port, bytes, sizeof bytes);
            if (got > 0) {
                hybridge_link_receive(link, bytes, (size_t)got, now_ms());
            }
        }
    }
}

int main(int argc, char **argv) {
    static hybridge_link link;
    hybridge_link_settings settings;
    if (argc != 6) {
        return 2;
    }
    int port = open_port(argv[1]);
    settings.frame_bytes = (uint16_t)atoi(argv[2]);
    settings.window = (uint8_t)atoi(argv[3]);
    settings.retry_ms = (uint16_t)atoi(argv[4]);
    settings.tries = (uint8_t)atoi(argv[5]);
    if (!hybridge_link_init(&link, &settings, 65000)) {
        return 2;
    }
    for (unsigned index = 0; fgets(line, sizeof line, stdin) != NULL; index++) {
        hybridge_ask asked = {.wants = HYBRIDGE_WANTS_INT8, .scale = 1.0f, .payload = payload};
        long base = strtol(strtok(line, " \n"), NULL, 10);
        asked.left_ms = (uint32_t)strtol(strtok(NULL, " \n"), NULL, 10);
        asked.form = (uint8_t)strtol(strtok(NULL, " \n"), NULL, 10);
        from_hex(strtok(NULL, " \n"), asked.program);
        asked.payload_bytes = (uint32_t)from_hex(strtok(NULL, " \n"), payload);
        asked.zero_point = asked.form == HYBRIDGE_FORM_INT8 ? -128 : 0;
        ask(&link, &asked, port);
        hybridge_reply reply = {0};
        bool cloud = hybridge_link_reply(&link, &reply) && reply.status == HYBRIDGE_ANSWERED;
        printf("%u %s %ld %d %d\n", index, cloud ? "cloud" : "base",
               cloud ? (long)reply.label : base, hybridge_link_result(&link), reply.status);
        fflush(stdout);
    }
    close(port);
    return 0;
}
