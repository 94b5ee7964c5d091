/*
 * QTest testcase for packet-relay whose chardevs lose their connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In the main loop, and in an iothread: peers that leave and come again, and
 * those whose streams make no sense.
 */
#include "qemu/osdep.h"
#include "packet-relay-rig.h"
#include "qapi/error.h"
#include "qemu/sockets.h"

#define FUZZ_ROUNDS 200

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

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*func)(const void *opaque);
    } tests[] = {
        { "reconnect/out", test_reconnect_out },
        { "reconnect/in", test_reconnect_in },
        { "reconnect/alone", test_reconnect_alone },
        { "broken", test_broken },
        { "broken/vnet", test_broken_vnet },
        { "fuzz", test_fuzz },
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
    return g_test_run();
}
