/*
 * QTest testcase for filters whose outdev does not accept packets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test side           | qemu side
 *                     |
 * +-----------+       |  +--------+  +-----+  +---------+
 * |  packets  +----------> stream +--> any +-->   out   |
 * +-----------+       |  | netdev |  | out |  +----+----+
 *                     |  +--------+  +-----+       |
 * +-----------+       |                            |
 * | reads not <------------------------------------+
 * |  or late  |       |
 * +-----------+       |
 */

#include "qemu/osdep.h"
#include "packet-stream.h"
#include "qemu/sockets.h"

/* More than the smallest socket buffer holds, so that some are split */
#define PACKET_LEN 20000
#define RECORD_LEN (HEAD_LEN + PACKET_LEN)
#define QUEUE_MAX (4 * 1024 * 1024)
/* More than the queue and the socket's buffers hold */
#define N_PACKETS (2 * QUEUE_MAX / PACKET_LEN)

typedef struct Rig {
    QTestState *qts;
    int in;     /* our end of the netdev, which does not wait for filters */
    int out;    /* our end of "out" */
} Rig;

/* @out: options of the chardev "out", whose other end is r->out */
static void rig_start(Rig *r, const char *type, const char *out)
{
    int in;

    r->in = pair_create(&in);
    r->qts = qtest_initf(
        "-nodefaults -machine none "
        "-netdev stream,id=in,server=off,addr.type=fd,addr.str=%d "
        "-netdev hubport,id=hub0,hubid=0,netdev=in "
        "-netdev hubport,id=hub1,hubid=0 "
        "-chardev %s,id=out "
        "-object %s,id=f0,netdev=in,queue=tx,outdev=out",
        in, out, type);
    close(in);
}

static void rig_init(Rig *r, const char *type)
{
    g_autofree char *options = NULL;
    int out;

    r->out = small_pair_create(&out);
    options = g_strdup_printf("socket,fd=%d", out);
    rig_start(r, type, options);
    close(out);
}

static void rig_init_udp(Rig *r, const char *type)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(addr);
    g_autofree char *options = NULL;

    r->out = qemu_socket(AF_INET, SOCK_DGRAM, 0);
    fd_set_deadline(r->out);
    g_assert_cmpint(bind(r->out, (struct sockaddr *)&addr, len), ==, 0);
    g_assert_cmpint(getsockname(r->out, (struct sockaddr *)&addr, &len),
                    ==, 0);
    options = g_strdup_printf("udp,host=127.0.0.1,port=%d",
                              ntohs(addr.sin_port));
    rig_start(r, type, options);
}

static void rig_free(Rig *r)
{
    qtest_quit(r->qts);
    close(r->in);
    close(r->out);
}

static void send_packets(Rig *r, uint32_t first, uint32_t n)
{
    packet_records_send(r->in, PACKET_LEN, first, n);
}

/* Receive a whole packet.  Returns: its number */
static uint32_t expect_packet(Rig *r)
{
    return packet_record_receive(r->out, PACKET_LEN);
}

/* Send more than fits; QEMU keeps running, and counts lost packets. */
static uint32_t stall(Rig *r)
{
    const int64_t end = deadline();
    uint64_t n, before = 0;

    send_packets(r, 0, N_PACKETS);
    /* QEMU has processed all packets when the counter stops increasing */
    while ((n = filter_dropped(r->qts)) == 0 || n != before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        before = n;
        g_usleep(20 * 1000);
    }
    g_assert_cmpuint(n, <, N_PACKETS - QUEUE_MAX / RECORD_LEN + 1);
    return n;
}

/* The first packets are kept in order; later, packets pass again. */
static void test_late(const void *opaque)
{
    uint32_t seq, kept;
    Rig r;

    rig_init(&r, opaque);
    kept = N_PACKETS - stall(&r);
    for (seq = 0; seq < kept; seq++) {
        g_assert_cmpuint(expect_packet(&r), ==, seq);
    }
    send_packets(&r, N_PACKETS, 1);
    g_assert_cmpuint(expect_packet(&r), ==, N_PACKETS);
    g_assert_cmpuint(filter_dropped(r.qts), ==, N_PACKETS - kept);
    rig_free(&r);
}

static void object_add(Rig *r, const char *type)
{
    qtest_qmp_assert_success(r->qts,
        "{'execute': 'object-add', 'arguments': {"
        "'qom-type': %s, 'id': 'f0', 'netdev': 'in', 'queue': 'tx', "
        "'outdev': 'out'}}", type);
}

static void object_del(Rig *r)
{
    qtest_qmp_assert_success(r->qts, "{'execute': 'object-del', "
                             "'arguments': {'id': 'f0'}}");
}

/*
 * A filter is removed without waiting.  Its connection ends, so that the next
 * filter does not start with the rest of a packet.
 */
static void test_remove(const void *opaque)
{
    uint8_t record[RECORD_LEN];
    ssize_t len;
    Rig r;

    rig_init(&r, opaque);
    stall(&r);
    object_del(&r);
    g_assert_false(chardev_connected(r.qts, "out"));
    do {
        len = recv(r.out, record, sizeof(record), MSG_WAITALL);
    } while (len == sizeof(record));
    g_assert_cmpint(len, >=, 0);
    rig_free(&r);
}

/* If the queue is empty, the next filter can reuse the connection. */
static void test_replace(const void *opaque)
{
    Rig r;

    rig_init(&r, opaque);
    send_packets(&r, 0, 1);
    g_assert_cmpuint(expect_packet(&r), ==, 0);
    object_del(&r);
    object_add(&r, opaque);
    send_packets(&r, 1, 1);
    g_assert_cmpuint(expect_packet(&r), ==, 1);
    rig_free(&r);
}

/* A new connection starts with a whole packet. */
static void test_reconnect(const void *opaque)
{
    int out;
    Rig r;

    rig_init(&r, opaque);
    stall(&r);
    close(r.out);
    chardev_wait_connected(r.qts, "out", false);
    r.out = pair_create(&out);
    chardev_connect(r.qts, "out", out);
    send_packets(&r, N_PACKETS, 1);
    g_assert_cmpuint(expect_packet(&r), ==, N_PACKETS);
    rig_free(&r);
}

/* Packets of one batch do not share a datagram, which may be lost. */
static void test_datagrams(const void *opaque)
{
    uint8_t records[3][RECORD_LEN];
    uint32_t seq;
    Rig r;

    rig_init_udp(&r, opaque);
    for (seq = 0; seq < ARRAY_SIZE(records); seq++) {
        packet_record_fill(records[seq], PACKET_LEN, seq);
    }
    g_assert_cmpint(send(r.in, records, sizeof(records), 0), ==,
                    sizeof(records));
    for (seq = 0; seq < ARRAY_SIZE(records); seq++) {
        g_assert_cmpuint(expect_packet(&r), ==, seq);
    }
    rig_free(&r);
}

int main(int argc, char **argv)
{
    static const TestRow rows[] = {
        { "stall/late", test_late },
        { "stall/remove", test_remove },
        { "stall/replace", test_replace },
        { "stall/reconnect", test_reconnect },
        { "stall/datagrams", test_datagrams },
    };

    g_test_init(&argc, &argv, NULL);
    add_rows("filter-redirector", rows, ARRAY_SIZE(rows), "",
             "filter-redirector");
    add_rows("filter-mirror", rows, ARRAY_SIZE(rows), "", "filter-mirror");
    return g_test_run();
}
