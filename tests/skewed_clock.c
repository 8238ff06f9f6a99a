/* A clock that is CLOCK_AHEAD seconds ahead, for a process that preloads this: what POSIX programs ask for the time of
   day. What is monotonic stays right. It includes nothing, so that a compiler without headers is enough. */

extern long syscall(long number, ...);
extern char *getenv(const char *name);

struct timespec {
    long seconds, nanoseconds;
};

struct timeval {
    long seconds, microseconds;
};

#ifdef __x86_64__
#define CLOCK_GETTIME 228
#else
#define CLOCK_GETTIME 113
#endif
#define REALTIME 0
#define REALTIME_COARSE 5

static long ahead(void) {
    const char *text = getenv("CLOCK_AHEAD");
    long value = 0;
    for (; text && *text >= '0' && *text <= '9'; text++)
        value = 10 * value + (*text - '0');
    return value;
}

int clock_gettime(int which, struct timespec *found) {
    long result = syscall(CLOCK_GETTIME, which, found);
    if (result == 0 && (which == REALTIME || which == REALTIME_COARSE))
        found->seconds += ahead();
    return (int)result;
}

int gettimeofday(struct timeval *found, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(REALTIME, &now);
    found->seconds = now.seconds;
    found->microseconds = now.nanoseconds / 1000;
    return 0;
}

long time(long *found) {
    struct timespec now;
    clock_gettime(REALTIME, &now);
    if (found)
        *found = now.seconds;
    return now.seconds;
}
