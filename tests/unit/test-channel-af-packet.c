/*
 * Unit tests of the QIOChannel between AF_PACKET frames and records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sockets are real ones, on a veth pair in a network namespace of the
 * test's own; where there is none, the tests are skipped.
 *
 *                    +---------+   +-------+   +-------+
 *   records <------> | channel | --| veth0 |---| veth1 | <------> frames
 *                    +---------+   +-------+   +-------+
 */
#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include "chardev/af-packet-socket.h"
#include "chardev/af-packet-txq.h"
#include "chardev/channel-af-packet.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-helpers.h"
#include "af-packet-layers.h"

#define IFNAME "veth0"
#define PEER "veth1"
#define CAPTURE CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE
#define INJECT CHARDEV_SOCKET_AF_PACKET_MODE_INJECT

#define FRAME_MAX 1514
#define QUEUE_MAX (4 * MiB)
#define DEADLINE (10 * G_TIME_SPAN_SECOND)
/* To see that nothing happens */
#define A_WHILE (60 * G_TIME_SPAN_MILLISECOND)

/* Linux 5.14 */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

static const char *skip_reason;

/*
 * The channel, and the far end of its interface
 */

typedef struct Rig {
    ChardevSocketAfPacketMode mode;
    QIOChannelAfPacket *ioc;
    QIOChannel *base;        /* the same */
    int fd;                  /* the channel's socket */
    int peer;                /* a socket on the other end */
} Rig;

/* Make a channel of @fd, with counters that start at @totals. */
static void rig_connect(Rig *r, int fd, const ChardevAfPacketStats *totals)
{
    QIOChannelSocket *sioc = qio_channel_socket_new_fd(fd, &error_abort);

    r->fd = fd;
    r->ioc = qio_channel_af_packet_new(sioc, r->mode, "test", totals);
    r->base = QIO_CHANNEL(r->ioc);
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(r->ioc, NULL);
}

/* A channel on a socket that hears @proto, of a new pair of interfaces */
static void rig_init(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto)
{
    *r = (Rig) { .mode = mode };
    veth_add(IFNAME, PEER);
    r->peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    rig_connect(r, packet_open(IFNAME, proto), &(ChardevAfPacketStats) {});
}

/* What inject mode is given, and what suits capture mode here */
static uint16_t usual_proto(ChardevSocketAfPacketMode mode)
{
    return mode == INJECT ? 0 : TEST_ETHERTYPE;
}

static void rig_disconnect(Rig *r)
{
    qio_channel_close(r->base, &error_abort);
    object_unref(OBJECT(r->ioc));
}

/* End, with the interfaces gone already. */
static void rig_free_after_removal(Rig *r)
{
    rig_disconnect(r);
    close(r->peer);
    /* What remains in the main loop keeps nothing alive */
    g_assert_cmpint(fcntl(r->fd, F_GETFD), <, 0);
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

static uint64_t all_dropped(const ChardevAfPacketStats *s)
{
    return s->dropped_kernel + s->dropped_too_short + s->dropped_too_long +
           s->dropped_oversize + s->dropped_undescribable + s->dropped_csum +
           s->dropped_refused + s->dropped_tunnel_gso +
           s->dropped_queue_full + s->dropped_link_down + s->dropped_detach;
}

/*
 * Main loop
 */

static gboolean on_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

static gboolean on_ready(QIOChannel *ioc, GIOCondition condition,
                         gpointer opaque)
{
    g_assert_cmpint(condition, !=, 0);
    *(GIOCondition *)opaque |= condition;
    return G_SOURCE_CONTINUE;
}

/*
 * Run the main loop for @usec, or until the channel is ready for @condition.
 * Returns: what it is ready for then.
 */
static GIOCondition rig_wait(Rig *r, GIOCondition condition, int64_t usec)
{
    int64_t end = g_get_monotonic_time() + usec;
    GIOCondition ready = 0;
    GSource *watch = qio_channel_create_watch(r->base, condition);
    guint tick = g_timeout_add(10, on_tick, NULL);

    g_source_set_callback(watch, (GSourceFunc)on_ready, &ready, NULL);
    g_source_attach(watch, NULL);
    while (!ready && g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, true);
    }
    g_source_destroy(watch);
    g_source_unref(watch);
    g_source_remove(tick);
    return ready;
}

/*
 * Run the main loop for a while, as it is with a chardev that takes data:
 * the channel gets ready for nothing, and does not keep the loop busy.
 */
static void rig_assert_idle(Rig *r)
{
    GIOCondition ready = 0;
    GSource *in = qio_channel_create_watch(r->base, G_IO_IN);
    GSource *hup = qio_channel_create_watch(r->base, G_IO_HUP);
    int64_t end = g_get_monotonic_time() + A_WHILE;
    guint tick = g_timeout_add(10, on_tick, NULL);
    int n = 0;

    g_source_set_callback(in, (GSourceFunc)on_ready, &ready, NULL);
    g_source_set_callback(hup, (GSourceFunc)on_ready, &ready, NULL);
    g_source_attach(in, NULL);
    g_source_attach(hup, NULL);
    while (g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, true);
        n++;
    }
    g_assert_cmpint(ready, ==, 0);
    /* The tick alone comes 6 times */
    g_assert_cmpint(n, <, 30);

    g_source_destroy(in);
    g_source_unref(in);
    g_source_destroy(hup);
    g_source_unref(hup);
    g_source_remove(tick);
}

typedef bool RigPredicate(const ChardevAfPacketStats *stats, uint64_t value);

/* Run the main loop until the counters are as they should be. */
static void rig_wait_stats(Rig *r, RigPredicate *predicate, uint64_t value)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;
    guint tick = g_timeout_add(1, on_tick, NULL);
    ChardevAfPacketStats stats = rig_stats(r);

    while (!predicate(&stats, value)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, true);
        stats = rig_stats(r);
    }
    g_source_remove(tick);
}

/*
 * Frames and records
 */

static const uint8_t test_mac[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    2, 't', 'e', 's', 't' };

/* Frame number @seq, of @len bytes; 14 is the least */
static void put_frame(uint8_t *frame, size_t len, int seq)
{
    size_t i;

    memcpy(frame, test_mac, sizeof(test_mac));
    frame[11] = seq;
    frame[12] = TEST_ETHERTYPE >> 8;
    frame[13] = TEST_ETHERTYPE & 0xff;
    for (i = ETH_HLEN; i < len; i++) {
        frame[i] = seq * 31 + i * 7 + (i >> 8);
    }
}

/* Append the record of frame number @seq, plain form. */
static void append_record(GByteArray *stream, size_t len, int seq)
{
    g_autofree uint8_t *frame = g_malloc0(MAX(len, ETH_HLEN));
    const uint8_t head[] = { len >> 24, len >> 16, len >> 8, len };

    put_frame(frame, len, seq);
    g_byte_array_append(stream, head, sizeof(head));
    g_byte_array_append(stream, frame, len);
}

static void peer_send(Rig *r, size_t len, int seq)
{
    g_autofree uint8_t *frame = g_malloc(len);

    put_frame(frame, len, seq);
    g_assert_cmpint(send(r->peer, frame, len, 0), ==, len);
}

/* The next frame at the far end is number @seq. */
static void peer_expect(Rig *r, size_t len, int seq)
{
    uint8_t expected[FRAME_MAX], frame[2 * FRAME_MAX];
    ssize_t got = recv(r->peer, frame, sizeof(frame), 0);

    put_frame(expected, len, seq);
    g_assert_cmpint(got, >=, 0);
    g_assert_cmpmem(frame, got, expected, len);
}

/* Read exactly @len bytes, with reads of at most @chunk. */
static void rig_read(Rig *r, uint8_t *buf, size_t len, size_t chunk)
{
    while (len) {
        ssize_t n = qio_channel_read(r->base, (char *)buf, MIN(len, chunk),
                                     &error_abort);

        if (n == QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(rig_wait(r, G_IO_IN, DEADLINE), ==, G_IO_IN);
            continue;
        }
        g_assert_cmpint(n, >, 0);
        buf += n;
        len -= n;
    }
}

/* The next record is that of frame number @seq. */
static void rig_expect(Rig *r, size_t len, int seq, size_t chunk)
{
    g_autoptr(GByteArray) expected = g_byte_array_new();
    g_autofree uint8_t *got = NULL;

    append_record(expected, len, seq);
    got = g_malloc(expected->len);
    rig_read(r, got, expected->len, chunk);
    g_assert_cmpmem(got, expected->len, expected->data, expected->len);
}

/* Nothing to read now, or no more at all */
static void rig_expect_read(Rig *r, ssize_t result)
{
    char byte;

    g_assert_cmpint(qio_channel_read(r->base, &byte, 1, &error_abort), ==,
                    result);
}

/* When frames came densely, the channel is ready once more, for nothing. */
static void rig_end_rest(Rig *r)
{
    g_usleep(1000);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
}

/* Write @len bytes at @data, @chunk at a time; all are always taken. */
static void rig_write(Rig *r, const uint8_t *data, size_t len, size_t chunk)
{
    while (len) {
        size_t n = MIN(len, chunk);

        g_assert_cmpint(qio_channel_write(r->base, (const char *)data, n,
                                          &error_abort), ==, n);
        data += n;
        len -= n;
    }
}

static void rig_write_record(Rig *r, size_t len, int seq)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();

    append_record(stream, len, seq);
    rig_write(r, stream->data, stream->len, stream->len);
}

/*
 * Capture
 */

static const size_t frame_lens[] = { 14, 60, 15, 1514, 61, 333, 14, 1513 };

static void do_test_capture(size_t chunk)
{
    ChardevAfPacketStats stats;
    size_t bytes = 0;
    Rig r;
    int i;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    for (i = 0; i < ARRAY_SIZE(frame_lens); i++) {
        peer_send(&r, frame_lens[i], i);
        bytes += frame_lens[i];
    }
    for (i = 0; i < ARRAY_SIZE(frame_lens); i++) {
        rig_expect(&r, frame_lens[i], i, chunk);
        stats = rig_stats(&r);
        g_assert_cmpuint(stats.frames, ==, i + 1);
    }
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    rig_end_rest(&r);
    rig_assert_idle(&r);

    stats = rig_stats(&r);
    g_assert_cmpuint(stats.bytes, ==, bytes);
    g_assert_cmpuint(all_dropped(&stats), ==, 0);
    rig_free(&r);
}

static void test_capture(void)
{
    do_test_capture(100000);
    do_test_capture(7);
}

static void test_capture_bytewise(void)
{
    do_test_capture(1);
}

/* A read goes on in the next vector, but not in the next record. */
static void test_capture_readv(void)
{
    g_autoptr(GByteArray) expected = g_byte_array_new();
    uint8_t buf[4096];
    struct iovec iov[] = {
        { buf, 1 }, { buf + 1, 3 }, { buf + 4, 0 }, { buf + 4, 10 },
        { buf + 14, sizeof(buf) - 14 },
    };
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    peer_send(&r, 60, 1);
    peer_send(&r, 60, 2);
    append_record(expected, 60, 1);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    g_assert_cmpint(qio_channel_readv(r.base, iov, ARRAY_SIZE(iov),
                                      &error_abort), ==, 64);
    g_assert_cmpmem(buf, 64, expected->data, expected->len);
    rig_expect(&r, 60, 2, 64);
    rig_free(&r);
}

/* Bytes are taken from where they are, and a record is counted at its end. */
static void test_capture_take(void)
{
    g_autoptr(GByteArray) expected = g_byte_array_new();
    const uint8_t *buf, *last = NULL;
    Rig r;
    int i;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 100, &buf), ==,
                    QIO_CHANNEL_ERR_BLOCK);
    peer_send(&r, 60, 1);
    peer_send(&r, 60, 2);
    append_record(expected, 60, 1);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);

    for (i = 0; i < 64; i++) {
        g_assert_cmpuint(rig_stats(&r).frames, ==, 0);
        g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
        g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 1, &buf), ==, 1);
        g_assert_cmphex(*buf, ==, expected->data[i]);
        g_assert_true(!last || buf == last + 1);
        last = buf;
    }
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).bytes, ==, 60);

    /* Never more than a record */
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 1000, &buf), ==, 64);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 1000, &buf), ==,
                    QIO_CHANNEL_ERR_BLOCK);
    rig_free(&r);
}

/* What is staged, and no longer in the socket, makes a channel readable. */
static void test_capture_staged_watch(void)
{
    const uint8_t *buf;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    peer_send(&r, 60, 1);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 63, &buf), ==, 63);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    /* Who does not ask is not told */
    g_assert_cmpint(rig_wait(&r, G_IO_HUP, A_WHILE), ==, 0);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 63, &buf), ==, 1);
    rig_assert_idle(&r);
    rig_free(&r);
}

static void peer_flood(Rig *r, size_t len, int n)
{
    while (n--) {
        peer_send(r, len, 0);
    }
}

/* Read until all of @n frames are accounted for. */
static ChardevAfPacketStats rig_account(Rig *r, int n)
{
    ChardevAfPacketStats stats;
    char buf[2048];

    do {
        while (qio_channel_read(r->base, buf, sizeof(buf), &error_abort) > 0) {
            continue;
        }
        stats = rig_stats(r);
    } while (stats.frames + all_dropped(&stats) < n &&
             rig_wait(r, G_IO_IN, DEADLINE));
    g_assert_cmpuint(stats.frames + stats.dropped_kernel, ==, n);
    return stats;
}

/* The timer that ends the channel's rests; nothing else here has such one */
static int find_rest_timer(void)
{
    struct itimerspec left;
    int fd = 0;

    while (timerfd_gettime(fd, &left) < 0) {
        g_assert_cmpint(++fd, <, 1024);
    }
    return fd;
}

/* Have the timer expire after so long, or never if that is 0. */
static void set_rest_timer(int timer, time_t sec, long nsec)
{
    const struct itimerspec rest = { .it_value = { sec, nsec } };

    g_assert_cmpint(timerfd_settime(timer, 0, &rest, NULL), ==, 0);
}

/* Was it set since we did? */
static bool rest_has_begun(int timer)
{
    struct pollfd over = { .fd = timer, .events = POLLIN };
    struct itimerspec left;

    g_assert_cmpint(timerfd_gettime(timer, &left), ==, 0);
    return left.it_value.tv_nsec || poll(&over, 1, 0) == 1;
}

/*
 * When frames come in densely, the channel is not ready for a moment, and
 * then it is.  That 100 frames come densely takes two milliseconds without
 * interruption; the moment lasts as long as this test wants.
 */
static void test_capture_rest(void)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;
    struct pollfd readable = { .events = POLLIN };
    int timer;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    readable.fd = r.fd;
    timer = find_rest_timer();
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        set_rest_timer(timer, 0, 0);
        peer_flood(&r, 60, 100);
        rig_account(&r, rig_stats(&r).frames + 100);
    } while (!rest_has_begun(timer));
    set_rest_timer(timer, 3600, 0);

    peer_send(&r, 60, 1);
    g_assert_cmpint(poll(&readable, 1, 10000), ==, 1);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, A_WHILE), ==, 0);
    set_rest_timer(timer, 0, 1);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    rig_expect(&r, 60, 1, 64);

    rig_end_rest(&r);
    rig_assert_idle(&r);
    rig_free(&r);
}

/* A new reader starts with a whole record. */
static void test_capture_restart(void)
{
    size_t cut;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    for (cut = 0; cut <= 64; cut++) {
        bool partly = cut > 0 && cut < 64;
        uint64_t before = rig_stats(&r).dropped_detach;
        uint8_t buf[64];

        peer_send(&r, 60, 2 * cut);
        peer_send(&r, 60, 2 * cut + 1);
        rig_read(&r, buf, cut, 64);
        qio_channel_af_packet_drop_partial(r.ioc);
        qio_channel_af_packet_drop_partial(r.ioc);
        g_assert_cmpuint(rig_stats(&r).dropped_detach, ==, before + partly);
        if (!cut) {
            rig_expect(&r, 60, 0, 64);
        }
        rig_expect(&r, 60, 2 * cut + 1, 64);
        rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    }
    rig_free(&r);
}

/* A filter that lets a part of a frame through: that part isn't a frame. */
static void test_capture_cut(void)
{
    struct sock_filter cut = BPF_STMT(BPF_RET | BPF_K, 60);
    struct sock_fprog prog = { .len = 1, .filter = &cut };
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    g_assert_cmpint(setsockopt(r.fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
                               sizeof(prog)), ==, 0);
    peer_send(&r, 61, 1);
    peer_send(&r, 60, 2);
    peer_send(&r, 1514, 3);
    peer_send(&r, 14, 4);
    rig_expect(&r, 60, 2, 64);
    rig_expect(&r, 14, 4, 64);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 2);
    g_assert_cmpuint(rig_stats(&r).dropped_too_long, ==, 2);
    rig_free(&r);
}

/* Writing to a captured interface does nothing, and that well. */
static void test_capture_write(void)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    uint8_t frame[60];
    Rig r;
    int tx;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    append_record(stream, 60, 1);
    rig_write(&r, stream->data, stream->len, 7);
    rig_write(&r, (const uint8_t *)"\xff\xff\xff\xff", 4, 4);
    rig_write(&r, stream->data, stream->len, stream->len);

    /* Nothing went out before what somebody else sends */
    tx = packet_endpoint(IFNAME, 0);
    put_frame(frame, sizeof(frame), 2);
    g_assert_cmpint(send(tx, frame, sizeof(frame), 0), ==, sizeof(frame));
    peer_expect(&r, sizeof(frame), 2);
    close(tx);

    peer_send(&r, 60, 3);
    rig_expect(&r, 60, 3, 64);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    rig_free(&r);
}

/*
 * Frames that the kernel has no room for are counted: long ones, which wait
 * in the receive buffer, and short ones, of which ever so many can wait.
 */
static void test_capture_kernel_drops(void)
{
    const int n_long = 1000, n_short = 40000;
    ChardevAfPacketStats stats;
    uint64_t dropped;
    int size = 0;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    g_assert_cmpint(setsockopt(r.fd, SOL_SOCKET, SO_RCVBUF, &size,
                               sizeof(size)), ==, 0);
    peer_flood(&r, 1514, n_long);
    stats = rig_account(&r, n_long);
    g_assert_cmpuint(stats.frames, >, 0);
    g_assert_cmpuint(stats.dropped_kernel, >, 0);
    dropped = stats.dropped_kernel;

    peer_flood(&r, 60, n_short);
    stats = rig_account(&r, n_long + n_short);
    g_assert_cmpuint(stats.dropped_kernel, >, dropped);
    g_assert_cmpuint(stats.dropped_kernel, <, dropped + n_short - 30000);
    dropped = stats.dropped_kernel;

    /* Reading the kernel's counter resets it: ours goes on, */
    g_assert_cmpuint(rig_stats(&r).dropped_kernel, ==, dropped);

    /* and has the last of them when the socket is gone */
    peer_flood(&r, 60, n_short);
    qio_channel_close(r.base, &error_abort);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_kernel, >, dropped);
    g_assert_cmpuint(stats.frames + stats.dropped_kernel +
                     stats.dropped_detach, ==, n_long + 2 * n_short);
    object_unref(OBJECT(r.ioc));
    close(r.peer);
    link_remove(IFNAME);
}

/* With a ring, the version can't be set, not even to what it is. */
static bool has_ring(int fd)
{
    int version = TPACKET_V2;

    return setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version,
                      sizeof(version)) < 0;
}

/*
 * Frames that have waited for the channel come first; long and short ones
 * come in their order.  @reserve: bytes that the opener has the kernel leave
 * free in each slot of a ring
 */
static void do_test_capture_early(unsigned reserve)
{
    static const size_t lens[] = { 60, 1514, 60, 173, 174, 175, 1000, 14 };
    int round, i, fd;
    Rig r = { .mode = CAPTURE };

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, TEST_ETHERTYPE);
    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_RESERVE,
                               &reserve, sizeof(reserve)), ==, 0);
    for (i = 0; i < ARRAY_SIZE(lens); i++) {
        peer_send(&r, lens[i], i);
    }
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});
    g_assert_true(has_ring(fd) == !reserve);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < ARRAY_SIZE(lens); i++) {
            peer_send(&r, lens[i], i);
        }
        for (i = 0; i < ARRAY_SIZE(lens); i++) {
            rig_expect(&r, lens[i], i, 2048);
        }
    }
    qio_channel_close(r.base, &error_abort);
    g_assert_cmpuint(rig_stats(&r).dropped_detach, ==, ARRAY_SIZE(lens));
    object_unref(OBJECT(r.ioc));
    close(r.peer);
    link_remove(IFNAME);
}

static void test_capture_early(void)
{
    do_test_capture_early(0);
}

/* What is reserved leaves no room in a slot: there had better be no ring. */
static void test_capture_reserve(void)
{
    do_test_capture_early(100);
}

/* Frames that have to be dropped do not hold up the next one. */
static void test_capture_drop_many(void)
{
    const uint8_t *buf;
    ssize_t len;
    int size = 0;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    g_assert_cmpint(setsockopt(r.fd, SOL_SOCKET, SO_RCVBUF, &size,
                               sizeof(size)), ==, 0);
    peer_flood(&r, 1514, 100);
    peer_send(&r, 60, 1);
    do {
        len = qio_channel_af_packet_take(r.ioc, 2048, &buf);
        g_assert_cmpint(len, >, 0);
    } while (len != 64);
    g_assert_cmpuint(rig_stats(&r).dropped_kernel, >, 50);
    rig_free(&r);
}

static int get_int(int fd, int option)
{
    int value;
    socklen_t len = sizeof(value);

    g_assert_cmpint(getsockopt(fd, SOL_SOCKET, option, &value, &len), ==, 0);
    return value;
}

/* Which buffers somebody has set; 0 where the kernel can't tell */
static int get_buf_lock(int fd)
{
    return packet_socket_knows(SOL_SOCKET, SO_BUF_LOCK) ?
           get_int(fd, SO_BUF_LOCK) : 0;
}

/*
 * The receive buffer is enlarged, and there is a ring, but not if the opener
 * has set SO_RCVBUF: frames wait there then.
 */
static void test_capture_rcvbuf(void)
{
    const int chosen = 100000;
    int fd, before, lock;
    Rig r = { .mode = CAPTURE };

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);

    fd = packet_open(IFNAME, TEST_ETHERTYPE);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &chosen,
                               sizeof(chosen)), ==, 0);
    before = get_int(fd, SO_RCVBUF);
    lock = get_buf_lock(fd);
    rig_connect(&r, dup(fd), &(ChardevAfPacketStats) {});
    g_assert_cmpint(get_int(fd, SO_RCVBUF), >, before);
    g_assert_true(has_ring(fd));
    rig_disconnect(&r);
    g_assert_false(has_ring(fd));
    g_assert_cmpint(get_int(fd, SO_RCVBUF), ==, before);
    g_assert_cmpint(get_buf_lock(fd), ==, lock);

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &chosen,
                               sizeof(chosen)), ==, 0);
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});
    g_assert_cmpint(get_int(fd, SO_RCVBUF), ==, 2 * chosen);
    g_assert_false(has_ring(fd));
    peer_send(&r, 60, 1);
    peer_send(&r, 1514, 2);
    rig_expect(&r, 60, 1, 64);
    rig_expect(&r, 1514, 2, 2048);
    rig_free(&r);
}

static void tap_send(int tap, size_t len, int seq)
{
    g_autofree uint8_t *buf = g_malloc0(sizeof(struct virtio_net_hdr) + len);

    put_frame(buf + sizeof(struct virtio_net_hdr), len, seq);
    len += sizeof(struct virtio_net_hdr);
    g_assert_cmpint(write(tap, buf, len), ==, len);
}

/*
 * Send a datagram for a network card to fragment, as old guests do it.
 * @f: set to what is to be captured of it
 */
static void tap_send_ufo(int tap, Frame *f)
{
    static const Layer layers[] = { ETH, IP4, L4_UDP, END };
    const struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP,
        .hdr_len = ETH_HLEN + 20 + 8,
        .gso_size = 1480,
        .csum_start = ETH_HLEN + 20,
        .csum_offset = 6,
    };
    struct iovec iov[2];

    frame_build(f, layers, 3000, 0);
    header_put_partial(f->headers);
    iov[0] = (struct iovec) { (void *)&hdr, sizeof(hdr) };
    iov[1] = (struct iovec) { f->start, frame_len(f) };
    g_assert_cmpint(writev(tap, iov, 2), ==, sizeof(hdr) + frame_len(f));
    frame_complete(f);
}

/* A channel on a tap's interface.  Returns: the tap, -1 if there is none. */
static int rig_init_tap(Rig *r, bool vnet_hdr, bool ring)
{
    const int rcvbuf = 100000, on = 1;
    int tap = tap_create(IFNAME, true), fd;

    *r = (Rig) { .mode = CAPTURE };
    if (tap < 0) {
        g_test_skip("no /dev/net/tun to make such a frame with");
        return tap;
    }
    link_set_up(IFNAME, true);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (vnet_hdr) {
        g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
                                   sizeof(on)), ==, 0);
    }
    if (!ring) {
        g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf,
                                   sizeof(rcvbuf)), ==, 0);
    }
    rig_connect(r, fd, &(ChardevAfPacketStats) {});
    g_assert_cmpint(has_ring(fd), ==, ring && !vnet_hdr);
    return tap;
}

static void rig_expect_bytes(Rig *r, const uint8_t *bytes, size_t len)
{
    g_autofree uint8_t *got = g_malloc(len);

    rig_read(r, got, len, len);
    g_assert_cmpmem(got, len, bytes, len);
}

/*
 * Any kind of segmentation offload is captured without a vnet header, its
 * checksum complete, and does not keep the next frames away.
 */
static void do_test_ufo(bool ring)
{
    Rig r;
    int tap = rig_init_tap(&r, false, ring), i;
    uint8_t head[4] = {};
    Frame f;

    for (i = 1; tap >= 0 && i <= 5; i++) {
        tap_send(tap, 60, 2 * i);
        tap_send_ufo(tap, &f);
        tap_send(tap, 60, 2 * i + 1);
        rig_expect(&r, 60, 2 * i, 64);
        put_16(head + 2, frame_len(&f));
        rig_expect_bytes(&r, head, sizeof(head));
        rig_expect_bytes(&r, f.start, frame_len(&f));
        rig_expect(&r, 60, 2 * i + 1, 64);
        g_assert_cmpuint(rig_stats(&r).gso_frames, ==, i);
        g_assert_cmpuint(rig_stats(&r).frames, ==, 3 * i);
        g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, 0);
        frame_free(&f);
    }
    if (tap >= 0) {
        ChardevAfPacketStats stats = rig_stats(&r);

        g_assert_cmpuint(all_dropped(&stats), ==, 0);
        rig_disconnect(&r);
        close(tap);
    }
}

static void test_ufo_ring(void)
{
    do_test_ufo(true);
}

static void test_ufo_queue(void)
{
    do_test_ufo(false);
}

static size_t rig_read_frame(Rig *r, uint8_t *payload, size_t vnet_hdr_len);

/* What a vnet header can't describe is counted, and the next frame passes. */
static void test_undescribable(void)
{
    uint8_t expected[60], got[2 * FRAME_MAX];
    Rig r;
    int tap = rig_init_tap(&r, true, true), i;
    Frame f;

    for (i = 1; tap >= 0 && i <= 5; i++) {
        tap_send_ufo(tap, &f);
        frame_free(&f);
        /* Nobody reads now, so that it is the service source that learns */
        rig_wait(&r, G_IO_HUP, A_WHILE);
        put_frame(expected, sizeof(expected), i);
        tap_send(tap, 60, i);
        g_assert_cmpuint(rig_read_frame(&r, got, 10), ==, 10 + 60);
        g_assert_cmpmem(got + 10, 60, expected, 60);
        g_assert_cmpuint(rig_stats(&r).dropped_undescribable, ==, i);
        g_assert_cmpuint(rig_stats(&r).dropped_kernel, ==, 0);
    }
    if (tap >= 0) {
        rig_disconnect(&r);
        close(tap);
    }
}

/* Read up to a record with a frame of this test.  Returns: its length. */
static size_t rig_read_frame(Rig *r, uint8_t *payload, size_t vnet_hdr_len)
{
    uint8_t *frame = payload + vnet_hdr_len;
    size_t head_len = vnet_hdr_len ? 8 : 4, len;
    uint8_t head[8];

    do {
        rig_read(r, head, head_len, head_len);
        g_assert_cmpint(head[0], ==, 0);
        len = head[1] << 16 | head[2] << 8 | head[3];
        if (vnet_hdr_len) {
            g_assert_cmpmem(head + 4, 3, "\0\0\0", 3);
            g_assert_cmpint(head[7], ==, vnet_hdr_len);
        }
        g_assert_cmpuint(len, <=, vnet_hdr_len + 2 * FRAME_MAX);
        rig_read(r, payload, len, len);
    } while (memcmp(frame, test_mac, sizeof(test_mac)) != 0);
    return len;
}

/*
 * VLAN tags, sent in the frame.  They arrive beside it, and ETH_P_ALL is
 * needed for that: what hears one ethertype comes after the tag was lost.
 */
static const struct {
    const char *name;
    size_t n_tags;
    uint8_t tags[12];
} vlan_cases[] = {
    { "802.1q", 1, { 0x81, 0x00, 0x00, 0x64 } },
    { "priority", 1, { 0x81, 0x00, 0xe0, 0x64 } },
    { "tci-0", 1, { 0x81, 0x00, 0x00, 0x00 } },
    { "priority-only", 1, { 0x81, 0x00, 0xa0, 0x00 } },
    { "802.1ad", 1, { 0x88, 0xa8, 0x0f, 0xff } },
    { "802.1ad-tci-0", 1, { 0x88, 0xa8, 0x00, 0x00 } },
    { "stacked", 2, { 0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x20, 0x65 } },
    { "stacked-0", 2, { 0x88, 0xa8, 0x00, 0x00, 0x81, 0x00, 0x00, 0x00 } },
    { "stacked-q", 2, { 0x81, 0x00, 0x00, 0x64, 0x81, 0x00, 0x00, 0x65 } },
    { "three", 3, { 0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x65,
                    0x81, 0x00, 0x00, 0x66 } },
    { "none", 0 },
};

static size_t put_tagged(uint8_t *frame, size_t len, int i)
{
    size_t tags_len = vlan_cases[i].n_tags * 4;

    put_frame(frame, len, i);
    memmove(frame + 12 + tags_len, frame + 12, len - 12);
    memcpy(frame + 12, vlan_cases[i].tags, tags_len);
    return len + tags_len;
}

static void do_test_vlan(size_t vnet_hdr_len, int i, size_t untagged_len)
{
    ChardevAfPacketStats totals = {};
    Rig r = { .mode = CAPTURE };
    uint8_t frame[FRAME_MAX], got[4 * FRAME_MAX];
    size_t len = put_tagged(frame, untagged_len, i);
    int fd, size = vnet_hdr_len;

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (size) {
        g_assert_cmpint(setsockopt(fd, SOL_PACKET, vnet_hdr_len == 10 ?
                                   PACKET_VNET_HDR : PACKET_VNET_HDR_SZ,
                                   &size, sizeof(size)), ==, 0);
    }
    rig_connect(&r, fd, &totals);

    g_assert_cmpint(send(r.peer, frame, len, 0), ==, len);
    g_assert_cmpuint(rig_read_frame(&r, got, vnet_hdr_len), ==,
                     vnet_hdr_len + len);
    g_assert_cmpmem(got + vnet_hdr_len, len, frame, len);
    if (vnet_hdr_len) {
        struct virtio_net_hdr hdr;

        memcpy(&hdr, got, sizeof(hdr));
        g_assert_cmpint(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
        g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
    }
    rig_free(&r);
}

static void test_vlan(const void *opaque)
{
    static const size_t vnet_hdr_lens[] = { 0, 10, 12 };
    int i;

    for (i = 0; i < ARRAY_SIZE(vnet_hdr_lens); i++) {
        if (vnet_hdr_lens[i] == 12 &&
            !packet_socket_knows(SOL_PACKET, PACKET_VNET_HDR_SZ)) {
            continue;
        }
        /* in the ring, and too long for it */
        do_test_vlan(vnet_hdr_lens[i], GPOINTER_TO_INT(opaque), 100);
        do_test_vlan(vnet_hdr_lens[i], GPOINTER_TO_INT(opaque), 1000);
    }
}

/* 10.0.0.1:1 to 10.0.0.2:2, "hi!", its checksum left to a network card */
static size_t put_partial(uint8_t *frame, size_t tags_len)
{
    static const uint8_t packet[] = {
        0x08, 0x00,
        0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x66, 0xcc,
        10, 0, 0, 1, 10, 0, 0, 2,
        0, 1, 0, 2, 0, 11, 0x14, 0x1f, 'h', 'i', '!',
    };

    put_frame(frame, ETH_HLEN, 0);
    memcpy(frame + 12, "\x81\x00\x00\x05\x81\x00\x00\x06", tags_len);
    memcpy(frame + 12 + tags_len, packet, sizeof(packet));
    return 12 + tags_len + sizeof(packet);
}

/* Send it with @tags_len bytes of tags, and read it with @vnet_hdr_len. */
static void do_test_partial(size_t vnet_hdr_len, size_t tags_len)
{
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 34 + tags_len,
        .csum_offset = 6,
    };
    uint8_t buf[sizeof(hdr) + 100], got[4 * FRAME_MAX];
    uint8_t *frame = buf + sizeof(hdr), *field;
    size_t len = put_partial(frame, tags_len);
    int fd, on = 1;
    Rig r = { .mode = CAPTURE };

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (vnet_hdr_len) {
        g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
                                   &on, sizeof(on)), ==, 0);
    }
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});

    memcpy(buf, &hdr, sizeof(hdr));
    g_assert_cmpint(setsockopt(r.peer, SOL_PACKET, PACKET_VNET_HDR,
                               &on, sizeof(on)), ==, 0);
    g_assert_cmpint(send(r.peer, buf, sizeof(hdr) + len, 0), ==,
                    sizeof(hdr) + len);
    g_assert_cmpuint(rig_read_frame(&r, got, vnet_hdr_len), ==,
                     vnet_hdr_len + len);

    if (vnet_hdr_len) {
        memcpy(&hdr, got, sizeof(hdr));
    }
    if (!vnet_hdr_len || !(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        /* Complete, by us or by the kernel */
        field = frame + 40 + tags_len;
        field[0] = 0x62;
        field[1] = 0x69;
    } else {
        g_assert_cmpint(hdr.csum_start, ==, 34 + tags_len);
        g_assert_cmpint(hdr.csum_offset, ==, 6);
    }
    g_assert_cmpmem(got + vnet_hdr_len, len, frame, len);
    rig_free(&r);
}

static void test_partial_checksum(void)
{
    size_t tags_len;

    for (tags_len = 0; tags_len <= 8; tags_len += 4) {
        do_test_partial(0, tags_len);
        do_test_partial(10, tags_len);
    }
}

/*
 * Inject
 */

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

/* Vectors end anywhere in a record, and some are empty. */
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

/* Nothing is ever read, nor piles up. */
static void test_inject_read(const void *opaque)
{
    uint16_t proto = GPOINTER_TO_INT(opaque);
    Rig r = { .mode = INJECT };
    char byte;
    int fd, i;

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, proto);
    peer_send(&r, 60, 1);
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});
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

/* Bad frames are dropped, and counted; the next good one passes. */
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
        g_assert_cmpuint(stats.dropped_too_long, ==, n_long);
        g_assert_cmpuint(all_dropped(&stats), ==, n_short + n_long);
    }
    rig_free(&r);
}

/* What can't be records ends the channel; what came before went out. */
static const struct {
    const char *name;
    uint8_t bytes[8];
    size_t len;
} nonsense[] = {
    { "one-more", { 0x00, 0x01, 0x10, 0x01 }, 4 },
    { "text", { 'G', 'E', 'T', ' ', '/', ' ', 'H', 'T' }, 8 },
    { "ones", { 0xff, 0xff, 0xff, 0xff }, 4 },
    { "little-endian", { 0x3c, 0x00, 0x00, 0x00 }, 4 },
};

static void do_test_nonsense(int i, size_t chunk)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    Error *err = NULL;
    ssize_t ret = 0;
    size_t at;
    Rig r;

    rig_init(&r, INJECT, 0);
    append_record(stream, 60, 1);
    g_byte_array_append(stream, nonsense[i].bytes, nonsense[i].len);
    append_record(stream, 60, 2);
    for (at = 0; at < stream->len && ret >= 0; at += chunk) {
        ret = qio_channel_write(r.base, (char *)stream->data + at,
                                MIN(chunk, stream->len - at), &err);
    }
    g_assert_cmpint(ret, ==, -1);
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(error_get_pretty(err), "69632"));
    error_free(err);

    rig_expect_read(&r, 0);
    g_assert_cmpint(rig_wait(&r, G_IO_HUP, DEADLINE), ==, G_IO_HUP);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    rig_expect_read(&r, 0);

    /* It has ended for good */
    err = NULL;
    g_assert_cmpint(qio_channel_write(r.base, (char *)stream->data, 64, &err),
                    ==, -1);
    error_free_or_abort(&err);
    peer_expect(&r, 60, 1);
    g_assert_cmpint(recv(r.peer, &at, sizeof(at), MSG_DONTWAIT), ==, -1);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    rig_free(&r);
}

static void test_nonsense(const void *opaque)
{
    do_test_nonsense(GPOINTER_TO_INT(opaque), 1);
    do_test_nonsense(GPOINTER_TO_INT(opaque), 100000);
}

/* Half a record is nothing to a new connection, or to a new writer. */
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
            object_unref(OBJECT(r.ioc));
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

/* The vnet form: the header goes to the kernel, its length is checked. */
static void test_inject_vnet(void)
{
    uint8_t record[8 + 10 + 60] = { 0, 0, 0, 70, 0, 0, 0, 10 };
    Rig r = { .mode = INJECT };
    Error *err = NULL;
    int fd, on = 1;

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, 0);
    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
                               sizeof(on)), ==, 0);
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});

    put_frame(record + 18, 60, 1);
    rig_write(&r, record, sizeof(record), 11);
    peer_expect(&r, 60, 1);

    /* Unstated, */
    record[7] = 0;
    rig_write(&r, record, sizeof(record), 11);
    peer_expect(&r, 60, 1);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 2);
    g_assert_cmpuint(rig_stats(&r).bytes, ==, 120);

    /* too short with the header, */
    record[3] = 23;
    rig_write(&r, record, 8 + 23, 100);
    g_assert_cmpuint(rig_stats(&r).dropped_too_short, ==, 1);

    /* and of another length */
    record[7] = 12;
    g_assert_cmpint(qio_channel_write(r.base, (char *)record, sizeof(record),
                                      &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "12"));
    error_free(err);
    rig_expect_read(&r, 0);
    rig_free(&r);
}

/*
 * The link
 */

typedef struct LinkCase {
    const char *name;
    ChardevSocketAfPacketMode mode;
    uint16_t proto;
} LinkCase;

static const LinkCase link_cases[] = {
    { "capture", CAPTURE, TEST_ETHERTYPE },
    { "capture-all", CAPTURE, ETH_P_ALL },
    { "inject", INJECT, 0 },
    { "inject-all", INJECT, ETH_P_ALL },
};

/* A frame passes. */
static void assert_passes(Rig *r, int seq)
{
    uint8_t expected[60], got[4 * FRAME_MAX];

    if (r->mode == INJECT) {
        rig_write_record(r, 60, seq);
        peer_expect(r, 60, seq);
    } else {
        put_frame(expected, 60, seq);
        peer_send(r, 60, seq);
        g_assert_cmpuint(rig_read_frame(r, got, 0), ==, 60);
        g_assert_cmpmem(got, 60, expected, 60);
    }
}

/* Read and forget what the kernel says when an interface comes or goes. */
static void drain(Rig *r)
{
    char buf[4096];

    while (qio_channel_read(r->base, buf, sizeof(buf), &error_abort) > 0) {
        continue;
    }
}

/* Set the interface down; the channel waits, and counts. */
static void do_test_down(Rig *r)
{
    uint64_t dropped = rig_stats(r).dropped_link_down;
    int i;

    link_set_up(IFNAME, false);
    drain(r);
    rig_assert_idle(r);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
    for (i = 0; i < 5; i++) {
        rig_write_record(r, 60, i);
    }
    g_assert_cmpuint(rig_stats(r).dropped_link_down, ==,
                     dropped + (r->mode == INJECT ? 5 : 0));
    g_assert_cmpuint(rig_stats(r).queue_frames, ==, 0);
    rig_assert_idle(r);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
}

static void test_link_down_up(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;
    int i;

    rig_init(&r, c->mode, c->proto);
    for (i = 0; i < 2; i++) {
        assert_passes(&r, i);
        do_test_down(&r);
        close(r.peer);
        veth_bring_up(IFNAME, PEER);
        r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    }
    assert_passes(&r, i);
    rig_free(&r);
}

/* It was down, but that is over before the channel hears of it. */
static void test_link_flap(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    rig_assert_idle(&r);
    link_set_up(IFNAME, false);
    veth_bring_up(IFNAME, PEER);
    assert_passes(&r, 1);
    g_assert_cmpuint(rig_stats(&r).dropped_link_down, ==, 0);
    rig_free(&r);
}

/* The socket was bound while the interface was down. */
static void test_link_down_first(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r = { .mode = c->mode };

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    rig_connect(&r, packet_open(IFNAME, c->proto), &(ChardevAfPacketStats) {});
    rig_assert_idle(&r);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    veth_bring_up(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    assert_passes(&r, 1);
    rig_free(&r);
}

/* So is the far end's going down, of which the channel hears nothing. */
static void test_link_peer_down(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    link_set_up(PEER, false);
    drain(&r);
    rig_assert_idle(&r);
    rig_write_record(&r, 60, 1);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    close(r.peer);
    veth_bring_up(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    assert_passes(&r, 2);
    rig_free(&r);
}

static bool is_running(int fd)
{
    struct ifreq ifr = { .ifr_name = IFNAME };

    g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
    return ifr.ifr_flags & IFF_RUNNING;
}

/*
 * Write records until the counter at @offset goes up, which it has to within a
 * second or, as the kernel itself may take one to tell, two.
 */
static void write_until_counted(Rig *r, size_t offset)
{
    int64_t end = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;
    ChardevAfPacketStats stats = rig_stats(r);
    uint64_t *counter = (uint64_t *)((char *)&stats + offset);
    uint64_t before = *counter;

    while (*counter == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        rig_write_record(r, 60, 1);
        g_main_context_iteration(NULL, false);
        stats = rig_stats(r);
    }
}

/* Frames that go nowhere are sent, but counted apart. */
static void test_no_carrier(void)
{
    const size_t frames = offsetof(ChardevAfPacketStats, frames);
    const size_t lost = offsetof(ChardevAfPacketStats, no_carrier_frames);
    ChardevAfPacketStats before, after;
    Rig r;
    int i;

    rig_init(&r, INJECT, 0);
    assert_passes(&r, 1);
    g_assert_cmpuint(rig_stats(&r).no_carrier_frames, ==, 0);
    for (i = 0; i < 2; i++) {
        link_set_up(PEER, false);
        write_until_counted(&r, lost);
        before = rig_stats(&r);
        rig_write_record(&r, 60, 1);
        after = rig_stats(&r);
        g_assert_cmpuint(after.no_carrier_frames, ==,
                         before.no_carrier_frames + 1);
        g_assert_cmpuint(after.frames, ==, before.frames);
        g_assert_cmpuint(after.bytes, ==, before.bytes);
        /* At first the kernel may have refused some */
        g_assert_cmpuint(all_dropped(&after), ==, all_dropped(&before));

        veth_bring_up(IFNAME, PEER);
        write_until_counted(&r, frames);
        before = rig_stats(&r);
        rig_write_record(&r, 60, 1);
        after = rig_stats(&r);
        g_assert_cmpuint(after.no_carrier_frames, ==,
                         before.no_carrier_frames);
        g_assert_cmpuint(after.frames, ==, before.frames + 1);
    }
    rig_free(&r);
}

/* A dormant interface has a carrier, though it is not said to be running. */
static void test_dormant(void)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;
    Rig r = { .mode = INJECT };

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    link_set_dormant(IFNAME);
    veth_bring_up(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    rig_connect(&r, packet_open(IFNAME, 0), &(ChardevAfPacketStats) {});
    while (is_running(r.fd)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    g_assert_true(af_packet_socket_has_carrier(r.fd));
    rig_write_record(&r, 60, 1);
    peer_expect(&r, 60, 1);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).no_carrier_frames, ==, 0);
    rig_free(&r);
}

/* The channel ends within two seconds, and says so for as long as it is. */
static void assert_ends(Rig *r)
{
    Error *err = NULL;

    g_assert_cmpint(rig_wait(r, G_IO_HUP, 2 * G_TIME_SPAN_SECOND), ==,
                    G_IO_HUP);
    g_assert_cmpint(rig_wait(r, G_IO_IN | G_IO_HUP, DEADLINE) & G_IO_IN, ==,
                    G_IO_IN);
    drain(r);
    rig_expect_read(r, 0);
    rig_expect_read(r, 0);
    g_assert_cmpint(qio_channel_write(r->base, "", 1, &err), ==, -1);
    error_free_or_abort(&err);
}

static void test_link_delete(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    assert_passes(&r, 1);
    rig_assert_idle(&r);
    link_remove(IFNAME);
    assert_ends(&r);
    rig_free_after_removal(&r);
}

static void test_link_delete_while_down(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    do_test_down(&r);
    link_remove(IFNAME);
    assert_ends(&r);
    rig_free_after_removal(&r);
}

/* It went before anybody looked. */
static void test_link_delete_first(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r = { .mode = c->mode };
    int fd;

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, c->proto);
    link_remove(IFNAME);
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});
    assert_ends(&r);
    rig_free_after_removal(&r);
}

/* What had been received by then can be read first. */
static void do_test_link_delete_unread(bool notice)
{
    Rig r;
    int i;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    for (i = 0; i < 5; i++) {
        peer_send(&r, 60, i);
    }
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    link_remove(IFNAME);
    if (notice) {
        g_assert_cmpint(rig_wait(&r, G_IO_HUP, DEADLINE), ==, G_IO_HUP);
    }
    for (i = 0; i < 5; i++) {
        rig_expect(&r, 60, i, 64);
    }
    g_assert_cmpint(rig_wait(&r, G_IO_HUP, DEADLINE), ==, G_IO_HUP);
    rig_expect_read(&r, 0);
    rig_free_after_removal(&r);
}

static void test_link_delete_unread(void)
{
    do_test_link_delete_unread(true);
    do_test_link_delete_unread(false);
}

/*
 * The queue, before an interface that is slow
 */

/* What a frame of 1000 bytes takes */
#define QUEUED_BYTES (sizeof(AfPacketTxFrame) + 1000)

/* @rate, @limit: see link_add_tbf().  Returns: false if there is no such. */
static bool rig_init_slow(Rig *r, uint32_t rate, uint32_t limit, int sndbuf)
{
    rig_init(r, INJECT, 0);
    if (link_add_tbf(IFNAME, rate, 2 * FRAME_MAX, limit) < 0) {
        g_test_skip("the kernel has no token bucket filter");
        rig_free(r);
        return false;
    }
    g_assert_cmpint(setsockopt(r->fd, SOL_SOCKET, SO_SNDBUF, &sndbuf,
                               sizeof(sndbuf)), ==, 0);
    return true;
}

static bool sent(const ChardevAfPacketStats *stats, uint64_t n)
{
    return stats->frames >= n;
}

/* All frames arrive, and in order, though the kernel won't take them now. */
static void do_test_slow(uint32_t limit, int sndbuf)
{
    const int n = 200;
    struct pollfd writable = { .events = POLLOUT };
    ChardevAfPacketStats stats;
    int64_t end;
    Rig r;
    int i;

    if (!rig_init_slow(&r, MiB, limit, sndbuf)) {
        return;
    }
    writable.fd = r.fd;
    end = g_get_monotonic_time() + DEADLINE;
    for (i = 0; i < n; i++) {
        rig_write_record(&r, 1000, i);
        if (i > n / 2) {
            /* Others wait, though it could be sent at once */
            g_assert_cmpint(poll(&writable, 1, 10000), ==, 1);
        }
    }
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.queue_frames, >, 0);
    g_assert_cmpuint(stats.queue_bytes, ==,
                     QUEUED_BYTES * stats.queue_frames);
    g_assert_cmpuint(stats.frames + stats.queue_frames, ==, n);

    for (i = 0; i < n; i++) {
        rig_wait_stats(&r, sent, i + 1);
        peer_expect(&r, 1000, i);
    }
    /* It takes a fifth of a second, and was not by one look per second */
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

/* What finds no room is dropped, the newest first; all are accounted for. */
static void do_test_queue_full(uint32_t limit, int sndbuf)
{
    const uint64_t n_max = QUEUE_MAX / QUEUED_BYTES, n = n_max + 500;
    ChardevAfPacketStats stats;
    uint64_t waiting;
    Rig r;
    int i;

    if (!rig_init_slow(&r, 1000, limit, sndbuf)) {
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

    /* It waits without keeping the main loop busy, */
    rig_assert_idle(&r);

    /* and what waits at the end is counted too. */
    stats = rig_stats(&r);
    waiting = stats.queue_frames;
    g_assert_cmpuint(waiting, >, 0);
    qio_channel_close(r.base, &error_abort);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_detach, ==, waiting);
    g_assert_cmpuint(stats.queue_frames, ==, 0);
    g_assert_cmpuint(stats.queue_bytes, ==, 0);
    g_assert_cmpuint(stats.frames + all_dropped(&stats), ==, n);
    object_unref(OBJECT(r.ioc));
    close(r.peer);
    link_remove(IFNAME);
}

static void test_queue_full(void)
{
    do_test_queue_full(MiB, 1);
    do_test_queue_full(3 * FRAME_MAX, MiB);
}

/* What the kernel will never take does not hold up the rest. */
static void test_queue_hopeless(void)
{
    ChardevAfPacketStats stats;
    Rig r;

    rig_init(&r, INJECT, 0);
    if (link_add_tbf(IFNAME, MiB, 300, MiB) < 0) {
        g_test_skip("the kernel has no token bucket filter");
        rig_free(&r);
        return;
    }
    rig_write_record(&r, 1000, 1);
    rig_write_record(&r, 60, 2);
    rig_wait_stats(&r, sent, 1);
    peer_expect(&r, 60, 2);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_refused, ==, 1);
    g_assert_cmpuint(all_dropped(&stats), ==, 1);
    g_assert_cmpuint(stats.queue_frames, ==, 0);
    rig_free(&r);
}

/* The queue goes on from where the channel is attached to last. */
static void test_queue_attach(void)
{
    GMainContext *context = g_main_context_new();
    int64_t end = g_get_monotonic_time() + DEADLINE;
    GSource *tick = g_timeout_source_new(10);
    Rig r;
    int i;

    g_source_set_callback(tick, on_tick, NULL, NULL);
    g_source_attach(tick, context);
    if (rig_init_slow(&r, 200 * KiB, MiB, 1)) {
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

/*
 * Channels in general
 */

static void test_blocking(void)
{
    Error *err = NULL;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    qio_channel_set_blocking(r.base, false, &error_abort);
    qio_channel_set_blocking(r.base, true, &err);
    error_free_or_abort(&err);
    rig_free(&r);
}

/* After it was closed, all that is left is the counters. */
static void test_closed(void)
{
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        Error *err = NULL;
        Rig r;

        rig_init(&r, mode, usual_proto(mode));
        assert_passes(&r, 1);
        qio_channel_close(r.base, &error_abort);
        g_assert_cmpint(fcntl(r.fd, F_GETFD), <, 0);
        g_assert_cmpint(qio_channel_close(r.base, &error_abort), ==, 0);
        g_assert_cmpint(qio_channel_write(r.base, "", 1, &err), ==, -1);
        error_free_or_abort(&err);
        /* The interface isn't gone */
        qio_channel_af_packet_attach(r.ioc, NULL);
        rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
        g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
        object_unref(OBJECT(r.ioc));
        close(r.peer);
        link_remove(IFNAME);
    }
}

/* A socket that lives on elsewhere gives frames as it did before. */
static void test_restored(void)
{
    struct timeval tv = { .tv_sec = 10 };
    uint8_t expected[60], got[100];
    int mode, fd;
    Rig r;

    put_frame(expected, sizeof(expected), 2);
    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        rig_init(&r, mode, TEST_ETHERTYPE);
        assert_passes(&r, 1);
        fd = dup(r.fd);
        rig_disconnect(&r);

        peer_send(&r, sizeof(expected), 2);
        g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv,
                                   sizeof(tv)), ==, 0);
        g_assert_cmpint(recv(fd, got, sizeof(got), 0), ==, sizeof(expected));
        g_assert_cmpmem(got, sizeof(expected), expected, sizeof(expected));
        close(fd);
        close(r.peer);
        link_remove(IFNAME);
    }
}

/*
 * What a socket must be
 */

static int open_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int open_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

/* It hears all interfaces, but is bound to none */
static int open_everywhere(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
}

static int open_lo_one(void)
{
    return packet_open("lo", TEST_ETHERTYPE);
}

static int open_vnet(void)
{
    int fd = open_good(), on = 1;

    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
                               sizeof(on)), ==, 0);
    return fd;
}

/* Down is no reason to refuse it */
static int open_down(void)
{
    int fd;

    link_set_up("lo", false);
    fd = open_good();
    link_set_up("lo", true);
    return fd;
}

#define NOT_AF_PACKET "'af-packet-mode' requires an AF_PACKET fd"
#define BOTH 2

static const struct {
    const char *name;
    int (*open)(void);       /* returns -1 where there can be none */
    int mode;                /* which refuses it, or BOTH */
    const char *words[3];    /* of the message; none if it is accepted */
} check_cases[] = {
    { "file", open_file, BOTH, { NOT_AF_PACKET } },
    { "unix", open_unix, BOTH, { NOT_AF_PACKET } },
    { "netlink", open_netlink, BOTH, { NOT_AF_PACKET } },
    { "dgram", open_dgram, BOTH, { "SOCK_RAW", "link layer" } },
    { "unbound", open_unbound, BOTH, { "bound", "interface", "bind()" } },
    { "everywhere", open_everywhere, BOTH,
      { "bound", "interface", "bind()" } },
    { "removed", open_removed, BOTH, { "removed", "interface", "new" } },
    { "tun", open_tun, BOTH, { "Ethernet", "link type", "65534" } },
    { "deaf", open_protocol_0, CAPTURE,
      { "receives", "sll_protocol", "ETH_P_ALL" } },
    { "rx-ring", open_rx_ring, BOTH, { "ring", "PACKET_RX_RING" } },
    { "tx-ring", open_tx_ring, BOTH, { "ring", "PACKET_TX_RING" } },
    { "lo", open_good, BOTH },
    { "one-ethertype", open_lo_one, BOTH },
    { "vnet", open_vnet, BOTH },
    { "down", open_down, BOTH },
};

static void do_test_check(int i, int mode)
{
    int fd = check_cases[i].open(), n;
    bool refused = check_cases[i].words[0] &&
                   (check_cases[i].mode == BOTH ||
                    check_cases[i].mode == mode);
    Error *err = NULL;

    if (fd < 0) {
        g_test_skip("there is no such interface here");
        return;
    }
    g_assert_cmpint(af_packet_socket_check(fd, mode, &err), ==, !refused);
    if (!refused) {
        g_assert_null(err);
        close(fd);
        return;
    }
    g_assert_nonnull(err);
    g_assert_true(g_str_has_prefix(error_get_pretty(err),
                                   "'af-packet-mode"));
    for (n = 0; n < 3 && check_cases[i].words[n]; n++) {
        if (!strstr(error_get_pretty(err), check_cases[i].words[n])) {
            g_test_message("\"%s\" is not in: %s", check_cases[i].words[n],
                           error_get_pretty(err));
            g_test_fail();
        }
    }
    error_free(err);
    g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
    close(fd);
}

static void test_check(const void *opaque)
{
    do_test_check(GPOINTER_TO_INT(opaque), CAPTURE);
    do_test_check(GPOINTER_TO_INT(opaque), INJECT);
}

/* A check changes nothing: a frame is received as it would have been. */
static void test_check_changes_nothing(void)
{
    uint8_t frame[60], got[100];
    int fd, peer;

    veth_add(IFNAME, PEER);
    fd = packet_endpoint(IFNAME, TEST_ETHERTYPE);
    peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    put_frame(frame, sizeof(frame), 1);
    g_assert_cmpint(send(peer, frame, sizeof(frame), 0), ==, sizeof(frame));
    g_assert_true(af_packet_socket_check(fd, CAPTURE, &error_abort));
    g_assert_cmpint(recv(fd, got, sizeof(got), 0), ==, sizeof(frame));
    g_assert_cmpmem(got, sizeof(frame), frame, sizeof(frame));
    close(fd);
    close(peer);
    link_remove(IFNAME);
}

/* The name is the present one, and gone with the interface. */
static void test_ifname(void)
{
    g_autofree char *name = NULL;
    int fd;

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    fd = packet_open(IFNAME, 0);
    name = af_packet_socket_ifname(fd);
    g_assert_cmpstr(name, ==, IFNAME);
    g_assert_cmpint(af_packet_socket_link(fd), ==, AF_PACKET_LINK_DOWN);
    link_set_up(IFNAME, true);
    g_assert_cmpint(af_packet_socket_link(fd), ==, AF_PACKET_LINK_UP);
    link_remove(IFNAME);
    g_assert_null(af_packet_socket_ifname(fd));
    g_assert_cmpint(af_packet_socket_link(fd), ==, AF_PACKET_LINK_GONE);
    close(fd);
}

/*
 * Registration
 */

static void test_skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

static void add_test(const char *group, const char *name, const void *data,
                     GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("/channel-af-packet/%s/%s",
                                            group, name);

    g_test_add_data_func(path, data, skip_reason ? test_skip : func);
}

static void call(const void *opaque)
{
    ((GTestFunc)opaque)();
}

static void add_simple_test(const char *group, const char *name,
                            GTestFunc func)
{
    add_test(group, name, func, call);
}

static void add_capture_tests(void)
{
    int i;

    add_simple_test("capture", "records", test_capture);
    add_simple_test("capture", "bytewise", test_capture_bytewise);
    add_simple_test("capture", "readv", test_capture_readv);
    add_simple_test("capture", "take", test_capture_take);
    add_simple_test("capture", "cut", test_capture_cut);
    add_simple_test("capture", "staged-watch", test_capture_staged_watch);
    add_simple_test("capture", "rest", test_capture_rest);
    add_simple_test("capture", "restart", test_capture_restart);
    add_simple_test("capture", "write", test_capture_write);
    add_simple_test("capture", "kernel-drops", test_capture_kernel_drops);
    add_simple_test("capture", "early", test_capture_early);
    add_simple_test("capture", "reserve", test_capture_reserve);
    add_simple_test("capture", "drop-many", test_capture_drop_many);
    add_simple_test("capture", "rcvbuf", test_capture_rcvbuf);
    add_simple_test("capture/ufo", "ring", test_ufo_ring);
    add_simple_test("capture/ufo", "queue", test_ufo_queue);
    add_simple_test("capture", "undescribable", test_undescribable);
    add_simple_test("capture", "partial-checksum", test_partial_checksum);
    for (i = 0; i < ARRAY_SIZE(vlan_cases); i++) {
        add_test("capture/vlan", vlan_cases[i].name, GINT_TO_POINTER(i),
                 test_vlan);
    }
}

static void add_inject_tests(void)
{
    int i;

    add_simple_test("inject", "pieces", test_inject_pieces);
    add_simple_test("inject", "at-once", test_inject_at_once);
    add_simple_test("inject", "writev", test_inject_writev);
    add_test("inject/read", "deaf", GINT_TO_POINTER(0), test_inject_read);
    add_test("inject/read", "all", GINT_TO_POINTER(ETH_P_ALL),
             test_inject_read);
    add_simple_test("inject", "bad-frames", test_inject_bad_frames);
    add_simple_test("inject", "half", test_inject_half);
    add_simple_test("inject", "vnet", test_inject_vnet);
    for (i = 0; i < ARRAY_SIZE(nonsense); i++) {
        add_test("inject/nonsense", nonsense[i].name, GINT_TO_POINTER(i),
                 test_nonsense);
    }
    add_simple_test("queue", "slow-socket", test_slow_socket);
    add_simple_test("queue", "slow-interface", test_slow_interface);
    add_simple_test("queue", "full", test_queue_full);
    add_simple_test("queue", "hopeless", test_queue_hopeless);
    add_simple_test("queue", "attach", test_queue_attach);
}

static void add_link_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(link_cases); i++) {
        const LinkCase *c = &link_cases[i];

        add_test("link/down-up", c->name, c, test_link_down_up);
        add_test("link/flap", c->name, c, test_link_flap);
        add_test("link/down-first", c->name, c, test_link_down_first);
        add_test("link/peer-down", c->name, c, test_link_peer_down);
        add_test("link/delete", c->name, c, test_link_delete);
        add_test("link/delete-while-down", c->name, c,
                 test_link_delete_while_down);
        add_test("link/delete-first", c->name, c, test_link_delete_first);
    }
    add_simple_test("link", "delete-unread", test_link_delete_unread);
    add_simple_test("link", "no-carrier", test_no_carrier);
    add_simple_test("link", "dormant", test_dormant);
}

int main(int argc, char **argv)
{
    int i;

    signal(SIGPIPE, SIG_IGN);
    skip_reason = netns_skip_reason();

    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);

    for (i = 0; i < ARRAY_SIZE(check_cases); i++) {
        add_test("check", check_cases[i].name, GINT_TO_POINTER(i),
                 test_check);
    }
    add_simple_test("check", "changes-nothing", test_check_changes_nothing);
    add_simple_test("check", "ifname", test_ifname);
    add_capture_tests();
    add_inject_tests();
    add_link_tests();
    add_simple_test("channel", "blocking", test_blocking);
    add_simple_test("channel", "closed", test_closed);
    add_simple_test("channel", "restored", test_restored);
    return g_test_run();
}
