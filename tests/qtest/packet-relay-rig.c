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
#include "qemu/bswap.h"
#include "qemu/sockets.h"

/* --- Sockets --- */

static void set_deadline(int fd)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO,
                               &tv, sizeof(tv)), ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO,
                               &tv, sizeof(tv)), ==, 0);
}

/* Returns: our end of a pair that holds little of what comes from @theirs */
int pair_create(int *theirs)
{
    int fds[2], least = 1;

    g_assert_cmpint(qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[1], F_SETFD, 0), ==, 0);
    g_assert_cmpint(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF,
                               &least, sizeof(least)), ==, 0);
    set_deadline(fds[0]);
    *theirs = fds[1];
    return fds[0];
}

/* Returns: a socket that listens at @path */
int listener_create(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpint(strlen(path), <, sizeof(addr.sun_path));
    strcpy(addr.sun_path, path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    set_deadline(fd);
    return fd;
}

int listener_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);

    g_assert_cmpint(fd, >=, 0);
    set_deadline(fd);
    return fd;
}

/* --- Records --- */

void record_fill(uint8_t *record, uint32_t seq)
{
    size_t i;

    stl_be_p(record, PACKET_LEN);
    stl_be_p(record + HEAD_LEN, seq);
    for (i = 2 * sizeof(uint32_t); i < RECORD_LEN; i++) {
        record[i] = seq * 31 + i;
    }
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
    uint8_t record[RECORD_LEN];
    uint32_t seq;

    for (seq = first; seq < first + n; seq++) {
        record_fill(record, seq);
        send_bytes(fd, record, sizeof(record));
    }
}

void expect_record(int fd, uint32_t seq)
{
    uint8_t record[RECORD_LEN], expected[RECORD_LEN];

    record_fill(expected, seq);
    g_assert_cmpint(recv(fd, record, sizeof(record), MSG_WAITALL), ==,
                    sizeof(record));
    g_assert_cmpuint(ldl_be_p(record + HEAD_LEN), ==, seq);
    g_assert_cmpmem(record, sizeof(record), expected, sizeof(expected));
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

/* @in, @out: what the chardevs are, and @more of the relay's options */
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

    our_in = pair_create(&in_fd);
    our_out = pair_create(&out_fd);
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

/* How often QEMU has written @text to its standard error */
unsigned count_messages(Rig *r, const char *text)
{
    g_autofree char *all = NULL;
    unsigned count = 0;
    char *at;

    g_assert_true(g_file_get_contents(r->err, &all, NULL, NULL));
    g_test_message("looking for \"%s\" in \"%s\"", text, all);
    for (at = all; (at = strstr(at, text)); at += strlen(text)) {
        count++;
    }
    return count;
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
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (get_stat(r, name) < at_least) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

void wait_nothing_waits(Rig *r)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (get_stat(r, "waiting-bytes")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

void wait_connected(Rig *r, const char *id, bool connected)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    g_autofree char *path = g_strdup_printf("/chardevs/%s", id);

    while (qtest_qom_get_bool(r->qts, path, "connected") != connected) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* End the connection of chardev @id, and give it another.  Returns: our end */
int reconnect(Rig *r, const char *id, int old)
{
    int ours, theirs;

    if (old >= 0) {
        close(old);
    }
    wait_connected(r, id, false);
    ours = pair_create(&theirs);
    qtest_qmp_fds_assert_success(r->qts, &theirs, 1, "{'execute': 'getfd', "
                                 "'arguments': {'fdname': 'new'}}");
    close(theirs);
    qtest_qmp_assert_success(r->qts, "{'execute': 'add_client', 'arguments': {"
                             "'protocol': %s, 'fdname': 'new'}}", id);
    return ours;
}

/* --- Nobody reads what comes out --- */

/*
 * Send until there is no room, for good, as long as nobody reads.
 * Returns: the number of bytes, less than @max
 */
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

void expect_prompt(Rig *r)
{
    int64_t start = g_get_monotonic_time();

    qtest_qmp_assert_success(r->qts, "{'execute': 'query-status'}");
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
}
