/*
 * QTest testcase for filters whose outdev does not take packets
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
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"

#define DEADLINE_SEC 10
/* More than the smallest socket buffer holds, so that some are torn */
#define PACKET_LEN 20000
#define RECORD_LEN (sizeof(uint32_t) + PACKET_LEN)
#define QUEUE_MAX (4 * 1024 * 1024)
/* More than the queue and the socket's buffers hold */
#define N_PACKETS (2 * QUEUE_MAX / PACKET_LEN)

typedef struct Rig {
    QTestState *qts;
    int in;     /* our end of the netdev, which waits for no filter */
    int out;    /* our end of "out" */
} Rig;

static void set_deadline(int fd)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO,
                               &tv, sizeof(tv)), ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO,
                               &tv, sizeof(tv)), ==, 0);
}

static int inheritable_pair(int *theirs)
{
    int fds[2];

    g_assert_cmpint(qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[1], F_SETFD, 0), ==, 0);
    set_deadline(fds[0]);
    *theirs = fds[1];
    return fds[0];
}

/* @out: the options of the chardev "out", which r->out is the other end of */
static void rig_start(Rig *r, const char *type, const char *out)
{
    int in;

    r->in = inheritable_pair(&in);
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
    int out, least = 1;

    r->out = inheritable_pair(&out);
    g_assert_cmpint(setsockopt(out, SOL_SOCKET, SO_SNDBUF,
                               &least, sizeof(least)), ==, 0);
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
    set_deadline(r->out);
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

static void record_fill(uint8_t *record, uint32_t seq)
{
    size_t i;

    stl_be_p(record, PACKET_LEN);
    stl_be_p(record + sizeof(uint32_t), seq);
    for (i = 2 * sizeof(uint32_t); i < RECORD_LEN; i++) {
        record[i] = seq * 31 + i;
    }
}

static void send_packets(Rig *r, uint32_t first, uint32_t n)
{
    uint8_t record[RECORD_LEN];
    uint32_t seq;

    for (seq = first; seq < first + n; seq++) {
        record_fill(record, seq);
        g_assert_cmpint(send(r->in, record, sizeof(record), 0), ==,
                        sizeof(record));
    }
}

/* Returns: the number of the next packet, which is whole */
static uint32_t expect_packet(Rig *r)
{
    uint8_t record[RECORD_LEN], expected[RECORD_LEN];
    uint32_t seq;

    g_assert_cmpint(recv(r->out, record, sizeof(record), MSG_WAITALL), ==,
                    sizeof(record));
    seq = ldl_be_p(record + sizeof(uint32_t));
    record_fill(expected, seq);
    g_assert_cmpmem(record, sizeof(record), expected, sizeof(expected));
    return seq;
}

static uint64_t dropped(Rig *r)
{
    QDict *reply = qtest_qmp(r->qts, "{'execute': 'qom-get', 'arguments': {"
                             "'path': '/objects/f0', "
                             "'property': 'dropped-packets'}}");
    uint64_t n;

    g_assert(qdict_haskey(reply, "return"));
    n = qdict_get_int(reply, "return");
    qobject_unref(reply);
    return n;
}

/* Send more than can wait; QEMU goes on, and what is lost is counted. */
static uint32_t stall(Rig *r)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    uint64_t n, before = 0;

    send_packets(r, 0, N_PACKETS);
    /* All of it was looked at when nothing is lost any more */
    while ((n = dropped(r)) == 0 || n != before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        before = n;
        g_usleep(20 * 1000);
    }
    g_assert_cmpuint(n, <, N_PACKETS - QUEUE_MAX / RECORD_LEN + 1);
    return n;
}

/* The first packets are kept, in order; later ones pass again. */
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
    g_assert_cmpuint(dropped(&r), ==, N_PACKETS - kept);
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
 * A filter that is removed does not wait for anybody.  Its connection ends,
 * as the rest of a packet would make no sense to the next filter.
 */
static void test_remove(const void *opaque)
{
    uint8_t record[RECORD_LEN];
    ssize_t len;
    Rig r;

    rig_init(&r, opaque);
    stall(&r);
    object_del(&r);
    g_assert_false(qtest_qom_get_bool(r.qts, "/chardevs/out", "connected"));
    do {
        len = recv(r.out, record, sizeof(record), MSG_WAITALL);
    } while (len == sizeof(record));
    g_assert_cmpint(len, >=, 0);
    rig_free(&r);
}

/* When nothing waits, the connection goes on with the next filter. */
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
    while (qtest_qom_get_bool(r.qts, "/chardevs/out", "connected")) {
        continue;
    }

    r.out = inheritable_pair(&out);
    qtest_qmp_fds_assert_success(r.qts, &out, 1, "{'execute': 'getfd', "
                                 "'arguments': {'fdname': 'new'}}");
    close(out);
    qtest_qmp_assert_success(r.qts, "{'execute': 'add_client', 'arguments': {"
                             "'protocol': 'out', 'fdname': 'new'}}");
    send_packets(&r, N_PACKETS, 1);
    g_assert_cmpuint(expect_packet(&r), ==, N_PACKETS);
    rig_free(&r);
}

/* Packets that come together do not become one datagram, which may be lost. */
static void test_datagrams(const void *opaque)
{
    uint8_t records[3][RECORD_LEN];
    uint32_t seq;
    Rig r;

    rig_init_udp(&r, opaque);
    for (seq = 0; seq < ARRAY_SIZE(records); seq++) {
        record_fill(records[seq], seq);
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
    static const char *const types[] = { "filter-redirector", "filter-mirror" };
    static const struct {
        const char *name;
        void (*func)(const void *opaque);
    } tests[] = {
        { "late", test_late },
        { "remove", test_remove },
        { "replace", test_replace },
        { "reconnect", test_reconnect },
        { "datagrams", test_datagrams },
    };
    int t, i;

    g_test_init(&argc, &argv, NULL);
    for (t = 0; t < ARRAY_SIZE(types); t++) {
        for (i = 0; i < ARRAY_SIZE(tests); i++) {
            g_autofree char *path = g_strdup_printf("/%s/stall/%s", types[t],
                                                    tests[i].name);

            qtest_add_data_func(path, types[t], tests[i].func);
        }
    }
    return g_test_run();
}
