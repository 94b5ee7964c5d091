/*
 * Unit tests of the af-packet channel: which sockets it accepts, its end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/af-packet-socket.h"
#include "qemu/sockets.h"
#include "af-packet-candidates.h"
#include "channel-af-packet-rig.h"

static void test_blocking(void)
{
    Error *err = NULL;
    Rig r;

    rig_init(&r, CAPTURE, TEST_ETHERTYPE);
    qio_channel_set_blocking(r.base, false, &error_abort);
    qio_channel_set_blocking(r.base, true, &err);
    error_free_or_abort(&err);
    rig_free(&r);
}

/* After it is closed, only the counters are left. */
static void test_closed(void)
{
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        Rig r;

        rig_init(&r, mode, mode == INJECT ? 0 : TEST_ETHERTYPE);
        rig_expect_pass(&r, 1);
        qio_channel_close(r.base, &error_abort);
        g_assert_cmpint(fcntl(r.fd, F_GETFD), <, 0);
        g_assert_cmpint(qio_channel_close(r.base, &error_abort), ==, 0);
        rig_refuse_write(&r, "", 1, "");
        /* The interface still exists */
        qio_channel_af_packet_attach(r.ioc, NULL);
        rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
        g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
        rig_free(&r);
    }
}

/* A socket with a duplicate works as before after it was restored. */
static void test_restored(void)
{
    uint8_t expected[60], got[100];
    int mode, fd;
    Rig r;

    put_frame(expected, sizeof(expected), 2);
    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        rig_init(&r, mode, TEST_ETHERTYPE);
        rig_expect_pass(&r, 1);
        fd = dup(r.fd);
        rig_disconnect(&r);

        peer_send(&r, sizeof(expected), 2);
        socket_set_deadline(fd);
        g_assert_cmpint(recv(fd, got, sizeof(got), 0), ==, sizeof(expected));
        g_assert_cmpmem(got, sizeof(expected), expected, sizeof(expected));
        close(fd);
        rig_free(&r);
    }
}

static int open_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int open_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

/* Receives from all interfaces, but is not bound */
static int open_everywhere(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
}

static int open_lo_one(void)
{
    return packet_open("lo", TEST_ETHERTYPE);
}

static int open_vnet(void)
{
    int fd = open_good();

    packet_set_vnet_hdr(fd);
    return fd;
}

/* Must be accepted although the interface is down */
static int open_down(void)
{
    int fd;

    link_set_up("lo", false);
    fd = open_good();
    link_set_up("lo", true);
    return fd;
}

#define NOT_AF_PACKET "'af-packet-mode' requires an AF_PACKET fd"
#define BOTH 2

typedef struct CheckCase {
    const char *name;
    int (*open)(void);       /* returns -1 if not supported */
    int mode;                /* the mode that refuses it, or BOTH */
    const char *words[WORDS_MAX]; /* in the message; none if it is accepted */
} CheckCase;

static const CheckCase check_cases[] = {
    { "file", open_file, BOTH, { NOT_AF_PACKET } },
    { "unix", open_unix, BOTH, { NOT_AF_PACKET } },
    { "netlink", open_netlink, BOTH, { NOT_AF_PACKET } },
    { "dgram", open_dgram, BOTH, { "SOCK_RAW", "link layer" } },
    { "unbound", open_unbound, BOTH, { "bound", "interface", "bind()" } },
    { "everywhere", open_everywhere, BOTH,
      { "bound", "interface", "bind()" } },
    { "removed", open_removed, BOTH, { "removed", "interface", "new" } },
    { "tun", open_tun, BOTH, { "Ethernet", "link type", "65534" } },
    { "deaf", open_protocol_0, CAPTURE,
      { "receives", "sll_protocol", "ETH_P_ALL" } },
    { "rx-ring", open_rx_ring, BOTH, { "ring", "PACKET_RX_RING" } },
    { "tx-ring", open_tx_ring, BOTH, { "ring", "PACKET_TX_RING" } },
    { "lo", open_good, BOTH },
    { "one-ethertype", open_lo_one, BOTH },
    { "vnet", open_vnet, BOTH },
    { "down", open_down, BOTH },
};

static void do_test_check(const CheckCase *c, int mode)
{
    int fd = c->open();
    bool refused = c->words[0] &&
                   (c->mode == BOTH || c->mode == mode);
    Error *err = NULL;

    if (fd < 0) {
        g_test_skip("the interface is not supported here");
        return;
    }
    g_assert_cmpint(af_packet_socket_check(fd, mode, &err), ==, !refused);
    if (!refused) {
        g_assert_null(err);
        close(fd);
        return;
    }
    g_assert_nonnull(err);
    g_assert_true(g_str_has_prefix(error_get_pretty(err),
                                   "'af-packet-mode"));
    assert_words(error_get_pretty(err), c->words);
    error_free(err);
    g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
    close(fd);
}

static void test_check(const void *opaque)
{
    do_test_check(opaque, CAPTURE);
    do_test_check(opaque, INJECT);
}

/* The check has no side effects: a frame is received as before. */
static void test_check_changes_nothing(void)
{
    const uint8_t frame[60] = { [12] = TEST_ETHERTYPE >> 8,
                                TEST_ETHERTYPE & 0xff };
    uint8_t got[100];
    int fd, peer;

    veth_add(IFNAME, PEER);
    fd = packet_endpoint(IFNAME, TEST_ETHERTYPE);
    peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    g_assert_cmpint(send(peer, frame, sizeof(frame), 0), ==, sizeof(frame));
    g_assert_true(af_packet_socket_check(fd, CAPTURE, &error_abort));
    g_assert_cmpint(recv(fd, got, sizeof(got), 0), ==, sizeof(frame));
    g_assert_cmpmem(got, sizeof(frame), frame, sizeof(frame));
    close(fd);
    close(peer);
    link_remove(IFNAME);
}

/* The current name is returned, and NULL after the removal. */
static void test_ifname(void)
{
    g_autofree char *name = NULL;
    int fd;

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    fd = packet_open(IFNAME, 0);
    name = af_packet_socket_ifname(fd);
    g_assert_cmpstr(name, ==, IFNAME);
    g_assert_cmpint(af_packet_socket_link(fd), ==, AF_PACKET_LINK_DOWN);
    link_set_up(IFNAME, true);
    g_assert_cmpint(af_packet_socket_link(fd), ==, AF_PACKET_LINK_UP);
    link_remove(IFNAME);
    g_assert_null(af_packet_socket_ifname(fd));
    g_assert_cmpint(af_packet_socket_link(fd), ==, AF_PACKET_LINK_GONE);
    close(fd);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet");
    SUITE_ADD_TABLE("check", check_cases, test_check);
    suite_add("check/changes-nothing", test_check_changes_nothing);
    suite_add("check/ifname", test_ifname);
    suite_add("channel/blocking", test_blocking);
    suite_add("channel/closed", test_closed);
    suite_add("channel/restored", test_restored);
    return g_test_run();
}
