/*
 * Capture: frames of an AF_PACKET socket as records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/ethernet.h>
#include "qemu/error-report.h"
#include "af-packet-capture.h"
#include "af-packet-frame.h"
#include "af-packet-pace.h"
#include "af-packet-record.h"
#include "af-packet-rx.h"
#include "trace.h"

#define DROP_BUDGET 256 /* frames per take that gives none */

/* The longest frame that still makes a record */
#define FRAME_MAX (AF_PACKET_RECORD_MAX - AF_PACKET_VLAN_LEN)

/* What turns it into one */
QEMU_BUILD_BUG_ON(AF_PACKET_RX_HEADROOM <
                  AF_PACKET_RECORD_HEAD_MAX + AF_PACKET_VLAN_LEN);

struct AfPacketCapture {
    AfPacketPort *port;
    AfPacketRx *rx;
    AfPacketPace pace;
    bool stopped;
    bool strip_vnet_hdr;     /* it was QEMU that switched it on */
    uint64_t checked_drops;  /* dropped_kernel at the last check of the ring */

    /* what is left of the record that is being read */
    const uint8_t *staged;
    size_t staged_len;
    size_t staged_frame_len;
};

size_t af_packet_capture_record_vnet_hdr_len(const AfPacketCapture *cap)
{
    return cap->strip_vnet_hdr ? 0 : cap->port->vnet_hdr_len;
}

/* Returns: false if the kernel's description of the frame is wrong. */
static bool strip_vnet_hdr(AfPacketCapture *cap, uint8_t **data, size_t *len)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, *data, sizeof(hdr));
    *data += sizeof(hdr);
    *len -= sizeof(hdr);
    if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        cap->port->stats.gso_frames++;
    }
    return af_packet_frame_complete_csum(*data, *len, &hdr);
}

/* Returns: false if no record can be made of the frame; it is dropped then. */
static bool check_frame(AfPacketCapture *cap, const AfPacketRxFrame *frame)
{
    AfPacketDrop reason;

    if (frame->info.no_room) {
        reason = AF_PACKET_DROP_RCVBUF_FULL;
    } else if (frame->len > FRAME_MAX) {
        reason = AF_PACKET_DROP_TOO_LONG;
    } else if (frame->info.filtered) {
        reason = AF_PACKET_DROP_FILTERED;
    } else if (frame->len < cap->port->vnet_hdr_len + ETH_HLEN) {
        reason = AF_PACKET_DROP_TOO_SHORT;
    } else {
        return true;
    }
    af_packet_port_drop(cap->port, reason, 0, frame->len);
    return false;
}

/* Make a record of a received frame, in place. */
static void stage(AfPacketCapture *cap, const AfPacketRxFrame *frame)
{
    const AfPacketRxInfo *info = &frame->info;
    uint8_t *data = frame->data;
    size_t len = frame->len;
    size_t vnet_hdr_len = af_packet_capture_record_vnet_hdr_len(cap);

    if (!check_frame(cap, frame)) {
        return;
    }
    if (info->has_vlan) {
        data = af_packet_frame_put_vlan(data, cap->port->vnet_hdr_len,
                                        info->vlan_tpid, info->vlan_tci);
        len += AF_PACKET_VLAN_LEN;
    }
    if (cap->strip_vnet_hdr && !strip_vnet_hdr(cap, &data, &len)) {
        af_packet_port_drop(cap->port, AF_PACKET_DROP_BAD_CSUM, 0, len);
        return;
    }

    cap->staged = af_packet_record_put_head(data, len, vnet_hdr_len);
    cap->staged_len = data + len - cap->staged;
    cap->staged_frame_len = len - vnet_hdr_len;
}

void af_packet_capture_error(AfPacketCapture *cap, int err)
{
    switch (err) {
    case ENETDOWN:
        /* Comes before the frames that are still queued */
        cap->port->link_changed = true;
        break;
    case EINVAL:
        /* A GSO type that a vnet header can't express; consumed (6.18) */
        af_packet_port_drop(cap->port, AF_PACKET_DROP_UNDESCRIBABLE, 0, 0);
        break;
    default:
        cap->port->error = err;
        break;
    }
}

/* Stage or drop a frame, or an error.  Returns: false if there was none. */
static bool receive(AfPacketCapture *cap)
{
    AfPacketRxFrame frame;
    int ret;

    if (cap->stopped) {
        return false;
    }

    ret = af_packet_rx_next(cap->rx, &frame);
    if (ret > 0) {
        af_packet_pace_count(&cap->pace);
        stage(cap, &frame);
    } else if (ret < 0) {
        af_packet_capture_error(cap, -ret);
    } else {
        af_packet_pace_update(&cap->pace);
        return false;
    }
    return true;
}

/*
 * Stage a frame, unless there is none, or many have to be dropped first.
 * Returns: false if there was none.
 */
static bool fill(AfPacketCapture *cap)
{
    int budget = DROP_BUDGET;
    bool received = true;

    while (!cap->staged_len && received && budget--) {
        received = receive(cap);
    }
    return received;
}

bool af_packet_capture_take(AfPacketCapture *cap, size_t max,
                            const uint8_t **buf, size_t *len)
{
    bool received = fill(cap);

    *len = MIN(max, cap->staged_len);
    if (*len) {
        *buf = cap->staged;
        cap->staged += *len;
        cap->staged_len -= *len;
        if (!cap->staged_len) {
            cap->port->stats.frames++;
            cap->port->stats.bytes += cap->staged_frame_len;
        }
    }
    return received;
}

bool af_packet_capture_ready(const AfPacketCapture *cap)
{
    if (cap->staged_len) {
        return true;
    }
    return !cap->stopped && !cap->pace.resting && af_packet_rx_ready(cap->rx);
}

bool af_packet_capture_resting(const AfPacketCapture *cap)
{
    return cap->pace.resting && !cap->staged_len;
}

int af_packet_capture_timer_fd(const AfPacketCapture *cap)
{
    return cap->pace.timer_fd;
}

void af_packet_capture_drop_partial(AfPacketCapture *cap)
{
    if (cap->staged_len) {
        cap->staged_len = 0;
        af_packet_port_drop_detached(cap->port, 1);
    }
}

void af_packet_capture_update_stats(AfPacketCapture *cap)
{
    if (!cap->stopped) {
        cap->port->stats.dropped_kernel +=
            af_packet_socket_take_drops(cap->port->fd);
    }
}

bool af_packet_capture_has_ring(const AfPacketCapture *cap)
{
    return af_packet_rx_has_ring(cap->rx);
}

bool af_packet_capture_check_ring(AfPacketCapture *cap)
{
    uint64_t dropped = cap->checked_drops;
    AfPacketRxState state;

    af_packet_capture_update_stats(cap);
    cap->checked_drops = cap->port->stats.dropped_kernel;
    state = af_packet_rx_look(cap->rx, cap->checked_drops != dropped);
    if (state == AF_PACKET_RX_STUCK) {
        warn_report("chardev '%s': the kernel no longer fills the ring on %s, "
                    "as happens after a frame that a vnet header can't "
                    "describe; from now on frames wait in the receive buffer",
                    cap->port->label, af_packet_port_ifname(cap->port));
    }
    return state == AF_PACKET_RX_BUSY;
}

AfPacketCapture *af_packet_capture_new(AfPacketPort *port)
{
    AfPacketCapture *cap = g_new0(AfPacketCapture, 1);

    cap->port = port;
    if (af_packet_socket_report_info(port->fd) < 0) {
        warn_report("chardev '%s': can't ask for VLAN tags, captured frames "
                    "may lack theirs", port->label);
    }
    if (!port->vnet_hdr_len) {
        /* Only the vnet header tells where a checksum is partial */
        cap->strip_vnet_hdr = af_packet_socket_set_vnet_hdr(port->fd,
                                                            true) == 0;
        port->vnet_hdr_len = af_packet_socket_vnet_hdr_len(port->fd);
    }
    af_packet_pace_init(&cap->pace);
    cap->rx = af_packet_rx_new(port->fd, FRAME_MAX, port->vnet_hdr_len);
    af_packet_capture_update_stats(cap);
    cap->checked_drops = port->stats.dropped_kernel;
    trace_af_packet_capture_start(cap, af_packet_rx_has_ring(cap->rx));
    return cap;
}

void af_packet_capture_stop(AfPacketCapture *cap)
{
    af_packet_capture_update_stats(cap);
    af_packet_capture_drop_partial(cap);
    af_packet_port_drop_detached(cap->port, af_packet_rx_stop(cap->rx));
    if (cap->strip_vnet_hdr) {
        /* The socket may live on in another process, or be passed in again */
        af_packet_socket_set_vnet_hdr(cap->port->fd, false);
    }
    cap->stopped = true;
}

void af_packet_capture_free(AfPacketCapture *cap)
{
    if (cap) {
        af_packet_rx_free(cap->rx);
        af_packet_pace_destroy(&cap->pace);
        g_free(cap);
    }
}
