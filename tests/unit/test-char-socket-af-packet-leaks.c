/*
 * Unit tests of the socket chardev's option 'af-packet-mode': leaks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Resource usage must be the same after many cycles as after a few.
 */
#include "qemu/osdep.h"
#include <malloc.h>
#include "char-socket-af-packet-rig.h"

#define CYCLES 1000
#define FIRST_CYCLES 50      /* to fill caches */
#define HEAP_SLACK (8 * CYCLES) /* bytes; the minimum malloc() block has 32 */

typedef struct Footprint {
    int fds;
    int sources;
    int64_t heap;
} Footprint;

/* Inject on one end of a link, capture on the other */
typedef struct Line {
    Chardev *inject;
    Chardev *capture;
    Frontend f;
} Line;

static gboolean on_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

/* IDs of sources in the default context only increase. */
static int count_sources(void)
{
    guint id, end = g_timeout_add(0, on_tick, NULL);
    int n = 0;

    for (id = 1; id < end; id++) {
        n += !!g_main_context_find_source_by_id(NULL, id);
    }
    g_source_remove(end);
    return n;
}

/* Returns: the number of allocated bytes, where this is known */
static int64_t count_heap(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#else
    return 0;
#endif
}

static Footprint footprint(void)
{
    return (Footprint) {
        .fds = count_fds(getpid()),
        .sources = count_sources(),
        .heap = count_heap(),
    };
}

/* Run @cycle many times, and check that it does not leak. */
static void check_leaks(void (*cycle)(Line *), Line *line)
{
    Footprint before, after;
    int i;

    for (i = 0; i < FIRST_CYCLES; i++) {
        cycle(line);
    }
    before = footprint();
    for (i = 0; i < CYCLES; i++) {
        cycle(line);
    }
    after = footprint();
    g_test_message("%d cycles: %d to %d fds, %d to %d sources, heap grows "
                   "by %" PRId64 " bytes", CYCLES, before.fds, after.fds,
                   before.sources, after.sources, after.heap - before.heap);
    g_assert_cmpint(after.fds, ==, before.fds);
    g_assert_cmpint(after.sources, ==, before.sources);
    g_assert_cmpint(after.heap - before.heap, <, HEAP_SLACK);
}

static Chardev *line_add(const char *id, const char *ifname, int mode)
{
    return add_backend(id, backend_new(packet_open(ifname, TEST_ETHERTYPE),
                                       mode, NULL), &error_abort);
}

/* Add the chardevs. */
static void line_open(Line *line)
{
    line->inject = line_add("inject", PEER, INJECT);
    line->capture = line_add("capture", IFNAME, CAPTURE);
    frontend_init(&line->f, line->capture, 4096);
}

static void line_close(Line *line)
{
    qemu_chr_fe_deinit(&line->f.be, false);
    qmp_chardev_remove("capture", &error_abort);
    qmp_chardev_remove("inject", &error_abort);
}

/* Write records until one of them has been read, and half of another. */
static void line_use(Line *line)
{
    static const uint8_t record[] = {
        0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5,
    };
    const int half = sizeof(record) / 2;
    int64_t end = deadline_in(DEADLINE);
    uint64_t before = get_stat(line->capture, "frames");

    qemu_chr_write_all(line->inject, record, half);
    while (get_stat(line->capture, "frames") == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        qemu_chr_write_all(line->inject, record + half, sizeof(record) - half);
        qemu_chr_write_all(line->inject, record, half);
        g_main_context_iteration(NULL, true);
    }
}

/* A cycle of adding, using and removing */
static void cycle_add(Line *line)
{
    line_open(line);
    line_use(line);
    line_close(line);
}

static void test_leaks_add(void)
{
    Line line;

    veth_add(IFNAME, PEER);
    check_leaks(cycle_add, &line);
    link_remove(IFNAME);
}

/* A cycle of use, removal of the interfaces, and new sockets */
static void cycle_reconnect(Line *line)
{
    line_use(line);
    link_remove(IFNAME);
    wait_disconnected(line->capture);
    wait_disconnected(line->inject);

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    qemu_chr_add_client(line->inject, packet_open(PEER, TEST_ETHERTYPE),
                        &error_abort);
    qemu_chr_add_client(line->capture, packet_open(IFNAME, TEST_ETHERTYPE),
                        &error_abort);
    link_set_up(IFNAME, true);
    link_set_up(PEER, true);
}

static void test_leaks_reconnect(void)
{
    Line line;

    veth_add(IFNAME, PEER);
    line_open(&line);
    check_leaks(cycle_reconnect, &line);
    line_close(&line);
    link_remove(IFNAME);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/char-socket-af-packet/leaks");
    suite_add("add", test_leaks_add);
    suite_add("reconnect", test_leaks_reconnect);
    return g_test_run();
}
