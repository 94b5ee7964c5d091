/*
 * Test helpers: sockets to pass to a chardev
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "af-packet-candidates.h"
#include "af-packet-helpers.h"

int open_good(void)
{
    return packet_open("lo", ETH_P_ALL);
}

int open_protocol_0(void)
{
    return packet_open("lo", 0);
}

int open_dgram(void)
{
    int fd = packet_socket(SOCK_DGRAM);

    packet_bind(fd, "lo", ETH_P_ALL);
    return fd;
}

int open_unbound(void)
{
    return packet_socket(SOCK_RAW);
}

int open_removed(void)
{
    int fd;

    g_assert_cmpint(veth_create("removed0", "removed1"), ==, 0);
    fd = packet_open("removed0", ETH_P_ALL);
    link_remove("removed0");
    return fd;
}

int open_tun(void)
{
    static int tun = -1; /* keeps the interface until this process exits */

    if (tun < 0) {
        tun = tun_create("tun0", IFF_TUN);
    }
    return tun < 0 ? -1 : packet_open("tun0", ETH_P_ALL);
}

static void packet_add_ring(int fd, int option)
{
    struct tpacket_req req = {
        .tp_block_size = 64 * KiB,
        .tp_block_nr = 1,
        .tp_frame_size = 2 * KiB,
        .tp_frame_nr = 32,
    };

    g_assert_cmpint(setsockopt(fd, SOL_PACKET, option, &req, sizeof(req)),
                    ==, 0);
}

int open_rx_ring(void)
{
    int fd = open_good();

    packet_add_ring(fd, PACKET_RX_RING);
    return fd;
}

int open_tx_ring(void)
{
    int fd = open_good();

    packet_add_ring(fd, PACKET_TX_RING);
    return fd;
}

int open_file(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}
