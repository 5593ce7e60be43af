/* Time by op, by LiteRT's own profiler, written as benchmark_model writes it as CSV: see android_bench/op_profile.py.
 *
 * Included by runner.c alone. */
#ifndef EVIT_MOBILE_PROFILER_H
#define EVIT_MOBILE_PROFILER_H

enum { OPERATOR = 2, DELEGATED_OPERATOR = 8 }; /* kinds of event that are an op; the others are whole invocations and telemetry */

typedef struct {
    const char *tag;
    int32_t kind;
    uint64_t start_us, taken_us;
    size_t memory[6];
    uint64_t index, subgraph;
    int32_t source;
} Event;

static Handle profiler;

static void *profiler_function(void *library, const char *name)
{
    void *function = dlsym(library, name);
    if (!function)
        fail("%s has no %s: this LiteRT release is not known", flags.library, name);
    return function;
}

/* To be set before the model is compiled, for the delegate profiles only if it is made so. */
static void enable_profiler(Handle options)
{
    Handle opaque, runtime;
    if (is_2_1) {
        void *library = dlopen(flags.library, RTLD_NOW);
        CHECK(((Status(*)(Handle *))profiler_function(library, "LiteRtCreateRuntimeOptions"))(&opaque));
        CHECK(((Status(*)(Handle, Handle *))profiler_function(library, "LiteRtFindRuntimeOptions"))(opaque, &runtime));
        CHECK(((Status(*)(Handle, bool))profiler_function(library, "LiteRtSetRuntimeOptionsEnableProfiling"))(runtime, true));
    } else {
        CHECK(LiteRtCreateOpaqueOptions("runtime_options_string", strdup("enable_profiling = true\n"), free, &opaque));
    }
    CHECK(LiteRtAddOpaqueOptions(options, opaque));
}

static Event *profiled_run(void *library, int *count)
{
    CHECK(((Status(*)(Handle))profiler_function(library, "LiteRtResetProfiler"))(profiler));
    CHECK(((Status(*)(Handle))profiler_function(library, "LiteRtStartProfiler"))(profiler));
    CHECK(LiteRtRunCompiledModel(model.compiled, 0, model.input_count, model.input_buffers, model.output_count, model.output_buffers));
    CHECK(((Status(*)(Handle))profiler_function(library, "LiteRtStopProfiler"))(profiler));
    CHECK(((Status(*)(Handle, int *))profiler_function(library, "LiteRtGetNumProfilerEvents"))(profiler, count));
    Event *events = calloc(*count, sizeof *events);
    CHECK(((Status(*)(Handle, int, Event *))profiler_function(library, "LiteRtGetProfilerEvents"))(profiler, *count, events));
    return events;
}

static void print_op(FILE *file, const Event *event, double first_us, double mean_us, double total_us, double before_us)
{
    fprintf(file, "%s, %g, %g, %g%%, %g%%, 0, 1, ", event->tag, first_us / 1e3, mean_us / 1e3, 100 * mean_us / total_us,
            100 * (before_us + mean_us) / total_us);
    if (event->kind == DELEGATED_OPERATOR)
        fputs("Delegate/", file);
    /* Within the last column a tab stands for a comma. */
    for (const char *letter = event->tag; *letter; letter++)
        fputc(*letter == ',' ? '\t' : *letter, file);
    fprintf(file, ":%llu\n", (unsigned long long)event->index);
}

/* The mean over `runs` inferences of each op, in the order in which they ran. */
static void write_profile(const char *path, int runs)
{
    void *library = dlopen(flags.library, RTLD_NOW);
    CHECK(((Status(*)(Handle, Handle *))profiler_function(library, "LiteRtCompiledModelGetProfiler"))(model.compiled, &profiler));
    int count, again;
    Event *events = profiled_run(library, &count);
    double *sums = calloc(count, sizeof *sums), total = 0, before = 0;
    for (int i = 0; i < count; i++)
        sums[i] = events[i].taken_us;
    for (int run = 1; run < runs; run++) {
        Event *more = profiled_run(library, &again);
        if (again != count)
            fail("an inference had %d events, the next one %d", count, again);
        for (int i = 0; i < count; i++)
            sums[i] += more[i].taken_us;
        free(more);
    }
    FILE *file = fopen(path, "w");
    if (!file)
        fail("Could not write '%s'.", path);
    fputs("Operator-wise Profiling Info for Regular Benchmark Runs:\n"
          "============================== Run Order ==============================\n"
          "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n", file);
    for (int i = 0; i < count; i++)
        if (events[i].kind == OPERATOR || events[i].kind == DELEGATED_OPERATOR)
            total += sums[i] / runs;
    for (int i = 0; i < count; i++)
        if (events[i].kind == OPERATOR || events[i].kind == DELEGATED_OPERATOR) {
            print_op(file, &events[i], events[i].taken_us, sums[i] / runs, total, before);
            before += sums[i] / runs;
        }
    if (fclose(file))
        fail("Could not write '%s'.", path);
}

#endif
