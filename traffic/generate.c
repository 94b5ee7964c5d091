/*
 * Sources that make the frames that they pass on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "traffic.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of one burst: what the default receive buffer of a socket holds */
#define BURST_FRAMES 128
#define BURST_BYTES (192 * 1024)
#define BURST_GAP_US 100
#define BURST_GAPS 5    /* QEMU may have more to write than a socket takes */
#define GIVE_UP_NS (2 * NS_PER_SEC)
#define READERS_MAX 4
#define PING_GAP_US 200

static Frame frames[BURST_FRAMES];
static uint64_t n_frames;

static void open_frames(uint64_t n)
{
    for (n_frames = 0; n_frames < n; n_frames++) {
        frames[n_frames] = make_frame(pass.size);
    }
}

static void pass_next(Frame *frame)
{
    number_frame(frame, pass.size, pass.passed);
    pass_frame(frame->payload, frame->len);
}

/* ---- as fast as the sink takes them, or so many a second */

static void open_steady(int fd UNUSED)
{
    open_frames(1);
}

static bool pass_steady(void)
{
    if (pass.extra[0] > 0) {
        await_time(pass.began + pass.passed * NS_PER_SEC / pass.extra[0]);
    }
    pass_next(&frames[0]);
    pass_flush();
    return true;
}

/* ---- one burst, then the next when the path has nothing more to read */

static void open_bursts(int fd UNUSED)
{
    uint64_t n = BURST_BYTES / pass.size;

    open_frames(n < BURST_FRAMES ? n : BURST_FRAMES);
}

/*
 * Wait until there has been nothing to read for a while at any of these
 * descriptors, which others read from.  Returns: false if they stand still.
 */
static bool await_drained(const int *readers)
{
    struct pollfd p[READERS_MAX];
    uint64_t give_up = now() + GIVE_UP_NS;
    nfds_t n;
    int gaps = 0;

    for (n = 0; n < READERS_MAX && readers[n] >= 0; n++) {
        p[n] = (struct pollfd) { .fd = readers[n], .events = POLLIN };
    }
    while (gaps < BURST_GAPS) {
        if (now() > give_up) {
            return false;
        }
        usleep(BURST_GAP_US);
        gaps = poll(p, n, 0) > 0 ? 0 : gaps + 1;
    }
    return true;
}

/*
 * Full load that loses nothing.  With a higher priority, on the same CPU as
 * whoever reads, a burst is complete before its first frame is read.  So how
 * many frames a reader finds, and what a frame costs it, does not depend on
 * how fast this process is.
 */
static bool pass_bursts(void)
{
    uint64_t i;

    for (i = 0; i < n_frames && pass.passed < pass.count; i++) {
        pass_next(&frames[i]);
    }
    pass_flush();
    return await_drained(pass.extra);
}

/* ---- of all lengths between two, from a number on, while it is asked */

static void open_sealed(int fd UNUSED)
{
    if (is_gso(pass.size) || pass.extra[0] < ETH_ZLEN ||
        pass.size < (size_t)pass.extra[0]) {
        wrong("sealed: frames have 60 to 1514 bytes, SIZE is the most");
    }
    open_frames(1);
    pass.passed = pass.extra[1];
}

static bool pass_sealed(void)
{
    size_t shortest = pass.extra[0], lengths = pass.size - shortest + 1;
    int i;

    for (i = 0; i < BATCH && !pass.ended; i++) {
        seal_frame(&frames[0], shortest + pass.passed * 7919 % lengths,
                   pass.passed);
        pass_frame(frames[0].payload, frames[0].len);
        pass_flush();
    }
    return go_on(-1, 0);
}

/* ---- one at a time, which comes back on another socket */

static uint64_t *times;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void open_pings(int fd UNUSED)
{
    open_frames(1);
    times = allocate(pass.count * sizeof(*times));
    set_stall(pass.extra[0]);
}

static bool pass_ping(void)
{
    static uint8_t payload[FRAME_MAX];
    uint64_t began;
    ssize_t len;

    usleep(PING_GAP_US);
    began = now();
    pass_next(&frames[0]);
    pass_flush();
    len = recv(pass.extra[0], payload, sizeof(payload), 0);
    if (len < 0) {
        return false;
    }
    times[pass.passed - 1] = now() - began;
    tally_frame(payload, len, pass.size);
    if (pass.passed == pass.count) {
        qsort(times, pass.count, sizeof(*times), by_value);
        pass.p50 = times[pass.count / 2];
        pass.p99 = times[pass.count * 99 / 100];
    }
    return true;
}

const End steady = { "steady", false, open_steady, .pass = pass_steady };
const End bursts = { "bursts", false, open_bursts, .pass = pass_bursts };
const End sealed = { "sealed", false, open_sealed, .pass = pass_sealed };
const End pings = { "pings", false, open_pings, .pass = pass_ping };
