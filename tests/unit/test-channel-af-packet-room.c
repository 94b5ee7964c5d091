/*
 * Unit tests of writers that wait for room in an AF_PACKET channel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The socket is a real one, on a veth interface that sends slowly, in a
 * network namespace of the test's own; where there is none, the tests are
 * skipped.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "chardev/channel-af-packet.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "af-packet-helpers.h"

#define IFNAME "veth0"
#define PEER "veth1"

#define FRAME_LEN 1000
#define RECORD_LEN (sizeof(uint32_t) + FRAME_LEN)
#define QUEUE_MAX (4 * MiB)
/* More than the queue and the kernel hold */
#define MANY_RECORDS (6 * MiB / RECORD_LEN)

#define SLOW_RATE 1000
#define FAST_RATE (100 * MiB)
#define BURST (4 * FRAME_LEN)
#define LIMIT MiB

#define DEADLINE (10 * G_TIME_SPAN_SECOND)
/* To see that nothing happens */
#define A_WHILE (60 * G_TIME_SPAN_MILLISECOND)

static const char *skip_reason;

typedef struct Rig {
    QIOChannelAfPacket *ioc;
    QIOChannel *base;       /* the same */
    uint8_t *stream;        /* records */
    size_t written;         /* bytes of it */
} Rig;

static uint8_t *stream_create(void)
{
    uint8_t *stream = g_malloc0(MANY_RECORDS * RECORD_LEN);
    size_t i;

    for (i = 0; i < MANY_RECORDS; i++) {
        uint8_t *record = stream + i * RECORD_LEN;

        stl_be_p(record, FRAME_LEN);
        memset(record + sizeof(uint32_t), 0xff, ETH_ALEN);
        stw_be_p(record + sizeof(uint32_t) + 2 * ETH_ALEN, TEST_ETHERTYPE);
    }
    return stream;
}

/* Returns: false if the kernel can't make an interface slow */
static bool rig_init(Rig *r)
{
    QIOChannelSocket *sioc;

    veth_add(IFNAME, PEER);
    if (link_add_tbf(IFNAME, SLOW_RATE, BURST, LIMIT) < 0) {
        g_test_skip("the kernel has no token bucket filter");
        link_remove(IFNAME);
        return false;
    }
    sioc = qio_channel_socket_new_fd(packet_open(IFNAME, 0), &error_abort);
    *r = (Rig) {
        .ioc = qio_channel_af_packet_new(sioc,
                                         CHARDEV_SOCKET_AF_PACKET_MODE_INJECT,
                                         "test", &(ChardevAfPacketStats) {}),
        .stream = stream_create(),
    };
    r->base = QIO_CHANNEL(r->ioc);
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(r->ioc, NULL);
    return true;
}

static void rig_free_after_removal(Rig *r)
{
    qio_channel_close(r->base, &error_abort);
    object_unref(OBJECT(r->ioc));
    g_free(r->stream);
}

static void rig_free(Rig *r)
{
    rig_free_after_removal(r);
    link_remove(IFNAME);
}

static ChardevAfPacketStats rig_stats(Rig *r)
{
    ChardevAfPacketStats stats;

    qio_channel_af_packet_get_stats(r->ioc, &stats);
    return stats;
}

static gboolean on_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

static gboolean on_room(QIOChannel *ioc, GIOCondition condition,
                        gpointer opaque)
{
    *(GIOCondition *)opaque = condition;
    return G_SOURCE_REMOVE;
}

/* Wait for room for at most @usec.  Returns: whether there is any */
static bool wait_for_room(Rig *r, int64_t usec)
{
    int64_t end = g_get_monotonic_time() + usec;
    GIOCondition ready = 0;
    GSource *watch = qio_channel_create_watch(r->base, G_IO_OUT);
    guint tick = g_timeout_add(10, on_tick, NULL);
    int n = 0;

    g_source_set_callback(watch, (GSourceFunc)on_room, &ready, NULL);
    g_source_attach(watch, NULL);
    while (!ready && g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, true);
        n++;
    }
    if (!ready) {
        g_assert_cmpint(n, <, usec / 2000); /* it does not spin */
    }
    g_source_destroy(watch);
    g_source_unref(watch);
    g_source_remove(tick);
    return ready;
}

/* Write the stream in portions of @len bytes, until it is not taken. */
static void write_all(Rig *r, size_t len)
{
    while (r->written < MANY_RECORDS * RECORD_LEN) {
        size_t portion = MIN(len, MANY_RECORDS * RECORD_LEN - r->written);
        ssize_t ret = qio_channel_write(r->base,
                                        (char *)r->stream + r->written,
                                        portion, &error_abort);

        if (ret == QIO_CHANNEL_ERR_BLOCK) {
            break;
        }
        g_assert_cmpint(ret, >, 0);
        r->written += ret;
    }
}

/* Nothing is lost: the writer has to wait, after a whole record. */
static void test_room(const void *opaque)
{
    size_t len = GPOINTER_TO_SIZE(opaque);
    ChardevAfPacketStats stats;
    Rig r;

    if (!rig_init(&r)) {
        return;
    }
    g_assert_true(wait_for_room(&r, DEADLINE));
    write_all(&r, len);
    g_assert_cmpuint(r.written, <, MANY_RECORDS * RECORD_LEN);
    g_assert_cmpuint(r.written % RECORD_LEN, ==, 0);

    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_queue_full, ==, 0);
    g_assert_cmpuint(stats.queue_bytes, >, QUEUE_MAX * 9 / 10);
    g_assert_cmpuint(stats.queue_bytes, <=, QUEUE_MAX);
    g_assert_cmpuint(stats.frames + stats.queue_frames, ==,
                     r.written / RECORD_LEN);
    g_assert_false(wait_for_room(&r, A_WHILE));

    link_change_tbf(IFNAME, FAST_RATE, 64 * FRAME_LEN, LIMIT);
    while (r.written < MANY_RECORDS * RECORD_LEN) {
        g_assert_true(wait_for_room(&r, DEADLINE));
        stats = rig_stats(&r);
        g_assert_cmpuint(stats.queue_bytes, <=, QUEUE_MAX / 2);
        write_all(&r, len);
    }
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_queue_full, ==, 0);
    g_assert_cmpuint(stats.frames + stats.queue_frames, ==, MANY_RECORDS);
    rig_free(&r);
}

/* The next writer has not asked for it, and may lose frames. */
static void test_next_writer(const void *opaque)
{
    ChardevAfPacketStats stats;
    Rig r;

    if (!rig_init(&r)) {
        return;
    }
    g_assert_true(wait_for_room(&r, DEADLINE));
    qio_channel_af_packet_drop_partial(r.ioc);
    write_all(&r, 64 * KiB);
    g_assert_cmpuint(r.written, ==, MANY_RECORDS * RECORD_LEN);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_queue_full, >, 0);
    g_assert_cmpuint(stats.frames + stats.queue_frames +
                     stats.dropped_queue_full, ==, MANY_RECORDS);
    rig_free(&r);
}

/* Who waits is told when the channel ends. */
static void test_end(const void *opaque)
{
    Error *err = NULL;
    Rig r;

    if (!rig_init(&r)) {
        return;
    }
    g_assert_true(wait_for_room(&r, DEADLINE));
    write_all(&r, 64 * KiB);
    g_assert_false(wait_for_room(&r, A_WHILE));
    link_remove(IFNAME);
    g_assert_true(wait_for_room(&r, DEADLINE));
    g_assert_cmpint(qio_channel_write(r.base, (char *)r.stream, 1, &err), ==,
                    -1);
    error_free_or_abort(&err);
    rig_free_after_removal(&r);
}

static void test_skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

static void add_test(const char *name, size_t len, GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("/channel-af-packet-room/%s",
                                            name);

    g_test_add_data_func(path, GSIZE_TO_POINTER(len),
                         skip_reason ? test_skip : func);
}

int main(int argc, char **argv)
{
    skip_reason = netns_skip_reason();
    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);

    add_test("room/records", RECORD_LEN, test_room);
    add_test("room/pieces", 333, test_room);
    add_test("room/many", 64 * KiB, test_room);
    add_test("next-writer", 0, test_next_writer);
    add_test("end", 0, test_end);
    return g_test_run();
}
