/* Runs a package on an input file of floats (height, width, channels, as the network wants them) and prints the class
 * with the highest score.
 *
 * usage: classify MODEL.epk INPUT.f32
 */
#include "edgeprune.h"

#include <stdio.h>
#include <stdlib.h>

/* A whole file at a multiple of 64 bytes; ends the program where that is not possible. */
static unsigned char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    *bytes = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = aligned_alloc(64, (*bytes + 63) / 64 * 64);
    if (!data || fread(data, 1, *bytes, file) != *bytes) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return data;
}

static void check(const char *what, edgeprune_status status) {
    if (status != EDGEPRUNE_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", what, edgeprune_status_text(status));
        exit(1);
    }
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: %s MODEL.epk INPUT.f32\n", words[0]);
        return 2;
    }
    size_t package_bytes, input_bytes, memory_bytes;
    const unsigned char *package = read_file(words[1], &package_bytes);
    const float *input = (const float *)read_file(words[2], &input_bytes);

    check(words[1], edgeprune_memory_bytes(package, package_bytes, &memory_bytes));
    void *memory = aligned_alloc(64, (memory_bytes + 63) / 64 * 64);
    edgeprune_session *session;
    check(words[1], edgeprune_open(package, package_bytes, memory, memory_bytes, &session));

    check(words[2], edgeprune_set_input_f32(session, 0, input, input_bytes / sizeof(float)));
    check("run", edgeprune_run(session));

    edgeprune_port output;
    check("output", edgeprune_output_info(session, 0, &output));
    float *scores = calloc(output.elements, sizeof(float));
    check("output", edgeprune_output_f32(session, 0, scores, output.elements));

    size_t best = 0;
    for (size_t i = 1; i < output.elements; i++) {
        if (scores[i] > scores[best]) {
            best = i;
        }
    }
    printf("class %zu, score %.9g\n", best, scores[best]);

    /* The bytes as they are, for comparison with other machines. */
    const unsigned char *bytes;
    size_t length;
    check("output", edgeprune_output(session, 0, &bytes, &length));
    for (size_t i = 0; i < length; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\n");
    return 0;
}
