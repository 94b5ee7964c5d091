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
#include "packet-stream.h"
#include "qemu/sockets.h"

#define PACKET_LEN 60
#define N_PACKETS 20
#define N_PEERS 20

typedef struct Rig {
    QTestState *qts;
    char *dir;
    char *path;   /* where "out" listens */
    char *errors; /* file with QEMU's messages */
    int in;       /* our end of the netdev */
} Rig;

static void rig_init(Rig *r, const char *type)
{
    int in;

    r->in = pair_create(&in);
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
        in, r->path, type, r->errors);
    close(in);
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

/* Send a packet, and wait until it is dropped */
static void lose_packet(Rig *r)
{
    const int64_t end = deadline();
    uint64_t before = filter_dropped(r->qts);

    packet_records_send(r->in, PACKET_LEN, 0, 1);
    while (filter_dropped(r->qts) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* A peer connects, receives a packet, and disconnects */
static void come_and_go(Rig *r)
{
    int fd = unix_connect(r->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    fd_set_deadline(fd);
    chardev_wait_connected(r->qts, "out", true);
    packet_records_send(r->in, PACKET_LEN, 0, 1);
    packet_record_receive(fd, PACKET_LEN);
    close(fd);
    chardev_wait_connected(r->qts, "out", false);
}

static void expect_warnings(Rig *r, unsigned most)
{
    unsigned n = count_in_file(r->errors, "warning: ");

    g_assert_cmpuint(n, >=, 1);
    g_assert_cmpuint(n, <=, most);
    g_assert_cmpuint(count_in_file(r->errors, "is not connected"), >, 0);
}

/* There is one warning for packets dropped for the same reason. */
static void test_nobody(const void *opaque)
{
    Rig r;
    int i;

    rig_init(&r, opaque);
    for (i = 0; i < N_PACKETS; i++) {
        lose_packet(&r);
    }
    g_assert_cmpuint(filter_dropped(r.qts), ==, N_PACKETS);
    expect_warnings(&r, 1);
    rig_free(&r);
}

/* A peer that connects repeatedly does not flood the log. */
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
    /* One per ten seconds, even on a slow machine */
    expect_warnings(&r, 1 + (g_get_monotonic_time() - start) /
                            (10 * G_TIME_SPAN_SECOND));
    rig_free(&r);
}

int main(int argc, char **argv)
{
    static const TestRow rows[] = {
        { "closed/nobody", test_nobody },
        { "closed/peers", test_peers },
    };

    g_test_init(&argc, &argv, NULL);
    add_rows("filter-redirector", rows, ARRAY_SIZE(rows), "",
             "filter-redirector");
    add_rows("filter-mirror", rows, ARRAY_SIZE(rows), "", "filter-mirror");
    return g_test_run();
}
