/*
 * QTest testcase for packet-relay
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Records pass or find no room, relays are added and deleted, and invalid
 * options are refused, in the main loop and in an iothread.
 */
#include "qemu/osdep.h"
#include "packet-relay-rig.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"

/* --- Records pass --- */

/* Records that are split anywhere pass unchanged. */
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
    wait_nothing_waits(&r);
    g_assert_cmpuint(get_stat(&r, "records"), ==, FEW_RECORDS);
    g_assert_cmpuint(get_stat(&r, "bytes"), ==, FEW_RECORDS * RECORD_LEN);
    rig_free(&r);
}

/* A record that only consists of a vnet header of 12 bytes */
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

/* Data from outdev is ignored, and has no effect. */
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
 * Not only sockets: from file to file.  Invalid data at the end is reported
 * once, although it needs several reads.
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

/* --- Nobody reads the output --- */

/*
 * The sender is blocked, but not the monitor; and once somebody reads, all
 * records arrive in order.
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
    qemu_expect_prompt(r.qts);
    g_assert_cmpuint(get_stat(&r, "waiting-bytes"), >, 0);

    for (seq = 0; seq < n; seq++) {
        size_t ahead = MIN((seq + 3) * RECORD_LEN, n * RECORD_LEN);

        if (sent < ahead) {
            send_bytes(r.in, stream + sent, ahead - sent);
            sent = ahead;
        }
        expect_record(r.out, seq);
    }
    wait_stat(&r, "records", n);
    wait_nothing_waits(&r);
    g_assert_cmpuint(get_stat(&r, "records"), ==, n);
    rig_free(&r);
}

/* No record is read before outdev is connected. */
static void test_no_reader(const void *opaque)
{
    int ours;
    Rig r;

    rig_init(&r, opaque);
    close(r.out);
    chardev_wait_connected(r.qts, "out", false);
    send_records(r.in, 0, 2);
    qemu_expect_prompt(r.qts);
    g_assert_cmpuint(get_stat(&r, "records"), ==, 0);

    ours = reconnect(&r, "out", -1);
    expect_records(ours, 0, 2);
    r.out = ours;
    expect_pass(&r, 2);
    rig_free(&r);
}

/*
 * Records are not lost when the sender disconnects while nobody reads, and do
 * not keep another sender from connecting.
 */
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
    qemu_expect_prompt(r.qts);
    r.in = reconnect(&r, "in", -1);
    expect_records(r.out, 0, sent / RECORD_LEN);
    expect_pass(&r, n);
    rig_free(&r);
}

/* --- Adding and deleting the relay --- */

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

/* No connection continues after a partial record. */
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
    g_assert_cmpuint(count_messages(&r, "packet-relay 'relay0' is deleted"),
                     ==, 1);
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
    /* Make sure that this part was read */
    wait_stat(&r, "records", 1);
    object_del(&r);
    chardev_wait_connected(r.qts, "in", false);
    g_assert_true(qtest_qom_get_bool(r.qts, "/chardevs/out", "connected"));
    rig_free(&r);
}

/* QEMU exits while the relay is busy. */
static void test_quit(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    Rig r;

    rig_init(&r, opaque);
    stall(&r, stream, n * RECORD_LEN);
    rig_free(&r);
}

/* --- Refusals --- */

static const struct {
    const char *name;
    const char *chardevs;
    const char *props;
    const char *words;
} refusals[] = {
    { "no-indev", "", "'outdev': 'out'", "'indev' is missing" },
    { "no-outdev", "", "'indev': 'in'", "'outdev' is missing" },
    { "unknown", "", "'indev': 'in', 'outdev': 'other'",
      "'outdev' of packet-relay: chardev 'other' not found" },
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

/* After a refusal, the chardevs can still be used. */
static void test_refuse(const void *opaque)
{
    int i = GPOINTER_TO_INT(opaque);
    g_autofree char *props = g_strdup_printf("{'qom-type': 'packet-relay', "
                                             "'id': 'relay0', %s}",
                                             refusals[i].props);
    int in, out, in_fd, out_fd;
    Rig r = { };
    QDict *rsp;

    in = small_pair_create(&in_fd);
    out = small_pair_create(&out_fd);
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

/* Options can't be changed while records pass. */
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
    static const TestRow rows[] = {
        { "pass", test_pass },
        { "talkative", test_talkative },
        { "file", test_file },
        { "stall", test_stall },
        { "no-reader", test_no_reader },
        { "hangup", test_hangup },
        { "vnet", test_vnet },
        { "replace", test_replace },
        { "remove/torn", test_remove_torn },
        { "remove/partial", test_remove_partial },
        { "quit", test_quit },
        { "set", test_set },
    };
    int i;

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    add_relay_rows("packet-relay", rows, ARRAY_SIZE(rows));
    for (i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strdup_printf("/packet-relay/refuse/%s",
                                                refusals[i].name);

        qtest_add_data_func(path, GINT_TO_POINTER(i), test_refuse);
    }
    return g_test_run();
}
