/* Runs a .tflite with LiteRT on an Arm64 system and prints what the official benchmark_model prints.
 *
 * libLiteRt.so is opened at run time, so one binary serves every release whose C API it knows: in 2.1 CPU options have functions of
 * their own, in 2.3 they travel as a TOML text and a model is created in an environment. See litert_api.h.
 *
 * Flags as benchmark_model's, with its defaults: --graph --num_threads --num_runs --warmup_runs --min_secs --warmup_min_secs
 * --max_secs, and --enable_op_profiling with --op_profiling_output_mode=csv and --op_profiling_output_file (profiler.h). Beyond them:
 *   --litert_lib=PATH         the library (default libLiteRt.so, found by the dynamic loader)
 *   --input_files=A,B,...     raw bytes for the inputs, in order of the signature; else seeded noise in [0, 1)
 *   --output_files=A,B,...    where the outputs' raw bytes go after the last run
 *   --describe=true           print the signature: "SIGNATURE input 0 FLOAT32 1,224,224,3 name"
 *   --call_log=true --run_seconds=S --period_ns=N   a line for each call, see calls.h
 *
 * Around each measured inference it makes the system call prctl(MARK), which the kernel refuses and an emulator's plugin can see.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "litert_api.h"

#define MARK 0x45564954u /* shared with icount.c */
#define MAX_TENSORS 64
#define MAX_SAMPLES 100000

typedef struct {
    Handle buffer;
    TensorType type;
    const char *name;
    size_t bytes;
} Tensor;

static struct {
    Handle compiled;
    Tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
    Handle input_buffers[MAX_TENSORS], output_buffers[MAX_TENSORS];
    size_t input_count, output_count;
} model;

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fputs("ERROR: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\nERROR: Benchmarking failed.\n", stderr);
    va_end(arguments);
    exit(1);
}

#define CHECK(call) do { Status status_ = (call); if (status_) fail("%.60s: LiteRT status %d", #call, status_); } while (0)

/* Flags. Each access to a flag by name marks it as known. */

static int argument_count;
static char **argument_values;
static bool argument_known[256];

static const char *flag(const char *name, const char *otherwise)
{
    size_t length = strlen(name);
    for (int i = 1; i < argument_count && i < 256; i++) {
        const char *argument = argument_values[i];
        if (!strncmp(argument, "--", 2) && !strncmp(argument + 2, name, length) && argument[2 + length] == '=') {
            argument_known[i] = true;
            otherwise = argument + 3 + length;
        }
    }
    return otherwise;
}

static struct {
    const char *graph, *library, *input_files, *output_files, *profile;
    int threads, runs, warmup_runs, profile_runs;
    double min_secs, warmup_min_secs, max_secs, run_seconds;
    long long period_ns;
    bool describe, profiling, call_log;
} flags;

static void read_flags(int count, char **values)
{
    argument_count = count;
    argument_values = values;
    flags.graph = flag("graph", "");
    flags.library = flag("litert_lib", "libLiteRt.so");
    flags.input_files = flag("input_files", "");
    flags.output_files = flag("output_files", "");
    flags.threads = atoi(flag("num_threads", "-1"));
    flags.runs = atoi(flag("num_runs", "50"));
    flags.warmup_runs = atoi(flag("warmup_runs", "1"));
    flags.profile_runs = atoi(flag("profile_runs", "-1")); /* our own flag: -1 stands for as many as were measured */
    flags.min_secs = atof(flag("min_secs", "1"));
    flags.warmup_min_secs = atof(flag("warmup_min_secs", "0.5"));
    flags.max_secs = atof(flag("max_secs", "150"));
    flags.profiling = !strcmp(flag("enable_op_profiling", "false"), "true") && !strcmp(flag("op_profiling_output_mode", "stdout"), "csv");
    flags.profile = flag("op_profiling_output_file", "");
    flags.describe = !strcmp(flag("describe", "false"), "true");
    flags.call_log = !strcmp(flag("call_log", "false"), "true");
    flags.run_seconds = atof(flag("run_seconds", "1"));
    flags.period_ns = atoll(flag("period_ns", "0"));
    bool all_known = true;
    for (int i = 1; i < count && i < 256; i++)
        if (!argument_known[i]) {
            printf(all_known ? "WARN: Unconsumed cmdline flags: %s" : " %s", values[i]);
            all_known = false;
        }
    printf("%sINFO: Min num runs: [%d]\nINFO: Min runs duration (seconds): [%g]\nINFO: Num threads: [%d]\n"
           "INFO: Min warmup runs duration (seconds): [%g]\nINFO: Graph: [%s]\nINFO: #threads used for CPU inference: [%d]\n",
           all_known ? "" : "\n", flags.runs, flags.min_secs, flags.threads, flags.warmup_min_secs, flags.graph, flags.threads);
    fflush(stdout);
    if (!*flags.graph)
        fail("Please specify the name of your TF Lite input file with --graph");
}

/* Loading. */

static int64_t now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static double peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024.0;
}

static void load_library(void)
{
    void *library = dlopen(flags.library, RTLD_NOW);
    if (!library)
        fail("%s", dlerror());
    is_2_1 = dlsym(library, "LiteRtCreateCpuOptions") != NULL;
#define RESOLVE(result, name, parameters) \
    if (!(name = (result(*) parameters)dlsym(library, #name))) \
        fail("%s has no %s: this LiteRT release is not known", flags.library, #name);
    COMMON(RESOLVE)
    if (!(create_model_from_buffer = dlsym(library, "LiteRtCreateModelFromBuffer")))
        fail("%s has no LiteRtCreateModelFromBuffer: this LiteRT release is not known", flags.library);
    if (is_2_1) {
        OF_2_1(RESOLVE)
    } else {
        OF_2_3(RESOLVE)
    }
}

#include "profiler.h"

static Handle cpu_options(void)
{
    Handle options, opaque, cpu;
    CHECK(LiteRtCreateOptions(&options));
    CHECK(LiteRtSetOptionsHardwareAccelerators(options, CPU));
    int threads = flags.threads < 1 ? 1 : flags.threads;
    if (is_2_1) {
        CHECK(LiteRtCreateCpuOptions(&opaque));
        CHECK(LiteRtFindCpuOptions(opaque, &cpu));
        CHECK(LiteRtSetCpuOptionsNumThread(cpu, threads));
    } else {
        char toml[64];
        snprintf(toml, sizeof toml, "num_threads = %d\n", threads);
        CHECK(LiteRtCreateOpaqueOptions("xnnpack", strdup(toml), free, &opaque));
    }
    CHECK(LiteRtAddOpaqueOptions(options, opaque));
    if (flags.profiling)
        enable_profiler(options);
    return options;
}

/* The whole file in memory: a buffer is verified by LiteRT, a file is not, and one that was cut short ends in a segmentation fault. */
static void *read_graph(size_t *bytes)
{
    FILE *file = fopen(flags.graph, "rb");
    struct stat status;
    if (!file || fstat(fileno(file), &status)) {
        fflush(stdout);
        fprintf(stderr, "ERROR: Could not open '%s'.\n", flags.graph);
        fail("Failed to load model %s", flags.graph);
    }
    *bytes = status.st_size;
    void *content = aligned_alloc(64, (*bytes / 64 + 1) * 64);
    if (!content || fread(content, 1, *bytes, file) != *bytes)
        fail("Could not read '%s'.", flags.graph);
    fclose(file);
    return content;
}

static Handle load_model(Handle environment)
{
    size_t bytes;
    const void *content = read_graph(&bytes);
    Handle loaded = NULL;
    Status status;
    if (is_2_1)
        status = ((Status(*)(const void *, size_t, Handle *))create_model_from_buffer)(content, bytes, &loaded);
    else
        status = ((Status(*)(Handle, const void *, size_t, Handle *))create_model_from_buffer)(environment, content, bytes, &loaded);
    if (status)
        fail("Failed to load model %s", flags.graph);
    printf("INFO: Loaded model %s\n", flags.graph);
    return loaded;
}

static void make_tensor(Handle environment, Handle signature, bool is_input, size_t index)
{
    Tensor *tensor = is_input ? &model.inputs[index] : &model.outputs[index];
    Handle described, requirements;
    if (is_input) {
        CHECK(LiteRtGetSignatureInputTensorByIndex(signature, index, &described));
        CHECK(LiteRtGetSignatureInputName(signature, index, &tensor->name));
        CHECK(LiteRtGetCompiledModelInputBufferRequirements(model.compiled, 0, index, &requirements));
    } else {
        CHECK(LiteRtGetSignatureOutputTensorByIndex(signature, index, &described));
        CHECK(LiteRtGetSignatureOutputName(signature, index, &tensor->name));
        CHECK(LiteRtGetCompiledModelOutputBufferRequirements(model.compiled, 0, index, &requirements));
    }
    CHECK(LiteRtGetRankedTensorType(described, &tensor->type));
    for (unsigned axis = 0; axis < (tensor->type.rank & 127) && axis < MAX_RANK; axis++)
        if (tensor->type.dimensions[axis] < 0)
            tensor->type.dimensions[axis] = 1; /* a dynamic batch */
    CHECK(LiteRtCreateManagedTensorBufferFromRequirements(environment, &tensor->type, requirements, &tensor->buffer));
    CHECK(LiteRtGetTensorBufferPackedSize(tensor->buffer, &tensor->bytes));
    (is_input ? model.input_buffers : model.output_buffers)[index] = tensor->buffer;
}

static void describe(const char *role, size_t index, const Tensor *tensor)
{
    static const char *const names[] = {"NONE", "FLOAT32", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16",
                                        "COMPLEX64", "INT8", "FLOAT16", "FLOAT64"};
    int32_t type = tensor->type.element_type;
    printf("SIGNATURE %s %zu %s ", role, index, type >= 0 && type < 12 ? names[type] : "OTHER");
    for (unsigned axis = 0; axis < (tensor->type.rank & 127) && axis < MAX_RANK; axis++)
        printf("%s%d", axis ? "," : "", tensor->type.dimensions[axis]);
    printf(" %s\n", tensor->name);
}

static void load(void)
{
    Handle environment, signature;
    load_library();
    CHECK(LiteRtCreateEnvironment(0, NULL, &environment));
    Handle loaded = load_model(environment);
    CHECK(LiteRtCreateCompiledModel(environment, loaded, cpu_options(), &model.compiled));
    CHECK(LiteRtGetModelSignature(loaded, 0, &signature));
    CHECK(LiteRtGetNumSignatureInputs(signature, &model.input_count));
    CHECK(LiteRtGetNumSignatureOutputs(signature, &model.output_count));
    if (model.input_count > MAX_TENSORS || model.output_count > MAX_TENSORS)
        fail("more than %d inputs or outputs", MAX_TENSORS);
    for (size_t i = 0; i < model.input_count; i++)
        make_tensor(environment, signature, true, i);
    for (size_t i = 0; i < model.output_count; i++)
        make_tensor(environment, signature, false, i);
    for (size_t i = 0; flags.describe && i < model.input_count; i++)
        describe("input", i, &model.inputs[i]);
    for (size_t i = 0; flags.describe && i < model.output_count; i++)
        describe("output", i, &model.outputs[i]);
}

/* Inputs and outputs. */

/* The index-th item of a comma-separated list, in a buffer that the next call reuses; NULL past the end. */
static const char *list_item(const char *list, size_t index)
{
    static char item[4096];
    while (index-- && (list = strchr(list, ',')))
        list++;
    if (!list || !*list)
        return NULL;
    size_t length = strcspn(list, ",");
    if (length >= sizeof item)
        fail("a file name of %zu bytes is too long", length);
    memcpy(item, list, length);
    item[length] = 0;
    return item;
}

static void fill_input(size_t index)
{
    Tensor *tensor = &model.inputs[index];
    const char *path = list_item(flags.input_files, index);
    uint8_t *bytes;
    CHECK(LiteRtLockTensorBuffer(tensor->buffer, (void **)&bytes, LOCK_WRITE));
    if (path) {
        FILE *file = fopen(path, "rb");
        if (!file)
            fail("Could not open '%s'.", path);
        size_t got = fread(bytes, 1, tensor->bytes, file);
        if (got != tensor->bytes || fgetc(file) != EOF)
            fail("input %zu takes %zu bytes, and %s has %s", index, tensor->bytes, path, got < tensor->bytes ? "less" : "more");
        fclose(file);
    } else if (tensor->type.element_type == 1) {
        for (size_t i = 0; i < tensor->bytes / sizeof(float); i++)
            ((float *)bytes)[i] = rand() / (RAND_MAX + 1.0f);
    } else if (tensor->type.element_type == 3 || tensor->type.element_type == 9) {
        for (size_t i = 0; i < tensor->bytes; i++)
            bytes[i] = rand();
    } else {
        memset(bytes, 0, tensor->bytes); /* may be indices */
    }
    CHECK(LiteRtUnlockTensorBuffer(tensor->buffer));
}

static void save_output(size_t index)
{
    const char *path = list_item(flags.output_files, index);
    if (!path)
        return;
    Tensor *tensor = &model.outputs[index];
    void *bytes;
    CHECK(LiteRtLockTensorBuffer(tensor->buffer, &bytes, LOCK_READ));
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, tensor->bytes, file) != tensor->bytes || fclose(file))
        fail("Could not write '%s'.", path);
    CHECK(LiteRtUnlockTensorBuffer(tensor->buffer));
}

/* Measuring. */

static int ascending(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void print_samples(int64_t *samples, int count, double mean, double square_mean)
{
    long long first = samples[0], last = samples[count - 1];
    qsort(samples, count, sizeof *samples, ascending);
    long long least = samples[0], most = samples[count - 1];
    if (count == 1)
        printf("INFO: count=1 curr=%lld", last);
    else if (least == most)
        printf("INFO: count=%d curr=%lld(all same)", count, last);
    else
        printf("INFO: count=%d first=%lld curr=%lld min=%lld max=%lld avg=%g std=%lld", count, first, last, least, most, mean,
               (long long)sqrt(fmax(0, square_mean - mean * mean)));
    printf(" p5=%lld median=%lld p95=%lld\n\n", (long long)samples[count * 5 / 100], (long long)samples[count / 2],
           (long long)samples[count * 95 / 100]);
}

/* As benchmark_model: at least `runs` and `min_secs`, at most `max_secs`. */
static void measure(int runs, double min_secs, bool marked, int64_t *first, double *mean)
{
    static int64_t samples[MAX_SAMPLES];
    double sum = 0, square_sum = 0;
    int count = 0;
    printf("INFO: Running benchmark for at least %d iterations and at least %g seconds but terminate if exceeding %g seconds.\n",
           runs, min_secs, flags.max_secs);
    fflush(stdout);
    int64_t start = now_us(), now = start;
    while ((count < runs || now < start + min_secs * 1e6) && now <= start + flags.max_secs * 1e6 && count < MAX_SAMPLES) {
        if (marked)
            syscall(SYS_prctl, MARK, 0, 0, 0, 0);
        int64_t before = now_us();
        CHECK(LiteRtRunCompiledModel(model.compiled, 0, model.input_count, model.input_buffers, model.output_count,
                                     model.output_buffers));
        now = now_us();
        if (marked)
            syscall(SYS_prctl, MARK, 1, 0, 0, 0);
        int64_t taken = now - before;
        samples[count++] = taken;
        sum += taken;
        square_sum += (double)taken * taken;
    }
    *first = count ? samples[0] : 0;
    *mean = count ? sum / count : 0;
    if (count)
        print_samples(samples, count, *mean, square_sum / count);
    else
        printf("INFO: count=0\n\n");
}

#include "calls.h"

int main(int count, char **values)
{
    puts("INFO: STARTING!");
    double start_mb = peak_mb();
    read_flags(count, values);
    int64_t start = now_us();
    load();
    struct stat file;
    if (stat(flags.graph, &file))
        fail("Could not open '%s'.", flags.graph);
    long long init = now_us() - start;
    double init_mb = peak_mb() - start_mb;
    printf("INFO: The input model file size (MB): %g\nINFO: Initialized session in %gms.\n", file.st_size / 1e6, init / 1e3);
    srand(0);
    for (size_t i = 0; i < model.input_count; i++)
        fill_input(i);
    if (flags.call_log)
        keep_calling(init, flags.run_seconds, flags.period_ns);
    int64_t first_warmup, first;
    double warmup_mean, mean;
    measure(flags.warmup_runs, flags.warmup_min_secs, false, &first_warmup, &warmup_mean);
    measure(flags.runs, flags.min_secs, true, &first, &mean);
    for (size_t i = 0; i < model.output_count; i++)
        save_output(i);
    if (flags.profiling && flags.profile_runs)
        write_profile(flags.profile, flags.profile_runs > 0 ? flags.profile_runs : flags.runs > 0 ? flags.runs : 1);
    printf("INFO: Inference timings in us: Init: %lld, First inference: %lld, Warmup (avg): %g, Inference (avg): %g\n", init,
           (long long)(flags.warmup_runs > 0 ? first_warmup : first), warmup_mean, mean);
    printf("INFO: Memory footprint delta from the start of the tool (MB): init=%g overall=%g\n", init_mb, peak_mb() - start_mb);
    fflush(stdout);
    _Exit(0); /* the library's static destructors may wait for its own threads */
}
