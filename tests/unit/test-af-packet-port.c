/*
 * Unit tests for state shared by both directions of an AF_PACKET channel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They test counters, messages and their rate limit, on real packet sockets in
 * a network namespace of their own; if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "chardev/af-packet-port.h"
#include "monitor/monitor.h"
#include "qemu/error-report.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "af-packet-candidates.h"
#include "af-packet-helpers.h"
#include "af-packet-suite.h"

/* All messages since it was cleared */
static GString *said;

int error_vprintf(const char *fmt, va_list ap)
{
    size_t before = said->len;

    g_string_append_vprintf(said, fmt, ap);
    return said->len - before;
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

static void assert_said(const char *part)
{
    if (part) {
        g_assert_nonnull(strstr(said->str, part));
    } else {
        g_assert_cmpstr(said->str, ==, "");
    }
    g_string_truncate(said, 0);
}

static void port_open(AfPacketPort *port, int fd)
{
    *port = (AfPacketPort) {};
    af_packet_port_init(port, fd, "test", &(ChardevAfPacketStats) {});
}

static void port_close(AfPacketPort *port)
{
    int fd = port->fd;

    af_packet_port_release(port);
    af_packet_port_destroy(port);
    close(fd);
}

static uint64_t all_dropped(const ChardevAfPacketStats *s)
{
    return s->dropped_kernel + s->dropped_too_short + s->dropped_filtered +
           s->dropped_above_mtu +
           s->dropped_oversize + s->dropped_undescribable + s->dropped_csum +
           s->dropped_refused + s->dropped_tunnel_gso +
           s->dropped_queue_full + s->dropped_link_down;
}

/* Reasons are rate limited independently of each other. */
static void test_warnings(void)
{
    int64_t start = g_get_monotonic_time();
    AfPacketPort port;
    int reason, i;

    port_open(&port, open_good());
    for (reason = 0; reason < AF_PACKET_DROP__MAX; reason++) {
        for (i = 0; i < 100; i++) {
            af_packet_port_drop(&port, reason, 0, 60);
            if (i == 0) {
                assert_said("chardev 'test': dropped a frame of 60 bytes on "
                            "lo: ");
            } else if (g_get_monotonic_time() - start < G_USEC_PER_SEC) {
                assert_said(NULL);
            }
        }
        g_assert_cmpuint(all_dropped(&port.stats), ==, 100 * (reason + 1));
    }
    port_close(&port);
}

/* The current name of the interface, or the last one after its removal */
static void test_name(void)
{
    AfPacketPort port;

    g_assert_cmpint(veth_create("veth0", "veth1"), ==, 0);
    port_open(&port, packet_open("veth0", ETH_P_ALL));
    g_assert_cmpstr(af_packet_port_ifname(&port), ==, "veth0");
    link_rename("veth0", "renamed");
    af_packet_port_drop(&port, AF_PACKET_DROP_OVERSIZE, 0, 60);
    assert_said(" on renamed: ");
    link_remove("renamed");
    g_assert_cmpstr(af_packet_port_ifname(&port), ==, "renamed");
    port_close(&port);
}

/* The links of all chardevs are polled at the same time, once a second. */
static void test_link_poll(void)
{
    int64_t start = g_get_monotonic_time();
    AfPacketPort ports[2];

    port_open(&ports[0], open_good());
    port_open(&ports[1], open_good());
    af_packet_port_poll_link(&ports[0]);
    g_usleep(1000);
    af_packet_port_poll_link(&ports[1]);
    g_assert_cmpint(ports[0].link_poll_at, >, start);
    g_assert_cmpint(ports[0].link_poll_at, <=,
                    g_get_monotonic_time() + G_USEC_PER_SEC);
    g_assert_cmpint(ports[0].link_poll_at % G_USEC_PER_SEC, ==,
                    ports[1].link_poll_at % G_USEC_PER_SEC);
    port_close(&ports[0]);
    port_close(&ports[1]);
}

/* Frames in flight are bounded, regardless of net.core.wmem_default. */
static bool set_default_sndbuf(int fd, int bytes)
{
    const int unlocked = 0;

    return setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes,
                      sizeof(bytes)) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &unlocked,
                      sizeof(unlocked)) == 0;
}

static bool can_set_default_sndbuf(void)
{
    int fd = packet_socket(SOCK_RAW);
    bool can = set_default_sndbuf(fd, 64 * MiB);

    close(fd);
    return can;
}

static void test_sndbuf(void)
{
    const int most = 8 * MiB, chosen = 50000;
    AfPacketPort port;
    int fd = open_good(), before = socket_get_int(fd, SO_SNDBUF);

    port_open(&port, fd);
    af_packet_socket_limit_sndbuf(port.state, most);
    g_assert_cmpint(socket_get_int(fd, SO_SNDBUF), ==, before);
    g_assert_true(set_default_sndbuf(fd, 64 * MiB));
    af_packet_socket_limit_sndbuf(port.state, most);
    g_assert_cmpint(socket_get_int(fd, SO_SNDBUF), <=, most);

    /* A value that the opener has set is not changed */
    socket_set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, chosen);
    af_packet_socket_limit_sndbuf(port.state, 1000);
    g_assert_cmpint(socket_get_int(fd, SO_SNDBUF), ==, 2 * chosen);
    port_close(&port);
}

int main(int argc, char **argv)
{
    said = g_string_new(NULL);
    suite_init(&argc, &argv, "/af-packet/port");
    suite_add("warnings", test_warnings);
    suite_add("name", test_name);
    suite_add("link-poll", test_link_poll);
    /* Needs Linux 5.14, and privileges outside of a user namespace */
    if (suite_has_netns() && can_set_default_sndbuf()) {
        suite_add("sndbuf", test_sndbuf);
    }
    return g_test_run();
}
