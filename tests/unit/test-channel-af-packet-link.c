/*
 * Unit tests of the af-packet channel: link state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include "chardev/af-packet-socket.h"
#include "qapi/error.h"
#include "channel-af-packet-rig.h"

typedef struct LinkCase {
    const char *name;
    ChardevSocketAfPacketMode mode;
    uint16_t proto;
} LinkCase;

static const LinkCase link_cases[] = {
    { "capture", CAPTURE, TEST_ETHERTYPE },
    { "capture-all", CAPTURE, ETH_P_ALL },
    { "inject", INJECT, 0 },
    { "inject-all", INJECT, ETH_P_ALL },
};

/* Read and forget what the kernel says when an interface comes or goes. */
static void drain(Rig *r)
{
    char buf[4096];

    while (qio_channel_read(r->base, buf, sizeof(buf), &error_abort) > 0) {
        continue;
    }
}

/* Set the interface down; the channel waits, and counts. */
static void do_test_down(Rig *r)
{
    uint64_t dropped = rig_stats(r).dropped_link_down;
    int i;

    link_set_up(IFNAME, false);
    drain(r);
    rig_assert_idle(r);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
    for (i = 0; i < 5; i++) {
        rig_write_record(r, 60, i);
    }
    g_assert_cmpuint(rig_stats(r).dropped_link_down, ==,
                     dropped + (r->mode == INJECT ? 5 : 0));
    g_assert_cmpuint(rig_stats(r).queue_frames, ==, 0);
    rig_assert_idle(r);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
}

static void test_link_down_up(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;
    int i;

    rig_init(&r, c->mode, c->proto);
    for (i = 0; i < 2; i++) {
        rig_expect_pass(&r, i);
        do_test_down(&r);
        close(r.peer);
        veth_bring_up(IFNAME, PEER);
        r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    }
    rig_expect_pass(&r, i);
    rig_free(&r);
}

/* It was down, but that is over before the channel hears of it. */
static void test_link_flap(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    rig_assert_idle(&r);
    link_set_up(IFNAME, false);
    veth_bring_up(IFNAME, PEER);
    rig_expect_pass(&r, 1);
    g_assert_cmpuint(rig_stats(&r).dropped_link_down, ==, 0);
    rig_free(&r);
}

/* The socket was bound while the interface was down. */
static void test_link_down_first(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r = { .mode = c->mode };

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    rig_connect(&r, packet_open(IFNAME, c->proto), &(ChardevAfPacketStats) {});
    rig_assert_idle(&r);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    veth_bring_up(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    rig_expect_pass(&r, 1);
    rig_free(&r);
}

/* So is the far end's going down, of which the channel hears nothing. */
static void test_link_peer_down(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    link_set_up(PEER, false);
    drain(&r);
    rig_assert_idle(&r);
    rig_write_record(&r, 60, 1);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    close(r.peer);
    veth_bring_up(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    rig_expect_pass(&r, 2);
    rig_free(&r);
}

static bool is_running(int fd)
{
    struct ifreq ifr = { .ifr_name = IFNAME };

    g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
    return ifr.ifr_flags & IFF_RUNNING;
}

/*
 * Write records until the counter at @offset goes up, which it has to within a
 * second or, as the kernel itself may take one to tell, two.
 */
static void write_until_counted(Rig *r, size_t offset)
{
    int64_t end = g_get_monotonic_time() + 2 * G_TIME_SPAN_SECOND;
    ChardevAfPacketStats stats = rig_stats(r);
    uint64_t *counter = (uint64_t *)((char *)&stats + offset);
    uint64_t before = *counter;

    while (*counter == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        rig_write_record(r, 60, 1);
        g_main_context_iteration(NULL, false);
        stats = rig_stats(r);
    }
}

/* Frames that go nowhere are sent, but counted apart. */
static void test_no_carrier(void)
{
    const size_t frames = offsetof(ChardevAfPacketStats, frames);
    const size_t lost = offsetof(ChardevAfPacketStats, no_carrier_frames);
    ChardevAfPacketStats before, after;
    Rig r;
    int i;

    rig_init(&r, INJECT, 0);
    rig_expect_pass(&r, 1);
    g_assert_cmpuint(rig_stats(&r).no_carrier_frames, ==, 0);
    for (i = 0; i < 2; i++) {
        link_set_up(PEER, false);
        write_until_counted(&r, lost);
        before = rig_stats(&r);
        rig_write_record(&r, 60, 1);
        after = rig_stats(&r);
        g_assert_cmpuint(after.no_carrier_frames, ==,
                         before.no_carrier_frames + 1);
        g_assert_cmpuint(after.frames, ==, before.frames);
        g_assert_cmpuint(after.bytes, ==, before.bytes);
        /* At first the kernel may have refused some */
        g_assert_cmpuint(all_dropped(&after), ==, all_dropped(&before));

        veth_bring_up(IFNAME, PEER);
        write_until_counted(&r, frames);
        before = rig_stats(&r);
        rig_write_record(&r, 60, 1);
        after = rig_stats(&r);
        g_assert_cmpuint(after.no_carrier_frames, ==,
                         before.no_carrier_frames);
        g_assert_cmpuint(after.frames, ==, before.frames + 1);
    }
    rig_free(&r);
}

/* A dormant interface has a carrier, though it is not said to be running. */
static void test_dormant(void)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;
    Rig r = { .mode = INJECT };

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    link_set_dormant(IFNAME);
    veth_bring_up(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    rig_connect(&r, packet_open(IFNAME, 0), &(ChardevAfPacketStats) {});
    while (is_running(r.fd)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    g_assert_true(af_packet_socket_has_carrier(r.fd));
    rig_write_record(&r, 60, 1);
    peer_expect(&r, 60, 1);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).no_carrier_frames, ==, 0);
    rig_free(&r);
}

/* The channel ends within two seconds, and says so for as long as it is. */
static void assert_ends(Rig *r)
{
    Error *err = NULL;

    g_assert_cmpint(rig_wait(r, G_IO_HUP, 2 * G_TIME_SPAN_SECOND), ==,
                    G_IO_HUP);
    g_assert_cmpint(rig_wait(r, G_IO_IN | G_IO_HUP, DEADLINE) & G_IO_IN, ==,
                    G_IO_IN);
    drain(r);
    rig_expect_read(r, 0);
    rig_expect_read(r, 0);
    g_assert_cmpint(qio_channel_write(r->base, "", 1, &err), ==, -1);
    error_free_or_abort(&err);
}

static void test_link_delete(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    rig_expect_pass(&r, 1);
    rig_assert_idle(&r);
    link_remove(IFNAME);
    assert_ends(&r);
    rig_free_after_removal(&r);
}

static void test_link_delete_while_down(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    do_test_down(&r);
    link_remove(IFNAME);
    assert_ends(&r);
    rig_free_after_removal(&r);
}

/* It went before anybody looked. */
static void test_link_delete_first(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r = { .mode = c->mode };
    int fd;

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, c->proto);
    link_remove(IFNAME);
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});
    assert_ends(&r);
    rig_free_after_removal(&r);
}

/* What had been received by then can be read first. */
static void do_test_link_delete_unread(bool notice)
{
    Rig r;
    int i;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    for (i = 0; i < 5; i++) {
        peer_send(&r, 60, i);
    }
    g_assert_cmpint(rig_wait(&r, G_IO_IN, DEADLINE), ==, G_IO_IN);
    link_remove(IFNAME);
    if (notice) {
        g_assert_cmpint(rig_wait(&r, G_IO_HUP, DEADLINE), ==, G_IO_HUP);
    }
    for (i = 0; i < 5; i++) {
        rig_expect(&r, 60, i, 64);
    }
    g_assert_cmpint(rig_wait(&r, G_IO_HUP, DEADLINE), ==, G_IO_HUP);
    rig_expect_read(&r, 0);
    rig_free_after_removal(&r);
}

static void test_link_delete_unread(void)
{
    do_test_link_delete_unread(true);
    do_test_link_delete_unread(false);
}

static void add_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(link_cases); i++) {
        const LinkCase *c = &link_cases[i];

        add_test("link/down-up", c->name, c, test_link_down_up);
        add_test("link/flap", c->name, c, test_link_flap);
        add_test("link/down-first", c->name, c, test_link_down_first);
        add_test("link/peer-down", c->name, c, test_link_peer_down);
        add_test("link/delete", c->name, c, test_link_delete);
        add_test("link/delete-while-down", c->name, c,
                 test_link_delete_while_down);
        add_test("link/delete-first", c->name, c, test_link_delete_first);
    }
    add_simple_test("link", "delete-unread", test_link_delete_unread);
    add_simple_test("link", "no-carrier", test_no_carrier);
    add_simple_test("link", "dormant", test_dormant);
}

int main(int argc, char **argv)
{
    return rig_run(argc, argv, add_tests);
}
