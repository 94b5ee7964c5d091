/*
 * Checks that netdev-takeover can inject frames for a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/if.h>
#include "chardev/char-af-packet.h"
#include "net/tap.h"
#include "qapi/error.h"
#include "standard-headers/linux/virtio_net.h"
#include "takeover-check.h"
#include "tap_int.h"

NetClientState *takeover_check_netdev(const char *id, Error **errp)
{
    NetClientState *nc = id ? qemu_find_netdev(id) : NULL;

    if (!nc) {
        error_setg(errp, "'netdev' of netdev-takeover: netdev '%s' not found",
                   id ?: "");
        return NULL;
    }
    if (nc->info->type != NET_CLIENT_DRIVER_TAP) {
        error_setg(errp, "netdev '%s' is not of type tap: frames that a packet "
                   "socket sends would not reach its guest", id);
        return NULL;
    }
    return nc;
}

static bool check_vnet_hdr(Chardev *chr, Error **errp)
{
    const int expected = sizeof(struct virtio_net_hdr);
    int len = chr_af_packet_vnet_hdr_len(chr);

    if (len >= 0 && len != expected) {
        error_setg(errp, "the packet socket of chardev '%s' has a vnet header "
                   "of %d bytes: 'outdev' of netdev-takeover needs %d bytes "
                   "(PACKET_VNET_HDR)", chr->label, len, expected);
        return false;
    }
    return true;
}

static bool check_interface(Chardev *chr, NetClientState *tap, Error **errp)
{
    g_autofree char *ifname = chr_af_packet_ifname(chr);
    char tap_ifname[IFNAMSIZ];

    if (ifname && tap_fd_get_ifname(tap_get_fd(tap), tap_ifname) == 0 &&
        strcmp(ifname, tap_ifname)) {
        error_setg(errp, "the packet socket of chardev '%s' is bound to "
                   "interface %s: 'outdev' of netdev-takeover needs one that "
                   "is bound to the tap of netdev '%s', %s",
                   chr->label, ifname, tap->name, tap_ifname);
        return false;
    }
    return true;
}

bool takeover_check_inject(Chardev *chr, NetClientState *tap, Error **errp)
{
    if (!chr_af_packet_is_inject(chr)) {
        error_setg(errp, "chardev '%s' can't send frames to a tap: 'outdev' of "
                   "netdev-takeover needs a socket with "
                   "'af-packet-mode=inject'", chr->label);
        return false;
    }
    return check_vnet_hdr(chr, errp) && check_interface(chr, tap, errp);
}
