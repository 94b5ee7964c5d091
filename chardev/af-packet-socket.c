/*
 * System calls on AF_PACKET sockets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel's behavior is described as in net/packet/af_packet.c of Linux 6.18
 * and as tested there, unless another version is named.
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include "qapi/error.h"
#include "qemu/sockets.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-socket.h"

/* Linux 5.14 */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SOCK_SNDBUF_LOCK
#define SOCK_SNDBUF_LOCK 1
#endif

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

/* Maximum number of transmit timestamps to discard at once */
#define TIMESTAMP_BUDGET 64

/* Lower bound for the bytes that the kernel charges to a buffer per frame */
#define MIN_TRUESIZE 256

/* Allowance for pending errors that are reported before queued frames */
#define PENDING_ERRORS_MAX 4

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

/* Returns: 0, or a negative errno; -ENODEV if there is no interface. */
static int get_ifname(int fd, struct ifreq *ifr)
{
    struct sockaddr_ll sll;

    if (!get_sockaddr_ll(fd, &sll)) {
        return -EIO;
    }
    if (sll.sll_ifindex <= 0) {
        return -ENODEV;
    }
    *ifr = (struct ifreq) { .ifr_ifindex = sll.sll_ifindex };
    return ioctl(fd, SIOCGIFNAME, ifr) < 0 ? -errno : 0;
}

bool af_packet_socket_is(int fd)
{
    return getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN, -1) == AF_PACKET;
}

/*
 * The kernel does not report whether there is a ring, but if there is, setting
 * PACKET_VERSION fails, even to its current value.
 */
static bool has_ring(int fd)
{
    int version = getsockopt_int(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V1);

    return setsockopt(fd, SOL_PACKET, PACKET_VERSION,
                      &version, sizeof(version)) < 0 && errno == EBUSY;
}

static bool is_reject_all(const struct sock_filter *instruction)
{
    return instruction->code == (BPF_RET | BPF_K) && instruction->k == 0;
}

/* Check whether the protocol or the filter of the socket rejects all frames. */
static bool rejects_all(int fd)
{
    struct sock_filter first;
    struct sockaddr_ll sll;
    socklen_t n = 1;

    if (!get_sockaddr_ll(fd, &sll) || !sll.sll_protocol) {
        return true;
    }
    return getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, &first, &n) == 0 &&
           n == 1 && is_reject_all(&first);
}

/*
 * Check that a filter that rejects everything can be attached, and that the
 * original one can be restored later.
 */
static bool check_filter(int fd, Error **errp)
{
    socklen_t n = 0; /* asks for the number of instructions only */

    if (getsockopt_int(fd, SOL_SOCKET, SO_LOCK_FILTER, 0)) {
        error_setg(errp, "'af-packet-mode=inject' requires a socket that "
                   "receives nothing, and the filter of the fd is locked "
                   "(SO_LOCK_FILTER): open and bind() the fd with protocol 0");
        return false;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n) < 0) {
        error_setg(errp, "'af-packet-mode=inject' requires a socket that "
                   "receives nothing, and the filter of the fd can't be saved "
                   "and restored later (SO_ATTACH_BPF): open and bind() the "
                   "fd with protocol 0");
        return false;
    }
    return true;
}

/* Check that no other chardev uses the socket or a duplicate of it. */
static bool check_unused(int fd, Error **errp)
{
    g_autofree char *user = af_packet_state_user(fd);

    if (user) {
        error_setg(errp, "'af-packet-mode' requires a socket of its own: the "
                   "fd is used by chardev '%s', or is a duplicate of its fd; "
                   "open another socket", user);
        return false;
    }
    return true;
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
                   "interface: the interface that the fd was bound to has "
                   "been removed, open a new socket");
        return false;
    }
    if (sll.sll_hatype != ARPHRD_ETHER && sll.sll_hatype != ARPHRD_LOOPBACK) {
        error_setg(errp, "'af-packet-mode' requires an Ethernet interface: "
                   "the fd is bound to an interface of link type (ARPHRD) %u, "
                   "bind it to another one", sll.sll_hatype);
        return false;
    }
    if (mode == CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE && !sll.sll_protocol) {
        error_setg(errp, "'af-packet-mode=capture' requires a socket that "
                   "receives: bind() the fd with sll_protocol set, to "
                   "ETH_P_ALL for all frames");
        return false;
    }
    if (!check_unused(fd, errp)) {
        return false;
    }
    if (has_ring(fd)) {
        error_setg(errp, "'af-packet-mode' requires a socket without a ring: "
                   "open the fd without PACKET_RX_RING and PACKET_TX_RING");
        return false;
    }
    return mode != CHARDEV_SOCKET_AF_PACKET_MODE_INJECT || rejects_all(fd) ||
           check_filter(fd, errp);
}

char *af_packet_socket_ifname(int fd)
{
    struct ifreq ifr;

    return get_ifname(fd, &ifr) == 0 ? g_strndup(ifr.ifr_name, IFNAMSIZ) : NULL;
}

AfPacketLink af_packet_socket_link(int fd)
{
    struct ifreq ifr;
    int ret = get_ifname(fd, &ifr);

    if (ret == -ENODEV) {
        return AF_PACKET_LINK_GONE;
    }
    if (ret < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0) {
        return AF_PACKET_LINK_DOWN; /* renamed in between; polled again */
    }
    return ifr.ifr_flags & IFF_UP ? AF_PACKET_LINK_UP : AF_PACKET_LINK_DOWN;
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

bool af_packet_socket_has_carrier(int fd)
{
    struct ethtool_value link = { .cmd = ETHTOOL_GLINK };
    struct ifreq ifr;

    if (get_ifname(fd, &ifr) < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0 ||
        !(ifr.ifr_flags & IFF_UP) || ifr.ifr_flags & IFF_RUNNING) {
        return true;
    }
    /* It may only be dormant, or may just have become running */
    ifr.ifr_data = (void *)&link;
    return ioctl(fd, SIOCETHTOOL, &ifr) == 0 && link.data;
}

int af_packet_socket_mtu(int fd)
{
    struct ifreq ifr;
    int ret = get_ifname(fd, &ifr);

    if (ret < 0) {
        return ret;
    }
    return ioctl(fd, SIOCGIFMTU, &ifr) < 0 ? -errno : ifr.ifr_mtu;
}

int af_packet_socket_reject_all(AfPacketState *state)
{
    struct sock_filter reject = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog prog = { .len = 1, .filter = &reject };
    int fd = af_packet_state_fd(state), ret;

    if (rejects_all(fd)) {
        return 0;
    }
    ret = af_packet_state_set_filter(state, &prog);
    if (ret == 0) {
        af_packet_socket_discard(fd);
    }
    return ret;
}

/* Linux before 5.14 does not report whether the opener has set SO_SNDBUF. */
void af_packet_socket_limit_sndbuf(AfPacketState *state, int most)
{
    int fd = af_packet_state_fd(state);
    int lock = getsockopt_int(fd, SOL_SOCKET, SO_BUF_LOCK, 0);

    if (!(lock & SOCK_SNDBUF_LOCK) &&
        getsockopt_int(fd, SOL_SOCKET, SO_SNDBUF, 0) > most) {
        af_packet_state_set_buf(state, SO_SNDBUF, most);
    }
}

size_t af_packet_socket_discard(int fd)
{
    char start[64]; /* room for a vnet header, to avoid EINVAL */
    uint32_t meminfo[SK_MEMINFO_VARS] = {};
    socklen_t len = sizeof(meminfo);
    uint32_t tries;
    size_t n = 0;

    /* Limit the loop to the frames queued now: others may keep arriving */
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, meminfo, &len);
    tries = meminfo[SK_MEMINFO_RMEM_ALLOC] / MIN_TRUESIZE + PENDING_ERRORS_MAX;
    while (tries--) {
        if (recv(fd, start, sizeof(start), MSG_DONTWAIT) >= 0 ||
            errno == EINVAL) { /* consumed a frame, too */
            n++;
        } else if (errno != ENETDOWN && errno != EINTR) {
            break;
        }
    }
    return n;
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
    int err = 0, budget = TIMESTAMP_BUDGET;
    socklen_t len = sizeof(err);
    char byte;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) {
        return -errno;
    }
    while (budget-- > 0) {
        if (recv(fd, &byte, sizeof(byte), MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
            return errno == EAGAIN || errno == EINTR ? err : -errno;
        }
    }
    return err;
}

bool af_packet_socket_has_in_flight(int fd)
{
    int bytes;

    /* While a frame is being freed, a few bytes remain charged */
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes >= MIN_TRUESIZE;
}

int af_packet_socket_send(int fd, const uint8_t *buf, size_t len)
{
    ssize_t ret = RETRY_ON_EINTR(send(fd, buf, len, MSG_DONTWAIT));

    return ret < 0 ? -errno : 0;
}

unsigned af_packet_socket_send_batch(int fd, struct iovec *frames, unsigned n)
{
    g_autofree struct mmsghdr *msgs = g_new0(struct mmsghdr, n);
    unsigned i;

    for (i = 0; i < n; i++) {
        msgs[i].msg_hdr.msg_iov = &frames[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
    }
    return MAX(RETRY_ON_EINTR(sendmmsg(fd, msgs, n, MSG_DONTWAIT)), 0);
}
