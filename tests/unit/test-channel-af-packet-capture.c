/*
 * Unit tests of the af-packet channel: capture
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/timerfd.h>
#include "qemu/sockets.h"
#include "channel-af-packet-rig.h"

/* After dense frames, the channel becomes ready once more, without data. */
static void rig_end_rest(Rig *r)
{
    g_usleep(1000);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
}

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

/* A read continues in the next vector, but not with the next record. */
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

/* Bytes are not copied, and a record is counted at its end. */
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

    /* Never beyond the end of a record */
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 1000, &buf), ==, 64);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 1000, &buf), ==,
                    QIO_CHANNEL_ERR_BLOCK);
    rig_free(&r);
}

/*
 * If the opener has set SO_RCVBUF, several frames are received in a batch:
 * unread ones make the channel readable, and are counted if they are lost.
 */
static void test_capture_batch(void)
{
    Rig r;
    int fd;

    fd = rig_open(&r, CAPTURE, TEST_ETHERTYPE);
    socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, 100000);
    rig_connect(&r, fd, NULL);
    peer_send(&r, 60, 1);
    peer_send(&r, 60, 2);
    peer_send(&r, 60, 3);
    rig_expect(&r, 60, 1, 64);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    rig_expect(&r, 60, 2, 64);
    qio_channel_close(r.base, &error_abort);
    g_assert_cmpuint(rig_stats(&r).dropped_detach, ==, 1);
    rig_free(&r);
}

/* Data that is staged, and no longer in the socket, makes it readable. */
static void test_capture_staged_watch(void)
{
    const uint8_t *buf;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    peer_send(&r, 60, 1);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 63, &buf), ==, 63);
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    /* A watch does not report other conditions */
    g_assert_cmpint(rig_wait(&r, G_IO_HUP, QUIET_TIME), ==, 0);
    g_assert_cmpint(qio_channel_af_packet_take(r.ioc, 63, &buf), ==, 1);
    rig_assert_idle(&r);
    rig_free(&r);
}

/* Find the timer that ends the channel's rests, the only timerfd here. */
static int find_rest_timer(void)
{
    struct itimerspec left;
    int fd = 0;

    while (timerfd_gettime(fd, &left) < 0) {
        g_assert_cmpint(++fd, <, 1024);
    }
    return fd;
}

/* Set the timer to expire after this time, or never if it is 0. */
static void set_rest_timer(int timer, time_t sec, long nsec)
{
    const struct itimerspec rest = { .it_value = { sec, nsec } };

    g_assert_cmpint(timerfd_settime(timer, 0, &rest, NULL), ==, 0);
}

/* Returns: whether the channel has set the timer since set_rest_timer(). */
static bool rest_has_begun(int timer)
{
    struct pollfd over = { .fd = timer, .events = POLLIN };
    struct itimerspec left;

    g_assert_cmpint(timerfd_gettime(timer, &left), ==, 0);
    return left.it_value.tv_nsec || poll(&over, 1, 0) == 1;
}

/*
 * When frames arrive densely, the channel is not ready for a moment, and then
 * becomes ready.  100 frames count as dense within two milliseconds; the test
 * controls how long the moment lasts.
 */
static void test_capture_rest(void)
{
    int64_t end = deadline_in(DEADLINE);
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
    g_assert_cmpint(rig_wait(&r, G_IO_IN, QUIET_TIME), ==, 0);
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

/* A frame that a filter has truncated is dropped. */
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
    peer_send(&r, FRAME_MAX, 3);
    peer_send(&r, 14, 4);
    rig_expect(&r, 60, 2, 64);
    rig_expect(&r, 14, 4, 64);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 2);
    g_assert_cmpuint(rig_stats(&r).dropped_filtered, ==, 2);
    rig_free(&r);
}

/* Writing to a capture channel succeeds, without effect. */
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

    /* No frame was sent before that of another socket */
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
 * Frames that the kernel has no room for are counted: long ones, which use the
 * receive buffer, and short ones, of which thousands fit into the ring.
 */
static void test_capture_kernel_drops(void)
{
    const int n_long = 1000, n_short = 40000;
    ChardevAfPacketStats stats;
    uint64_t dropped;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    socket_set_int(r.fd, SOL_SOCKET, SO_RCVBUF, 0);
    peer_flood(&r, FRAME_MAX, n_long);
    stats = rig_account(&r, n_long);
    g_assert_cmpuint(stats.frames, >, 0);
    g_assert_cmpuint(stats.dropped_kernel, >, 0);
    dropped = stats.dropped_kernel;

    peer_flood(&r, 60, n_short);
    stats = rig_account(&r, n_long + n_short);
    g_assert_cmpuint(stats.dropped_kernel, >, dropped);
    g_assert_cmpuint(stats.dropped_kernel, <, dropped + n_short - 8000);
    dropped = stats.dropped_kernel;

    /* Reading the kernel's counter resets it: ours accumulates, */
    g_assert_cmpuint(rig_stats(&r).dropped_kernel, ==, dropped);

    /* and includes the last drops after the socket is closed */
    peer_flood(&r, 60, n_short);
    qio_channel_close(r.base, &error_abort);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.dropped_kernel, >, dropped);
    g_assert_cmpuint(stats.frames + stats.dropped_kernel +
                     stats.dropped_detach, ==, n_long + 2 * n_short);
    rig_free(&r);
}

/*
 * Frames that were queued before the channel was created come first; long and
 * short ones stay in order.  @reserve: the opener's value of PACKET_RESERVE,
 * in bytes
 */
static void do_test_capture_early(unsigned reserve)
{
    static const size_t lens[] = {
        60, FRAME_MAX, 60, 1517, 1518, 1519, 1600, 14
    };
    int round, i, fd;
    Rig r;

    fd = rig_open(&r, CAPTURE, TEST_ETHERTYPE);
    socket_set_int(fd, SOL_PACKET, PACKET_RESERVE, reserve);
    for (i = 0; i < ARRAY_SIZE(lens); i++) {
        peer_send(&r, lens[i], i);
    }
    rig_connect(&r, fd, NULL);
    g_assert_true(packet_has_ring(fd) == !reserve);
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
    rig_free(&r);
}

static void test_capture_early(void)
{
    do_test_capture_early(0);
}

/* The reserved bytes leave no room in a slot: no ring must be used. */
static void test_capture_reserve(void)
{
    do_test_capture_early(100);
}

/* Frames that have to be dropped do not hold up the next one. */
static void test_capture_drop_many(void)
{
    const uint8_t *buf;
    ssize_t len;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    socket_set_int(r.fd, SOL_SOCKET, SO_RCVBUF, 0);
    peer_flood(&r, FRAME_MAX, 100);
    peer_send(&r, 60, 1);
    do {
        len = qio_channel_af_packet_take(r.ioc, 2048, &buf);
        g_assert_cmpint(len, >, 0);
    } while (len != 64);
    g_assert_cmpuint(rig_stats(&r).dropped_kernel, >, 50);
    rig_free(&r);
}

/* Returns: SO_BUF_LOCK; 0 if the kernel does not report it */
static int get_buf_lock(int fd)
{
    return packet_socket_knows(SOL_SOCKET, SO_BUF_LOCK) ?
           socket_get_int(fd, SO_BUF_LOCK) : 0;
}

/*
 * The receive buffer is enlarged and a ring is used, unless the opener has set
 * SO_RCVBUF: then all frames use the receive buffer.
 */
static void test_capture_rcvbuf(void)
{
    const int chosen = 100000;
    int fd, before, lock;
    Rig r;

    fd = rig_open(&r, CAPTURE, TEST_ETHERTYPE);
    socket_set_int(fd, SOL_SOCKET, SO_SNDBUF, chosen);
    before = socket_get_int(fd, SO_RCVBUF);
    lock = get_buf_lock(fd);
    rig_connect(&r, dup(fd), NULL);
    g_assert_cmpint(socket_get_int(fd, SO_RCVBUF), >, before);
    g_assert_true(packet_has_ring(fd));
    rig_disconnect(&r);
    g_assert_false(packet_has_ring(fd));
    g_assert_cmpint(socket_get_int(fd, SO_RCVBUF), ==, before);
    g_assert_cmpint(get_buf_lock(fd), ==, lock);

    socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, chosen);
    rig_connect(&r, fd, NULL);
    g_assert_cmpint(socket_get_int(fd, SO_RCVBUF), ==, 2 * chosen);
    g_assert_false(packet_has_ring(fd));
    peer_send(&r, 60, 1);
    peer_send(&r, FRAME_MAX, 2);
    rig_expect(&r, 60, 1, 64);
    rig_expect(&r, FRAME_MAX, 2, 2048);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet/capture");
    suite_add("records", test_capture);
    suite_add("bytewise", test_capture_bytewise);
    suite_add("readv", test_capture_readv);
    suite_add("take", test_capture_take);
    suite_add("cut", test_capture_cut);
    suite_add("batch", test_capture_batch);
    suite_add("staged-watch", test_capture_staged_watch);
    suite_add("rest", test_capture_rest);
    suite_add("restart", test_capture_restart);
    suite_add("write", test_capture_write);
    suite_add("kernel-drops", test_capture_kernel_drops);
    suite_add("early", test_capture_early);
    suite_add("reserve", test_capture_reserve);
    suite_add("drop-many", test_capture_drop_many);
    suite_add("rcvbuf", test_capture_rcvbuf);
    return g_test_run();
}
