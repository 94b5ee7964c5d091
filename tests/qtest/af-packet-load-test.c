/*
 * QTest testcase for af-packet-mode: overload
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Slow interfaces and many senders; each frame is accounted for.  See
 * af-packet-relay.h for the setup.
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

/* 8 kbit/s, with bursts of two frames */
#define SLOW_RATE 1000
#define SLOW_BURST (2 * FRAME_MAX)

/* Then, the remaining frames are sent within DRAIN_SEC. */
#define FAST_RATE (2 * MiB)
#define FAST_BURST (4 * FRAME_MAX)
#define DRAIN_SEC 30

#define QUEUE_MAX (4 * MiB)
#define FLOOD_FRAMES 10000  /* twice the capacity of the queue */

typedef struct SlowCase {
    const char *name;
    uint32_t limit;         /* maximum number of bytes queued in the kernel */
} SlowCase;

static const SlowCase slow_cases[] = {
    { "eagain", 1 * MiB },  /* the socket's buffer is full first */
    { "enobufs", 4000 },    /* the interface's queue is full first */
};

typedef struct Flood {
    Relay relay;
    const SlowCase *c;
    GThread *writer;
    bool endless;
    int written;            /* number of records, once it has ended */
} Flood;

/* Write records until all are written or QEMU closes the stream. */
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

/* Wait until frames are dropped because the queue is full. */
static void flood_wait_full(Flood *f)
{
    const int64_t end = deadline();

    while (!chardev_stat(f->relay.qts, "dropped-queue-full")) {
        qemu_expect_prompt(f->relay.qts);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* Returns: the number of frames lost between an interface and its sockets */
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

/* Returns: the number of frames that found no room in @fd since last call */
static uint64_t packet_take_drops(int fd)
{
    struct tpacket_stats stats;
    socklen_t len = sizeof(stats);

    g_assert_cmpint(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS,
                               &stats, &len), ==, 0);
    return stats.tp_drops;
}

/*
 * Receive @count frames, less those that the kernel reports as lost, in the
 * order in which they were written.
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

/* Frames that fit into the queue arrive in order, the rest is counted. */
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
    /* QEMU is still sending, which needs CPU time on an emulated machine */
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
}

/* During a flood, everything can be removed. */
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
}

/* During a flood, QEMU can be terminated. */
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

/* A record contains a frame that was sent, and not received before. */
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
 * Frames of senders on several processors pass in any order, but only once;
 * lost ones are counted.
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

    relay_start_veth(&relay, "capture", TEST_ETHERTYPE);
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
}

int main(int argc, char **argv)
{
    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    ADD_TESTS("slow", slow_cases, test_slow);
    ADD_TESTS("slow/remove", slow_cases, test_slow_remove);
    ADD_TESTS("slow/quit", slow_cases, test_slow_quit);
    add_test("senders", "capture", NULL, test_senders);
    return g_test_run();
}
