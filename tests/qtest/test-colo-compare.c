/*
 * QTest testcase for colo-compare
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqtest.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"

#define DEADLINE_SEC 10
#define HEAD_LEN sizeof(uint32_t)
#define ETH_LEN 14
#define IP_LEN 20
#define PACKET_MAX 100

#define RECORD_LEN (HEAD_LEN + 64)
#define RECORDS 1000
#define STREAM_LEN (RECORDS * RECORD_LEN)
#define RECONNECTIONS 1000      /* or fewer, if there is not enough time */
#define RECONNECT_SEC 5

typedef struct Rig {
    QTestState *qts;
    int primary;
    int secondary;
    int out;
} Rig;

/* Returns: our end of a socket pair; QEMU inherits @theirs */
static int pair_create(int *theirs)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };
    int fds[2];

    g_assert_cmpint(qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[1], F_SETFD, 0), ==, 0);
    g_assert_cmpint(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO,
                               &tv, sizeof(tv)), ==, 0);
    *theirs = fds[1];
    return fds[0];
}

static void rig_init(Rig *r)
{
    int pri, sec, out;

    r->primary = pair_create(&pri);
    r->secondary = pair_create(&sec);
    r->out = pair_create(&out);
    r->qts = qtest_initf("-nodefaults -machine none -object iothread,id=io0 "
                         "-chardev socket,id=pri,fd=%d "
                         "-chardev socket,id=sec,fd=%d "
                         "-chardev socket,id=out,fd=%d "
                         "-object colo-compare,id=c0,iothread=io0,"
                         "primary_in=pri,secondary_in=sec,outdev=out",
                         pri, sec, out);
    close(pri);
    close(sec);
    close(out);
}

static void rig_free(Rig *r)
{
    qtest_quit(r->qts);
    close(r->primary);
    close(r->secondary);
    close(r->out);
}

/* Write the record of an IPv4 packet with these fields.  Returns: its length */
static size_t record_fill(uint8_t *record, uint8_t ip_hl, uint8_t protocol,
                          uint8_t tcp_off, size_t len)
{
    uint8_t *packet = record + HEAD_LEN;

    memset(record, 0, HEAD_LEN + PACKET_MAX);
    stl_be_p(record, len);
    stw_be_p(packet + 12, 0x0800);
    packet[ETH_LEN] = 0x40 | ip_hl;
    packet[ETH_LEN + 9] = protocol;
    packet[ETH_LEN + IP_LEN + 12] = tcp_off << 4;
    return HEAD_LEN + len;
}

typedef struct Truncated {
    const char *name;
    uint8_t ip_hl;
    uint8_t protocol;
    uint8_t tcp_off;
    size_t len;
    bool vlans;     /* with two VLAN tags, the second of which is truncated */
} Truncated;

static const Truncated truncated[] = {
    { "ip", 5, IPPROTO_ICMP, 0, ETH_LEN + IP_LEN - 1 },
    { "ip-length", 4, IPPROTO_ICMP, 0, ETH_LEN + IP_LEN },
    { "ip-options", 6, IPPROTO_ICMP, 0, ETH_LEN + IP_LEN + 3 },
    { "udp", 5, IPPROTO_UDP, 0, ETH_LEN + IP_LEN + 3 },
    { "tcp", 5, IPPROTO_TCP, 5, ETH_LEN + IP_LEN + 19 },
    { "tcp-length", 5, IPPROTO_TCP, 4, ETH_LEN + IP_LEN + 20 },
    { "tcp-options", 5, IPPROTO_TCP, 15, ETH_LEN + IP_LEN + 59 },
    { "ah", 5, IPPROTO_AH, 0, ETH_LEN + IP_LEN + 7 },
    { "vlan", 5, IPPROTO_ICMP, 0, ETH_LEN + 4, .vlans = true },
};

/* A packet with truncated headers is not compared, but passed on. */
static void test_truncated(const void *opaque)
{
    const Truncated *t = opaque;
    uint8_t record[HEAD_LEN + PACKET_MAX], got[sizeof(record)];
    size_t len = record_fill(record, t->ip_hl, t->protocol, t->tcp_off,
                             t->len);
    Rig r;

    if (t->vlans) {
        stw_be_p(record + HEAD_LEN + 12, 0x88a8);
        stw_be_p(record + HEAD_LEN + 16, 0x8100);
    }
    rig_init(&r);
    g_assert_cmpint(send(r.primary, record, len, 0), ==, len);
    g_assert_cmpint(recv(r.out, got, len, MSG_WAITALL), ==, len);
    g_assert_cmpmem(got, len, record, len);
    rig_free(&r);
}

/*
 * Packets that are not IP, and are passed on unchanged.  Returns: the records,
 * more than a socket buffer holds.
 */
static uint8_t *stream_create(void)
{
    uint8_t *stream = g_malloc0(STREAM_LEN);
    int i;

    for (i = 0; i < RECORDS; i++) {
        stl_be_p(stream + i * RECORD_LEN, RECORD_LEN - HEAD_LEN);
        stl_be_p(stream + i * RECORD_LEN + HEAD_LEN, i);
    }
    return stream;
}

static void expect_stream(Rig *r, const uint8_t *stream)
{
    g_autofree uint8_t *got = g_malloc(STREAM_LEN);

    g_assert_cmpint(recv(r->out, got, STREAM_LEN, MSG_WAITALL), ==,
                    STREAM_LEN);
    g_assert_cmpmem(got, STREAM_LEN, stream, STREAM_LEN);
}

/* After a failed creation, the chardevs can be used again. */
static void test_refused(void)
{
    int pri, sec, primary = pair_create(&pri), secondary = pair_create(&sec);
    QTestState *qts = qtest_initf("-nodefaults -machine none "
                                  "-object iothread,id=io0 "
                                  "-chardev socket,id=pri,fd=%d "
                                  "-chardev socket,id=sec,fd=%d", pri, sec);
    QDict *rsp = qtest_qmp(qts, "{'execute': 'object-add', 'arguments': {"
                           "'qom-type': 'colo-compare', 'id': 'c0',"
                           "'iothread': 'io0', 'primary_in': 'pri',"
                           "'secondary_in': 'sec', 'outdev': 'none'}}");

    close(pri);
    close(sec);
    g_assert_true(qdict_haskey(rsp, "error"));
    qobject_unref(rsp);
    qtest_qmp_assert_success(qts, "{'execute': 'chardev-remove',"
                             "'arguments': {'id': 'pri'}}");
    qtest_qmp_assert_success(qts, "{'execute': 'object-del',"
                             "'arguments': {'id': 'io0'}}");
    qtest_quit(qts);
    close(primary);
    close(secondary);
}

/* Packets that have to wait for outdev stay in order. */
static void test_order(void)
{
    g_autofree uint8_t *stream = stream_create();
    Rig r;

    rig_init(&r);
    g_assert_cmpint(send(r.primary, stream, STREAM_LEN, 0), ==, STREAM_LEN);
    g_usleep(100 * 1000); /* they have to wait */
    expect_stream(&r, stream);
    rig_free(&r);
}

/* Packets that wait to be compared do so, too. */
static void test_order_udp(void)
{
    enum { LEN = ETH_LEN + IP_LEN + 12 };
    uint8_t stream[10][HEAD_LEN + LEN], record[HEAD_LEN + PACKET_MAX];
    uint8_t got[sizeof(stream)];
    Rig r;
    int i;

    for (i = 0; i < G_N_ELEMENTS(stream); i++) {
        record_fill(record, 5, IPPROTO_UDP, 0, LEN);
        record[HEAD_LEN + LEN - 1] = i;
        memcpy(stream[i], record, sizeof(stream[i]));
    }
    rig_init(&r);
    g_assert_cmpint(send(r.primary, stream, sizeof(stream), 0), ==,
                    sizeof(stream));
    g_usleep(100 * 1000); /* they have to wait */
    g_assert_cmpint(send(r.secondary, stream, sizeof(stream), 0), ==,
                    sizeof(stream));
    g_assert_cmpint(recv(r.out, got, sizeof(got), MSG_WAITALL), ==,
                    sizeof(got));
    g_assert_cmpmem(got, sizeof(got), stream, sizeof(stream));
    rig_free(&r);
}

/* Empty packets are ignored. */
static void test_empty(void)
{
    g_autofree uint8_t *stream = stream_create();
    static const uint8_t empty[2 * HEAD_LEN];
    Rig r;

    rig_init(&r);
    g_assert_cmpint(send(r.primary, empty, sizeof(empty), 0), ==,
                    sizeof(empty));
    g_assert_cmpint(send(r.primary, stream, STREAM_LEN, 0), ==, STREAM_LEN);
    expect_stream(&r, stream);
    rig_free(&r);
}

/* Give chardev "pri" another connection that already contains data */
static void reconnect(Rig *r, const uint8_t *data, size_t len)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    int theirs;

    close(r->primary);
    while (qtest_qom_get_bool(r->qts, "/chardevs/pri", "connected")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    r->primary = pair_create(&theirs);
    g_assert_cmpint(send(r->primary, data, len, 0), ==, len);
    qtest_qmp_fds_assert_success(r->qts, &theirs, 1, "{'execute': 'getfd', "
                                 "'arguments': {'fdname': 'new'}}");
    close(theirs);
    qtest_qmp_assert_success(r->qts, "{'execute': 'add_client', 'arguments': {"
                             "'protocol': 'pri', 'fdname': 'new'}}");
}

/*
 * The iothread may start reading from a connection while the main loop is still
 * setting it up.
 */
static void test_reconnect(void)
{
    g_autofree uint8_t *stream = stream_create();
    const int64_t end = g_get_monotonic_time() +
                        RECONNECT_SEC * G_TIME_SPAN_SECOND;
    Rig r;
    int i;

    rig_init(&r);
    for (i = 0; i < RECONNECTIONS && g_get_monotonic_time() < end; i++) {
        size_t len = i % 200 * 7 + 1; /* most end in the middle of a packet */

        reconnect(&r, stream, len);
        g_assert_cmpint(send(r.primary, stream + len, STREAM_LEN - len, 0), ==,
                        STREAM_LEN - len);
        expect_stream(&r, stream);
    }
    rig_free(&r);
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/colo-compare/refused", test_refused);
    for (i = 0; i < ARRAY_SIZE(truncated); i++) {
        g_autofree char *path = g_strdup_printf("/colo-compare/truncated/%s",
                                                truncated[i].name);

        qtest_add_data_func(path, &truncated[i], test_truncated);
    }
    qtest_add_func("/colo-compare/order", test_order);
    qtest_add_func("/colo-compare/order/udp", test_order_udp);
    qtest_add_func("/colo-compare/empty", test_empty);
    qtest_add_func("/colo-compare/reconnect", test_reconnect);
    return g_test_run();
}
