/*
 * QTest testcase for packet-relay with packet sockets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As in af-packet-relay.h, but with a packet-relay instead of two filters.  It
 * runs in the main loop and in an iothread.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "af-packet-relay.h"
#include "qemu/bswap.h"
#include "qemu/units.h"

typedef struct Case {
    const char *name;
    const char *mode;
    bool iothread;
} Case;

static const Case cases[] = {
    { "capture/main-loop", "capture", false },
    { "capture/iothread", "capture", true },
    { "inject/main-loop", "inject", false },
    { "inject/iothread", "inject", true },
};

static const Case *const inject_cases = &cases[2];

/* @vnet_hdr: whether the object expects vnet headers in records */
static void object_add(Relay *relay, const Case *c, bool vnet_hdr)
{
    bool capture = relay_is_capture(relay);
    g_autoptr(QDict) args = qdict_new();

    qdict_put_str(args, "qom-type", "packet-relay");
    qdict_put_str(args, "id", "relay0");
    qdict_put_str(args, "indev", capture ? "pkt" : "rec");
    qdict_put_str(args, "outdev", capture ? "rec" : "pkt");
    qdict_put_bool(args, "vnet-hdr", vnet_hdr);
    if (c->iothread) {
        qdict_put_str(args, "iothread", "io0");
    }
    qtest_qmp_assert_success(relay->qts, "{ 'execute': 'object-add',"
                             "  'arguments': %p }", g_steal_pointer(&args));
}

static void start(Relay *relay, const Case *c, bool vnet_hdr)
{
    relay_start_inherited(relay, c->mode, packet_open(QEMU_IF, ETH_P_ALL));
    qtest_qmp_assert_success(relay->qts, "{ 'execute': 'object-add',"
                             "  'arguments': { 'qom-type': 'iothread',"
                             "                 'id': 'io0' } }");
    object_add(relay, c, vnet_hdr);
}

/* A counter of the object */
static int64_t relay_stat(Relay *relay, const char *name)
{
    g_autoptr(QDict) stats = qtest_qmp_assert_success_ref(relay->qts,
        "{ 'execute': 'qom-get', 'arguments': {"
        "    'path': '/objects/relay0', 'property': 'stats' } }");

    return qdict_get_int(stats, name);
}

static void expect_closed(Relay *relay, const char *reason)
{
    g_autoptr(QDict) event = qtest_qmp_eventwait_ref(
        relay->qts, "CHARDEV_AF_PACKET_CLOSED");
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "pkt");
    g_assert_cmpstr(qdict_get_str(data, "reason"), ==, reason);
    g_assert_false(chardev_is_connected(relay->qts));
}

/* Frames become records, and records become frames. */
static void test_pass(const void *opaque)
{
    const Case *c = opaque;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, c, false);
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
}

/* The interface is removed: an event is emitted, and add_client works. */
static void test_gone(const void *opaque)
{
    const Case *c = opaque;
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, c, false);
    for (i = 0; i < 3; i++) {
        relay_check(&relay, FEW_FRAMES);
        link_remove(QEMU_IF);
        expect_closed(&relay, "interface-gone");
        veth_add(QEMU_IF, TEST_IF);
        qmp_expect_success(chardev_add_client(relay.qts,
                                              packet_open(QEMU_IF,
                                                          ETH_P_ALL)));
    }
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
}

/*
 * The same when nobody reads the records: the remaining ones are queued in the
 * relay, not in the chardev.
 */
static void test_gone_stalled(const void *opaque)
{
    const Case *c = opaque;
    uint32_t sent = 0, seq;
    Relay relay;
    int tx;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, c, false);
    tx = packet_endpoint(TEST_IF, 0);
    while (!relay_stat(&relay, "stalls")) {
        frame_send(tx, sent++);
    }
    for (seq = 0; seq < WINDOW; seq++) {
        frame_send(tx, sent++);
    }
    close(tx);
    link_remove(QEMU_IF);
    expect_closed(&relay, "interface-gone");

    veth_add(QEMU_IF, TEST_IF);
    qmp_expect_success(chardev_add_client(relay.qts,
                                          packet_open(QEMU_IF, ETH_P_ALL)));
    for (seq = 0; seq < sent; seq++) {
        record_expect(record_read_socket, &relay.rec, seq);
    }
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
}

/* There is no event if the chardev is removed. */
static void test_no_event(const void *opaque)
{
    const Case *c = opaque;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, c, false);
    relay_check(&relay, 1);
    qtest_qmp_assert_success(relay.qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': 'relay0' } }");
    chardev_remove(relay.qts);
    qemu_expect_prompt(relay.qts);
    g_assert_null(qtest_qmp_event_ref(relay.qts, "CHARDEV_AF_PACKET_CLOSED"));
    relay_stop(&relay);
}

/*
 * Records with vnet headers for a socket without them: the stream is invalid
 * after the first frame, which is not sent again on the next connection.
 */
static void test_bad_stream(const void *opaque)
{
    uint8_t record[2 * sizeof(uint32_t) + 64];
    const Case *c = opaque;
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, c, true);
    memset(record, 0xff, sizeof(record));
    stl_be_p(record, 64);
    stl_be_p(record + sizeof(uint32_t), 12);
    for (i = 1; i <= 3; i++) {
        g_assert_cmpint(send(relay.rec, record, sizeof(record), 0), ==,
                        sizeof(record));
        expect_closed(&relay, "bad-stream");
        g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, i);
        qmp_expect_success(chardev_add_client(relay.qts,
                                              packet_open(QEMU_IF,
                                                          ETH_P_ALL)));
    }
    g_assert_cmpuint(relay_count_messages(&relay, "the connection has ended"),
                     ==, 3);
    relay_stop(&relay);
}

/* Plain records where the object expects vnet headers: it disconnects. */
static void test_disconnected(const void *opaque)
{
    const Case *c = opaque;
    Relay relay;
    int tx;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, c, true);
    tx = packet_endpoint(TEST_IF, 0);
    frame_send(tx, 1);
    expect_closed(&relay, "disconnected");
    g_assert_cmpuint(relay_count_messages(&relay, "without vnet headers"),
                     ==, 1);
    close(tx);
    relay_stop(&relay);
}

/* --- A slow interface --- */

/* 8 kbit/s, with bursts of two frames */
#define SLOW_RATE 1000
#define SLOW_BURST (2 * FRAME_MAX)
#define FAST_RATE (20 * MiB)
#define FAST_BURST (64 * FRAME_MAX)
#define LIMIT (1 * MiB)

#define FLOOD_FRAMES 10000  /* twice the capacity of the queue */

static gpointer flood_write(gpointer opaque)
{
    Relay *relay = opaque;

    records_write(relay->rec, 0, FLOOD_FRAMES);
    return NULL;
}

static void wait_stalled(Relay *relay)
{
    const int64_t end = deadline();

    while (!relay_stat(relay, "stalls")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* The writer has to wait, and no frame is lost. */
static void test_slow(const void *opaque)
{
    const Case *c = opaque;
    GThread *writer;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    if (link_add_tbf(QEMU_IF, SLOW_RATE, SLOW_BURST, LIMIT) < 0) {
        g_test_skip("the kernel has no tbf");
        link_remove(QEMU_IF);
        return;
    }
    start(&relay, c, false);
    writer = g_thread_new("flood", flood_write, &relay);
    wait_stalled(&relay);
    qemu_expect_prompt(relay.qts);
    qemu_expect_idle(relay.qts);
    g_assert_cmpuint(chardev_stat(relay.qts, "queue-frames"), >,
                     FLOOD_FRAMES / 3);

    link_change_tbf(QEMU_IF, FAST_RATE, FAST_BURST, LIMIT);
    g_thread_join(writer);
    chardev_wait_stat(relay.qts, "frames", FLOOD_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, "dropped-queue-full"), ==, 0);
    relay_stop(&relay);
}

int main(int argc, char **argv)
{
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    ADD_TESTS("relay/pass", cases, test_pass);
    ADD_TESTS("relay/gone", cases, test_gone);
    ADD_TESTS("relay/no-event", cases, test_no_event);
    for (i = 0; i < 2; i++) {
        add_test("relay/gone-stalled", cases[i].name, &cases[i],
                 test_gone_stalled);
        add_test("relay/disconnected", cases[i].name, &cases[i],
                 test_disconnected);
        add_test("relay/bad-stream", inject_cases[i].name, &inject_cases[i],
                 test_bad_stream);
        add_test("relay/slow", inject_cases[i].name, &inject_cases[i],
                 test_slow);
    }
    return g_test_run();
}
