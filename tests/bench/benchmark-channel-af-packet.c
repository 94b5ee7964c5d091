/*
 * Benchmark of the QIOChannel between AF_PACKET frames and records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Measures the channel alone, without main loop and chardev, on a veth pair in
 * a network namespace of its own, and compares it with bare recv() or send()
 * calls on the same link.  It uses CPU time, which is less affected by other
 * load on the machine.
 *
 *                    +---------+   +-------+   +-------+
 *   records <------> | channel | --| veth0 |---| veth1 | <------> frames
 *                    +---------+   +-------+   +-------+
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
#include "../unit/af-packet-helpers.h"

#define IFNAME "veth0"
#define PEER "veth1"

#define HEAD_LEN sizeof(uint32_t)
#define FRAME_MAX 1514
#define BURST 64    /* fits into any queue on the way */
#define ROUNDS 2000
#define DEADLINE (10 * G_TIME_SPAN_SECOND)

typedef struct Rig {
    size_t frame_len;
    uint8_t records[BURST * (HEAD_LEN + FRAME_MAX)];
    QIOChannelAfPacket *ioc;
    int fd;                  /* a bare socket, used without a channel */
    int peer;
} Rig;

/* Receives or sends BURST frames */
typedef void (*BurstFunc)(Rig *r);

static void fill_records(Rig *r)
{
    size_t record_len = HEAD_LEN + r->frame_len;
    int i;

    memset(r->records, 2, sizeof(r->records));
    for (i = 0; i < BURST; i++) {
        stl_be_p(r->records + i * record_len, r->frame_len);
        stw_be_p(r->records + i * record_len + HEAD_LEN + 2 * ETH_ALEN,
                 TEST_ETHERTYPE);
    }
}

static void open_channel(Rig *r, int fd, ChardevSocketAfPacketMode mode)
{
    QIOChannelSocket *sioc = qio_channel_socket_new_fd(fd, &error_abort);

    r->ioc = qio_channel_af_packet_new(sioc, mode, "benchmark",
                                       &(ChardevAfPacketStats) {});
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(r->ioc, NULL);
}

static void close_channel(Rig *r)
{
    qio_channel_close(QIO_CHANNEL(r->ioc), &error_abort);
    object_unref(OBJECT(r->ioc));
}

static void send_frames(Rig *r, int fd)
{
    int i;

    for (i = 0; i < BURST; i++) {
        g_assert_cmpint(send(fd, r->records + HEAD_LEN, r->frame_len, 0),
                        ==, r->frame_len);
    }
}

static void receive_frames(Rig *r, int fd)
{
    uint8_t frame[FRAME_MAX + 1];
    int i;

    for (i = 0; i < BURST; i++) {
        g_assert_cmpint(recv(fd, frame, sizeof(frame), 0), ==, r->frame_len);
    }
}

static void send_bare(Rig *r)
{
    send_frames(r, r->fd);
}

static void receive_bare(Rig *r)
{
    receive_frames(r, r->fd);
}

static void send_from_peer(Rig *r)
{
    send_frames(r, r->peer);
}

static void receive_at_peer(Rig *r)
{
    receive_frames(r, r->peer);
}

static void write_records(Rig *r)
{
    struct iovec iov = {
        .iov_base = r->records,
        .iov_len = BURST * (HEAD_LEN + r->frame_len),
    };

    g_assert_cmpint(qio_channel_writev(QIO_CHANNEL(r->ioc), &iov, 1,
                                       &error_abort), ==, iov.iov_len);
}

static void take_records(Rig *r)
{
    const int64_t end = g_get_monotonic_time() + DEADLINE;
    const uint8_t *record;
    ssize_t len;
    int i = 0;

    while (i < BURST) {
        len = qio_channel_af_packet_take(r->ioc, SIZE_MAX, &record);
        if (len == QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(g_get_monotonic_time(), <, end);
            g_main_context_iteration(NULL, false);
            continue;
        }
        g_assert_cmpint(len, ==, HEAD_LEN + r->frame_len);
        i++;
    }
}

static int64_t cpu_time(void)
{
    struct timespec t;

    g_assert_cmpint(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), ==, 0);
    return t.tv_sec * NANOSECONDS_PER_SECOND + t.tv_nsec;
}

/* Returns: CPU time of @timed per frame, in nanoseconds. */
static double measure(Rig *r, BurstFunc before, BurstFunc timed,
                      BurstFunc after)
{
    int64_t total = 0, start;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        if (before) {
            before(r);
        }
        start = cpu_time();
        timed(r);
        total += cpu_time() - start;
        if (after) {
            after(r);
        }
    }
    return (double)total / ROUNDS / BURST;
}

static void report(const Rig *r, double channel, double bare,
                   const char *bare_name)
{
    g_test_message("%zu bytes: %.0f ns per frame, %s %.0f ns, ratio %.2f",
                   r->frame_len, channel, bare_name, bare, channel / bare);
}

static void bench_capture(gconstpointer frame_len)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    double bare, channel;

    r->frame_len = GPOINTER_TO_SIZE(frame_len);
    fill_records(r);
    veth_add(IFNAME, PEER);
    r->peer = packet_endpoint(PEER, 0);

    r->fd = packet_endpoint(IFNAME, TEST_ETHERTYPE);
    bare = measure(r, send_from_peer, receive_bare, NULL);
    close(r->fd);

    open_channel(r, packet_open(IFNAME, TEST_ETHERTYPE),
                 CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE);
    channel = measure(r, send_from_peer, take_records, NULL);
    close_channel(r);

    close(r->peer);
    link_remove(IFNAME);
    report(r, channel, bare, "recv()");
}

static void bench_inject(gconstpointer frame_len)
{
    g_autofree Rig *r = g_new0(Rig, 1);
    double bare, channel;

    r->frame_len = GPOINTER_TO_SIZE(frame_len);
    fill_records(r);
    veth_add(IFNAME, PEER);
    r->peer = packet_endpoint(PEER, TEST_ETHERTYPE);

    r->fd = packet_endpoint(IFNAME, 0);
    bare = measure(r, NULL, send_bare, receive_at_peer);
    close(r->fd);

    open_channel(r, packet_open(IFNAME, 0),
                 CHARDEV_SOCKET_AF_PACKET_MODE_INJECT);
    channel = measure(r, NULL, write_records, receive_at_peer);
    close_channel(r);

    close(r->peer);
    link_remove(IFNAME);
    report(r, channel, bare, "send()");
}

static void bench_nothing(gconstpointer why)
{
    g_test_skip(why);
}

static void add_benches(const char *mode, GTestDataFunc func)
{
    static const size_t lens[] = { 64, 512, 1514 };
    int i;

    for (i = 0; i < ARRAY_SIZE(lens); i++) {
        g_autofree char *path = g_strdup_printf("/channel-af-packet/%s/%zu",
                                                mode, lens[i]);

        g_test_add_data_func(path, GSIZE_TO_POINTER(lens[i]), func);
    }
}

int main(int argc, char **argv)
{
    const char *skip_reason = netns_skip_reason();

    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);

    if (skip_reason) {
        g_test_add_data_func("/channel-af-packet", skip_reason,
                             bench_nothing);
    } else {
        add_benches("capture", bench_capture);
        add_benches("inject", bench_inject);
    }
    return g_test_run();
}
