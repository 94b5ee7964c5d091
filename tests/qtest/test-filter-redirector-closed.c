/*
 * QTest testcase for filters whose outdev is not connected
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test side           | qemu side
 *                     |
 * +-----------+       |  +--------+  +-----+  +---------+
 * |  packets  +----------> stream +--> any +-->   out   |
 * +-----------+       |  | netdev |  | out |  | (server)|
 *                     |  +--------+  +-----+  +----+----+
 * +-----------+       |                            |
 * | comes and <------------------------------------+
 * |   goes    |       |
 * +-----------+       |
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"

#define DEADLINE_SEC 10
#define PACKET_LEN 60
#define RECORD_LEN (sizeof(uint32_t) + PACKET_LEN)
#define N_PACKETS 20
#define N_PEERS 20

typedef struct Rig {
    QTestState *qts;
    char *dir;
    char *path;   /* where "out" listens */
    char *errors; /* what QEMU prints */
    int in;       /* our end of the netdev */
} Rig;

static void rig_init(Rig *r, const char *type)
{
    int fds[2];

    g_assert_cmpint(qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[1], F_SETFD, 0), ==, 0);
    r->in = fds[0];
    r->dir = g_dir_make_tmp("filter-redirector.XXXXXX", NULL);
    g_assert_nonnull(r->dir);
    r->path = g_build_filename(r->dir, "out", NULL);
    r->errors = g_build_filename(r->dir, "errors", NULL);
    r->qts = qtest_initf(
        "-nodefaults -machine none "
        "-netdev stream,id=in,server=off,addr.type=fd,addr.str=%d "
        "-netdev hubport,id=hub0,hubid=0,netdev=in "
        "-netdev hubport,id=hub1,hubid=0 "
        "-chardev socket,id=out,path=%s,server=on,wait=off "
        "-object %s,id=f0,netdev=in,queue=tx,outdev=out 2>%s",
        fds[1], r->path, type, r->errors);
    close(fds[1]);
}

static void rig_free(Rig *r)
{
    qtest_quit(r->qts);
    close(r->in);
    g_assert_cmpint(unlink(r->errors), ==, 0);
    g_assert_cmpint(rmdir(r->dir), ==, 0);
    g_free(r->errors);
    g_free(r->path);
    g_free(r->dir);
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

static void send_packet(Rig *r)
{
    uint8_t record[RECORD_LEN] = {};

    stl_be_p(record, PACKET_LEN);
    g_assert_cmpint(send(r->in, record, sizeof(record), 0), ==,
                    sizeof(record));
}

/* Send a packet, and wait until it was dropped */
static void lose_packet(Rig *r)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    uint64_t before = dropped(r);

    send_packet(r);
    while (dropped(r) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static void wait_until_connected(Rig *r, bool connected)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (qtest_qom_get_bool(r->qts, "/chardevs/out", "connected") !=
           connected) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* A peer connects, receives a packet, and leaves */
static void come_and_go(Rig *r)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };
    uint8_t record[RECORD_LEN];
    int fd = unix_connect(r->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO,
                               &tv, sizeof(tv)), ==, 0);
    wait_until_connected(r, true);
    send_packet(r);
    g_assert_cmpint(recv(fd, record, sizeof(record), MSG_WAITALL), ==,
                    sizeof(record));
    close(fd);
    wait_until_connected(r, false);
}

static void expect_warnings(Rig *r, unsigned most)
{
    g_autofree char *text = NULL;
    unsigned n = 0;
    char *p;

    g_assert(g_file_get_contents(r->errors, &text, NULL, NULL));
    for (p = text; (p = strstr(p, "warning: ")); p++) {
        n++;
    }
    g_assert_cmpuint(n, >=, 1);
    g_assert_cmpuint(n, <=, most);
    g_assert_nonnull(strstr(text, "is not connected"));
}

/* What is dropped for the same reason is warned about once. */
static void test_nobody(const void *opaque)
{
    Rig r;
    int i;

    rig_init(&r, opaque);
    for (i = 0; i < N_PACKETS; i++) {
        lose_packet(&r);
    }
    g_assert_cmpuint(dropped(&r), ==, N_PACKETS);
    expect_warnings(&r, 1);
    rig_free(&r);
}

/* A peer that connects again and again does not fill the log. */
static void test_peers(const void *opaque)
{
    int64_t start;
    Rig r;
    int i;

    rig_init(&r, opaque);
    start = g_get_monotonic_time();
    for (i = 0; i < N_PEERS; i++) {
        come_and_go(&r);
        lose_packet(&r);
    }
    /* One in ten seconds, on a slow machine too */
    expect_warnings(&r, 1 + (g_get_monotonic_time() - start) /
                            (10 * G_TIME_SPAN_SECOND));
    rig_free(&r);
}

int main(int argc, char **argv)
{
    static const char *const types[] = { "filter-redirector", "filter-mirror" };
    int t;

    g_test_init(&argc, &argv, NULL);
    for (t = 0; t < ARRAY_SIZE(types); t++) {
        g_autofree char *nobody = g_strdup_printf("/%s/closed/nobody",
                                                  types[t]);
        g_autofree char *peers = g_strdup_printf("/%s/closed/peers", types[t]);

        qtest_add_data_func(nobody, types[t], test_nobody);
        qtest_add_data_func(peers, types[t], test_peers);
    }
    return g_test_run();
}
