/*
 * QTest helpers: a QEMU with a packet-relay between two chardevs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/un.h>
#include "packet-relay-rig.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qemu/sockets.h"

/* --- Sockets --- */

int listener_create(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpint(strlen(path), <, sizeof(addr.sun_path));
    strcpy(addr.sun_path, path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    fd_set_deadline(fd);
    return fd;
}

int listener_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);

    g_assert_cmpint(fd, >=, 0);
    fd_set_deadline(fd);
    return fd;
}

/* --- Records --- */

void record_fill(uint8_t *record, uint32_t seq)
{
    packet_record_fill(record, PACKET_LEN, seq);
}

uint8_t *stream_create(uint32_t n)
{
    uint8_t *stream = g_malloc(n * RECORD_LEN);
    uint32_t seq;

    for (seq = 0; seq < n; seq++) {
        record_fill(stream + seq * RECORD_LEN, seq);
    }
    return stream;
}

void send_bytes(int fd, const void *buf, size_t len)
{
    g_assert_cmpint(send(fd, buf, len, 0), ==, len);
}

void send_records(int fd, uint32_t first, uint32_t n)
{
    packet_records_send(fd, PACKET_LEN, first, n);
}

void expect_record(int fd, uint32_t seq)
{
    g_assert_cmpuint(packet_record_receive(fd, PACKET_LEN), ==, seq);
}

void expect_records(int fd, uint32_t first, uint32_t n)
{
    uint32_t seq;

    for (seq = first; seq < first + n; seq++) {
        expect_record(fd, seq);
    }
}

void expect_pass(Rig *r, uint32_t seq)
{
    send_records(r->in, seq, 1);
    expect_record(r->out, seq);
}

/* --- QEMU --- */

void object_add(Rig *r)
{
    g_autoptr(QDict) args = qdict_from_jsonf_nofail(
        "{'qom-type': 'packet-relay', 'id': 'relay0', 'indev': 'in', "
        "'outdev': 'out'}");

    if (r->iothread) {
        qdict_put_str(args, "iothread", "io0");
    }
    qtest_qmp_assert_success(r->qts, "{'execute': 'object-add', "
                             "'arguments': %p}", g_steal_pointer(&args));
}

void object_del(Rig *r)
{
    qtest_qmp_assert_success(r->qts, "{'execute': 'object-del', "
                             "'arguments': {'id': 'relay0'}}");
}

void rig_start(Rig *r, const void *iothread, const char *in,
               const char *out, const char *more)
{
    int fd;

    *r = (Rig) {
        .iothread = GPOINTER_TO_INT(iothread),
        .in = -1,
        .out = -1,
    };
    fd = g_file_open_tmp("packet-relay.XXXXXX", &r->err, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    r->qts = qtest_initf("-nodefaults -machine none -object iothread,id=io0 "
                         "-chardev %s,id=in -chardev %s,id=out "
                         "-object packet-relay,id=relay0,indev=in,outdev=out"
                         "%s%s 2>>%s",
                         in, out, r->iothread ? ",iothread=io0" : "", more,
                         r->err);
}

void rig_init_more(Rig *r, const void *iothread, const char *more)
{
    g_autofree char *in = NULL, *out = NULL;
    int our_in, in_fd, our_out, out_fd;

    our_in = small_pair_create(&in_fd);
    our_out = small_pair_create(&out_fd);
    in = g_strdup_printf("socket,fd=%d", in_fd);
    out = g_strdup_printf("socket,fd=%d", out_fd);
    rig_start(r, iothread, in, out, more);
    r->in = our_in;
    r->out = our_out;
    close(in_fd);
    close(out_fd);
}

void rig_init(Rig *r, const void *iothread)
{
    rig_init_more(r, iothread, "");
}

void rig_stop(Rig *r)
{
    qtest_quit(r->qts);
    r->qts = NULL;
}

void rig_free(Rig *r)
{
    if (r->qts) {
        rig_stop(r);
    }
    if (r->in >= 0) {
        close(r->in);
    }
    if (r->out >= 0) {
        close(r->out);
    }
    g_assert_cmpint(unlink(r->err), ==, 0);
    g_free(r->err);
}

unsigned count_messages(Rig *r, const char *text)
{
    return count_in_file(r->err, text);
}

uint64_t get_stat(Rig *r, const char *name)
{
    g_autoptr(QDict) stats = qtest_qmp_assert_success_ref(r->qts,
        "{'execute': 'qom-get', 'arguments': {"
        "'path': '/objects/relay0', 'property': 'stats'}}");

    return qdict_get_int(stats, name);
}

void wait_stat(Rig *r, const char *name, uint64_t at_least)
{
    const int64_t end = deadline();

    while (get_stat(r, name) < at_least) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

void wait_nothing_waits(Rig *r)
{
    const int64_t end = deadline();

    while (get_stat(r, "waiting-bytes")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

int reconnect(Rig *r, const char *id, int old)
{
    int ours, theirs;

    if (old >= 0) {
        close(old);
    }
    chardev_wait_connected(r->qts, id, false);
    ours = small_pair_create(&theirs);
    chardev_connect(r->qts, id, theirs);
    return ours;
}

/* --- Nobody reads the output --- */

size_t stall(Rig *r, const uint8_t *stream, size_t max)
{
    size_t sent = STALL_RECORDS * RECORD_LEN;
    ssize_t len;

    send_bytes(r->in, stream, sent);
    wait_stat(r, "stalls", 1);
    while ((len = send(r->in, stream + sent, MIN(max - sent, 10000),
                       MSG_DONTWAIT)) > 0) {
        sent += len;
        g_assert_cmpuint(sent, <, max);
    }
    return sent;
}

void add_relay_rows(const char *group, const TestRow *rows, size_t n)
{
    add_rows(group, rows, n, "/main-loop", GINT_TO_POINTER(false));
    add_rows(group, rows, n, "/iothread", GINT_TO_POINTER(true));
}
