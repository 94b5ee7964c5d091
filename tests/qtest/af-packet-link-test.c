/*
 * QTest testcase for af-packet-mode: link changes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All modes are combined with all kinds of frontends and all events; after
 * each event, QEMU's CPU time is checked.  See af-packet-relay.h for the setup.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include "af-packet-relay.h"

#define N_FRAMES 8
#define FEWER_FRAMES 2

#define GONE "interface " QEMU_IF " is gone"

/* The chardev's frontend during an event */
typedef enum Frontend {
    FRONTEND_REDIRECTOR,
    FRONTEND_NONE,          /* filters are added only to pass frames */
    FRONTEND_STALLED,       /* a serial port that its guest ignores */
    FRONTEND_ELSEWHERE,     /* redirector, QEMU in another network namespace */
    FRONTEND__MAX,
} Frontend;

static const char *const frontend_names[FRONTEND__MAX] = {
    "redirector", "none", "stalled", "elsewhere",
};

typedef struct Mode {
    const char *name;
    const char *mode;
    uint16_t proto;
} Mode;

static const Mode modes[] = {
    { "capture", "capture", ETH_P_ALL },
    { "inject-protocol-0", "inject", 0 },
    { "inject-all", "inject", ETH_P_ALL },
};

typedef struct Case {
    const Mode *mode;
    Frontend frontend;
} Case;

typedef struct Link {
    const Case *c;
    Relay relay;
    QTestState *qts;
    int peer;           /* a socket on the other end of the link */
    uint32_t sent;      /* frames expected as output */
    uint32_t received;  /* frames received as output */
} Link;

/* --- The other end, and the frontend --- */

static bool is_capture(const Link *l)
{
    return relay_is_capture(&l->relay);
}

static bool has_redirector(const Link *l)
{
    return l->c->frontend == FRONTEND_REDIRECTOR ||
           l->c->frontend == FRONTEND_ELSEWHERE;
}

/* A serial port needs two qtest messages per byte. */
static int n_frames(const Link *l)
{
    return l->c->frontend == FRONTEND_STALLED ? FEWER_FRAMES : N_FRAMES;
}

static void link_start(Link *l, const Case *c)
{
    const Mode *m = c->mode;
    int fd;

    *l = (Link) { .c = c };
    veth_add(QEMU_IF, TEST_IF);
    fd = packet_open(QEMU_IF, m->proto);
    switch (c->frontend) {
    case FRONTEND_STALLED:
        relay_start_serial(&l->relay, m->mode, fd);
        break;
    case FRONTEND_ELSEWHERE:
        relay_start_elsewhere(&l->relay, m->mode, fd);
        break;
    default:
        relay_start_inherited(&l->relay, m->mode, fd);
        break;
    }
    l->qts = l->relay.qts;
    l->peer = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    if (has_redirector(l)) {
        relay_attach(&l->relay);
    }
}

/* Set both ends up, and clear the pending error of the peer's socket. */
static void link_up(Link *l)
{
    close(l->peer);
    veth_bring_up(QEMU_IF, TEST_IF);
    l->peer = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
}

/* Give the chardev a new link, after its own was removed. */
static void link_renew(Link *l)
{
    close(l->peer);
    veth_add(QEMU_IF, TEST_IF);
    qmp_expect_success(chardev_add_client(l->qts,
                           packet_open(QEMU_IF, l->c->mode->proto)));
    l->peer = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
}

/* Run @func with a frontend that passes data. */
static void with_frontend(Link *l, void (*func)(Link *l))
{
    bool attach = l->c->frontend == FRONTEND_NONE;

    if (attach) {
        relay_attach(&l->relay);
    }
    func(l);
    if (attach) {
        relay_detach(&l->relay);
    }
}

static void read_record(Link *l)
{
    if (l->c->frontend == FRONTEND_STALLED) {
        record_expect(serial_read, l->qts, l->received++);
    } else {
        record_expect(record_read_socket, &l->relay.rec, l->received++);
    }
}

static void write_record(Link *l, uint32_t seq)
{
    if (l->c->frontend == FRONTEND_STALLED) {
        serial_write_record(l->qts, seq);
    } else {
        records_write(l->relay.rec, seq, 1);
    }
}

/* --- Traffic --- */

/* Leave frames in the socket of a chardev without a reader. */
static void leave_unread(Link *l)
{
    int i;

    if (is_capture(l) && !has_redirector(l)) {
        for (i = 0; i < n_frames(l); i++) {
            frame_send(l->peer, l->sent++);
        }
    }
}

/* All frames pass, those that were left first. */
static void do_pass(Link *l)
{
    int i;

    for (i = 0; i < n_frames(l); i++) {
        if (is_capture(l)) {
            frame_send(l->peer, l->sent++);
        } else {
            write_record(l, l->sent);
            frame_expect(l->peer, l->sent++);
        }
    }
    while (is_capture(l) && l->received < l->sent) {
        read_record(l);
    }
}

static void pass(Link *l)
{
    with_frontend(l, do_pass);
}

/* Records for a link that is down are dropped and counted. */
static void do_write_while_down(Link *l)
{
    uint64_t dropped = chardev_stat(l->qts, "dropped-link-down");
    int i;

    for (i = 0; i < n_frames(l); i++) {
        write_record(l, UINT32_MAX);
    }
    chardev_wait_stat(l->qts, "dropped-link-down", dropped + n_frames(l));
}

/* Try both directions; none of these frames may arrive later. */
static void traffic_while_down(Link *l)
{
    uint8_t frame[FRAME_MAX];
    size_t len = frame_fill(frame, UINT32_MAX);
    int i;

    for (i = 0; i < n_frames(l); i++) {
        /* The kernel may accept or refuse it */
        send(l->peer, frame, len, 0);
    }
    if (!is_capture(l)) {
        with_frontend(l, do_write_while_down);
    }
}

/* A link without carrier accepts frames, which are counted separately. */
static void do_write_while_peer_down(Link *l)
{
    const uint64_t taken = chardev_stat(l->qts, "frames");
    const uint64_t lost = chardev_stat(l->qts, "no-carrier-frames");
    int i;

    for (i = 0; i < n_frames(l); i++) {
        write_record(l, UINT32_MAX);
    }
    chardev_wait_stat(l->qts, "no-carrier-frames", lost + n_frames(l));
    g_assert_cmpuint(chardev_stat(l->qts, "frames"), ==, taken);
}

/* The kernel may report it with a delay of a second. */
static void wait_no_carrier(int fd)
{
    const int64_t end = deadline();
    struct ifreq ifr = { .ifr_name = QEMU_IF };

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
    } while (ifr.ifr_flags & IFF_RUNNING);
}

/* --- Events --- */

/* The chardev pauses. */
static void expect_pause(Link *l)
{
    qemu_expect_idle(l->qts);
    g_assert_true(chardev_is_connected(l->qts));
}

static void down_and_up(Link *l)
{
    leave_unread(l);
    link_set_up(QEMU_IF, false);
    expect_pause(l);
    traffic_while_down(l);
    expect_pause(l);
    link_up(l);
    expect_pause(l);
    pass(l);
}

static void peer_down_and_up(Link *l)
{
    leave_unread(l);
    link_set_up(TEST_IF, false);
    wait_no_carrier(l->peer);
    expect_pause(l);
    if (!is_capture(l)) {
        with_frontend(l, do_write_while_peer_down);
        expect_pause(l);
    }
    link_up(l);
    pass(l);
}

/* The connection ends, which QEMU reports for the @nth time. */
static void delete_link(Link *l, unsigned nth)
{
    g_autofree char *filename = NULL;

    link_remove(QEMU_IF);
    chardev_wait_disconnected(l->qts);
    filename = chardev_filename(l->qts);
    g_assert_true(g_str_has_prefix(filename, "disconnected:"));
    qemu_expect_idle(l->qts);
    g_assert_false(chardev_is_connected(l->qts));
    g_assert_cmpuint(relay_count_messages(&l->relay, GONE), ==, nth);
}

static void test_link(const void *opaque)
{
    Link l;

    link_start(&l, opaque);
    pass(&l);
    down_and_up(&l);
    peer_down_and_up(&l);
    delete_link(&l, 1);

    link_renew(&l);
    pass(&l);
    link_set_up(QEMU_IF, false);
    expect_pause(&l);
    delete_link(&l, 2);

    link_renew(&l);
    pass(&l);
    close(l.peer);
    relay_stop(&l.relay);
}

/* --- Registration --- */

static Case cases[ARRAY_SIZE(modes)][FRONTEND__MAX];

static void add_link_test(const Mode *mode, Frontend frontend, Case *c)
{
    g_autofree char *path = g_strdup_printf("/af-packet/link/%s/%s",
                                            mode->name,
                                            frontend_names[frontend]);

    *c = (Case) { mode, frontend };
    qtest_add_data_func(path, c, test_link);
}

int main(int argc, char **argv)
{
    int i, f;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        for (f = 0; f < FRONTEND__MAX; f++) {
            if (f != FRONTEND_STALLED || qtest_has_machine("isapc")) {
                add_link_test(&modes[i], f, &cases[i][f]);
            }
        }
    }
    return g_test_run();
}
