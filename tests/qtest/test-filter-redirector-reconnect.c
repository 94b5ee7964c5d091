/*
 * QTest testcase for filter-redirector with an indev that reconnects
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test side           | qemu side
 *                     |
 * +-----------+       |  +--------+  +----+  +-----+  +---------+
 * | client, a |       |  | server |  |    |  |     |  |         |
 * | new one   +---------->   in   +--> rd +--> rd  +-->   out   |
 * | each time |       |  +--------+  | in |  | out |  +----+----+
 * +-----------+       |              +----+  +-----+       |
 *                     |                                    |
 * +-----------+       |                                    |
 * |  packets  <--------------------------------------------+
 * +-----------+       |
 */

#include "qemu/osdep.h"
#include "packet-stream.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"

typedef struct Redirector {
    QTestState *qts;
    char *dir;
    char *path; /* where "in" listens */
    int out;    /* our end of "out" */
} Redirector;

/* Start QEMU with the two filters on a netdev without a guest */
static void redirector_start(Redirector *rd)
{
    int out;

    rd->out = pair_create(&out);
    rd->dir = g_dir_make_tmp("filter-redirector.XXXXXX", NULL);
    g_assert_nonnull(rd->dir);
    rd->path = g_build_filename(rd->dir, "in", NULL);
    rd->qts = qtest_initf(
        "-nodefaults -machine none "
        "-netdev hubport,id=hub0,hubid=0 "
        "-netdev hubport,id=hub1,hubid=1,netdev=hub0 "
        "-chardev socket,id=in,path=%s,server=on,wait=off "
        "-chardev socket,id=out,fd=%d "
        "-object filter-redirector,id=rd0,netdev=hub0,queue=tx,indev=in "
        "-object filter-redirector,id=rd1,netdev=hub0,queue=tx,outdev=out",
        rd->path, out);
    close(out);
}

static void redirector_stop(Redirector *rd)
{
    qtest_quit(rd->qts);
    close(rd->out);
    g_assert_cmpint(rmdir(rd->dir), ==, 0);
    g_free(rd->path);
    g_free(rd->dir);
}

/* Connect to "in" once it accepts a connection, and write @len bytes */
static int client_write(Redirector *rd, const void *data, size_t len)
{
    int fd;

    chardev_wait_connected(rd->qts, "in", false);
    fd = unix_connect(rd->path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(send(fd, data, len, 0), ==, len);
    return fd;
}

/* Wait until "in" has its connection, then end it */
static void client_close(Redirector *rd, int fd)
{
    chardev_wait_connected(rd->qts, "in", true);
    close(fd);
}

/* Write @text as a packet's record.  Returns: its length */
static size_t record_fill(uint8_t *record, const char *text)
{
    size_t len = strlen(text);

    stl_be_p(record, len);
    memcpy(record + HEAD_LEN, text, len);
    return HEAD_LEN + len;
}

/* Check that the next packet that comes out is @text */
static void packet_expect(Redirector *rd, const char *text)
{
    uint8_t expected[256], record[256];
    size_t len = record_fill(expected, text);

    g_assert_cmpint(recv(rd->out, record, len, MSG_WAITALL), ==, len);
    g_assert_cmpmem(record, len, expected, len);
}

/* Packets pass in each of several connections, one after the other */
static void test_reconnect(void)
{
    static const char *const texts[] = { "first", "second", "third" };
    uint8_t record[256];
    Redirector rd;
    int i, fd;

    redirector_start(&rd);
    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        fd = client_write(&rd, record, record_fill(record, texts[i]));
        packet_expect(&rd, texts[i]);
        client_close(&rd, fd);
    }
    redirector_stop(&rd);
}

/* A connection that ends within a packet does not affect the next one */
static void test_reconnect_partial(void)
{
    uint8_t record[256];
    Redirector rd;
    size_t len;
    int fd;

    redirector_start(&rd);
    len = record_fill(record, "half of this is never sent");
    fd = client_write(&rd, record, len / 2);
    client_close(&rd, fd);

    fd = client_write(&rd, record, record_fill(record, "whole"));
    packet_expect(&rd, "whole");
    client_close(&rd, fd);
    redirector_stop(&rd);
}

/* Write an invalid packet stream until QEMU ends the connection */
static void client_write_broken(Redirector *rd)
{
    static const uint8_t broken[4096] = { 0xff, 0xff, 0xff, 0xff };
    const int64_t end = deadline();
    int fd = client_write(rd, broken, sizeof(broken));

    while (send(fd, broken, sizeof(broken), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 ||
           errno == EAGAIN) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    close(fd);
}

/* An invalid packet stream ends its connection, and affects no other */
static void test_reconnect_broken(void)
{
    uint8_t record[256];
    Redirector rd;
    int i, fd;

    redirector_start(&rd);
    for (i = 0; i < 2; i++) {
        client_write_broken(&rd);
        fd = client_write(&rd, record, record_fill(record, "whole"));
        packet_expect(&rd, "whole");
        client_close(&rd, fd);
    }
    redirector_stop(&rd);
}

/* A pipe has no connection to end: data written to it is discarded. */
static void test_broken_pipe(void)
{
    static const uint8_t broken[1024 * 1024] = { 0xff, 0xff, 0xff, 0xff };
    const int64_t end = deadline();
    g_autofree char *dir = g_dir_make_tmp("filter-redirector.XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "pipe", NULL);
    g_autofree char *in = g_strconcat(path, ".in", NULL);
    g_autofree char *out = g_strconcat(path, ".out", NULL);
    QTestState *qts;
    size_t sent = 0;
    int fd;

    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    qts = qtest_initf("-nodefaults -machine none "
                      "-netdev hubport,id=hub0,hubid=0 "
                      "-chardev pipe,id=in,path=%s "
                      "-object filter-redirector,id=rd0,netdev=hub0,queue=tx,"
                      "indev=in", path);
    fd = open(in, O_WRONLY | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    while (sent < sizeof(broken)) {
        ssize_t len = write(fd, broken + sent, sizeof(broken) - sent);

        sent += MAX(len, 0);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    close(fd);
    qtest_quit(qts);
    g_assert_cmpint(unlink(in), ==, 0);
    g_assert_cmpint(unlink(out), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/filter-redirector/reconnect", test_reconnect);
    qtest_add_func("/filter-redirector/reconnect/partial",
                   test_reconnect_partial);
    qtest_add_func("/filter-redirector/reconnect/broken",
                   test_reconnect_broken);
    qtest_add_func("/filter-redirector/broken-pipe", test_broken_pipe);
    return g_test_run();
}
