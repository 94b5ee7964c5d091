/*
 * Unit tests of the af-packet channel: inject
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "channel-af-packet-rig.h"

static void do_test_inject(size_t chunk)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ChardevAfPacketStats stats;
    size_t bytes = 0;
    Rig r;
    int i;

    rig_init(&r, INJECT, 0);
    for (i = 0; i < ARRAY_SIZE(frame_lens); i++) {
        append_record(stream, frame_lens[i], i);
        bytes += frame_lens[i];
    }
    rig_write(&r, stream->data, stream->len, chunk);
    for (i = 0; i < ARRAY_SIZE(frame_lens); i++) {
        peer_expect(&r, frame_lens[i], i);
    }

    stats = rig_stats(&r);
    g_assert_cmpuint(stats.frames, ==, ARRAY_SIZE(frame_lens));
    g_assert_cmpuint(stats.bytes, ==, bytes);
    g_assert_cmpuint(stats.queue_max_bytes, ==, 0);
    g_assert_cmpuint(all_dropped(&stats), ==, 0);
    rig_free(&r);
}

static void test_inject_pieces(void)
{
    static const size_t chunks[] = { 1, 3, 7, 64, 1000 };
    int i;

    for (i = 0; i < ARRAY_SIZE(chunks); i++) {
        do_test_inject(chunks[i]);
    }
}

static void test_inject_at_once(void)
{
    do_test_inject(100000);
}

/* Vectors may end anywhere in a record, or be empty. */
static void test_inject_writev(void)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    size_t cut;
    Rig r;

    rig_init(&r, INJECT, 0);
    append_record(stream, 60, 1);
    append_record(stream, 60, 2);
    for (cut = 0; cut <= stream->len; cut++) {
        struct iovec iov[] = {
            { stream->data, cut },
            { stream->data + cut, 0 },
            { stream->data + cut, stream->len - cut },
        };

        g_assert_cmpint(qio_channel_writev(r.base, iov, ARRAY_SIZE(iov),
                                           &error_abort), ==, stream->len);
        peer_expect(&r, 60, 1);
        peer_expect(&r, 60, 2);
    }
    rig_free(&r);
}

/* Frames are sent in batches; one that fails does not affect the others. */
static void test_inject_batches(const void *opaque)
{
    const size_t chunk = GPOINTER_TO_SIZE(opaque);
    const int n_frames = 150;
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ChardevAfPacketStats stats;
    Rig r;
    int i;

    rig_init(&r, INJECT, 0);
    link_set_mtu(IFNAME, 1500);
    for (i = 0; i < n_frames; i++) {
        append_record(stream, i % 40 == 20 ? 1515 : 60 + i, i);
    }
    rig_write(&r, stream->data, stream->len, chunk);
    for (i = 0; i < n_frames; i++) {
        if (i % 40 != 20) {
            peer_expect(&r, 60 + i, i);
        }
    }

    stats = rig_stats(&r);
    g_assert_cmpuint(stats.frames, ==, n_frames - 4);
    g_assert_cmpuint(stats.dropped_above_mtu, ==, 4);
    g_assert_cmpuint(all_dropped(&stats), ==, 4);
    rig_free(&r);
}

/* Nothing can be read, and no frames accumulate. */
static void test_inject_read(const void *opaque)
{
    uint16_t proto = GPOINTER_TO_INT(opaque);
    Rig r;
    char byte;
    int fd, i;

    fd = rig_open(&r, INJECT, proto);
    peer_send(&r, 60, 1);
    rig_connect(&r, fd, NULL);
    for (i = 0; i < 10; i++) {
        peer_send(&r, 60, i);
    }

    rig_assert_idle(&r);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    g_assert_cmpint(recv(r.fd, &byte, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);

    /* And writing is always possible */
    g_assert_cmpint(rig_wait(&r, G_IO_IN | G_IO_OUT, DEADLINE), ==, G_IO_OUT);
    rig_write_record(&r, 60, 7);
    peer_expect(&r, 60, 7);
    rig_free(&r);
}

/* Bad frames are dropped and counted; the next good one passes. */
static const struct {
    size_t mtu;
    size_t len;
    bool vlan;
    bool too_short;
    bool too_long;
} bad_frames[] = {
    { 1500, 0, .too_short = true },
    { 1500, 1, .too_short = true },
    { 1500, 13, .too_short = true },
    { 1500, 14 },
    { 1500, 1514 },
    { 1500, 1515, .too_long = true },
    { 1500, 1518, .vlan = true },
    { 1500, 1519, .vlan = true, .too_long = true },
    { 1500, 65535, .too_long = true },
    { 1500, 69632, .too_long = true },
    { 600, 614 },
    { 600, 615, .too_long = true },
};

static void test_inject_bad_frames(void)
{
    uint64_t n = 0, n_short = 0, n_long = 0;
    ChardevAfPacketStats stats;
    Rig r;
    int i;

    rig_init(&r, INJECT, 0);
    for (i = 0; i < ARRAY_SIZE(bad_frames); i++) {
        g_autoptr(GByteArray) stream = g_byte_array_new();
        bool good = !bad_frames[i].too_short && !bad_frames[i].too_long;

        link_set_mtu(IFNAME, bad_frames[i].mtu);
        append_record(stream, bad_frames[i].len, i);
        if (bad_frames[i].vlan) {
            memcpy(stream->data + 4 + 12, "\x81\x00\x00\x05", 4);
        }
        append_record(stream, 60, 100 + i);
        rig_write(&r, stream->data, stream->len, stream->len);
        if (good && !bad_frames[i].vlan) {
            peer_expect(&r, bad_frames[i].len, i);
        }
        peer_expect(&r, 60, 100 + i);

        n += 1 + good;
        n_short += bad_frames[i].too_short;
        n_long += bad_frames[i].too_long;
        stats = rig_stats(&r);
        g_assert_cmpuint(stats.frames, ==, n);
        g_assert_cmpuint(stats.dropped_too_short, ==, n_short);
        g_assert_cmpuint(stats.dropped_above_mtu, ==, n_long);
        g_assert_cmpuint(all_dropped(&stats), ==, n_short + n_long);
    }
    rig_free(&r);
}

/* An invalid stream ends the channel; frames before that are sent. */
typedef struct Nonsense {
    const char *name;
    uint8_t bytes[8];
    size_t len;
} Nonsense;

static const Nonsense nonsense[] = {
    { "one-more", { 0x00, 0x01, 0x10, 0x01 }, 4 },
    { "text", { 'G', 'E', 'T', ' ', '/', ' ', 'H', 'T' }, 8 },
    { "ones", { 0xff, 0xff, 0xff, 0xff }, 4 },
    { "little-endian", { 0x3c, 0x00, 0x00, 0x00 }, 4 },
};

static void do_test_nonsense(const Nonsense *c, size_t chunk)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    Error *err = NULL;
    ssize_t ret = 0;
    size_t at;
    Rig r;

    rig_init(&r, INJECT, 0);
    append_record(stream, 60, 1);
    g_byte_array_append(stream, c->bytes, c->len);
    append_record(stream, 60, 2);
    for (at = 0; at < stream->len && ret >= 0; at += chunk) {
        ret = qio_channel_write(r.base, (char *)stream->data + at,
                                MIN(chunk, stream->len - at), &err);
    }
    /* The rest is ignored; only the next write is refused */
    g_assert_cmpint(ret, ==, (chunk == 1 ? -1 : (ssize_t)stream->len));
    error_free(err);

    rig_expect_read(&r, 0);
    g_assert_cmpint(rig_wait(&r, G_IO_HUP, DEADLINE), ==, G_IO_HUP);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    rig_expect_read(&r, 0);

    /* It has ended permanently */
    rig_refuse_write(&r, stream->data, 64, "");
    peer_expect(&r, 60, 1);
    g_assert_cmpint(recv(r.peer, &at, sizeof(at), MSG_DONTWAIT), ==, -1);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    rig_free(&r);
}

static void test_nonsense(const void *opaque)
{
    do_test_nonsense(opaque, 1);
    do_test_nonsense(opaque, 100000);
}

/* A new connection or a new writer does not continue half a record. */
static void test_inject_half(void)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ChardevAfPacketStats stats;
    size_t cut;
    Rig r;

    rig_init(&r, INJECT, 0);
    append_record(stream, 60, 1);
    for (cut = 1; cut < stream->len; cut++) {
        rig_write(&r, stream->data, cut, cut);
        if (cut % 2) {
            qio_channel_af_packet_drop_partial(r.ioc);
        } else {
            qio_channel_close(r.base, &error_abort);
            stats = rig_stats(&r);
            rig_disconnect(&r);
            rig_connect(&r, packet_open(IFNAME, 0), &stats);
        }
        rig_write(&r, stream->data, stream->len, 9);
        peer_expect(&r, 60, 1);

        stats = rig_stats(&r);
        g_assert_cmpuint(stats.frames, ==, cut);
        g_assert_cmpuint(stats.bytes, ==, 60 * cut);
        g_assert_cmpuint(stats.dropped_detach, ==, cut);
        g_assert_cmpuint(all_dropped(&stats), ==, cut);
    }
    rig_free(&r);
}

/* The vnet format: the header is passed to the kernel, its length checked. */
static void test_inject_vnet(void)
{
    uint8_t record[8 + 10 + 60] = { 0, 0, 0, 70, 0, 0, 0, 10 };
    Rig r;
    int fd;

    fd = rig_open(&r, INJECT, 0);
    packet_set_vnet_hdr(fd);
    rig_connect(&r, fd, NULL);

    put_frame(record + 18, 60, 1);
    rig_write(&r, record, sizeof(record), 11);
    peer_expect(&r, 60, 1);

    /* Unspecified, */
    record[7] = 0;
    rig_write(&r, record, sizeof(record), 11);
    peer_expect(&r, 60, 1);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 2);
    g_assert_cmpuint(rig_stats(&r).bytes, ==, 120);

    /* too short with the header, */
    record[3] = 23;
    rig_write(&r, record, 8 + 23, 100);
    g_assert_cmpuint(rig_stats(&r).dropped_too_short, ==, 1);

    /* and with another length */
    record[7] = 12;
    rig_write(&r, record, sizeof(record), sizeof(record));
    rig_refuse_write(&r, record, sizeof(record), "");
    rig_expect_read(&r, 0);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet/inject");
    suite_add("pieces", test_inject_pieces);
    suite_add("at-once", test_inject_at_once);
    suite_add("writev", test_inject_writev);
    suite_add_data("batches/at-once", GSIZE_TO_POINTER(SIZE_MAX),
                   test_inject_batches);
    suite_add_data("batches/cut", GSIZE_TO_POINTER(5001), test_inject_batches);
    suite_add_data("read/deaf", GINT_TO_POINTER(0), test_inject_read);
    suite_add_data("read/all", GINT_TO_POINTER(ETH_P_ALL), test_inject_read);
    suite_add("bad-frames", test_inject_bad_frames);
    suite_add("half", test_inject_half);
    suite_add("vnet", test_inject_vnet);
    SUITE_ADD_TABLE("nonsense", nonsense, test_nonsense);
    return g_test_run();
}
