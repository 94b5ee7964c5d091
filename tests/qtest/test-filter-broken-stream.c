/*
 * QTest testcase for invalid packet streams
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All readers of packet streams end a connection whose stream is invalid,
 * report this once, and start again with the next connection.
 */

#include "qemu/osdep.h"
#include "packet-stream.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"

#define MESSAGE "not a packet stream"

typedef struct Reader {
    const char *name;
    const char *options;    /* %s is where the reader listens */
    bool vnet_hdr;
} Reader;

#define HUB "-netdev hubport,id=hub0,hubid=0 " \
            "-netdev hubport,id=hub1,hubid=1,netdev=hub0 "
#define REDIRECTOR "-chardev socket,id=in,path=%s,server=on,wait=off " HUB \
                   "-object filter-redirector,id=f0,netdev=hub0,queue=tx," \
                   "indev=in"
#define IN(id) "-chardev socket,id=" id ",path=%s,server=on,wait=off "
#define NONE(id) "-chardev socket,id=" id ",host=127.0.0.1,port=0,server=on," \
                 "wait=off "
#define COLO(pri, sec, note) \
    "-object iothread,id=io0 " pri sec note NONE("out") \
    "-object colo-compare,id=c0,iothread=io0,primary_in=pri," \
    "secondary_in=sec,notify_dev=note,outdev=out"

static const Reader readers[] = {
    { "netdev-stream", "-netdev stream,id=in,server=on,addr.type=unix,"
      "addr.path=%s -netdev hubport,id=hub0,hubid=0,netdev=in" },
    { "filter-redirector", REDIRECTOR },
    { "filter-redirector/vnet", REDIRECTOR ",vnet_hdr_support=on",
      .vnet_hdr = true },
    { "colo-compare/primary", COLO(IN("pri"), NONE("sec"), NONE("note")) },
    { "colo-compare/secondary", COLO(NONE("pri"), IN("sec"), NONE("note")) },
    { "colo-compare/notify", COLO(NONE("pri"), NONE("sec"), IN("note")) },
};

typedef struct Rig {
    QTestState *qts;
    const Reader *reader;
    char *dir;
    char *path;
    char *errors;   /* file with QEMU's messages */
} Rig;

static void rig_init(Rig *r, const Reader *reader)
{
    g_autofree char *options = NULL;

    r->reader = reader;
    r->dir = g_dir_make_tmp("filter-broken-stream.XXXXXX", NULL);
    g_assert_nonnull(r->dir);
    r->path = g_build_filename(r->dir, "in", NULL);
    r->errors = g_build_filename(r->dir, "errors", NULL);
    options = g_strdup_printf(reader->options, r->path);
    r->qts = qtest_initf("-nodefaults -machine none %s 2>%s", options,
                         r->errors);
}

static void rig_free(Rig *r)
{
    qtest_quit(r->qts);
    unlink(r->path); /* a chardev does so, a netdev does not */
    g_assert_cmpint(unlink(r->errors), ==, 0);
    g_assert_cmpint(rmdir(r->dir), ==, 0);
    g_free(r->errors);
    g_free(r->path);
    g_free(r->dir);
}

static int connect_to_reader(Rig *r)
{
    const int64_t end = deadline();
    int fd;

    /* A netdev listens some time after QEMU has started */
    while ((fd = unix_connect(r->path, NULL)) < 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    return fd;
}

static int connect_and_send(Rig *r, const void *data, size_t len)
{
    int fd = connect_to_reader(r);

    fd_set_deadline(fd);
    g_assert_cmpint(send(fd, data, len, 0), ==, len);
    return fd;
}

static void expect_end(int fd)
{
    char byte;

    if (recv(fd, &byte, 1, 0) != 0) {
        g_assert_cmpint(errno, ==, ECONNRESET);
    }
    close(fd);
}

/* An invalid length of a packet, or of a vnet header */
static void send_broken(Rig *r)
{
    uint8_t data[2 * sizeof(uint32_t)] = { 0xff, 0xff, 0xff, 0xff };

    if (r->reader->vnet_hdr) {
        stl_be_p(data, 100);
        stl_be_p(data + sizeof(uint32_t), 99);
    }
    expect_end(connect_and_send(r, data, sizeof(data)));
}

/* Send half a packet */
static void send_half(Rig *r)
{
    uint8_t data[100] = {};

    stl_be_p(data, 2 * sizeof(data));
    close(connect_and_send(r, data, sizeof(data)));
}

static void expect_messages(Rig *r, unsigned expected)
{
    g_assert_cmpuint(count_in_file(r->errors, MESSAGE), ==, expected);
}

static void test_end(const void *opaque)
{
    Rig r;

    rig_init(&r, opaque);
    send_broken(&r);
    expect_messages(&r, 1);
    send_broken(&r);
    expect_messages(&r, 2);
    send_half(&r);
    send_broken(&r);
    expect_messages(&r, 3);
    rig_free(&r);
}

/* The connection ends while one of its packets waits for the VM to run. */
static void test_queued(void)
{
    static const uint8_t data[] = { 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff };
    Rig r;

    rig_init(&r, &readers[0]);
    qtest_qmp_assert_success(r.qts, "{ 'execute': 'stop' }");
    expect_end(connect_and_send(&r, data, sizeof(data)));
    qtest_qmp_assert_success(r.qts, "{ 'execute': 'cont' }");
    send_broken(&r);
    expect_messages(&r, 2);
    rig_free(&r);
}

/* -netdev socket listens on TCP ports only: use a descriptor instead. */
static void test_netdev_socket(void)
{
    static const uint8_t broken[] = { 0xff, 0xff, 0xff, 0xff };
    QTestState *qts;
    int fd, theirs;

    fd = pair_create(&theirs);
    qts = qtest_initf("-nodefaults -machine none -netdev socket,id=in,fd=%d "
                      "-netdev hubport,id=hub0,hubid=0,netdev=in", theirs);
    close(theirs);
    g_assert_cmpint(send(fd, broken, sizeof(broken), 0), ==,
                    sizeof(broken));
    expect_end(fd);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(readers); i++) {
        g_autofree char *path = g_strdup_printf("/filter/broken-stream/%s",
                                                readers[i].name);

        qtest_add_data_func(path, &readers[i], test_end);
    }
    qtest_add_func("/filter/broken-stream/queued", test_queued);
    qtest_add_func("/filter/broken-stream/netdev-socket", test_netdev_socket);
    return g_test_run();
}
