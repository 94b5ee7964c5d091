/*
 * QTest testcase for packet-relay
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test side      | qemu side
 *                |
 * +---------+    |  +--------+    +-------+    +---------+
 * | records +------->   in   +----> relay +---->   out   |
 * +---------+    |  +--------+    +-------+    +----+----+
 *                |                                  |
 * +---------+    |                                  |
 * | records <---------------------------------------+
 * +---------+    |
 *
 * In the main loop, and in an iothread.
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "libqtest.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"

#define DEADLINE_SEC 10
#define HEAD_LEN sizeof(uint32_t)
/* More than the smallest socket buffer holds, so that some are torn */
#define PACKET_LEN 20000
#define RECORD_LEN (HEAD_LEN + PACKET_LEN)
#define FEW_RECORDS 20
/* Less than a socket's buffer holds, but more than the smallest does */
#define STALL_RECORDS 5
#define FUZZ_ROUNDS 200
/* What two sockets' buffers and the relay may hold, and then some */
#define HELD_MAX (4 * 1024 * 1024)

typedef struct Rig {
    QTestState *qts;
    bool iothread;
    int in;     /* our end of "in" */
    int out;    /* our end of "out" */
    char *err;  /* the file that QEMU writes its messages to */
} Rig;

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
static int pair_create(int *theirs)
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
static int listener_create(const char *path)
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

static int listener_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);

    g_assert_cmpint(fd, >=, 0);
    set_deadline(fd);
    return fd;
}

/* --- Records --- */

static void record_fill(uint8_t *record, uint32_t seq)
{
    size_t i;

    stl_be_p(record, PACKET_LEN);
    stl_be_p(record + HEAD_LEN, seq);
    for (i = 2 * sizeof(uint32_t); i < RECORD_LEN; i++) {
        record[i] = seq * 31 + i;
    }
}

static uint8_t *stream_create(uint32_t n)
{
    uint8_t *stream = g_malloc(n * RECORD_LEN);
    uint32_t seq;

    for (seq = 0; seq < n; seq++) {
        record_fill(stream + seq * RECORD_LEN, seq);
    }
    return stream;
}

static void send_bytes(int fd, const void *buf, size_t len)
{
    g_assert_cmpint(send(fd, buf, len, 0), ==, len);
}

static void send_records(int fd, uint32_t first, uint32_t n)
{
    uint8_t record[RECORD_LEN];
    uint32_t seq;

    for (seq = first; seq < first + n; seq++) {
        record_fill(record, seq);
        send_bytes(fd, record, sizeof(record));
    }
}

static void expect_record(int fd, uint32_t seq)
{
    uint8_t record[RECORD_LEN], expected[RECORD_LEN];

    record_fill(expected, seq);
    g_assert_cmpint(recv(fd, record, sizeof(record), MSG_WAITALL), ==,
                    sizeof(record));
    g_assert_cmpuint(ldl_be_p(record + HEAD_LEN), ==, seq);
    g_assert_cmpmem(record, sizeof(record), expected, sizeof(expected));
}

static void expect_records(int fd, uint32_t first, uint32_t n)
{
    uint32_t seq;

    for (seq = first; seq < first + n; seq++) {
        expect_record(fd, seq);
    }
}

static void expect_pass(Rig *r, uint32_t seq)
{
    send_records(r->in, seq, 1);
    expect_record(r->out, seq);
}

/* --- QEMU --- */

static void object_add(Rig *r)
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

static void object_del(Rig *r)
{
    qtest_qmp_assert_success(r->qts, "{'execute': 'object-del', "
                             "'arguments': {'id': 'relay0'}}");
}

/* @in, @out: what the chardevs are, and @more of the relay's options */
static void rig_start(Rig *r, const void *iothread, const char *in,
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

static void rig_init_more(Rig *r, const void *iothread, const char *more)
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

static void rig_init(Rig *r, const void *iothread)
{
    rig_init_more(r, iothread, "");
}

static void rig_stop(Rig *r)
{
    qtest_quit(r->qts);
    r->qts = NULL;
}

static void rig_free(Rig *r)
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
static unsigned count_messages(Rig *r, const char *text)
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

static uint64_t get_stat(Rig *r, const char *name)
{
    g_autoptr(QDict) stats = qtest_qmp_assert_success_ref(r->qts,
        "{'execute': 'qom-get', 'arguments': {"
        "'path': '/objects/relay0', 'property': 'stats'}}");

    return qdict_get_int(stats, name);
}

/* The reader may have a record before the relay has counted it. */
static void wait_all_gone(Rig *r)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (get_stat(r, "waiting-bytes")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static void wait_stat(Rig *r, const char *name, uint64_t at_least)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (get_stat(r, name) < at_least) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static void wait_connected(Rig *r, const char *id, bool connected)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    g_autofree char *path = g_strdup_printf("/chardevs/%s", id);

    while (qtest_qom_get_bool(r->qts, path, "connected") != connected) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* End the connection of chardev @id, and give it another.  Returns: our end */
static int reconnect(Rig *r, const char *id, int old)
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

/* --- Records pass --- */

/* Records that are split anywhere come out as they went in. */
static void test_pass(const void *opaque)
{
    static const size_t pieces[] = { 1, 3, 30000, 2, 600, 5, 65536, 1600, 4 };
    g_autofree uint8_t *stream = stream_create(FEW_RECORDS);
    size_t i, pos, len;
    uint32_t got = 0;
    Rig r;

    rig_init(&r, opaque);
    for (i = 0, pos = 0; pos < FEW_RECORDS * RECORD_LEN; i++, pos += len) {
        len = MIN(pieces[i % ARRAY_SIZE(pieces)],
                  FEW_RECORDS * RECORD_LEN - pos);
        send_bytes(r.in, stream + pos, len);
        while ((got + 1) * RECORD_LEN <= pos + len) {
            expect_record(r.out, got++);
        }
    }
    g_assert_cmpuint(got, ==, FEW_RECORDS);
    wait_stat(&r, "records", FEW_RECORDS);
    g_assert_cmpuint(get_stat(&r, "bytes"), ==, FEW_RECORDS * RECORD_LEN);
    wait_all_gone(&r);
    rig_free(&r);
}

/* What outdev sends means nothing, and is no hindrance. */
static void test_talkative(const void *opaque)
{
    static const uint8_t talk[1000000]; /* more than sockets hold */
    Rig r;

    rig_init(&r, opaque);
    send_bytes(r.out, talk, sizeof(talk));
    expect_pass(&r, 0);
    rig_free(&r);
}

/*
 * Not only sockets: here from file to file.  What makes no sense at the end
 * is told once, though it takes several reads.
 */
static void test_file(const void *opaque)
{
    g_autofree char *dir = g_dir_make_tmp("packet-relay.XXXXXX", NULL);
    g_autofree char *in_path = g_build_filename(dir, "in", NULL);
    g_autofree char *out_path = g_build_filename(dir, "out", NULL);
    g_autofree char *in = g_strdup_printf("file,path=/dev/null,input-path=%s",
                                          in_path);
    g_autofree char *out = g_strdup_printf("file,path=%s", out_path);
    g_autofree char *got = NULL;
    g_autofree uint8_t *stream = stream_create(2 * FEW_RECORDS);
    const size_t len = FEW_RECORDS * RECORD_LEN;
    size_t got_len;
    Rig r;

    memset(stream + len, 0x7f, len);
    g_assert_true(g_file_set_contents(in_path, (char *)stream, 2 * len, NULL));
    rig_start(&r, opaque, in, out, "");
    wait_stat(&r, "records", FEW_RECORDS);
    rig_stop(&r);
    g_assert_true(g_file_get_contents(out_path, &got, &got_len, NULL));
    g_assert_cmpmem(got, got_len, stream, len);
    g_assert_cmpuint(count_messages(&r, "packet-relay 'relay0'"), ==, 1);
    rig_free(&r);
    g_assert_cmpint(unlink(in_path), ==, 0);
    g_assert_cmpint(unlink(out_path), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}

/* --- Nobody reads what comes out --- */

/*
 * Send until there is no room, for good, as long as nobody reads.
 * Returns: the number of bytes, less than @max
 */
static size_t stall(Rig *r, const uint8_t *stream, size_t max)
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

static void expect_prompt(Rig *r)
{
    int64_t start = g_get_monotonic_time();

    qtest_qmp_assert_success(r->qts, "{'execute': 'query-status'}");
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
}

/*
 * The sender has to wait, the monitor has not; and once somebody reads, all
 * of it comes, in order.
 */
static void test_stall(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    size_t sent;
    uint32_t seq;
    Rig r;

    rig_init(&r, opaque);
    sent = stall(&r, stream, n * RECORD_LEN);
    expect_prompt(&r);
    g_assert_cmpuint(get_stat(&r, "waiting-bytes"), >, 0);

    for (seq = 0; seq < n; seq++) {
        size_t ahead = MIN((seq + 3) * RECORD_LEN, n * RECORD_LEN);

        if (sent < ahead) {
            send_bytes(r.in, stream + sent, ahead - sent);
            sent = ahead;
        }
        expect_record(r.out, seq);
    }
    g_assert_cmpuint(get_stat(&r, "records"), ==, n);
    wait_all_gone(&r);
    rig_free(&r);
}

/* Before anybody takes records, none is read. */
static void test_no_reader(const void *opaque)
{
    int ours;
    Rig r;

    rig_init(&r, opaque);
    close(r.out);
    wait_connected(&r, "out", false);
    send_records(r.in, 0, 2);
    expect_prompt(&r);
    g_assert_cmpuint(get_stat(&r, "records"), ==, 0);

    ours = reconnect(&r, "out", -1);
    expect_records(ours, 0, 2);
    r.out = ours;
    expect_pass(&r, 2);
    rig_free(&r);
}

/* What was sent is not lost, though nobody reads, and the sender leaves. */
static void test_hangup(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    size_t sent;
    Rig r;

    rig_init(&r, opaque);
    sent = stall(&r, stream, n * RECORD_LEN);
    close(r.in);
    r.in = -1;
    expect_prompt(&r);
    expect_records(r.out, 0, sent / RECORD_LEN);
    r.in = reconnect(&r, "in", -1);
    expect_pass(&r, n);
    rig_free(&r);
}

/* --- Connections end, and others come --- */

/* What a connection has not taken the next one gets, from a record's start. */
static void test_reconnect_out(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    uint64_t taken;
    size_t sent;
    Rig r;

    rig_init(&r, opaque);
    sent = stall(&r, stream, n * RECORD_LEN);
    taken = get_stat(&r, "bytes") - get_stat(&r, "waiting-bytes");
    g_assert_cmpuint(taken % RECORD_LEN, !=, 0); /* a record is torn */

    r.out = reconnect(&r, "out", r.out);
    expect_records(r.out, taken / RECORD_LEN,
                   (sent - taken / RECORD_LEN * RECORD_LEN) / RECORD_LEN);
    rig_free(&r);
}

/* A record that a connection has torn does not spoil the next one. */
static void test_reconnect_in(const void *opaque)
{
    uint8_t record[RECORD_LEN];
    uint32_t seq;
    Rig r;

    rig_init(&r, opaque);
    record_fill(record, 999);
    for (seq = 0; seq < FEW_RECORDS; seq++) {
        expect_pass(&r, seq);
        send_bytes(r.in, record, seq * RECORD_LEN / FEW_RECORDS);
        r.in = reconnect(&r, "in", r.in);
    }
    expect_pass(&r, seq);
    /* All but that of which no byte was sent */
    g_assert_cmpuint(get_stat(&r, "incomplete"), ==, FEW_RECORDS - 1);
    rig_free(&r);
}

/* indev is a server, and outdev connects by itself. */
static void test_reconnect_alone(const void *opaque)
{
    g_autofree char *dir = g_dir_make_tmp("packet-relay.XXXXXX", NULL);
    g_autofree char *in_path = g_build_filename(dir, "in", NULL);
    g_autofree char *out_path = g_build_filename(dir, "out", NULL);
    g_autofree char *in = g_strdup_printf("socket,path=%s,server=on,wait=off",
                                          in_path);
    g_autofree char *out = g_strdup_printf("socket,path=%s,reconnect-ms=10",
                                           out_path);
    int listener = listener_create(out_path);
    uint32_t seq;
    Rig r;

    rig_start(&r, opaque, in, out, "");
    r.in = unix_connect(in_path, &error_abort);
    r.out = listener_accept(listener);
    for (seq = 0; seq < FEW_RECORDS; seq++) {
        expect_pass(&r, seq);
        if (seq & 1) {
            close(r.in);
            wait_connected(&r, "in", false);
            r.in = unix_connect(in_path, &error_abort);
        }
        if (seq & 2) {
            close(r.out);
            r.out = listener_accept(listener);
        }
    }
    rig_free(&r);
    close(listener);
    g_assert_cmpint(unlink(out_path), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
}

/* --- Streams that make no sense --- */

/*
 * All before the impossible record passes; then there is one message, the
 * connection ends, and the next one makes sense again.
 */
static void check_broken(Rig *r, const void *head, size_t len)
{
    send_records(r->in, 0, 2);
    /* The connection may end in the midst of it */
    g_assert_cmpint(send(r->in, head, len, 0), >, 0);
    expect_records(r->out, 0, 2);
    r->in = reconnect(r, "in", r->in);
    expect_pass(r, 2);
    g_assert_cmpuint(count_messages(r, "packet-relay 'relay0': chardev 'in'"),
                     ==, 1);
}

static void test_broken(const void *opaque)
{
    static const uint8_t head[200000] = { 0x7f };
    Rig r;

    rig_init(&r, opaque);
    check_broken(&r, head, sizeof(uint32_t));
    rig_free(&r);
    rig_init(&r, opaque);
    check_broken(&r, head, sizeof(head));
    rig_free(&r);
}

/* Plain records are no records with vnet headers. */
static void test_broken_vnet(const void *opaque)
{
    Rig r;

    rig_init_more(&r, opaque, ",vnet-hdr=on");
    send_records(r.in, 1000, 1);
    wait_connected(&r, "in", false);
    g_assert_cmpuint(count_messages(&r, "without vnet headers"), ==, 1);
    rig_free(&r);
}

/* A record with a vnet header: 12 bytes that are all of it */
static void test_vnet(const void *opaque)
{
    const uint8_t record[20] = { 0, 0, 0, 12, 0, 0, 0, 12, 1, 2, 3 };
    uint8_t got[20];
    Rig r;

    rig_init_more(&r, opaque, ",vnet-hdr=on");
    send_bytes(r.in, record, sizeof(record));
    g_assert_cmpint(recv(r.out, got, sizeof(got), MSG_WAITALL), ==,
                    sizeof(got));
    g_assert_cmpmem(got, sizeof(got), record, sizeof(record));
    rig_free(&r);
}

/* Whatever comes, QEMU goes on, and what is sent next passes. */
static void test_fuzz(const void *opaque)
{
    uint8_t noise[4096], byte;
    size_t i, len;
    int round;
    Rig r;

    rig_init(&r, opaque);
    for (round = 0; round < FUZZ_ROUNDS; round++) {
        len = g_test_rand_int_range(1, sizeof(noise));
        for (i = 0; i < len; i++) {
            /* Small lengths make sense now and then */
            noise[i] = g_test_rand_int_range(0, 8) ? 0 :
                       g_test_rand_int_range(0, 256);
        }
        /* The connection may have ended in the midst of it */
        send(r.in, noise, len, MSG_NOSIGNAL);
        while (recv(r.out, &byte, 1, MSG_DONTWAIT) == 1) {
            continue;
        }
        r.in = reconnect(&r, "in", r.in);
    }
    r.out = reconnect(&r, "out", r.out);
    expect_prompt(&r);
    rig_free(&r);
}

/* --- The relay comes and goes --- */

static void test_replace(const void *opaque)
{
    uint32_t seq;
    Rig r;

    rig_init(&r, opaque);
    for (seq = 0; seq < FEW_RECORDS; seq++) {
        expect_pass(&r, seq);
        object_del(&r);
        r.iothread = !r.iothread;
        object_add(&r);
    }
    g_assert_cmpuint(count_messages(&r, "packet-relay"), ==, 0);
    rig_free(&r);
}

/* Nobody is left with a part of a record. */
static void test_remove_torn(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    uint8_t record[RECORD_LEN];
    ssize_t len;
    Rig r;

    rig_init(&r, opaque);
    stall(&r, stream, n * RECORD_LEN);
    object_del(&r);
    g_assert_false(qtest_qom_get_bool(r.qts, "/chardevs/out", "connected"));
    do {
        len = recv(r.out, record, sizeof(record), MSG_WAITALL);
    } while (len == sizeof(record));
    g_assert_cmpint(len, >=, 0);
    g_assert_cmpuint(count_messages(&r, "packet-relay 'relay0' is deleted"), ==, 1);
    rig_free(&r);
}

static void test_remove_partial(const void *opaque)
{
    uint8_t record[RECORD_LEN];
    Rig r;

    rig_init(&r, opaque);
    record_fill(record, 1);
    send_records(r.in, 0, 1);
    send_bytes(r.in, record, sizeof(record) - 1);
    expect_record(r.out, 0);
    /* So that this part was read */
    wait_stat(&r, "records", 1);
    object_del(&r);
    wait_connected(&r, "in", false);
    g_assert_true(qtest_qom_get_bool(r.qts, "/chardevs/out", "connected"));
    rig_free(&r);
}

/* QEMU ends with a relay in full work. */
static void test_quit(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    Rig r;

    rig_init(&r, opaque);
    stall(&r, stream, n * RECORD_LEN);
    rig_free(&r);
}

/* --- What is refused --- */

static const struct {
    const char *name;
    const char *chardevs;
    const char *props;
    const char *words;
} refusals[] = {
    { "no-indev", "", "'outdev': 'out'", "'indev' is missing" },
    { "no-outdev", "", "'indev': 'in'", "'outdev' is missing" },
    { "unknown", "", "'indev': 'in', 'outdev': 'other'",
      "'outdev' of packet-relay: there is no chardev 'other'" },
    { "same", "", "'indev': 'in', 'outdev': 'in'",
      "chardev 'in' is already in use" },
    { "mux", "-chardev null,id=mux,mux=on", "'indev': 'mux', 'outdev': 'out'",
      "without 'mux'" },
    { "hub", "-chardev null,id=a -chardev hub,id=hub,chardevs.0=a",
      "'indev': 'hub', 'outdev': 'out'", "shared with others" },
    { "datagrams", "-chardev udp,id=udp,port=1",
      "'indev': 'in', 'outdev': 'udp'", "needs a stream" },
    { "context", "-chardev null,id=null -object iothread,id=io0",
      "'indev': 'null', 'outdev': 'out', 'iothread': 'io0'",
      "leave out 'iothread'" },
};

/* A refusal leaves the chardevs free for what is right. */
static void test_refuse(const void *opaque)
{
    int i = GPOINTER_TO_INT(opaque);
    g_autofree char *props = g_strdup_printf("{'qom-type': 'packet-relay', "
                                             "'id': 'relay0', %s}",
                                             refusals[i].props);
    int in, out, in_fd, out_fd;
    Rig r = { };
    QDict *rsp;

    in = pair_create(&in_fd);
    out = pair_create(&out_fd);
    r.qts = qtest_initf("-nodefaults -machine none -chardev socket,id=in,fd=%d "
                        "-chardev socket,id=out,fd=%d %s", in_fd, out_fd,
                        refusals[i].chardevs);
    close(in_fd);
    close(out_fd);
    rsp = qtest_qmp(r.qts, "{'execute': 'object-add', 'arguments': %p}",
                    qdict_from_jsonf_nofail(props, NULL));
    g_assert_true(qdict_haskey(rsp, "error"));
    g_test_message("%s", qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"));
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(rsp, "error"),
                                          "desc"), refusals[i].words));
    qobject_unref(rsp);

    object_add(&r);
    send_records(in, 0, 1);
    expect_record(out, 0);
    qtest_quit(r.qts);
    close(in);
    close(out);
}

/* Options can't change while records pass. */
static void test_set(const void *opaque)
{
    static const char *const props[] = { "indev", "outdev", "iothread" };
    QDict *rsp;
    Rig r;
    int i;

    rig_init(&r, opaque);
    for (i = 0; i < ARRAY_SIZE(props); i++) {
        rsp = qtest_qmp(r.qts, "{'execute': 'qom-set', 'arguments': {"
                        "'path': '/objects/relay0', 'property': %s, "
                        "'value': '/objects/io0'}}", props[i]);
        g_assert_true(qdict_haskey(rsp, "error"));
        qobject_unref(rsp);
    }
    expect_pass(&r, 0);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*func)(const void *opaque);
    } tests[] = {
        { "pass", test_pass },
        { "talkative", test_talkative },
        { "file", test_file },
        { "stall", test_stall },
        { "no-reader", test_no_reader },
        { "hangup", test_hangup },
        { "reconnect/out", test_reconnect_out },
        { "reconnect/in", test_reconnect_in },
        { "reconnect/alone", test_reconnect_alone },
        { "broken", test_broken },
        { "broken/vnet", test_broken_vnet },
        { "vnet", test_vnet },
        { "fuzz", test_fuzz },
        { "replace", test_replace },
        { "remove/torn", test_remove_torn },
        { "remove/partial", test_remove_partial },
        { "quit", test_quit },
        { "set", test_set },
    };
    static const char *const where[] = { "main-loop", "iothread" };
    int i, t;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        for (t = 0; t < ARRAY_SIZE(where); t++) {
            g_autofree char *path = g_strdup_printf("/packet-relay/%s/%s",
                                                    tests[i].name, where[t]);

            qtest_add_data_func(path, GINT_TO_POINTER(t), tests[i].func);
        }
    }
    for (i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strdup_printf("/packet-relay/refuse/%s",
                                                refusals[i].name);

        qtest_add_data_func(path, GINT_TO_POINTER(i), test_refuse);
    }
    return g_test_run();
}
