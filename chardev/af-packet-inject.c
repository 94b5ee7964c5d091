/*
 * Inject: send records as frames through an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/ethernet.h>
#include <netinet/in.h>
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-departures.h"
#include "af-packet-headers.h"
#include "af-packet-inject.h"
#include "af-packet-record.h"
#include "af-packet-txq.h"

#define QUEUE_MAX_BYTES (4 * MiB)
#define SNDBUF_MAX_BYTES (8 * MiB) /* for frames in flight */
#define QUEUE_ROOM_BYTES (2 * MiB) /* level at which a writer may continue */
#define FLUSH_BUDGET 64 /* frames */

/* Limits of a batch; its frames must fit into an empty queue */
#define BATCH 64
#define BATCH_BYTES (64 * KiB)

/* In microseconds */
#define RETRY_INTERVAL (10 * 1000) /* in case no departure is signalled */
#define CARRIER_POLL_INTERVAL (100 * 1000)

struct AfPacketInject {
    AfPacketPort *port;
    AfPacketSplitter splitter;
    AfPacketTxq txq;
    struct iovec batch[BATCH]; /* to be sent before the queue is used */
    unsigned batch_len;
    size_t batch_bytes;
    AfPacketDepartures departures;
    bool writer_waits;       /* for room: don't drop frames */
    bool wait_for_room;      /* EAGAIN: retry on POLLOUT */
    bool wait_for_qdisc;     /* ENOBUFS: retry on a departure */
    int64_t flush_at;        /* 0 if no flush is scheduled */
    bool no_carrier;
    int64_t carrier_poll_at;   /* when to poll the carrier again */
};

#define MUST_WAIT 1

static int send_now(AfPacketInject *inj, const uint8_t *data, size_t len)
{
    int err = af_packet_socket_send(inj->port->fd, data, len);

    if (err == -ENETDOWN) {
        /* May have been a pending error from before the link came up again */
        err = af_packet_socket_send(inj->port->fd, data, len);
    }
    return err;
}

static bool is_refusal(int err)
{
    return err == -ENOBUFS || err == -ENOMEM;
}

/* Returns: false if none of the socket's frames is in flight. */
static bool wait_for_departure(AfPacketInject *inj)
{
    const int fd = inj->port->fd;

    if (!af_packet_socket_has_in_flight(fd)) {
        return false;
    }
    af_packet_departures_watch(&inj->departures);
    /* The last frame may have left before the watch was armed */
    return af_packet_socket_has_in_flight(fd);
}

/*
 * The queueing discipline may refuse a frame because it is full.  A policy that
 * drops this particular frame, a queue that can never hold a frame of this
 * length, or a peer with a smaller MTU cause the same error, however.  While
 * frames of this socket are in flight, assume that the queue is full of them.
 * Once none are, one more attempt decides: it succeeds if the frames have left
 * since the first attempt, which may itself have caused them to leave.
 *
 * Returns: 0, a negative errno, or MUST_WAIT until another frame has left.
 */
static int send_or_wait(AfPacketInject *inj, const uint8_t *data, size_t len)
{
    bool alone = inj->wait_for_qdisc &&
                 !af_packet_socket_has_in_flight(inj->port->fd);
    int err = send_now(inj, data, len);

    if (is_refusal(err) && !alone) {
        if (wait_for_departure(inj)) {
            return MUST_WAIT;
        }
        err = send_now(inj, data, len);
    }
    return err;
}

static void count_sent(AfPacketInject *inj, size_t len)
{
    ChardevAfPacketStats *stats = &inj->port->stats;

    if (inj->no_carrier) {
        stats->no_carrier_frames++;
    } else {
        stats->frames++;
        stats->bytes += len - inj->port->vnet_hdr_len;
    }
}

/* Loss of carrier is not signalled, so poll it while frames are sent. */
static void poll_carrier(AfPacketInject *inj)
{
    int64_t now = g_get_monotonic_time();

    if (now >= inj->carrier_poll_at) {
        inj->carrier_poll_at = now + CARRIER_POLL_INTERVAL;
        inj->no_carrier = !af_packet_socket_has_carrier(inj->port->fd);
    }
}

/*
 * The vnet header of a tunneled super-frame refers to its innermost headers,
 * but no interface accepts this: vnet headers can't describe inner headers.
 */
static bool is_tunnel_gso(const AfPacketInject *inj, const uint8_t *data,
                          size_t len)
{
    const size_t vnet_hdr_len = inj->port->vnet_hdr_len;
    AfPacketHeaders headers;
    struct virtio_net_hdr hdr;
    int proto;

    if (!vnet_hdr_len) {
        return false;
    }
    memcpy(&hdr, data, sizeof(hdr));
    switch (hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        proto = IPPROTO_TCP;
        break;
    case VIRTIO_NET_HDR_GSO_UDP:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        proto = IPPROTO_UDP;
        break;
    default:
        return false;
    }
    af_packet_headers_find(&headers, data + vnet_hdr_len, len - vnet_hdr_len);
    return headers.outer_proto >= 0 &&
           (headers.outer_proto != proto ||
            (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
             hdr.csum_start > headers.outer_start));
}

static void drop_link_down(AfPacketInject *inj, size_t len)
{
    af_packet_port_drop(inj->port, AF_PACKET_DROP_LINK_DOWN, 0, len);
    if (inj->port->link == AF_PACKET_LINK_UP) {
        inj->port->link_changed = true;
    }
}

/* Returns: false if the frame has to wait. */
static bool send_frame(AfPacketInject *inj, const uint8_t *data, size_t len)
{
    int err = send_or_wait(inj, data, len);

    inj->wait_for_room = err == -EAGAIN;
    inj->wait_for_qdisc = err == MUST_WAIT;
    if (!inj->wait_for_qdisc) {
        af_packet_departures_unwatch(&inj->departures);
    }
    if (inj->wait_for_room || inj->wait_for_qdisc) {
        return false;
    }

    switch (-err) {
    case 0:
        count_sent(inj, len);
        break;
    case ENETDOWN:
    case ENXIO:
        drop_link_down(inj, len);
        break;
    case EMSGSIZE:
        af_packet_port_drop(inj->port, AF_PACKET_DROP_ABOVE_MTU, 0, len);
        break;
    default:
        af_packet_port_drop(inj->port, AF_PACKET_DROP_REFUSED, -err, len);
        break;
    }
    return true;
}

/* Set the latest time to retry. */
static void schedule_flush(AfPacketInject *inj)
{
    inj->flush_at = inj->wait_for_qdisc ?
                    g_get_monotonic_time() + RETRY_INTERVAL : 0;
}

static void enqueue(AfPacketInject *inj, const uint8_t *data, size_t len)
{
    ChardevAfPacketStats *stats = &inj->port->stats;

    if (af_packet_txq_push(&inj->txq, data, len)) {
        stats->queue_max_bytes = MAX(stats->queue_max_bytes,
                                     inj->txq.n_bytes);
    } else {
        af_packet_port_drop(inj->port, AF_PACKET_DROP_QUEUE_FULL, 0, len);
    }
}

/* Send a frame, or queue it if the queue is not empty or it has to wait. */
static void send_or_enqueue(AfPacketInject *inj, const struct iovec *frame)
{
    if (af_packet_txq_head(&inj->txq)) {
        enqueue(inj, frame->iov_base, frame->iov_len);
    } else if (!send_frame(inj, frame->iov_base, frame->iov_len)) {
        enqueue(inj, frame->iov_base, frame->iov_len);
        schedule_flush(inj);
    }
}

/* Send the batch; from the first frame that fails on, one by one. */
static void send_batch(AfPacketInject *inj)
{
    unsigned n_sent = 0;
    unsigned i;

    if (inj->batch_len > 1) {
        n_sent = af_packet_socket_send_batch(inj->port->fd, inj->batch,
                                             inj->batch_len);
    }
    for (i = 0; i < n_sent; i++) {
        count_sent(inj, inj->batch[i].iov_len);
    }
    for (; i < inj->batch_len; i++) {
        send_or_enqueue(inj, &inj->batch[i]);
    }
    inj->batch_len = 0;
    inj->batch_bytes = 0;
}

static void add_to_batch(AfPacketInject *inj, const struct iovec *frame)
{
    inj->batch[inj->batch_len++] = *frame;
    inj->batch_bytes += frame->iov_len;
    if (inj->batch_len == BATCH || inj->batch_bytes >= BATCH_BYTES ||
        af_packet_splitter_reuses(&inj->splitter, frame)) {
        send_batch(inj);
    }
}

static void inject_payload(AfPacketInject *inj, const struct iovec *payload)
{
    if (payload->iov_len < inj->port->vnet_hdr_len + ETH_HLEN) {
        af_packet_port_drop(inj->port, AF_PACKET_DROP_TOO_SHORT, 0,
                            payload->iov_len);
    } else if (is_tunnel_gso(inj, payload->iov_base, payload->iov_len)) {
        af_packet_port_drop(inj->port, AF_PACKET_DROP_TUNNEL_GSO, 0,
                            payload->iov_len);
    } else if (af_packet_txq_head(&inj->txq)) {
        enqueue(inj, payload->iov_base, payload->iov_len);
    } else {
        add_to_batch(inj, payload);
    }
}

/*
 * The length of the next record is not known yet, so require room for the
 * longest one.  A record that has begun keeps its room.
 */
static bool accepts_record(const AfPacketInject *inj)
{
    return !inj->writer_waits ||
           af_packet_txq_fits(&inj->txq, AF_PACKET_RECORD_MAX);
}

bool af_packet_inject_write(AfPacketInject *inj, struct iovec *in,
                            Error **errp)
{
    struct iovec payload;
    int ret = 0;

    if (!accepts_record(inj)) {
        /* A writer that retries in a loop keeps the owner from flushing */
        af_packet_inject_flush(inj);
    }
    poll_carrier(inj);
    while (accepts_record(inj) &&
           (ret = af_packet_splitter_next(&inj->splitter, in, &payload,
                                          errp)) > 0) {
        inject_payload(inj, &payload);
    }
    send_batch(inj);
    return ret >= 0;
}

void af_packet_inject_set_writer_waits(AfPacketInject *inj, bool waits)
{
    inj->writer_waits = waits;
}

bool af_packet_inject_has_room(const AfPacketInject *inj)
{
    return inj->txq.n_bytes <= QUEUE_ROOM_BYTES;
}

void af_packet_inject_flush(AfPacketInject *inj)
{
    const AfPacketTxFrame *frame;
    int budget = FLUSH_BUDGET;

    if (!af_packet_txq_head(&inj->txq)) {
        return;
    }
    poll_carrier(inj);
    while ((frame = af_packet_txq_head(&inj->txq)) && budget--) {
        if (!send_frame(inj, frame->data, frame->len)) {
            break;
        }
        af_packet_txq_pop(&inj->txq);
    }
    schedule_flush(inj);
    if (frame && budget < 0) {
        inj->flush_at = g_get_monotonic_time();
    }
}

bool af_packet_inject_waits_for_room(const AfPacketInject *inj)
{
    return inj->wait_for_room;
}

int af_packet_inject_departures_fd(const AfPacketInject *inj)
{
    return inj->departures.epoll_fd;
}

int64_t af_packet_inject_flush_at(const AfPacketInject *inj)
{
    return inj->flush_at;
}

void af_packet_inject_drop_partial(AfPacketInject *inj)
{
    af_packet_port_drop_detached(inj->port,
                                 af_packet_splitter_reset(&inj->splitter));
}

void af_packet_inject_update_stats(AfPacketInject *inj)
{
    inj->port->stats.queue_frames = inj->txq.n_frames;
    inj->port->stats.queue_bytes = inj->txq.n_bytes;
}

AfPacketInject *af_packet_inject_new(AfPacketPort *port)
{
    AfPacketInject *inj = g_new0(AfPacketInject, 1);
    int ret;

    inj->port = port;
    inj->splitter.vnet_hdr_len = port->vnet_hdr_len;
    af_packet_txq_init(&inj->txq, QUEUE_MAX_BYTES);
    af_packet_departures_init(&inj->departures, port->fd);
    af_packet_socket_limit_sndbuf(port->state, SNDBUF_MAX_BYTES);
    ret = af_packet_socket_reject_all(port->state);
    if (ret < 0) {
        warn_report("chardev '%s': can't stop the socket on %s from receiving "
                    "frames: %s; they fill its receive buffer", port->label,
                    af_packet_port_ifname(port), strerror(-ret));
    }
    return inj;
}

void af_packet_inject_stop(AfPacketInject *inj)
{
    af_packet_inject_drop_partial(inj);
    af_packet_port_drop_detached(inj->port, inj->txq.n_frames);
    af_packet_txq_clear(&inj->txq);
    af_packet_departures_unwatch(&inj->departures);
    inj->wait_for_room = false;
    inj->wait_for_qdisc = false;
    inj->flush_at = 0;
}

void af_packet_inject_free(AfPacketInject *inj)
{
    if (inj) {
        af_packet_txq_clear(&inj->txq);
        af_packet_departures_destroy(&inj->departures);
        af_packet_splitter_reset(&inj->splitter);
        g_free(inj);
    }
}
