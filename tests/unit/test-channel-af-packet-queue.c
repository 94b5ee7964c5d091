/*
 * Unit tests of the af-packet channel: frames wait for a slow interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <poll.h>
#include "chardev/af-packet-txq.h"
#include "qemu/sockets.h"
#include "channel-af-packet-rig.h"

#define QUEUE_MAX (4 * MiB)
/* Memory used by a frame of 1000 bytes */
#define QUEUED_BYTES (sizeof(AfPacketTxFrame) + 1000)

/* @rate, @limit: see link_add_tbf().  Returns: false if not supported. */
static bool init_queue(Rig *r, uint32_t rate, uint32_t limit, int sndbuf)
{
    if (!rig_init_slow(r, rate, 2 * FRAME_MAX, limit)) {
        return false;
    }
    socket_set_int(r->fd, SOL_SOCKET, SO_SNDBUF, sndbuf);
    return true;
}

/* All frames arrive in order, although the kernel refuses them at first. */
static void do_test_slow(uint32_t limit, int sndbuf)
{
    const int n = 200;
    struct pollfd writable = { .events = POLLOUT };
    ChardevAfPacketStats stats;
    int64_t end;
    Rig r;
    int i;

    if (!init_queue(&r, MiB, limit, sndbuf)) {
        return;
    }
    writable.fd = r.fd;
    end = deadline_in(DEADLINE);
    for (i = 0; i < n; i++) {
        rig_write_record(&r, 1000, i);
        if (i > n / 2) {
            /* Others wait, although this one could be sent at once */
            g_assert_cmpint(poll(&writable, 1, 10000), ==, 1);
        }
    }
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.queue_frames, >, 0);
    g_assert_cmpuint(stats.queue_bytes, ==,
                     QUEUED_BYTES * stats.queue_frames);
    g_assert_cmpuint(stats.frames + stats.queue_frames, ==, n);

    for (i = 0; i < n; i++) {
        rig_wait_sent(&r, i + 1);
        peer_expect(&r, 1000, i);
    }
    /* This takes 0.2 seconds, not one retry per second */
    g_assert_cmpint(g_get_monotonic_time(), <, end);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.bytes, ==, 1000 * n);
    g_assert_cmpuint(stats.queue_frames, ==, 0);
    g_assert_cmpuint(stats.queue_bytes, ==, 0);
    g_assert_cmpuint(stats.queue_max_bytes, >=, 1000);
    g_assert_cmpuint(all_dropped(&stats), ==, 0);
    rig_assert_idle(&r);
    rig_free(&r);
}

/* EAGAIN: the socket's buffer is full. */
static void test_slow_socket(void)
{
    do_test_slow(MiB, 1);
}

/* ENOBUFS: the interface's queue is full. */
static void test_slow_interface(void)
{
    do_test_slow(3 * FRAME_MAX, MiB);
}

/* New frames are dropped when the queue is full; all are accounted for. */
static void do_test_queue_full(uint32_t limit, int sndbuf)
{
    const uint64_t n_max = QUEUE_MAX / QUEUED_BYTES, n = n_max + 500;
    ChardevAfPacketStats stats;
    uint64_t waiting;
    Rig r;
    int i;

    if (!init_queue(&r, 1000, limit, sndbuf)) {
        return;
    }
    for (i = 0; i < n; i++) {
        rig_write_record(&r, 1000, i);
    }
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.queue_frames, ==, n_max);
    g_assert_cmpuint(stats.queue_bytes, ==, n_max * QUEUED_BYTES);
    g_assert_cmpuint(stats.queue_max_bytes, ==, stats.queue_bytes);
    g_assert_cmpuint(stats.dropped_queue_full, >, 0);
    g_assert_cmpuint(stats.frames + stats.queue_frames +
                     stats.dropped_queue_full, ==, n);

    /* The channel waits without keeping the main loop busy, */
    rig_assert_idle(&r);

    /* and frames queued at the end are counted, too. */
    stats = rig_stats(&r);
    waiting = stats.queue_frames;
    g_assert_cmpuint(waiting, >, 0);
    qio_channel_close(r.base, &error_abort);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_detach, ==, waiting);
    g_assert_cmpuint(stats.queue_frames, ==, 0);
    g_assert_cmpuint(stats.queue_bytes, ==, 0);
    g_assert_cmpuint(stats.frames + all_dropped(&stats), ==, n);
    rig_free(&r);
}

static void test_queue_full(void)
{
    do_test_queue_full(MiB, 1);
    do_test_queue_full(3 * FRAME_MAX, MiB);
}

/* A frame that the kernel never accepts does not block the others. */
static void test_queue_hopeless(void)
{
    ChardevAfPacketStats stats;
    Rig r;

    if (!rig_init_slow(&r, MiB, 300, MiB)) {
        return;
    }
    rig_write_record(&r, 1000, 1);
    rig_write_record(&r, 60, 2);
    rig_wait_sent(&r, 1);
    peer_expect(&r, 60, 2);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_refused, ==, 1);
    g_assert_cmpuint(all_dropped(&stats), ==, 1);
    g_assert_cmpuint(stats.queue_frames, ==, 0);
    rig_free(&r);
}

static gboolean on_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

/* The queue is sent in the context that was attached last. */
static void test_queue_attach(void)
{
    GMainContext *context = g_main_context_new();
    int64_t end = deadline_in(DEADLINE);
    GSource *tick = g_timeout_source_new(10);
    Rig r;
    int i;

    g_source_set_callback(tick, on_tick, NULL, NULL);
    g_source_attach(tick, context);
    if (init_queue(&r, 200 * KiB, MiB, 1)) {
        for (i = 0; i < 20; i++) {
            rig_write_record(&r, 1000, i);
        }
        g_assert_cmpuint(rig_stats(&r).queue_frames, >, 0);
        qio_channel_af_packet_attach(r.ioc, context);
        while (rig_stats(&r).frames < 20) {
            g_assert_cmpint(g_get_monotonic_time(), <, end);
            g_main_context_iteration(context, true);
        }
        for (i = 0; i < 20; i++) {
            peer_expect(&r, 1000, i);
        }
        rig_free(&r);
    }
    g_source_destroy(tick);
    g_source_unref(tick);
    g_main_context_unref(context);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet/queue");
    suite_add("slow-socket", test_slow_socket);
    suite_add("slow-interface", test_slow_interface);
    suite_add("full", test_queue_full);
    suite_add("hopeless", test_queue_hopeless);
    suite_add("attach", test_queue_attach);
    return g_test_run();
}
