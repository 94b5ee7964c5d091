/*
 * QTest testcase for packet-relay whose chardevs lose their connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Peers that disconnect and reconnect, and peers that send invalid streams, in
 * the main loop and in an iothread.
 */
#include "qemu/osdep.h"
#include <termios.h>
#include "packet-relay-rig.h"
#include "qapi/error.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

#define FUZZ_ROUNDS 200

/* Additional time for events that have to happen repeatedly */
#define REPEATING_US (50 * G_TIME_SPAN_SECOND)

/* How long QEMU may take to notice that a pty is closed, or opened again */
#define PTY_CLOSED_MS 200
#define PTY_OPENED_MS 3000

/* Bytes that may be queued for outdev after connections have ended */
#define WAITING_MIN (32 * MiB)
#define WAITING_MAX (33 * MiB)

/* --- Connections end, and others start --- */

/* The next connection gets the unsent data, from the start of a record. */
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
    g_assert_cmpuint(taken % RECORD_LEN, !=, 0); /* a record is truncated */

    r.out = reconnect(&r, "out", r.out);
    expect_records(r.out, taken / RECORD_LEN,
                   (sent - taken / RECORD_LEN * RECORD_LEN) / RECORD_LEN);
    rig_free(&r);
}

/* A record that is truncated by a disconnect does not affect the next one. */
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
    /* All but the one of which no byte was sent */
    g_assert_cmpuint(get_stat(&r, "incomplete"), ==, FEW_RECORDS - 1);
    rig_free(&r);
}

/* indev is a server, and outdev reconnects automatically. */
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
            chardev_wait_connected(r.qts, "in", false);
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

/* Senders that connect, send and disconnect can't exhaust memory. */
static void test_hangup_bounded(const void *opaque)
{
    const uint32_t n = HELD_MAX / RECORD_LEN;
    g_autofree uint8_t *stream = stream_create(n);
    const int64_t end = deadline() + REPEATING_US;
    size_t sent;
    Rig r;

    rig_init(&r, opaque);
    stall(&r, stream, n * RECORD_LEN);
    while (!get_stat(&r, "dropped")) {
        r.in = reconnect(&r, "in", r.in);
        for (sent = 0; sent < n * RECORD_LEN; sent += RECORD_LEN) {
            if (send(r.in, stream + sent, RECORD_LEN, MSG_DONTWAIT) < 0) {
                break;
            }
        }
        g_assert_cmpuint(get_stat(&r, "waiting-bytes"), <, WAITING_MAX);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    g_assert_cmpuint(get_stat(&r, "waiting-bytes"), >, WAITING_MIN);
    qemu_expect_prompt(r.qts);
    rig_free(&r);
}

/* --- Invalid streams --- */

/*
 * All records before the invalid one pass; then there is one message, the
 * connection ends, and the next one works.
 */
static void check_broken(Rig *r, const void *head, size_t len)
{
    send_records(r->in, 0, 2);
    /* The connection may end in the middle of it */
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

/* Plain records are invalid where vnet headers are expected. */
static void test_broken_vnet(const void *opaque)
{
    Rig r;

    rig_init_more(&r, opaque, ",vnet-hdr=on");
    send_records(r.in, 1000, 1);
    chardev_wait_connected(r.qts, "in", false);
    g_assert_cmpuint(count_messages(&r, "without vnet headers"), ==, 1);
    rig_free(&r);
}

/* Returns: the path of the pty that chardev "in" is */
static char *pty_path(Rig *r)
{
    g_autoptr(QDict) rsp = qtest_qmp(r->qts, "{'execute': 'query-chardev'}");
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *chardev = qobject_to(QDict, qlist_entry_obj(entry));
        const char *filename = qdict_get_str(chardev, "filename");

        if (g_str_has_prefix(filename, "pty:")) {
            return g_strdup(filename + strlen("pty:"));
        }
    }
    g_assert_not_reached();
}

static int pty_open(const char *path)
{
    struct termios tio;
    int fd = open(path, O_RDWR | O_NOCTTY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(tcgetattr(fd, &tio), ==, 0);
    cfmakeraw(&tio);
    g_assert_cmpint(tcsetattr(fd, TCSANOW, &tio), ==, 0);
    return fd;
}

/* In a pty, data after the invalid record is discarded. */
static void test_broken_pty(const void *opaque)
{
    static const uint8_t junk[8192] = { 0x7f };
    uint8_t record[HEAD_LEN + 100] = { 0, 0, 0, 100 }, got[sizeof(record)];
    g_autofree char *path = NULL, *out = NULL;
    const int64_t end = deadline() + REPEATING_US;
    int out_fd, pty, our_out = small_pair_create(&out_fd);
    GPollFD out_poll = { .fd = our_out, .events = G_IO_IN };
    size_t sent;
    Rig r;

    out = g_strdup_printf("socket,fd=%d", out_fd);
    rig_start(&r, opaque, "pty", out, "");
    r.out = our_out;
    close(out_fd);
    path = pty_path(&r);

    pty = pty_open(path);
    for (sent = 0; sent < sizeof(junk);) {
        ssize_t len = write(pty, junk + sent, sizeof(junk) - sent);

        g_assert_cmpint(len, >, 0);
        sent += len;
    }
    close(pty);

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(PTY_CLOSED_MS * 1000);
        pty = pty_open(path);
        g_assert_cmpint(write(pty, record, sizeof(record)), ==,
                        sizeof(record));
        g_poll(&out_poll, 1, PTY_OPENED_MS);
        close(pty);
    } while (!out_poll.revents);
    g_assert_cmpint(recv(r.out, got, sizeof(got), MSG_WAITALL), ==,
                    sizeof(got));
    g_assert_cmpmem(got, sizeof(got), record, sizeof(record));
    g_assert_cmpuint(count_messages(&r, "packet-relay 'relay0': chardev 'in'"),
                     ==, 1);
    rig_free(&r);
}

/* QEMU survives any data, and the next records pass. */
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
            /* Small lengths are valid from time to time */
            noise[i] = g_test_rand_int_range(0, 8) ? 0 :
                       g_test_rand_int_range(0, 256);
        }
        /* The connection may have ended in the middle of it */
        send(r.in, noise, len, MSG_NOSIGNAL);
        while (recv(r.out, &byte, 1, MSG_DONTWAIT) == 1) {
            continue;
        }
        r.in = reconnect(&r, "in", r.in);
    }
    r.out = reconnect(&r, "out", r.out);
    qemu_expect_prompt(r.qts);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    static const TestRow rows[] = {
        { "reconnect/out", test_reconnect_out },
        { "reconnect/in", test_reconnect_in },
        { "reconnect/alone", test_reconnect_alone },
        { "broken", test_broken },
        { "broken/vnet", test_broken_vnet },
        { "hangup/bounded", test_hangup_bounded },
        { "fuzz", test_fuzz },
    };

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    add_relay_rows("packet-relay", rows, ARRAY_SIZE(rows));
    /* A pty can't run in an iothread */
    qtest_add_data_func("/packet-relay/broken/pty", NULL, test_broken_pty);
    return g_test_run();
}
