/*
 * Self-test: one stored input through the network. Returns how many output bytes differ from what
 * the reference computed, at most 255. An application calls model_run() in its own loop instead.
 */
#include "model.h"
#include "test_vector.h"

int main(void)
{
    model_init();
    int8_t *input = model_input();
    for (int32_t i = 0; i < MODEL_INPUT_SIZE; i++)
        input[i] = test_input[i];
    model_run();
    const int8_t *output = model_output();
    int differences = 0;
    for (int32_t i = 0; i < MODEL_OUTPUT_SIZE; i++)
        differences += output[i] != test_output[i];
    return differences < 255 ? differences : 255; /* what an exit status holds */
}
