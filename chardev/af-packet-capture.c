/*
 * Capture: convert frames of an AF_PACKET socket into records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include "qemu/error-report.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-capture.h"
#include "af-packet-csum.h"
#include "af-packet-frame.h"
#include "af-packet-pace.h"
#include "af-packet-record.h"
#include "af-packet-rx.h"
#include "trace.h"

#define DROP_BUDGET 256 /* maximum number of frames dropped per take */
#define ERRORS_MAX 1000 /* consecutive transient errors */

#define MTU_INTERVAL G_USEC_PER_SEC /* changes are not signalled */
#define TAGS_MAX_LEN (2 * AF_PACKET_VLAN_LEN) /* not counted by the MTU */
#define SCTP_CSUM_OFFSET 8

/* The longest frame that fits into a record */
#define FRAME_MAX (AF_PACKET_RECORD_MAX - AF_PACKET_VLAN_LEN)

/* Room for the record's header and a VLAN tag */
QEMU_BUILD_BUG_ON(AF_PACKET_RX_HEADROOM <
                  AF_PACKET_RECORD_HDR_MAX + AF_PACKET_VLAN_LEN);

struct AfPacketCapture {
    AfPacketPort *port;
    AfPacketRx *rx;
    AfPacketPace pace;
    bool stopped;
    int n_errors;            /* consecutive errors */
    int mtu;                 /* 0 as long as it is unknown */
    int64_t mtu_until;       /* when to query the MTU again */

    /* the rest of the record that is being read */
    const uint8_t *staged;
    size_t staged_len;
    size_t staged_frame_len;
};

static bool is_above_mtu(AfPacketCapture *cap, size_t len)
{
    const size_t mtu_len = len - MIN(len, ETH_HLEN + TAGS_MAX_LEN);
    int64_t now;
    int mtu;

    if (mtu_len <= MIN(cap->mtu, ETH_DATA_LEN)) {
        return false;
    }
    now = g_get_monotonic_time();
    if (now >= cap->mtu_until) {
        cap->mtu_until = now + MTU_INTERVAL;
        mtu = af_packet_socket_mtu(cap->port->fd);
        /* It fails while the interface is renamed or moved, for example */
        cap->mtu = mtu > 0 ? mtu : cap->mtu;
    }
    return cap->mtu > 0 && mtu_len > cap->mtu;
}

/* Returns: false if a checksum is partial but cannot be located. */
static bool complete_csum(AfPacketCapture *cap, const AfPacketRxInfo *info,
                          uint8_t *frame, size_t len)
{
    ChardevAfPacketStats *stats = &cap->port->stats;
    bool is_super_frame = info->gso_tcp || is_above_mtu(cap, len);
    AfPacketCsum csum = AF_PACKET_CSUM_DONE;

    stats->gso_frames += is_super_frame;
    if (info->csum_not_ready) {
        csum = af_packet_csum_complete(frame, len);
    } else if (is_super_frame) {
        csum = af_packet_csum_check(frame, len);
    }
    stats->csum_unmatched += csum == AF_PACKET_CSUM_UNMATCHED;
    return csum != AF_PACKET_CSUM_NONE || !info->csum_not_ready;
}

/* Complete SCTP checksums: a vnet header only describes Internet checksums. */
static void complete_sctp(uint8_t *data, size_t vnet_hdr_len, size_t len)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, data, sizeof(hdr));
    if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
        hdr.csum_offset == SCTP_CSUM_OFFSET &&
        af_packet_csum_complete_sctp(data + vnet_hdr_len, len - vnet_hdr_len,
                                     hdr.csum_start)) {
        hdr.flags &= ~VIRTIO_NET_HDR_F_NEEDS_CSUM;
        hdr.csum_start = 0;
        hdr.csum_offset = 0;
        memcpy(data, &hdr, sizeof(hdr));
    }
}

/* Returns: false if the frame cannot become a record and was dropped. */
static bool check_frame(AfPacketCapture *cap, const AfPacketRxFrame *frame)
{
    AfPacketDrop reason;

    if (frame->info.impossible) {
        reason = AF_PACKET_DROP_BAD_SLOT;
    } else if (frame->info.no_room) {
        reason = AF_PACKET_DROP_RCVBUF_FULL;
    } else if (frame->len > FRAME_MAX) {
        reason = AF_PACKET_DROP_OVERSIZE;
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

/* Convert a received frame into a record, in place. */
static void stage(AfPacketCapture *cap, const AfPacketRxFrame *frame)
{
    const AfPacketRxInfo *info = &frame->info;
    uint8_t *data = frame->data;
    size_t len = frame->len;
    size_t vnet_hdr_len = cap->port->vnet_hdr_len;

    if (!check_frame(cap, frame)) {
        return;
    }
    if (info->has_vlan) {
        data = af_packet_frame_put_vlan(data, vnet_hdr_len, info->vlan_tpid,
                                        info->vlan_tci);
        len += AF_PACKET_VLAN_LEN;
        if (!data) {
            af_packet_port_drop(cap->port, AF_PACKET_DROP_BAD_CSUM, 0, len);
            return;
        }
    }
    if (vnet_hdr_len) {
        complete_sctp(data, vnet_hdr_len, len);
    } else if (!complete_csum(cap, info, data, len)) {
        af_packet_port_drop(cap->port, AF_PACKET_DROP_NO_CSUM, 0, len);
        return;
    }

    cap->staged = af_packet_record_put_hdr(data, len, vnet_hdr_len);
    cap->staged_len = data + len - cap->staged;
    cap->staged_frame_len = len - vnet_hdr_len;
}

void af_packet_capture_error(AfPacketCapture *cap, int err)
{
    if (err == EINVAL && cap->port->vnet_hdr_len) {
        /*
         * The frame has a GSO type that a vnet header can't express, and was
         * consumed (Linux 6.18).  Guests may cause this at any rate, so it is
         * not fatal.
         */
        af_packet_port_drop(cap->port, AF_PACKET_DROP_UNDESCRIBABLE, 0, 0);
        return;
    }

    switch (err) {
    case ENETDOWN:
        /* Reported before the frames that are still queued */
        cap->port->link_changed = true;
        break;
    case ENOBUFS:
    case ENOMEM:
    case ENOMSG: /* timestamps that the opener requested */
        break;
    default:
        cap->port->error = err;
        break;
    }
}

static void receive_error(AfPacketCapture *cap, int err)
{
    af_packet_capture_error(cap, err);
    if (err != EINVAL && ++cap->n_errors > ERRORS_MAX) {
        cap->port->error = err; /* not transient after all */
    }
}

/* Receive a frame or an error.  Returns: false if there was neither. */
static bool receive(AfPacketCapture *cap)
{
    AfPacketRxFrame frame;
    int ret;

    if (cap->stopped || cap->port->error) {
        return false;
    }

    ret = af_packet_rx_next(cap->rx, &frame);
    if (ret < 0) {
        receive_error(cap, -ret);
        return true;
    }
    cap->n_errors = 0;
    if (ret > 0) {
        af_packet_pace_count(&cap->pace);
        stage(cap, &frame);
    } else {
        af_packet_pace_update(&cap->pace);
    }
    return ret > 0;
}

/*
 * Stage a frame, unless none is available or the drop budget is exhausted.
 * Returns: false if no frame was available.
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

AfPacketCapture *af_packet_capture_new(AfPacketPort *port)
{
    AfPacketCapture *cap = g_new0(AfPacketCapture, 1);
    size_t lost;

    cap->port = port;
    if (af_packet_state_set(port->state, SOL_PACKET, PACKET_AUXDATA, 1) < 0) {
        warn_report("chardev '%s': can't set PACKET_AUXDATA: captured "
                    "frames may lack VLAN tags and checksums", port->label);
    }
    af_packet_pace_init(&cap->pace);
    cap->rx = af_packet_rx_new(port->state, FRAME_MAX, port->vnet_hdr_len,
                               &lost);
    port->stats.dropped_kernel += lost;
    trace_af_packet_capture_start(cap, af_packet_rx_has_ring(cap->rx));
    return cap;
}

void af_packet_capture_stop(AfPacketCapture *cap)
{
    af_packet_capture_update_stats(cap);
    af_packet_capture_drop_partial(cap);
    af_packet_port_drop_detached(cap->port, af_packet_rx_stop(cap->rx));
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
