/*
 * System calls on AF_PACKET sockets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Behaviour of the kernel is as read in net/packet/af_packet.c and seen on
 * Linux 6.18, unless another version is named.
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include "qapi/error.h"
#include "qemu/sockets.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-socket.h"

/* Linux 4.20 */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* Linux 5.14 */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

static int getsockopt_int(int fd, int level, int name, int fallback)
{
    int value;
    socklen_t len = sizeof(value);

    return getsockopt(fd, level, name, &value, &len) < 0 ? fallback : value;
}

static bool get_sockaddr_ll(int fd, struct sockaddr_ll *sll)
{
    socklen_t len = sizeof(*sll);

    memset(sll, 0, sizeof(*sll));
    return getsockname(fd, (struct sockaddr *)sll, &len) == 0 &&
           sll->sll_family == AF_PACKET;
}

static bool get_ifname(int fd, struct ifreq *ifr)
{
    struct sockaddr_ll sll;

    if (!get_sockaddr_ll(fd, &sll) || sll.sll_ifindex <= 0) {
        return false;
    }
    *ifr = (struct ifreq) { .ifr_ifindex = sll.sll_ifindex };
    return ioctl(fd, SIOCGIFNAME, ifr) == 0;
}

bool af_packet_socket_is(int fd)
{
    return getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN, -1) == AF_PACKET;
}

/*
 * Nothing tells of a ring, but with one the version can't be set, not even
 * to what it is.
 */
static bool has_ring(int fd)
{
    int version = getsockopt_int(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V1);

    return setsockopt(fd, SOL_PACKET, PACKET_VERSION,
                      &version, sizeof(version)) < 0 && errno == EBUSY;
}

bool af_packet_socket_check(int fd, ChardevSocketAfPacketMode mode,
                            Error **errp)
{
    struct sockaddr_ll sll;

    if (!af_packet_socket_is(fd) || !get_sockaddr_ll(fd, &sll)) {
        error_setg(errp, "'af-packet-mode' requires an AF_PACKET fd");
        return false;
    }
    if (getsockopt_int(fd, SOL_SOCKET, SO_TYPE, -1) != SOCK_RAW) {
        error_setg(errp, "'af-packet-mode' requires a socket of type "
                   "SOCK_RAW: with SOCK_DGRAM, frames have no link layer "
                   "header");
        return false;
    }
    if (sll.sll_ifindex == 0) {
        error_setg(errp, "'af-packet-mode' requires a socket bound to an "
                   "interface: bind() the fd with sll_ifindex set");
        return false;
    }
    if (sll.sll_ifindex < 0) {
        error_setg(errp, "'af-packet-mode' requires a socket bound to an "
                   "interface: the one that the fd was bound to has been "
                   "removed, open a new socket");
        return false;
    }
    if (sll.sll_hatype != ARPHRD_ETHER && sll.sll_hatype != ARPHRD_LOOPBACK) {
        error_setg(errp, "'af-packet-mode' requires an Ethernet interface: "
                   "the fd is bound to one of link type (ARPHRD) %u, bind it "
                   "to another", sll.sll_hatype);
        return false;
    }
    if (mode == CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE && !sll.sll_protocol) {
        error_setg(errp, "'af-packet-mode=capture' requires a socket that "
                   "receives: bind() the fd with sll_protocol set, to "
                   "ETH_P_ALL for all frames");
        return false;
    }
    if (has_ring(fd)) {
        error_setg(errp, "'af-packet-mode' requires a socket without a ring: "
                   "open the fd without PACKET_RX_RING and PACKET_TX_RING");
        return false;
    }
    return true;
}

char *af_packet_socket_ifname(int fd)
{
    struct ifreq ifr;

    return get_ifname(fd, &ifr) ? g_strndup(ifr.ifr_name, IFNAMSIZ) : NULL;
}

AfPacketLink af_packet_socket_link(int fd)
{
    struct ifreq ifr;

    if (!get_ifname(fd, &ifr)) {
        return AF_PACKET_LINK_GONE;
    }
    if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0) {
        return AF_PACKET_LINK_DOWN; /* renamed in between; looked at again */
    }
    return ifr.ifr_flags & IFF_UP ? AF_PACKET_LINK_UP : AF_PACKET_LINK_DOWN;
}

/* An interface's index is unique in its network namespace only */
static bool same_netns(int fd, int other)
{
    uint64_t cookie, other_cookie;
    socklen_t len = sizeof(cookie);

    return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) == 0 &&
           getsockopt(other, SOL_SOCKET, SO_NETNS_COOKIE,
                      &other_cookie, &len) == 0 &&
           cookie == other_cookie;
}

static bool has_filter(int fd)
{
    socklen_t n_instructions = 0;

    /* Without room for them, the kernel tells how many there are */
    return getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL,
                      &n_instructions) < 0 || n_instructions > 0;
}

bool af_packet_socket_hears(int capture, int inject)
{
    struct sockaddr_ll from, to;

    return get_sockaddr_ll(inject, &from) && get_sockaddr_ll(capture, &to) &&
           from.sll_ifindex == to.sll_ifindex && same_netns(capture, inject) &&
           to.sll_protocol == htons(ETH_P_ALL) &&
           !getsockopt_int(capture, SOL_PACKET, PACKET_IGNORE_OUTGOING, 0) &&
           !has_filter(capture);
}

size_t af_packet_socket_vnet_hdr_len(int fd)
{
    int on = getsockopt_int(fd, SOL_PACKET, PACKET_VNET_HDR, 0);

    if (!on) {
        return 0;
    }
    return getsockopt_int(fd, SOL_PACKET, PACKET_VNET_HDR_SZ,
                          sizeof(struct virtio_net_hdr));
}

int af_packet_socket_set_vnet_hdr(int fd, bool on)
{
    int value = on;

    return setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
                      &value, sizeof(value)) < 0 ? -errno : 0;
}

int af_packet_socket_report_info(int fd)
{
    int on = 1;

    return setsockopt(fd, SOL_PACKET, PACKET_AUXDATA,
                      &on, sizeof(on)) < 0 ? -errno : 0;
}

bool af_packet_socket_deafen(int fd)
{
    struct sock_filter reject = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog prog = { .len = 1, .filter = &reject };
    struct sockaddr_ll sll;
    char byte;

    if (!get_sockaddr_ll(fd, &sll) || !sll.sll_protocol) {
        return false;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER,
                   &prog, sizeof(prog)) < 0) {
        return false;
    }
    /* ENETDOWN: pending; EINVAL: no room for a vnet header, costs the frame */
    while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0 ||
           errno == EINTR || errno == ENETDOWN || errno == EINVAL) {
        continue;
    }
    return true;
}

void af_packet_socket_undeafen(int fd)
{
    int unused = 0;

    setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
}

uint32_t af_packet_socket_take_drops(int fd)
{
    struct tpacket_stats stats = {};
    socklen_t len = sizeof(stats);

    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) < 0) {
        return 0;
    }
    return stats.tp_drops;
}

int af_packet_socket_take_error(int fd)
{
    int err = getsockopt_int(fd, SOL_SOCKET, SO_ERROR, 0);
    char byte;

    /* Time stamps of sent frames, if the opener asked for them */
    while (recv(fd, &byte, sizeof(byte), MSG_ERRQUEUE | MSG_DONTWAIT) >= 0) {
        continue;
    }
    return err;
}

bool af_packet_socket_sends(int fd)
{
    int bytes;

    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

int af_packet_socket_send(int fd, const uint8_t *buf, size_t len)
{
    ssize_t ret = RETRY_ON_EINTR(send(fd, buf, len, MSG_DONTWAIT));

    return ret < 0 ? -errno : 0;
}
