/*
 * QTest testcase for af-packet-mode: drops, counters and messages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames that can't pass, invalid streams, counters and trace events.  See
 * af-packet-relay.h for the setup.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "af-packet-relay.h"
#include "qemu/bswap.h"

/* --- Cases: bad frames --- */

#define WARNED "dropped a frame"

typedef struct BadFrameCase {
    const char *name;
    const char *counter;
    uint32_t len;
} BadFrameCase;

static const BadFrameCase bad_frame_cases[] = {
    { "byte", "dropped-too-short", 1 },
    { "runt", "dropped-too-short", ETH_HLEN - 1 },
    { "long", "dropped-above-mtu", FRAME_MAX + 1 },
    { "longest", "dropped-above-mtu", RECORD_MAX },
};

static void write_frame_of(Relay *relay, uint32_t len)
{
    g_autofree uint8_t *record = g_malloc0(RECORD_HEADER + len);

    stl_be_p(record, len);
    g_assert_cmpint(send(relay->rec, record, RECORD_HEADER + len, 0), ==,
                    RECORD_HEADER + len);
}

/* Many bad frames cause one warning, and the next good frame passes. */
static void test_bad_frame(const void *opaque)
{
    const BadFrameCase *c = opaque;
    Relay relay;
    int i;

    relay_start_veth(&relay, "inject", 0);
    for (i = 0; i < FEW_FRAMES; i++) {
        write_frame_of(&relay, c->len);
    }
    relay_check(&relay, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, c->counter), ==, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, FEW_FRAMES);
    g_assert_cmpuint(relay_count_messages(&relay, WARNED), ==, 1);
    g_assert_true(chardev_is_connected(relay.qts));
    relay_stop(&relay);
}

/* A frame that the kernel refuses: its checksum offset is beyond its end */
static void test_refused_frame(const void *opaque)
{
    static const uint8_t record[] = {
        0, 0, 0, 10 + 60, 0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, [8 + 10 + 59] = 0,
    };
    int i, fd;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    fd = packet_open(QEMU_IF, 0);
    packet_set_vnet_hdr(fd);
    relay_start_inherited(&relay, "inject", fd);
    relay.vnet_hdr = true;
    relay_attach(&relay);
    for (i = 0; i < FEW_FRAMES; i++) {
        g_assert_cmpint(send(relay.rec, record, sizeof(record), 0), ==,
                        sizeof(record));
    }
    chardev_wait_stat(relay.qts, "dropped-refused", FEW_FRAMES);
    g_assert_cmpuint(relay_count_messages(&relay, WARNED), ==, 1);
    g_assert_true(chardev_is_connected(relay.qts));
    relay_stop(&relay);
}

/* --- Cases: an invalid stream --- */

/*
 * An invalid length ends the connection; half a record before it is not sent.
 * A new client starts with a new record.
 */
static void test_nonsense(const void *opaque)
{
    static const uint8_t length[] = { 0x7f, 0xff, 0xff, 0xff };
    Relay relay;
    int rx, i;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_serial(&relay, "inject", packet_open(QEMU_IF, 0));
    rx = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    for (i = 1; i <= 3; i++) {
        serial_write_record(relay.qts, i);
        serial_write(relay.qts, length, sizeof(length));
        chardev_wait_disconnected(relay.qts);
        serial_write_record(relay.qts, UINT32_MAX);
        qemu_expect_idle(relay.qts);
        g_assert_cmpuint(relay_count_messages(&relay, "record length"), ==, i);
        qmp_expect_success(chardev_add_client(relay.qts,
                                              packet_open(QEMU_IF, 0)));
        frame_expect(rx, i);
    }
    serial_write_record(relay.qts, 0);
    frame_expect(rx, 0);
    close(rx);
    relay_stop(&relay);
}

/* Half a record of one client is not continued by the next one. */
static void test_half_record(const void *opaque)
{
    uint8_t record[RECORD_HEADER + FRAME_MAX];
    size_t len = record_fill(record, UINT32_MAX);
    Relay relay;
    int rx;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_serial(&relay, "inject", packet_open(QEMU_IF, 0));
    serial_write(relay.qts, record, len - 1);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay.qts);
    g_assert_cmpuint(chardev_stat(relay.qts, "dropped-detach"), ==, 1);

    veth_add(QEMU_IF, TEST_IF);
    rx = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    qmp_expect_success(chardev_add_client(relay.qts,
                                          packet_open(QEMU_IF, 0)));
    serial_write_record(relay.qts, 1);
    frame_expect(rx, 1);
    close(rx);
    relay_stop(&relay);
}

/* --- Cases: counters --- */

static uint64_t bytes_of_frames(uint32_t count)
{
    uint64_t bytes = 0;
    uint32_t i;

    for (i = 0; i < count; i++) {
        bytes += frame_len(i);
    }
    return bytes;
}

/* The counters of frames and bytes, read with QMP and HMP. */
static void test_counters(const void *mode)
{
    g_autofree char *hmp = NULL, *bytes = NULL;
    const char *words[] = { NULL, "\"dropped-kernel\": 0", NULL };
    Relay relay;
    int i;

    relay_start_veth(&relay, mode, TEST_ETHERTYPE);
    for (i = 1; i <= 3; i++) {
        relay_check(&relay, FEW_FRAMES);
        g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==,
                         i * FEW_FRAMES);
        g_assert_cmpuint(chardev_stat(relay.qts, "bytes"), ==,
                         i * bytes_of_frames(FEW_FRAMES));
    }
    hmp = qtest_hmp(relay.qts, "qom-get /chardevs/pkt af-packet-stats");
    bytes = g_strdup_printf("\"bytes\": %" PRIu64,
                            3 * bytes_of_frames(FEW_FRAMES));
    words[0] = bytes;
    expect_words(hmp, words);
    relay_stop(&relay);
}

#define N_STOPPED 1000

/* Send more frames than QEMU's socket holds while QEMU is stopped. */
static void send_while_stopped(Relay *relay, int tx, bool remove)
{
    uint32_t i;

    g_assert_cmpint(kill(qtest_pid(relay->qts), SIGSTOP), ==, 0);
    for (i = 0; i < N_STOPPED; i++) {
        frame_send(tx, i);
    }
    if (remove) {
        link_remove(QEMU_IF);
    }
    g_assert_cmpint(kill(qtest_pid(relay->qts), SIGCONT), ==, 0);
}

/* Read a record with a number above @last.  Returns: its number */
static int64_t read_later_record(Relay *relay, int64_t last)
{
    uint8_t record[RECORD_HEADER + FRAME_MAX];
    int64_t seq;

    record_read_socket(&relay->rec, record, RECORD_HEADER);
    g_assert_cmpuint(ldl_be_p(record), <=, FRAME_MAX);
    record_read_socket(&relay->rec, record + RECORD_HEADER, ldl_be_p(record));
    seq = ldl_be_p(record + RECORD_HEADER + ETH_ALEN + 2);
    g_assert_cmpint(seq, >, last);
    return seq;
}

/*
 * Frames that find no room are counted, including those that the kernel drops
 * right before the end of the connection.
 */
static void test_kernel_drops(const void *opaque)
{
    uint64_t frames, dropped = 0;
    int fd, tx;
    int64_t last = -1;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    tx = packet_endpoint(TEST_IF, 0);
    fd = packet_open(QEMU_IF, TEST_ETHERTYPE);
    socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, 0);
    relay_start_inherited(&relay, "capture", fd);
    relay_attach(&relay);

    send_while_stopped(&relay, tx, false);
    for (frames = 0; frames + dropped < N_STOPPED; frames++) {
        last = read_later_record(&relay, last);
        dropped = chardev_stat(relay.qts, "dropped-kernel");
    }
    g_assert_cmpuint(frames + dropped, ==, N_STOPPED);
    g_assert_cmpuint(dropped, >, 0);

    send_while_stopped(&relay, tx, true);
    chardev_wait_disconnected(relay.qts);
    g_assert_cmpuint(chardev_stat(relay.qts, "dropped-kernel"), >, dropped);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames") +
                     chardev_stat(relay.qts, "dropped-kernel"), ==,
                     2 * N_STOPPED);
    close(tx);
    relay_stop(&relay);
}

/* --- Cases: trace events --- */

static char *trace_file_create(void)
{
    char *path;
    int fd = g_file_open_tmp("af-packet-test-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    return path;
}

/* Connection, link changes and drops can be traced. */
static void test_trace(const void *opaque)
{
    static const char *const words[] = {
        "qio_channel_af_packet_new", "af_packet_port_link",
        "af_packet_port_drop", "qio_channel_af_packet_close", NULL,
    };
    g_autofree char *path = trace_file_create();
    int fd;
    g_autofree char *option = NULL, *args = NULL, *log = NULL;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    fd = packet_open(QEMU_IF, 0);
    option = chardev_option(fd, "inject", NULL);
    args = g_strdup_printf("%s -trace '*af_packet_*' -D %s",
                           option, path);
    relay_start(&relay, "inject", args);
    close(fd);
    relay_attach(&relay);
    write_frame_of(&relay, 1);
    chardev_wait_stat(relay.qts, "dropped-too-short", 1);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay.qts);
    relay_stop(&relay);

    g_assert_true(g_file_get_contents(path, &log, NULL, NULL));
    expect_words(log, words);
    unlink(path);
}

int main(int argc, char **argv)
{
    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    ADD_TESTS("bad-frame", bad_frame_cases, test_bad_frame);
    add_test("bad-frame", "refused", NULL, test_refused_frame);
    if (qtest_has_machine("isapc")) {
        add_test("bad-stream", "nonsense", NULL, test_nonsense);
        add_test("bad-stream", "half", NULL, test_half_record);
    }
    add_test("counters", "capture", "capture", test_counters);
    add_test("counters", "inject", "inject", test_counters);
    add_test("counters", "kernel-drops", NULL, test_kernel_drops);
    add_test("trace", "events", NULL, test_trace);
    return g_test_run();
}
