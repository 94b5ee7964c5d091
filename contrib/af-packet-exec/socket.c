/*
 * af-packet-exec: packet sockets as described by --socket options
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The socket is opened with protocol 0, so that it receives nothing from any
 * interface.  Frames can only arrive after bind(), which is called last, once
 * everything else is in place, including the filter.
 */
#include "qemu/osdep.h"
#include <net/if.h>
#include <net/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/option.h"
#include "acl.h"
#include "socket.h"

/* Linux 4.20 */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

/* The kernel reports twice the requested size as SO_RCVBUF */
#define BUF_MAX (INT_MAX / 2)

static QemuOptsList socket_opts = {
    .name = "socket",
    .head = QTAILQ_HEAD_INITIALIZER(socket_opts.head),
    .desc = {
        { .name = "fd", .type = QEMU_OPT_NUMBER },
        { .name = "ifname", .type = QEMU_OPT_STRING },
        { .name = "protocol", .type = QEMU_OPT_STRING },
        { .name = "direction", .type = QEMU_OPT_STRING },
        { .name = "promisc", .type = QEMU_OPT_BOOL },
        { .name = "vnet-hdr-len", .type = QEMU_OPT_NUMBER },
        { .name = "rcvbuf", .type = QEMU_OPT_STRING },
        { .name = "sndbuf", .type = QEMU_OPT_STRING },
        { .name = "filter", .type = QEMU_OPT_STRING },
        { /* end of list */ }
    },
};

/*
 * Parsing
 */

static bool parse_number(PacketSocket *s, QemuOpts *opts, Error **errp)
{
    uint64_t number = qemu_opt_get_number(opts, "fd", 0);

    if (!qemu_opt_get(opts, "fd")) {
        s->number = -1;
        return true;
    }
    if (number <= STDERR_FILENO || number > INT_MAX) {
        error_setg(errp, "fd=%s can't be a socket: use a number from 3 on",
                   qemu_opt_get(opts, "fd"));
        return false;
    }
    s->number = number;
    return true;
}

static bool parse_ifname(PacketSocket *s, QemuOpts *opts, Error **errp)
{
    s->ifname = g_strdup(qemu_opt_get(opts, "ifname"));
    if (!s->ifname) {
        error_setg(errp, "missing interface: add ifname=NAME");
        return false;
    }
    return true;
}

static bool parse_protocol(PacketSocket *s, QemuOpts *opts, Error **errp)
{
    static const char *const need_receiving[] = {
        "direction", "promisc", "rcvbuf", "filter",
    };
    const char *protocol = qemu_opt_get(opts, "protocol") ?: "all";
    int i;

    s->receives = strcmp(protocol, "none");
    if (s->receives && strcmp(protocol, "all")) {
        error_setg(errp, "unknown protocol=%s: use all, or none to receive "
                   "nothing", protocol);
        return false;
    }
    for (i = 0; !s->receives && i < ARRAY_SIZE(need_receiving); i++) {
        if (qemu_opt_get(opts, need_receiving[i])) {
            error_setg(errp, "%s is incompatible with protocol=none, which "
                       "receives nothing: remove one of them",
                       need_receiving[i]);
            return false;
        }
    }
    return true;
}

static bool parse_direction(PacketSocket *s, QemuOpts *opts, Error **errp)
{
    static const char *const names[] = {
        [DIRECTION_BOTH] = "both",
        [DIRECTION_IN] = "in",
        [DIRECTION_OUT] = "out",
    };
    const char *direction = qemu_opt_get(opts, "direction") ?: "both";
    int i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        if (!strcmp(direction, names[i])) {
            s->direction = i;
            return true;
        }
    }
    error_setg(errp, "unknown direction=%s: use in, out or both",
               direction);
    return false;
}

static bool parse_vnet_hdr_len(PacketSocket *s, QemuOpts *opts, Error **errp)
{
    uint64_t len = qemu_opt_get_number(opts, "vnet-hdr-len", 0);

    if (len != 0 && len != 10 && len != 12) {
        error_setg(errp, "invalid vnet-hdr-len=%" PRIu64 ": use 0, 10 or 12",
                   len);
        return false;
    }
    s->vnet_hdr_len = len;
    return true;
}

/* Not QEMU_OPT_SIZE, whose error message takes three lines. */
static bool parse_buf(int *buf, QemuOpts *opts, const char *name, Error **errp)
{
    const char *text = qemu_opt_get(opts, name);
    uint64_t size = 0;

    if (text && (qemu_strtosz(text, NULL, &size) < 0 ||
                 size == 0 || size > BUF_MAX)) {
        error_setg(errp, "invalid size %s=%s: use 1 to %d bytes, with an "
                   "optional suffix k, M or G", name, text, BUF_MAX);
        return false;
    }
    *buf = size;
    return true;
}

static QemuOpts *parse_list(const char *text, Error **errp)
{
    Error *err = NULL;
    QemuOpts *opts = qemu_opts_parse(&socket_opts, text, false, &err);

    if (!opts) {
        error_setg(errp, "%s: see --help",
                   error_get_pretty(err));
        error_free(err);
    }
    return opts;
}

PacketSocket *packet_socket_parse(const char *text, Error **errp)
{
    g_autoptr(QemuOpts) opts = parse_list(text, errp);
    g_autoptr(PacketSocket) s = g_new0(PacketSocket, 1);

    if (!opts) {
        return NULL;
    }
    s->fd = -1;
    s->promiscuous = qemu_opt_get_bool(opts, "promisc", false);
    s->filter = g_strdup(qemu_opt_get(opts, "filter"));
    if (!parse_number(s, opts, errp) ||
        !parse_ifname(s, opts, errp) ||
        !parse_protocol(s, opts, errp) ||
        !parse_direction(s, opts, errp) ||
        !parse_vnet_hdr_len(s, opts, errp) ||
        !parse_buf(&s->rcvbuf, opts, "rcvbuf", errp) ||
        !parse_buf(&s->sndbuf, opts, "sndbuf", errp)) {
        return NULL;
    }
    return g_steal_pointer(&s);
}

void packet_socket_free(PacketSocket *s)
{
    if (s) {
        g_free(s->ifname);
        g_free(s->filter);
        g_free(s);
    }
}

/*
 * Privileged steps
 */

static bool set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

static void set_buf(int fd, const char *name, int wanted,
                    int force, int option, const char *limit)
{
    socklen_t len = sizeof(int);
    int granted = 0;

    if (!wanted || set_int(fd, SOL_SOCKET, force, wanted)) {
        return;
    }
    set_int(fd, SOL_SOCKET, option, wanted);
    getsockopt(fd, SOL_SOCKET, option, &granted, &len);
    if (granted / 2 < wanted) {
        warn_report("%s is %d bytes instead of %d: raise net.core.%s, or run "
                    "as root", name, granted / 2, wanted, limit);
    }
}

bool packet_socket_open(PacketSocket *s, Error **errp)
{
    s->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (s->fd < 0 && errno == EPERM) {
        error_setg(errp, "a packet socket requires CAP_NET_RAW: run as root, "
                   "possibly in a user namespace (unshare -rn), or give this "
                   "program the capability (setcap cap_net_raw+ep)");
        return false;
    }
    if (s->fd < 0) {
        error_setg_errno(errp, errno, "can't open a packet socket");
        return false;
    }
    set_buf(s->fd, "rcvbuf", s->rcvbuf, SO_RCVBUFFORCE, SO_RCVBUF, "rmem_max");
    set_buf(s->fd, "sndbuf", s->sndbuf, SO_SNDBUFFORCE, SO_SNDBUF, "wmem_max");
    return true;
}

/*
 * Unprivileged steps
 */

static bool set_vnet_hdr(PacketSocket *s, Error **errp)
{
    if (s->vnet_hdr_len == 10 &&
        !set_int(s->fd, SOL_PACKET, PACKET_VNET_HDR, 1)) {
        error_setg_errno(errp, errno, "vnet-hdr-len=10");
        return false;
    }
    if (s->vnet_hdr_len == 12 &&
        !set_int(s->fd, SOL_PACKET, PACKET_VNET_HDR_SZ, 12)) {
        error_setg_errno(errp, errno, "vnet-hdr-len=12 needs Linux 6.4: "
                         "use 10, or a newer kernel");
        return false;
    }
    return true;
}

/* The filter alone would suffice, but runs only after copying the frame. */
static bool set_ignore_outgoing(PacketSocket *s, Error **errp)
{
    if (s->direction != DIRECTION_IN ||
        set_int(s->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) {
        return true;
    }
    error_setg_errno(errp, errno, "direction=in needs Linux 4.20");
    return false;
}

static bool set_promiscuous(PacketSocket *s, int ifindex, Error **errp)
{
    const struct packet_mreq mreq = {
        .mr_ifindex = ifindex,
        .mr_type = PACKET_MR_PROMISC,
    };

    if (!s->promiscuous ||
        setsockopt(s->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP,
                   &mreq, sizeof(mreq)) == 0) {
        return true;
    }
    error_setg_errno(errp, errno, "promisc=on");
    return false;
}

static bool bind_to(PacketSocket *s, int ifindex, Error **errp)
{
    const struct sockaddr_ll wanted = {
        .sll_family = AF_PACKET,
        .sll_protocol = s->receives ? htons(ETH_P_ALL) : 0,
        .sll_ifindex = ifindex,
    };
    struct sockaddr_ll bound;
    socklen_t len = sizeof(bound);

    if (bind(s->fd, (const struct sockaddr *)&wanted, sizeof(wanted)) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&bound, &len) < 0) {
        error_setg_errno(errp, errno, "can't bind a socket to '%s'",
                         s->ifname);
        return false;
    }
    if (bound.sll_hatype != ARPHRD_ETHER &&
        bound.sll_hatype != ARPHRD_LOOPBACK) {
        error_setg(errp, "'%s' is not an Ethernet interface (ARPHRD %u): use "
                   "another", s->ifname, bound.sll_hatype);
        return false;
    }
    return true;
}

/* Short alternative names (altname in 'ip link') are accepted, too. */
static int find_interface(PacketSocket *s, Error **errp)
{
    char name[IFNAMSIZ];
    int ifindex;

    if (strlen(s->ifname) >= IFNAMSIZ) {
        error_setg(errp, "'%s' is longer than the %d bytes of an interface "
                   "name: if it is an alternative name, use the name that "
                   "'ip link show %s' prints first",
                   s->ifname, IFNAMSIZ - 1, s->ifname);
        return 0;
    }
    ifindex = if_nametoindex(s->ifname);
    if (!ifindex || !if_indextoname(ifindex, name)) {
        error_setg(errp, "interface '%s' not found in this network namespace: "
                   "'ip link' lists its interfaces", s->ifname);
        return 0;
    }
    g_free(s->ifname);
    s->ifname = g_strdup(name);
    return ifindex;
}

static bool confine(PacketSocket *s, int ifindex, Error **errp)
{
    if (!s->receives) {
        return filter_attach_nothing(s->fd, errp);
    }
    return filter_attach(s->fd, ifindex, s->direction, s->filter, errp);
}

bool packet_socket_set_up(PacketSocket *s, bool only_allowed, Error **errp)
{
    int ifindex = find_interface(s, errp);

    return ifindex &&
           (!only_allowed || acl_allows(s->ifname, errp)) &&
           set_vnet_hdr(s, errp) &&
           set_ignore_outgoing(s, errp) &&
           confine(s, ifindex, errp) &&
           set_promiscuous(s, ifindex, errp) &&
           bind_to(s, ifindex, errp);
}
