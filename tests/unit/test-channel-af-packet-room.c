/*
 * Unit tests for writers that wait for room in an af-packet channel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They use a real socket, on a slow veth interface in a network namespace of
 * their own; if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "channel-af-packet-rig.h"

#define FRAME_LEN 1000
#define RECORD_LEN (sizeof(uint32_t) + FRAME_LEN)
#define QUEUE_MAX (4 * MiB)
/* More than the queue and the kernel hold */
#define MANY_RECORDS (6 * MiB / RECORD_LEN)

#define SLOW_RATE 1000
#define FAST_RATE (100 * MiB)
#define BURST (4 * FRAME_LEN)
#define LIMIT MiB

typedef struct Writer {
    Rig rig;
    uint8_t *stream;        /* records */
    size_t written;         /* bytes of it */
} Writer;

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
static bool writer_init(Writer *w)
{
    *w = (Writer) {};
    if (!rig_init_slow(&w->rig, SLOW_RATE, BURST, LIMIT)) {
        return false;
    }
    w->stream = stream_create();
    return true;
}

static void writer_free(Writer *w)
{
    rig_free(&w->rig);
    g_free(w->stream);
}

/* Wait for room for at most @usec.  Returns: whether there is any */
static bool wait_for_room(Writer *w, int64_t usec)
{
    return rig_wait(&w->rig, G_IO_OUT, usec);
}

/* Write the stream, @len bytes at a time, until a write would block. */
static void write_all(Writer *w, size_t len)
{
    while (w->written < MANY_RECORDS * RECORD_LEN) {
        size_t portion = MIN(len, MANY_RECORDS * RECORD_LEN - w->written);
        ssize_t ret = qio_channel_write(w->rig.base,
                                        (char *)w->stream + w->written,
                                        portion, &error_abort);

        if (ret == QIO_CHANNEL_ERR_BLOCK) {
            break;
        }
        g_assert_cmpint(ret, >, 0);
        w->written += ret;
    }
}

/* No frame is lost: the writer has to wait at the end of a record. */
static void test_room(const void *opaque)
{
    size_t len = GPOINTER_TO_SIZE(opaque);
    ChardevAfPacketStats stats;
    Writer w;

    if (!writer_init(&w)) {
        return;
    }
    g_assert_true(wait_for_room(&w, DEADLINE));
    write_all(&w, len);
    g_assert_cmpuint(w.written, <, MANY_RECORDS * RECORD_LEN);
    g_assert_cmpuint(w.written % RECORD_LEN, ==, 0);

    stats = rig_stats(&w.rig);
    g_assert_cmpuint(stats.dropped_queue_full, ==, 0);
    g_assert_cmpuint(stats.queue_bytes, >, QUEUE_MAX * 9 / 10);
    g_assert_cmpuint(stats.queue_bytes, <=, QUEUE_MAX);
    g_assert_cmpuint(stats.frames + stats.queue_frames, ==,
                     w.written / RECORD_LEN);
    g_assert_false(wait_for_room(&w, QUIET_TIME));

    link_change_tbf(IFNAME, FAST_RATE, 64 * FRAME_LEN, LIMIT);
    while (w.written < MANY_RECORDS * RECORD_LEN) {
        g_assert_true(wait_for_room(&w, DEADLINE));
        stats = rig_stats(&w.rig);
        g_assert_cmpuint(stats.queue_bytes, <=, QUEUE_MAX / 2);
        write_all(&w, len);
    }
    stats = rig_stats(&w.rig);
    g_assert_cmpuint(stats.dropped_queue_full, ==, 0);
    g_assert_cmpuint(stats.frames + stats.queue_frames, ==, MANY_RECORDS);
    writer_free(&w);
}

/* A writer that retries without running the main loop finds room in the end. */
static void test_retry(void)
{
    int64_t end = deadline_in(DEADLINE);
    Writer w;

    if (!writer_init(&w)) {
        return;
    }
    g_assert_true(wait_for_room(&w, DEADLINE));
    write_all(&w, 64 * KiB);
    link_change_tbf(IFNAME, FAST_RATE, 64 * FRAME_LEN, LIMIT);
    while (w.written < MANY_RECORDS * RECORD_LEN) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        write_all(&w, 64 * KiB);
    }
    g_assert_cmpuint(rig_stats(&w.rig).dropped_queue_full, ==, 0);
    writer_free(&w);
}

/* The next writer has not watched for room, and may lose frames. */
static void test_next_writer(void)
{
    ChardevAfPacketStats stats;
    Writer w;

    if (!writer_init(&w)) {
        return;
    }
    g_assert_true(wait_for_room(&w, DEADLINE));
    qio_channel_af_packet_drop_partial(w.rig.ioc);
    write_all(&w, 64 * KiB);
    g_assert_cmpuint(w.written, ==, MANY_RECORDS * RECORD_LEN);
    stats = rig_stats(&w.rig);
    g_assert_cmpuint(stats.dropped_queue_full, >, 0);
    g_assert_cmpuint(stats.frames + stats.queue_frames +
                     stats.dropped_queue_full, ==, MANY_RECORDS);
    writer_free(&w);
}

/* A writer that waits wakes up when the channel ends. */
static void test_end(void)
{
    Writer w;

    if (!writer_init(&w)) {
        return;
    }
    g_assert_true(wait_for_room(&w, DEADLINE));
    write_all(&w, 64 * KiB);
    g_assert_false(wait_for_room(&w, QUIET_TIME));
    link_remove(IFNAME);
    g_assert_true(wait_for_room(&w, DEADLINE));
    rig_refuse_write(&w.rig, w.stream, 1, "");
    writer_free(&w);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet-room");
    suite_add_data("room/records", GSIZE_TO_POINTER(RECORD_LEN), test_room);
    suite_add_data("room/pieces", GSIZE_TO_POINTER(333), test_room);
    suite_add_data("room/many", GSIZE_TO_POINTER(64 * KiB), test_room);
    suite_add("retry", test_retry);
    suite_add("next-writer", test_next_writer);
    suite_add("end", test_end);
    return g_test_run();
}
