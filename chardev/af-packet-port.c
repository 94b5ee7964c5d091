/*
 * State shared by both directions of an AF_PACKET channel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "af-packet-port.h"
#include "trace.h"

/* In microseconds of g_get_monotonic_time() */
#define WARN_INTERVAL (10 * G_USEC_PER_SEC)
#define LINK_POLL_INTERVAL G_USEC_PER_SEC

#define COUNTER(member) offsetof(ChardevAfPacketStats, member)

static const struct {
    size_t counter;
    const char *text;
} drops[AF_PACKET_DROP__MAX] = {
    [AF_PACKET_DROP_RCVBUF_FULL] = {
        COUNTER(dropped_kernel), "receive buffer full" },
    [AF_PACKET_DROP_BAD_SLOT] = {
        COUNTER(dropped_undescribable), "invalid ring slot" },
    [AF_PACKET_DROP_OVERSIZE] = {
        COUNTER(dropped_oversize), "too long for a record" },
    [AF_PACKET_DROP_FILTERED] = {
        COUNTER(dropped_filtered), "truncated by the socket's filter" },
    [AF_PACKET_DROP_TOO_SHORT] = {
        COUNTER(dropped_too_short), "shorter than an Ethernet header" },
    [AF_PACKET_DROP_UNDESCRIBABLE] = {
        COUNTER(dropped_undescribable), "a vnet header can't describe it" },
    [AF_PACKET_DROP_BAD_CSUM] = {
        COUNTER(dropped_undescribable), "checksum offset out of range" },
    [AF_PACKET_DROP_NO_CSUM] = {
        COUNTER(dropped_csum), "partial checksum of an unknown protocol" },
    [AF_PACKET_DROP_TUNNEL_GSO] = {
        COUNTER(dropped_tunnel_gso), "segmentation offload inside a tunnel; "
                                     "disable it where the tunnel starts" },
    [AF_PACKET_DROP_QUEUE_FULL] = {
        COUNTER(dropped_queue_full), "transmit queue full" },
    [AF_PACKET_DROP_LINK_DOWN] = {
        COUNTER(dropped_link_down), "link down" },
    [AF_PACKET_DROP_ABOVE_MTU] = {
        COUNTER(dropped_above_mtu), "too long for the interface's MTU" },
    [AF_PACKET_DROP_REFUSED] = {
        COUNTER(dropped_refused), "refused by the kernel" },
};

void af_packet_port_init(AfPacketPort *port, int fd, const char *label,
                         const ChardevAfPacketStats *totals)
{
    port->fd = fd;
    port->state = af_packet_state_new(fd, label);
    port->label = g_strdup(label);
    port->ifname = af_packet_socket_ifname(fd) ?: g_strdup("?");
    port->vnet_hdr_len = af_packet_socket_vnet_hdr_len(fd);
    port->link = AF_PACKET_LINK_UP;
    port->stats = *totals;
}

void af_packet_port_release(AfPacketPort *port)
{
    g_clear_pointer(&port->state, af_packet_state_free);
}

void af_packet_port_destroy(AfPacketPort *port)
{
    g_free(port->ifname);
    g_free(port->label);
}

const char *af_packet_port_ifname(AfPacketPort *port)
{
    char *ifname = af_packet_socket_ifname(port->fd);

    if (ifname) {
        g_free(port->ifname);
        port->ifname = ifname;
    }
    return port->ifname;
}

bool af_packet_port_poll_link(AfPacketPort *port)
{
    static const char *const names[] = {
        [AF_PACKET_LINK_UP] = "up",
        [AF_PACKET_LINK_DOWN] = "down",
        [AF_PACKET_LINK_GONE] = "gone",
    };
    AfPacketLink link = af_packet_socket_link(port->fd);

    /* Aligned, so that all chardevs together cause one wakeup */
    port->link_poll_at = (g_get_monotonic_time() / LINK_POLL_INTERVAL + 1) *
                         LINK_POLL_INTERVAL;
    port->link_changed = false;
    if (link == port->link) {
        return false;
    }
    port->link = link;
    trace_af_packet_port_link(port, names[link]);
    return true;
}

static void warn_dropped(AfPacketPort *port, AfPacketDrop reason, int err,
                         size_t len)
{
    warn_report("chardev '%s': dropped a frame of %zu bytes on %s: %s%s%s; "
                "'af-packet-stats' counts them", port->label, len,
                af_packet_port_ifname(port), drops[reason].text,
                err ? ": " : "", err ? strerror(err) : "");
}

void af_packet_port_drop(AfPacketPort *port, AfPacketDrop reason, int err,
                         size_t len)
{
    int64_t now = g_get_monotonic_time();

    ++*(uint64_t *)((char *)&port->stats + drops[reason].counter);
    trace_af_packet_port_drop(port, drops[reason].text, err, len);
    if (now >= port->warn_at[reason]) {
        port->warn_at[reason] = now + WARN_INTERVAL;
        warn_dropped(port, reason, err, len);
    }
}

void af_packet_port_drop_detached(AfPacketPort *port, uint64_t n_frames)
{
    if (n_frames) {
        port->stats.dropped_detach += n_frames;
        trace_af_packet_port_detach(port, n_frames);
    }
}
