/*
 * Unit tests of the af-packet channel: link state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/if.h>
#include <sys/ioctl.h>
#include "chardev/af-packet-socket.h"
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

/* Bring both ends up, with a new socket at the far end. */
static void rig_bring_up(Rig *r)
{
    if (r->peer) {
        close(r->peer);
    }
    veth_bring_up(IFNAME, PEER);
    r->peer = packet_endpoint(PEER, TEST_ETHERTYPE);
}

/* Set the interface down; the channel waits, and counts. */
static void do_test_down(Rig *r)
{
    uint64_t dropped = rig_stats(r).dropped_link_down;
    int i;

    link_set_up(IFNAME, false);
    rig_drain(r);
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
        rig_bring_up(&r);
    }
    rig_expect_pass(&r, i);
    rig_free(&r);
}

/* The link goes down and up before the channel notices. */
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
    rig_connect(&r, packet_open(IFNAME, c->proto), NULL);
    rig_assert_idle(&r);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    rig_bring_up(&r);
    rig_expect_pass(&r, 1);
    rig_free(&r);
}

/* The far end goes down, which the channel does not notice. */
static void test_link_peer_down(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    link_set_up(PEER, false);
    rig_drain(&r);
    rig_assert_idle(&r);
    rig_write_record(&r, 60, 1);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    rig_bring_up(&r);
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
 * Write records until the counter at @offset increases.  This must happen
 * within two seconds, as the kernel itself may take one.
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

/* Without carrier, frames are sent, but counted separately. */
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
        /* The kernel may have refused some at first */
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

/* A dormant interface has a carrier, although it is not "running". */
static void test_dormant(void)
{
    int64_t end = deadline_in(DEADLINE);
    Rig r = { .mode = INJECT };

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    link_set_dormant(IFNAME);
    rig_bring_up(&r);
    rig_connect(&r, packet_open(IFNAME, 0), NULL);
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

/* The channel ends within two seconds, and stays ended. */
static void assert_ends(Rig *r)
{
    g_assert_cmpint(rig_wait(r, G_IO_HUP, 2 * G_TIME_SPAN_SECOND), ==,
                    G_IO_HUP);
    g_assert_cmpint(rig_wait(r, G_IO_IN | G_IO_HUP, DEADLINE) & G_IO_IN, ==,
                    G_IO_IN);
    rig_drain(r);
    rig_expect_read(r, 0);
    rig_expect_read(r, 0);
    rig_refuse_write(r, "", 1, "");
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
    rig_free(&r);
}

static void test_link_delete_while_down(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;

    rig_init(&r, c->mode, c->proto);
    do_test_down(&r);
    link_remove(IFNAME);
    assert_ends(&r);
    rig_free(&r);
}

/* The interface is removed before the channel is used. */
static void test_link_delete_first(const void *opaque)
{
    const LinkCase *c = opaque;
    Rig r;
    int fd;

    fd = rig_open(&r, c->mode, c->proto);
    link_remove(IFNAME);
    rig_connect(&r, fd, NULL);
    assert_ends(&r);
    rig_free(&r);
}

/* Frames that were received before can still be read. */
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
    rig_free(&r);
}

static void test_link_delete_unread(void)
{
    do_test_link_delete_unread(true);
    do_test_link_delete_unread(false);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet/link");
    SUITE_ADD_TABLE("down-up", link_cases, test_link_down_up);
    SUITE_ADD_TABLE("flap", link_cases, test_link_flap);
    SUITE_ADD_TABLE("down-first", link_cases, test_link_down_first);
    SUITE_ADD_TABLE("peer-down", link_cases, test_link_peer_down);
    SUITE_ADD_TABLE("delete", link_cases, test_link_delete);
    SUITE_ADD_TABLE("delete-while-down", link_cases,
                    test_link_delete_while_down);
    SUITE_ADD_TABLE("delete-first", link_cases, test_link_delete_first);
    suite_add("delete-unread", test_link_delete_unread);
    suite_add("no-carrier", test_no_carrier);
    suite_add("dormant", test_dormant);
    return g_test_run();
}
