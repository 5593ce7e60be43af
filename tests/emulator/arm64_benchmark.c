/* Speaks as TFLite's benchmark_model does, and runs no model: an inference is a loop of two instructions a turn, 500000 turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int flag(int count, char **values, const char *name)
{
    for (int i = 1; i < count; i++)
        if (!strncmp(values[i], name, strlen(name)))
            return atoi(values[i] + strlen(name));
    return 0;
}

static void run(int times)
{
    for (; times > 0; times--) {
        unsigned long turns = 500000;
        __asm__ volatile("1: subs %0, %0, #1\n b.ne 1b" : "+r"(turns) : : "cc");
    }
}

int main(int count, char **values)
{
    int warmup = flag(count, values, "--warmup_runs="), runs = flag(count, values, "--num_runs=");
    run(warmup);
    printf("INFO: count=%d curr=1000(all same)\n", warmup);
    run(runs);
    printf("INFO: count=%d curr=1000(all same)\n", runs);
    puts("INFO: Inference timings in us: Init: 1, First inference: 1000, Warmup (avg): 1000, Inference (avg): 1000");
    return 0;
}
