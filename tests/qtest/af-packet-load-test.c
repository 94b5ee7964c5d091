/*
 * QTest testcase for af-packet-mode: more than the link, or QEMU, takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Slow interfaces, frames that can't pass, streams that make no sense; and
 * that each frame is accounted for.  See af-packet-relay.h for what is
 * between packet socket and records.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include "af-packet-relay.h"
#include "qemu/bswap.h"
#include "qemu/units.h"

/* --- Cases: a slow interface --- */

/* 8 kbit/s; two frames may go at once */
#define SLOW_RATE 1000
#define SLOW_BURST (2 * FRAME_MAX)

/* What is left then goes in some seconds, if not in DRAIN_SEC. */
#define FAST_RATE (2 * MiB)
#define FAST_BURST (4 * FRAME_MAX)
#define DRAIN_SEC 30

#define QUEUE_MAX (4 * MiB)
#define FLOOD_FRAMES 10000  /* twice what the queue holds */

typedef struct SlowCase {
    const char *name;
    uint32_t limit;         /* bytes that may wait in the kernel */
} SlowCase;

static const SlowCase slow_cases[] = {
    { "eagain", 1 * MiB },  /* the socket's buffer is full first */
    { "enobufs", 4000 },    /* the interface's queue is */
};

typedef struct Flood {
    Relay relay;
    const SlowCase *c;
    GThread *writer;
    bool endless;
    int written;            /* how many records, once it has ended */
} Flood;

/* Write records until all are written, or QEMU has closed the stream. */
static gpointer flood_write(gpointer opaque)
{
    Flood *f = opaque;
    uint8_t record[RECORD_HEADER + FRAME_MAX];
    uint32_t seq;

    for (seq = 0; f->endless || seq < FLOOD_FRAMES; seq++) {
        size_t len = record_fill(record, seq);

        if (send(f->relay.rec, record, len, MSG_NOSIGNAL) != len) {
            break;
        }
        f->written = seq + 1;
    }
    return NULL;
}

/* Returns: false if the kernel can't make an interface slow. */
static bool flood_start(Flood *f, const SlowCase *c, bool endless)
{
    *f = (Flood) { .c = c, .endless = endless };
    veth_add(QEMU_IF, TEST_IF);
    if (link_add_tbf(QEMU_IF, SLOW_RATE, SLOW_BURST, c->limit) < 0) {
        g_test_skip("the kernel has no tbf");
        link_remove(QEMU_IF);
        return false;
    }
    relay_start_inherited(&f->relay, "inject", packet_open(QEMU_IF, 0));
    relay_attach(&f->relay);
    f->writer = g_thread_new("flood", flood_write, f);
    return true;
}

/* Wait until frames are dropped since the queue is full. */
static void flood_wait_full(Flood *f)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (!chardev_stat(f->relay.qts, "dropped-queue-full")) {
        qemu_expect_prompt(f->relay.qts);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* How many frames have got lost between an interface and its sockets */
static uint64_t link_rx_dropped(const char *ifname)
{
    g_autofree char *key = g_strdup_printf("%s:", ifname);
    g_autofree char *text = NULL;
    const char *line;
    uint64_t dropped;

    g_assert_true(g_file_get_contents("/proc/thread-self/net/dev", &text,
                                      NULL, NULL));
    line = strstr(text, key);
    g_assert_nonnull(line);
    g_assert_cmpint(sscanf(line + strlen(key), "%*u %*u %*u %" SCNu64,
                           &dropped), ==, 1);
    return dropped;
}

/* How many have found no room in @fd since the last call */
static uint64_t packet_take_drops(int fd)
{
    struct tpacket_stats stats;
    socklen_t len = sizeof(stats);

    g_assert_cmpint(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS,
                               &stats, &len), ==, 0);
    return stats.tp_drops;
}

/*
 * Receive @count frames, less those that the kernel tells that it has lost, in
 * the order that they were written in.
 */
static void expect_in_order(int fd, uint64_t count)
{
    const int64_t end = g_get_monotonic_time() +
                        DRAIN_SEC * G_TIME_SPAN_SECOND;
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    uint64_t received = 0, dropped = 0, lost = 0;
    uint8_t frame[FRAME_MAX];
    int64_t last = -1;
    uint32_t seq;

    while (received + lost < count) {
        if (poll(&pfd, 1, 100) > 0) {
            g_assert_cmpint(recv(fd, frame, sizeof(frame), 0), >=, FRAME_MIN);
            seq = ldl_be_p(frame + ETH_ALEN + 2);
            g_assert_cmpint(seq, >, last);
            last = seq;
            received++;
        }
        dropped += packet_take_drops(fd);
        lost = dropped + link_rx_dropped(TEST_IF);
        if (g_get_monotonic_time() >= end) {
            g_test_message("%" PRIu64 " received, %" PRIu64 " lost, of %"
                           PRIu64, received, lost, count);
            g_assert_not_reached();
        }
    }
    g_assert_cmpuint(received + lost, ==, count);
    g_assert_cmpuint(received, >, WINDOW);
}

/* What fits the queue arrives, in order, and the rest is counted. */
static void test_slow(const void *opaque)
{
    uint64_t dropped, max;
    QTestState *qts;
    Flood f;
    int rx;

    if (!flood_start(&f, opaque, false)) {
        return;
    }
    qts = f.relay.qts;
    rx = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    flood_wait_full(&f);
    g_thread_join(f.writer);
    g_assert_cmpint(f.written, ==, FLOOD_FRAMES);
    qemu_expect_prompt(qts);
    /* It still sends, slowly, which takes some time on an emulated machine */
    qemu_expect_cpu_below(qts, 30);

    link_change_tbf(QEMU_IF, FAST_RATE, FAST_BURST, f.c->limit);
    dropped = chardev_stat(qts, "dropped-queue-full");
    expect_in_order(rx, FLOOD_FRAMES - dropped);
    g_assert_cmpuint(chardev_stat(qts, "frames"), ==, FLOOD_FRAMES - dropped);
    g_assert_cmpuint(chardev_stat(qts, "dropped-queue-full"), ==, dropped);
    g_assert_cmpuint(chardev_stat(qts, "queue-frames"), ==, 0);
    g_assert_cmpuint(chardev_stat(qts, "queue-bytes"), ==, 0);
    max = chardev_stat(qts, "queue-max-bytes");
    g_assert_cmpuint(max, <=, QUEUE_MAX);
    g_assert_cmpuint(max, >, QUEUE_MAX - 2 * FRAME_MAX);

    close(rx);
    relay_stop(&f.relay);
    link_remove(QEMU_IF);
}

/* In the middle of a flood everything can be removed at once. */
static void test_slow_remove(const void *opaque)
{
    int64_t start;
    Flood f;

    if (!flood_start(&f, opaque, true)) {
        return;
    }
    flood_wait_full(&f);

    start = g_get_monotonic_time();
    relay_detach(&f.relay);
    chardev_remove(f.relay.qts);
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
    g_assert_null(chardev_filename(f.relay.qts));
    relay_stop(&f.relay);
    g_thread_join(f.writer);
    link_remove(QEMU_IF);
}

/* And so can QEMU be ended. */
static void test_slow_quit(const void *opaque)
{
    int64_t start;
    Flood f;

    if (!flood_start(&f, opaque, true)) {
        return;
    }
    flood_wait_full(&f);

    start = g_get_monotonic_time();
    qtest_qmp_assert_success(f.relay.qts, "{ 'execute': 'quit' }");
    qtest_wait_qemu(f.relay.qts);
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
    relay_stop(&f.relay);
    g_thread_join(f.writer);
    link_remove(QEMU_IF);
}

/* --- Cases: senders on several processors --- */

#define SENDERS_MAX 4
#define FRAMES_EACH 2000
#define SENDER_SHIFT 16

typedef struct Sender {
    GThread *thread;
    int number;             /* of the processor, too */
    int fd;
    bool received[FRAMES_EACH];
} Sender;

static gpointer send_frames(gpointer opaque)
{
    Sender *s = opaque;
    cpu_set_t processor;
    uint8_t frame[FRAME_MAX];
    uint32_t i;

    CPU_ZERO(&processor);
    CPU_SET(s->number, &processor);
    g_assert_cmpint(sched_setaffinity(0, sizeof(processor), &processor), ==,
                    0);
    for (i = 0; i < FRAMES_EACH; i++) {
        size_t len = frame_fill(frame, s->number << SENDER_SHIFT | i);

        /* ENOBUFS: the interface counts it as dropped (veth, Linux 6.18) */
        g_assert_true(send(s->fd, frame, len, 0) == len || errno == ENOBUFS);
    }
    return NULL;
}

/* A record is of a frame that was sent, and that has not come yet. */
static void read_sent_record(Relay *relay, Sender *senders, int n_senders)
{
    uint8_t frame[FRAME_MAX], expected[FRAME_MAX];
    uint32_t len, seq;
    Sender *s;

    record_read_socket(&relay->rec, frame, RECORD_HEADER);
    len = ldl_be_p(frame);
    g_assert_cmpuint(len, <=, FRAME_MAX);
    record_read_socket(&relay->rec, frame, len);
    seq = ldl_be_p(frame + ETH_ALEN + 2);
    g_assert_cmpuint(frame_fill(expected, seq), ==, len);
    g_assert_cmpmem(frame, len, expected, len);

    g_assert_cmpuint(seq >> SENDER_SHIFT, <, n_senders);
    s = &senders[seq >> SENDER_SHIFT];
    seq &= (1 << SENDER_SHIFT) - 1;
    g_assert_cmpuint(seq, <, FRAMES_EACH);
    g_assert_false(s->received[seq]);
    s->received[seq] = true;
}

/*
 * Frames of senders on several processors pass in any order, and none twice;
 * those that do not are counted.
 */
static void test_senders(const void *opaque)
{
    const int n = MIN(sysconf(_SC_NPROCESSORS_ONLN), SENDERS_MAX);
    const int64_t end = g_get_monotonic_time() +
                        DRAIN_SEC * G_TIME_SPAN_SECOND;
    g_autofree Sender *senders = g_new0(Sender, n);
    struct pollfd readable = { .events = POLLIN };
    uint64_t received = 0, lost = 0;
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, "capture",
                          packet_open(QEMU_IF, TEST_ETHERTYPE));
    relay_attach(&relay);
    for (i = 0; i < n; i++) {
        senders[i].number = i;
        senders[i].fd = packet_endpoint(TEST_IF, 0);
        senders[i].thread = g_thread_new("sender", send_frames, &senders[i]);
    }
    readable.fd = relay.rec;
    while (received + lost < n * FRAMES_EACH) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        if (poll(&readable, 1, 100) > 0) {
            read_sent_record(&relay, senders, n);
            received++;
        } else {
            lost = chardev_stat(relay.qts, "dropped-kernel") +
                   link_rx_dropped(QEMU_IF);
        }
    }
    g_assert_cmpuint(received + lost, ==, n * FRAMES_EACH);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, received);
    g_assert_cmpuint(received, >, WINDOW);
    for (i = 0; i < n; i++) {
        g_thread_join(senders[i].thread);
        close(senders[i].fd);
    }
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

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
    { "long", "dropped-too-long", FRAME_MAX + 1 },
    { "longest", "dropped-too-long", RECORD_MAX },
};

static void write_frame_of(Relay *relay, uint32_t len)
{
    g_autofree uint8_t *record = g_malloc0(RECORD_HEADER + len);

    stl_be_p(record, len);
    g_assert_cmpint(send(relay->rec, record, RECORD_HEADER + len, 0), ==,
                    RECORD_HEADER + len);
}

/* Many of them make one warning, and the next good frame passes. */
static void test_bad_frame(const void *opaque)
{
    const BadFrameCase *c = opaque;
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, "inject", packet_open(QEMU_IF, 0));
    relay_attach(&relay);
    for (i = 0; i < FEW_FRAMES; i++) {
        write_frame_of(&relay, c->len);
    }
    relay_check(&relay, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, c->counter), ==, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, FEW_FRAMES);
    g_assert_cmpuint(relay_count_messages(&relay, WARNED), ==, 1);
    g_assert_true(chardev_is_connected(relay.qts));
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* What the kernel refuses: a checksum that is to be in another frame */
static void test_refused_frame(const void *opaque)
{
    static const uint8_t record[] = {
        0, 0, 0, 10 + 60, 0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, [8 + 10 + 59] = 0,
    };
    int i, on = 1, fd;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    fd = packet_open(QEMU_IF, 0);
    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
                               &on, sizeof(on)), ==, 0);
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
    link_remove(QEMU_IF);
}

/* --- Cases: a stream that makes no sense --- */

/*
 * An impossible length ends the connection, with half a record before it that
 * never becomes a frame.  A new client starts afresh.
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
    link_remove(QEMU_IF);
}

/* A client's half record is not the start of the next client's first. */
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
    link_remove(QEMU_IF);
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

/* Frames and bytes are those that passed, by QMP and by HMP. */
static void test_counters(const void *mode)
{
    g_autofree char *hmp = NULL, *bytes = NULL;
    const char *words[] = { NULL, "\"dropped-kernel\": 0", NULL };
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, mode,
                          packet_open(QEMU_IF, TEST_ETHERTYPE));
    relay_attach(&relay);
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
    link_remove(QEMU_IF);
}

#define N_STOPPED 1000

/* Send frames while QEMU doesn't run, more than its socket holds. */
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

/* Read a record that is later than number @last.  Returns: its number */
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
 * Some frames find room, the others are counted, and those too that the
 * kernel drops right before the end of the connection.
 */
static void test_kernel_drops(const void *opaque)
{
    uint64_t frames, dropped = 0;
    int size = 0, fd, tx;
    int64_t last = -1;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    tx = packet_endpoint(TEST_IF, 0);
    fd = packet_open(QEMU_IF, TEST_ETHERTYPE);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size,
                               sizeof(size)), ==, 0);
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

/* --- Registration --- */

static void add_test(const char *group, const char *name, const void *data,
                     void (*func)(const void *))
{
    g_autofree char *path = g_strdup_printf("/af-packet/%s/%s", group, name);

    qtest_add_data_func(path, data, func);
}

int main(int argc, char **argv)
{
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(slow_cases); i++) {
        const SlowCase *c = &slow_cases[i];

        add_test("slow", c->name, c, test_slow);
        add_test("slow/remove", c->name, c, test_slow_remove);
        add_test("slow/quit", c->name, c, test_slow_quit);
    }
    for (i = 0; i < ARRAY_SIZE(bad_frame_cases); i++) {
        add_test("bad-frame", bad_frame_cases[i].name, &bad_frame_cases[i],
                 test_bad_frame);
    }
    add_test("bad-frame", "refused", NULL, test_refused_frame);
    if (qtest_has_machine("isapc")) {
        add_test("bad-stream", "nonsense", NULL, test_nonsense);
        add_test("bad-stream", "half", NULL, test_half_record);
    }
    add_test("senders", "capture", NULL, test_senders);
    add_test("counters", "capture", "capture", test_counters);
    add_test("counters", "inject", "inject", test_counters);
    add_test("counters", "kernel-drops", NULL, test_kernel_drops);
    add_test("trace", "events", NULL, test_trace);
    return g_test_run();
}
