/*
 * Unit tests for the af-packet channel with failing system calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each system call of the channel on its socket fails with each errno: once or
 * permanently; when the channel is created, in use, or closed.  After a
 * transient error, the channel works; a permanent error ends it, once; and no
 * error makes it spin.
 *
 * The tests use real sockets, on a veth pair in a network namespace of their
 * own; if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include "monitor/monitor.h"
#include "qemu/error-report.h"
#include "qemu/sockets.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-failing-calls.h"
#include "channel-af-packet-rig.h"

#define ERRNO_MAX 133       /* EHWPOISON */
#define FRAME_LEN 60
#define ABOVE_MTU 3000
#define CALLS_MAX 5000      /* more calls mean that it spins */

/* When they fail */
#define AT_START 1
#define AT_WORK 2
#define ON_ERROR 4 /* which poll() reports: the link was down */
#define AT_END 8
#define ALWAYS (AT_START | AT_WORK | ON_ERROR | AT_END)

typedef struct CallCase {
    const char *name;
    Call call;
    int when;
    bool ring;              /* the call needs a ring */
} CallCase;

static const CallCase calls[] = {
    { "recvmmsg", CALL_RECVMMSG, ALWAYS },
    { "recv", CALL_RECV, ON_ERROR | AT_END },
    { "send", CALL_SEND, AT_WORK },
    { "getsockopt", CALL_GETSOCKOPT, ALWAYS },
    { "setsockopt", CALL_SETSOCKOPT, AT_START | AT_END },
    { "getsockname", CALL_GETSOCKNAME, ALWAYS },
    { "ioctl", CALL_IOCTL, ALWAYS },
    { "mmap", CALL_MMAP, AT_START, true },
    { "timerfd_create", CALL_TIMERFD_CREATE, AT_START },
    { "timerfd_settime", CALL_TIMERFD_SETTIME, AT_WORK },
};

/*
 * Messages
 */

static int n_ends;

int error_vprintf(const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);

    n_ends += strstr(text, "the connection has ended") != NULL;
    return strlen(text);
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

/*
 * The channel, and a reader
 */

typedef struct Reader {
    ChardevSocketAfPacketMode mode;
    QIOChannel *ioc;
    int socket;             /* the opener's */
    int fd;                 /* a duplicate of it */
    int peer;
    uint64_t n_read;        /* bytes */
    bool eof;
    bool hup;
} Reader;

static gboolean on_readable(QIOChannel *ioc, GIOCondition condition,
                            gpointer opaque)
{
    Reader *r = opaque;
    char buf[4096];
    ssize_t len = qio_channel_read(ioc, buf, sizeof(buf), &error_abort);

    r->n_read += MAX(len, 0);
    r->eof = len == 0;
    return !r->eof;
}

static gboolean on_hangup(QIOChannel *ioc, GIOCondition condition,
                          gpointer opaque)
{
    Reader *r = opaque;

    g_assert_false(r->hup);
    r->hup = true;
    return G_SOURCE_REMOVE;
}

static void add_watch(Reader *r, GIOCondition condition, QIOChannelFunc func)
{
    GSource *watch = qio_channel_create_watch(r->ioc, condition);

    g_source_set_callback(watch, (GSourceFunc)func, r, NULL);
    g_source_attach(watch, NULL);
    g_source_unref(watch);
}

/* Use a ring only if needed: setting one up takes most of the time. */
static void reader_open(Reader *r, ChardevSocketAfPacketMode mode, bool ring)
{
    *r = (Reader) { .mode = mode };
    r->peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    r->socket = packet_open(IFNAME, mode == CAPTURE ? TEST_ETHERTYPE : 0);
    if (!ring) {
        socket_set_int(r->socket, SOL_SOCKET, SO_RCVBUF, 100000);
    }
}

static void drain(int fd)
{
    char frame[FRAME_LEN];

    while (__real_recv(fd, frame, sizeof(frame), MSG_DONTWAIT) >= 0 ||
           errno == ENETDOWN) {
        continue;
    }
}

static void reader_connect(Reader *r)
{
    QIOChannelSocket *sioc = qio_channel_socket_new();
    QIOChannelAfPacket *ioc;

    r->eof = r->hup = false;
    r->n_read = 0;
    /* Avoid the system calls of qio_channel_socket_new_fd() */
    r->fd = sioc->fd = dup(r->socket);
    ioc = qio_channel_af_packet_new(sioc, r->mode, "test",
                                    &(ChardevAfPacketStats) {});
    r->ioc = QIO_CHANNEL(ioc);
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(ioc, NULL);
    add_watch(r, G_IO_IN, on_readable);
    add_watch(r, G_IO_HUP, on_hangup);
}

static void reader_disconnect(Reader *r)
{
    qio_channel_close(r->ioc, &error_abort);
    object_unref(OBJECT(r->ioc));
    /* Its watches may still exist */
    while (g_source_remove_by_user_data(r)) {
        continue;
    }
    g_assert_cmpint(fcntl(r->fd, F_GETFD), <, 0);
    drain(r->socket);
    drain(r->peer);
}

static void reader_close(Reader *r)
{
    close(r->socket);
    close(r->peer);
}

/* Send or write a frame in the channel's direction; it may be lost. */
static void offer_frame(Reader *r)
{
    uint8_t record[4 + FRAME_LEN] = { 0, 0, 0, FRAME_LEN };
    uint8_t *frame = record + 4;
    Error *err = NULL;

    frame[12] = TEST_ETHERTYPE >> 8;
    frame[13] = TEST_ETHERTYPE & 0xff;
    if (r->mode == CAPTURE) {
        g_assert_cmpint(__real_send(r->peer, frame, FRAME_LEN, 0), ==,
                        FRAME_LEN);
    } else if (qio_channel_write(r->ioc, (char *)record, sizeof(record),
                                 &err) < 0) {
        error_free(err);
    }
}

static void run_main_loop(void)
{
    int budget = CALLS_MAX;

    while (budget-- && g_main_context_iteration(NULL, false)) {
        continue;
    }
}

static bool has_come_through(Reader *r, uint64_t n_read)
{
    char frame[FRAME_LEN];

    return r->mode == INJECT ?
           __real_recv(r->peer, frame, sizeof(frame), MSG_DONTWAIT) >= 0 :
           r->n_read > n_read;
}

/* Frames pass eventually: the link may just have come up again. */
static void assert_works(Reader *r)
{
    int64_t end = deadline_in(DEADLINE);
    uint64_t n_read = r->n_read;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        offer_frame(r);
        run_main_loop();
    } while (!has_come_through(r, n_read));
}

/*
 * The test
 */

/* Returns: whether @err is transient */
static bool passes(int err)
{
    return err == EAGAIN || err == EINTR || err == ENETDOWN ||
           err == ENOMSG || err == ENOBUFS || err == ENOMEM;
}

/* With vnet headers, the error may refer to a frame */
static bool may_be_a_frame(Reader *r, int err)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return err == EINVAL &&
           __real_getsockopt(r->fd, SOL_PACKET, PACKET_VNET_HDR, &on,
                             &len) == 0 && on;
}

/* Errors that mean to wait for poll() or to retry, so can't be permanent. */
static bool is_contradictory(int err, int times)
{
    return times == FOR_GOOD && (err == EAGAIN || err == EINTR);
}

/* The channel may have ended, but only once, and permanently. */
static void assert_ended_once(Reader *r)
{
    uint64_t n_read = r->n_read;

    g_assert_cmpint(n_ends, ==, r->hup);
    if (n_ends) {
        offer_frame(r);
        run_main_loop();
        g_assert_cmpint(n_ends, ==, 1);
        g_assert_cmpuint(r->n_read, ==, n_read);
        g_assert_true(r->mode == INJECT || r->eof);
    }
}

static void do_test(Reader *r, Call call, int err, int times, int when)
{
    bool receiving = r->mode == CAPTURE && call == CALL_RECVMMSG;

    n_ends = 0;
    fail_calls(when == AT_START ? call : CALL_NONE, err, times);
    reader_connect(r);
    fail_calls(CALL_NONE, 0, 0);
    if (when == ON_ERROR) {
        link_set_up(IFNAME, false);
        link_set_up(IFNAME, true);
    }
    fail_calls(when == AT_END ? CALL_NONE : call, err, times);
    offer_frame(r);
    run_main_loop();
    offer_frame(r);
    run_main_loop();

    if (receiving && may_be_a_frame(r, err)) {
        /* Any number of frames could cause these errors */
        g_assert_cmpint(n_ends, ==, 0);
    } else {
        g_assert_cmpint(count_calls(), <, CALLS_MAX);
    }
    if (receiving && !may_be_a_frame(r, err) &&
        when & (AT_START | AT_WORK)) {
        g_assert_cmpint(n_ends, ==, times == FOR_GOOD || !passes(err));
    }
    fail_calls(CALL_NONE, 0, 0);
    assert_ended_once(r);
    if (!n_ends && times == 1) {
        assert_works(r);
    }
    if (when == AT_END) {
        fail_calls(call, err, times);
    }
    reader_disconnect(r);
    g_assert_cmpint(count_calls(), <, CALLS_MAX);
    fail_calls(CALL_NONE, 0, 0);
}

static void test_errnos(Reader *r, Call call, int when)
{
    int err;

    for (err = 1; err <= ERRNO_MAX; err++) {
        do_test(r, call, err, 1, when);
        if (!is_contradictory(err, FOR_GOOD)) {
            do_test(r, call, err, FOR_GOOD, when);
        }
    }
}

static void test_call(const void *opaque)
{
    const CallCase *c = opaque;
    int mode, when;
    Reader r;

    veth_add(IFNAME, PEER);
    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        reader_open(&r, mode, c->ring);
        for (when = AT_START; when <= AT_END; when *= 2) {
            if (c->when & when) {
                test_errnos(&r, c->call, when);
            }
        }
        reader_close(&r);
    }
    link_remove(IFNAME);
}

/* A query of the MTU that fails is repeated. */
static void test_mtu(void)
{
    static uint8_t frame[sizeof(struct virtio_net_hdr) + ABOVE_MTU];
    static uint8_t buf[ABOVE_MTU];
    const int64_t end = deadline_in(DEADLINE);
    Rig r;
    int fd = rig_open_tap(&r, 0);

    if (fd < 0) {
        return;
    }
    rig_connect(&r, fd, NULL);
    fail_calls(CALL_IOCTL, ENODEV, FOR_GOOD);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_assert_cmpint(write(r.peer, frame, sizeof(frame)), ==,
                        sizeof(frame));
        rig_read(&r, buf, sizeof(uint32_t), sizeof(uint32_t));
        rig_read(&r, buf, ABOVE_MTU, SIZE_MAX);
        fail_calls(CALL_NONE, 0, 0);
    } while (!rig_stats(&r).gso_frames);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet");
    SUITE_ADD_TABLE("errors", calls, test_call);
    suite_add("mtu", test_mtu);
    return g_test_run();
}
