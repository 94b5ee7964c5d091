/*
 * Reads the packets of a tap whose guest has migrated, and writes them as
 * records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "handover-copy.h"
#include "handover-tap.h"
#include "net/eth.h"
#include "net/queue.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-net.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "tap_int.h"
#include "util.h"

#define VNET_HDR_LEN sizeof(struct virtio_net_hdr)

/* Offset of a frame in the buffer, after a record header and any vnet header */
#define FRAME_OFFSET (PACKET_WRITER_HDR_LEN + \
                      sizeof(struct virtio_net_hdr_v1_hash))
#define FRAME_MAX (NET_BUFSIZE - VNET_HDR_LEN)

/* Maximum number of frames to read from a queue before the next one's turn */
#define READ_BUDGET 50

typedef struct HandoverQueue {
    TapStandIn stand_in;
    HandoverTap *tap;
    NetClientState *nc;
    bool in_use;        /* enabled, and reading has not failed */
    bool was_empty;     /* its backlog has been read */
} HandoverQueue;

struct HandoverTap {
    char *netdev;
    PacketWriter *writer;
    void (*gone)(void *opaque);
    void *opaque;
    HandoverQueue *queues;
    int n_queues;

    bool started;
    bool ended_backlog;
    bool announced;
    MACAddr guest;      /* valid once started */
    NetdevHandoverStats stats;
    HandoverCopy copy;
    uint8_t buf[FRAME_OFFSET + FRAME_MAX];
};

const uint8_t handover_end_mark[HANDOVER_END_LEN] = {
    [3] = VNET_HDR_LEN, [7] = VNET_HDR_LEN,
};

/*
 * Frames
 */

/*
 * Returns: the counter to increment if the guest would not receive the frame
 * here, else NULL
 */
static uint64_t *drop_counter(HandoverTap *tap, const NetClientState *nc,
                              const uint8_t *frame)
{
    if (nc->link_down || (nc->peer && nc->peer->link_down)) {
        return &tap->stats.dropped_link_down;
    }
    /* Sent by the guest at the destination, and flooded back by a bridge */
    if (!memcmp(PKT_GET_ETH_HDR(frame)->h_source, tap->guest.a, ETH_ALEN)) {
        return &tap->stats.dropped_own;
    }
    return NULL;
}

/* Convert between the host's byte order and the guest's. */
static void swap_vnet_hdr(uint8_t *data)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, data, sizeof(hdr));
    bswap16s(&hdr.hdr_len);
    bswap16s(&hdr.gso_size);
    bswap16s(&hdr.csum_start);
    bswap16s(&hdr.csum_offset);
    memcpy(data, &hdr, sizeof(hdr));
}

/* Keep a copy in the guest's format, in case the guest is resumed here. */
static void keep_frame(HandoverTap *tap, NetClientState *nc, size_t len)
{
    size_t vnet_hdr_len = qemu_get_vnet_hdr_len(nc);
    uint8_t *data = tap->buf + FRAME_OFFSET - vnet_hdr_len;
    bool swaps = vnet_hdr_len && tap_guest_swaps_vnet_hdr(nc);

    if (swaps) {
        swap_vnet_hdr(data);
    }
    handover_copy_put(&tap->copy, nc, data, vnet_hdr_len + len);
    if (swaps) {
        swap_vnet_hdr(data);
    }
}

/* Write the frame of @len bytes in the buffer. */
static void pass_frame(HandoverTap *tap, NetClientState *nc,
                       size_t vnet_hdr_len, size_t len)
{
    uint8_t *frame = tap->buf + FRAME_OFFSET;
    uint64_t *dropped;

    if (len < ETH_HLEN) {
        return;
    }
    dropped = drop_counter(tap, nc, frame);
    if (dropped) {
        ++*dropped;
        return;
    }
    keep_frame(tap, nc, len);
    if (tap->announced && is_multicast_ether_addr(frame)) {
        tap->stats.dropped_group++;
        return;
    }
    if (vnet_hdr_len) {
        /* Every longer vnet header starts with struct virtio_net_hdr */
        memmove(frame - VNET_HDR_LEN, frame - vnet_hdr_len, VNET_HDR_LEN);
    } else {
        memset(frame - VNET_HDR_LEN, 0, VNET_HDR_LEN);
    }
    packet_writer_put(tap->writer, frame - VNET_HDR_LEN, VNET_HDR_LEN + len,
                      VNET_HDR_LEN);
    tap->stats.frames++;
    tap->stats.bytes += len;
}

/* Pass on a packet that QEMU read from the tap before the VM stopped. */
static void pass_taken(void *opaque, const uint8_t *data, size_t size)
{
    HandoverQueue *q = opaque;
    size_t vnet_hdr_len = qemu_get_vnet_hdr_len(q->nc);
    uint8_t *buf = q->tap->buf + FRAME_OFFSET - vnet_hdr_len;

    if (size >= vnet_hdr_len && size - vnet_hdr_len <= FRAME_MAX) {
        memcpy(buf, data, size);
        if (vnet_hdr_len && tap_guest_swaps_vnet_hdr(q->nc)) {
            swap_vnet_hdr(buf);
        }
        pass_frame(q->tap, q->nc, vnet_hdr_len, size - vnet_hdr_len);
    }
}

static void end_backlog(HandoverTap *tap)
{
    uint8_t end[HANDOVER_END_LEN];

    tap->ended_backlog = true;
    memcpy(end, handover_end_mark, sizeof(end));
    packet_writer_put(tap->writer, end + PACKET_WRITER_HDR_LEN, VNET_HDR_LEN,
                      VNET_HDR_LEN);
}

/*
 * Queues
 */

static void queue_set_reads(HandoverQueue *q, bool reads)
{
    bool enabled = tap_stand_in_read(q->nc, reads && q->in_use);

    if (!enabled) {
        q->in_use = false;
        q->was_empty = true;
    }
}

static void tap_set_reads(HandoverTap *tap, bool reads)
{
    int i;

    for (i = 0; i < tap->n_queues; i++) {
        queue_set_reads(&tap->queues[i], reads);
    }
}

static bool tap_was_empty(const HandoverTap *tap)
{
    int i;

    for (i = 0; i < tap->n_queues; i++) {
        if (!tap->queues[i].was_empty) {
            return false;
        }
    }
    return true;
}

/* Stop reading a queue, for example because the interface was removed. */
static void queue_fail(HandoverQueue *q, int err)
{
    error_report("netdev '%s': reading from the tap failed: %s; no more of "
                 "its packets are handed over", q->tap->netdev, strerror(err));
    q->in_use = false;
    queue_set_reads(q, false);
}

/* Returns: whether a frame was read. */
static bool queue_read(HandoverQueue *q)
{
    HandoverTap *tap = q->tap;
    size_t vnet_hdr_len = tap_get_vnet_hdr_len(q->nc);
    ssize_t len = RETRY_ON_EINTR(
        tap_read_packet(tap_get_fd(q->nc),
                        tap->buf + FRAME_OFFSET - vnet_hdr_len,
                        vnet_hdr_len + FRAME_MAX));

    if (len < (ssize_t)vnet_hdr_len) {
        if (len >= 0 || errno != EAGAIN) {
            queue_fail(q, len < 0 ? errno : EIO);
        }
        q->was_empty = true;
        return false;
    }
    pass_frame(tap, q->nc, vnet_hdr_len, len - vnet_hdr_len);
    return true;
}

/* Returns: G_IO_IN if the queue is readable, G_IO_ERR on error, or 0 */
static GIOCondition queue_poll(const HandoverQueue *q)
{
    GPollFD fd = { .fd = tap_get_fd(q->nc), .events = G_IO_IN };

    g_poll(&fd, 1, 0);
    return fd.revents;
}

static void queue_readable(TapStandIn *stand_in)
{
    HandoverQueue *q = container_of(stand_in, HandoverQueue, stand_in);
    HandoverTap *tap = q->tap;
    int budget = READ_BUDGET;

    while (budget-- && packet_writer_has_room(tap->writer) && queue_read(q)) {
        /* nothing else to do */
    }
    if (!tap->ended_backlog && !q->was_empty) {
        /* No event follows if the budget ended with the queue's last frame */
        q->was_empty = !queue_poll(q);
    }
    if (!tap->ended_backlog && tap_was_empty(tap)) {
        end_backlog(tap);
    }
    packet_writer_flush(tap->writer);
    if (!packet_writer_has_room(tap->writer)) {
        tap_set_reads(tap, false);
    }
}

static void queue_deleted(TapStandIn *stand_in)
{
    HandoverQueue *q = container_of(stand_in, HandoverQueue, stand_in);

    q->tap->gone(q->tap->opaque);
}

/*
 * Start and stop
 */

static void find_guest_mac(HandoverTap *tap)
{
    NetClientState *nc = tap->queues[0].nc->peer;
    RxFilterInfo *info;

    if (!nc || nc->info->type != NET_CLIENT_DRIVER_NIC) {
        return;
    }
    tap->guest = qemu_get_nic(nc)->conf->macaddr;
    if (nc->info->query_rx_filter) {
        /* The guest may have changed it */
        info = nc->info->query_rx_filter(nc);
        net_parse_macaddr(tap->guest.a, info->main_mac);
        qapi_free_RxFilterInfo(info);
    }
}

static void queue_set_native_endian(HandoverQueue *q)
{
    /* These calls abort QEMU if the interface is gone */
    if (!(queue_poll(q) & G_IO_ERR)) {
        qemu_set_vnet_le(q->nc, false);
        qemu_set_vnet_be(q->nc, false);
    }
}

void handover_tap_start(HandoverTap *tap)
{
    int i;

    if (tap->started) {
        return;
    }
    tap->started = true;
    tap->ended_backlog = false;
    find_guest_mac(tap);
    for (i = 0; i < tap->n_queues; i++) {
        HandoverQueue *q = &tap->queues[i];

        queue_set_native_endian(q);
        while (q->nc->peer && qemu_net_queue_take(q->nc->peer->incoming_queue,
                                                  q->nc, pass_taken, q)) {
            /* take all of them */
        }
        q->in_use = true;
        q->was_empty = false;
    }
    packet_writer_flush(tap->writer);
    handover_tap_resume(tap);
}

void handover_tap_resume(HandoverTap *tap)
{
    int i;

    if (!tap->started || !packet_writer_has_room(tap->writer)) {
        return;
    }
    tap_set_reads(tap, true);
    /* Empty queues never become readable, but may complete the backlog */
    for (i = 0; i < tap->n_queues && !tap->ended_backlog; i++) {
        if (tap->queues[i].in_use) {
            queue_readable(&tap->queues[i].stand_in);
        }
    }
}

void handover_tap_stop(HandoverTap *tap)
{
    tap->started = false;
    tap->announced = false;
    tap_set_reads(tap, false);
    packet_writer_clear(tap->writer);
    handover_copy_deliver(&tap->copy);
}

void handover_tap_set_announced(HandoverTap *tap)
{
    tap->announced = true;
}

void handover_tap_get_stats(const HandoverTap *tap,
                            NetdevHandoverStats *stats)
{
    *stats = tap->stats;
    stats->started = tap->started;
    stats->announced = tap->announced;
    stats->not_kept = tap->copy.n_missed;
    stats->waiting_bytes = packet_writer_waiting(tap->writer);
}

static bool tap_check(const char *netdev, NetClientState *nc, Error **errp)
{
    if (nc->info->type != NET_CLIENT_DRIVER_TAP) {
        error_setg(errp, "netdev '%s' is not of type tap: netdev-handover "
                   "can't read its packets", netdev);
        return false;
    }
    if (!QTAILQ_EMPTY(&nc->filters)) {
        error_setg(errp, "netdev '%s' has filters, which packets that are "
                   "handed over would bypass: remove them first", netdev);
        return false;
    }
    return true;
}

static bool tap_attach_queues(HandoverTap *tap, NetClientState **ncs, int n,
                              Error **errp)
{
    tap->queues = g_new0(HandoverQueue, n);
    for (; tap->n_queues < n; tap->n_queues++) {
        HandoverQueue *q = &tap->queues[tap->n_queues];

        *q = (HandoverQueue) {
            .stand_in = { .readable = queue_readable, .gone = queue_deleted },
            .tap = tap,
            .nc = ncs[tap->n_queues],
        };
        if (!tap_check(tap->netdev, q->nc, errp)) {
            return false;
        }
        if (!tap_attach_stand_in(q->nc, &q->stand_in)) {
            error_setg(errp, "netdev '%s' has a netdev-handover already",
                       tap->netdev);
            return false;
        }
    }
    return true;
}

HandoverTap *handover_tap_new(const char *netdev, PacketWriter *writer,
                              void (*gone)(void *opaque), void *opaque,
                              Error **errp)
{
    NetClientState *ncs[MAX_QUEUE_NUM];
    HandoverTap *tap;
    int n;

    n = qemu_find_net_clients_except(netdev, ncs, NET_CLIENT_DRIVER_NIC,
                                     MAX_QUEUE_NUM);
    if (!n) {
        error_setg(errp, "'netdev' of netdev-handover: netdev '%s' not found",
                   netdev);
        return NULL;
    }
    tap = g_new0(HandoverTap, 1);
    tap->netdev = g_strdup(netdev);
    tap->writer = writer;
    tap->gone = gone;
    tap->opaque = opaque;
    if (!tap_attach_queues(tap, ncs, n, errp)) {
        handover_tap_free(tap);
        return NULL;
    }
    return tap;
}

void handover_tap_free(HandoverTap *tap)
{
    int i;

    for (i = 0; i < tap->n_queues; i++) {
        tap_detach_stand_in(tap->queues[i].nc);
    }
    handover_copy_clear(&tap->copy);
    g_free(tap->queues);
    g_free(tap->netdev);
    g_free(tap);
}
