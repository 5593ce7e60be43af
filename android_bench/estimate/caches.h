/* Caches with sets and true LRU, and the streams that a prefetcher follows. Included by tracer.c alone.
 *
 * The last level takes what the level above gives up, as the L3 of a DynamIQ cluster does, which is mostly exclusive; all others take
 * every line that passes.
 */
#ifndef EVIT_MOBILE_CACHES_H
#define EVIT_MOBILE_CACHES_H

enum {
    MAX_LEVELS = 4,
    STREAMS = 16, /* streams that the prefetcher follows at once */
    LINE_BITS = 6,
    LINE_BYTES = 1 << LINE_BITS,
};

typedef struct {
    uint64_t sets, ways;
    uint64_t mask; /* sets - 1 where sets is a power of two: a division for each access would cost a tenth of the trace */
    uint64_t *lines; /* of each set the newest first: line number + 1, and whether it was written to in the top bit */
} Cache;

#define DIRTY (UINT64_C(1) << 63)

static Cache caches[MAX_LEVELS];
static unsigned levels;
static uint64_t accesses, written, stored, fetched[MAX_LEVELS + 1], streamed[MAX_LEVELS + 1];
static struct {
    uint64_t last;
    int64_t stride;
} streams[STREAMS];

static inline uint64_t *set_of(const Cache *cache, uint64_t line)
{
    return cache->lines + (cache->mask ? line & cache->mask : line % cache->sets) * cache->ways;
}

/* Take a line out of its set, wherever it is there; 0 if it is not. */
static uint64_t taken_out(Cache *cache, uint64_t tag)
{
    uint64_t *set = set_of(cache, tag - 1);
    for (unsigned way = 0; way < cache->ways; way++)
        if ((set[way] & ~DIRTY) == tag) {
            uint64_t entry = set[way];
            memmove(set + way, set + way + 1, (cache->ways - way - 1) * sizeof *set);
            set[cache->ways - 1] = 0;
            return entry;
        }
    return 0;
}

/* Put a line first in its set, and give what falls out. */
static uint64_t put(Cache *cache, uint64_t entry)
{
    uint64_t *set = set_of(cache, (entry & ~DIRTY) - 1);
    uint64_t victim = set[cache->ways - 1];
    memmove(set + 1, set, (cache->ways - 1) * sizeof *set);
    set[0] = entry;
    return victim;
}

/* What falls out of a level goes to the next: into the last one as a whole, into others only that it was written to. */
static void evict(unsigned level, uint64_t entry)
{
    if (!entry)
        return;
    if (level + 1 == levels) {
        written += entry >> 63;
    } else if (level + 2 == levels) {
        evict(level + 1, put(&caches[level + 1], entry | taken_out(&caches[level + 1], entry & ~DIRTY)));
    } else if (entry & DIRTY) {
        evict(level + 1, put(&caches[level + 1], entry | taken_out(&caches[level + 1], entry & ~DIRTY)));
    }
}

/* Whether the line continues one of the streams of misses; a stream is two misses at most four lines apart. */
static bool is_streamed(uint64_t line)
{
    unsigned nearest = STREAMS;
    for (unsigned i = 0; i < STREAMS; i++) {
        int64_t distance = (int64_t)(line - streams[i].last);
        if (distance && distance == streams[i].stride) {
            nearest = i;
            break;
        }
        if (distance >= -4 && distance <= 4 && distance && nearest == STREAMS)
            nearest = i;
    }
    bool is_next = nearest < STREAMS && (int64_t)(line - streams[nearest].last) == streams[nearest].stride;
    int64_t stride = nearest < STREAMS ? (int64_t)(line - streams[nearest].last) : 0;
    unsigned moved = nearest < STREAMS ? nearest : STREAMS - 1;
    memmove(streams + 1, streams, moved * sizeof *streams);
    streams[0].last = line;
    streams[0].stride = stride;
    return is_next;
}

static void miss(uint64_t tag, uint64_t dirty)
{
    unsigned level = 1;
    uint64_t entry = 0;
    while (level < levels && !(entry = taken_out(&caches[level], tag)))
        level++;
    bool is_stream = is_streamed(tag);
    if (level == levels && dirty) {
        stored++;
    } else {
        fetched[level]++;
        streamed[level] += is_stream;
    }
    for (unsigned above = level < levels - 1 ? level : levels - 2; above >= 1; above--)
        evict(above, put(&caches[above], above == level ? entry : tag | (entry & DIRTY)));
    evict(0, put(&caches[0], tag | dirty));
}

static void touch_older(uint64_t line, uint64_t dirty, uint64_t *set)
{
    uint64_t tag = line + 1;
    for (unsigned way = 1; way < caches[0].ways; way++)
        if ((set[way] & ~DIRTY) == tag) {
            uint64_t entry = set[way] | dirty;
            memmove(set + 1, set, way * sizeof *set);
            set[0] = entry;
            return;
        }
    miss(tag, dirty);
}

static inline void touch(uint64_t line, uint64_t dirty)
{
    uint64_t *set = set_of(&caches[0], line);
    if ((set[0] & ~DIRTY) == line + 1)
        set[0] |= dirty;
    else
        touch_older(line, dirty, set);
}

static bool read_caches(const char *text)
{
    uint64_t bytes, ways;
    int length;
    while (levels < MAX_LEVELS && sscanf(text, "%" SCNu64 ":%" SCNu64 "%n", &bytes, &ways, &length) == 2) {
        if (!ways || bytes >> LINE_BITS < ways)
            return false;
        Cache *cache = &caches[levels++];
        cache->ways = ways;
        cache->sets = (bytes >> LINE_BITS) / ways;
        cache->mask = cache->sets & (cache->sets - 1) ? 0 : cache->sets - 1;
        cache->lines = allocate(cache->sets * ways, sizeof *cache->lines);
        text += length;
        text += *text == '/';
    }
    return levels >= 2 && !*text;
}

#endif
