/* Runs every image of IMAGES_FILE, and writes what the network says to ANSWERS_FILE.
 *
 * A line for each image: `answer`, the instructions it took, and every output in hexadecimal. A
 * last line: `stack` and the most bytes of it that were used.
 */
#include "board.h"
#include "hex_float.h"
#include "network.h"

#ifdef NETWORK_WITHOUT_ROUTER
#define OUTPUTS NETWORK_BASE_OUTPUTS
#define RUN network_base
#else
#define OUTPUTS NETWORK_OUTPUTS
#define RUN network_run
#endif

static uint8_t pixels[NETWORK_PIXEL_BYTES];
static float outputs[OUTPUTS];

static void write_number(int32_t file, const char *word, unsigned value) {
    char text[16];
    uint32_t letters = 0;
    while (word[letters] != '\0') {
        ++letters;
    }
    board_write(file, word, letters);
    board_write(file, text, (uint32_t)decimal(value, text));
}

static void write_answer(int32_t file, uint32_t instructions) {
    write_number(file, "answer ", instructions);
    for (uint32_t i = 0; i < OUTPUTS; ++i) {
        char text[HEX_FLOAT_BYTES + 1] = " ";
        board_write(file, text, 1 + (uint32_t)hex_float(outputs[i], text + 1));
    }
    board_write(file, "\n", 1);
}

int main(void) {
    const int32_t images = board_open(IMAGES_FILE, 0);
    const int32_t answers = board_open(ANSWERS_FILE, 1);
    if (images < 0 || answers < 0) {
        board_print("cannot open " IMAGES_FILE " or " ANSWERS_FILE "\n");
        return 1;
    }
    while (board_read(images, pixels, sizeof pixels) == sizeof pixels) {
        board_start_counting();
        RUN(pixels, outputs);
        write_answer(answers, board_instructions());
    }
    write_number(answers, "stack ", board_stack_bytes());
    board_write(answers, "\n", 1);
    board_close(answers);
    board_close(images);
    return 0;
}
