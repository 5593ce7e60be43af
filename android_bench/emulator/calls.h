/* --call_log=true: call for --run_seconds, without pause or once every --period_ns, and print a line for each call.
 *
 *     CALLS <init_us> <first_us> <warm-up us>...
 *     <start_ns> <duration_ns>          since the first call was due
 *
 * Lines are written between calls, at most every FLUSH_NS, so that the pipe is not part of what is measured.
 */
#define FLUSH_NS 100000000LL

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t call_once(void)
{
    int64_t before = now_ns();
    CHECK(LiteRtRunCompiledModel(model.compiled, 0, model.input_count, model.input_buffers, model.output_count,
                                 model.output_buffers));
    return now_ns() - before;
}

static void keep_calling(long long init_us, double seconds, int64_t period_ns)
{
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf("CALLS %lld", init_us);
    for (int run = 0; run < (flags.warmup_runs < 1 ? 1 : flags.warmup_runs); run++)
        printf(" %lld", (long long)(call_once() / 1000));
    puts("");
    int64_t since = now_ns(), end = since + (int64_t)(seconds * 1e9), flushed = 0, frame = 0;
    for (int64_t now = since; now < end; now = now_ns()) {
        if (now - flushed >= FLUSH_NS) {
            if (fflush(stdout))
                exit(1); /* nobody listens any more */
            flushed = now = now_ns();
        }
        if (period_ns) {
            int64_t due = since + frame * period_ns;
            if (due >= end)
                break;
            if (now < due) {
                struct timespec rest = {(due - now) / 1000000000, (due - now) % 1000000000};
                nanosleep(&rest, NULL);
                continue;
            }
            frame = (now - since) / period_ns + 1; /* the newest frame that is due */
        }
        printf("%lld ", (long long)(now - since));
        printf("%lld\n", (long long)call_once());
    }
    fflush(stdout);
    _Exit(0);
}
