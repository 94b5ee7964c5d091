/*
 * Inject: records as frames through an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/ethernet.h>
#include "qemu/units.h"
#include "af-packet-inject.h"
#include "af-packet-record.h"
#include "af-packet-txq.h"

#define QUEUE_MAX_BYTES (4 * MiB)
#define FLUSH_BUDGET 64 /* frames */

/* In microseconds */
#define RETRY_MIN 1000
#define RETRY_MAX 64000

#define IDLE_TRIES_MAX 5 /* to send, while nothing else is on its way */

struct AfPacketInject {
    AfPacketPort *port;
    bool deafened;           /* it was QEMU that attached a filter */
    AfPacketSplitter splitter;
    AfPacketTxq txq;
    bool wait_for_room;      /* EAGAIN: POLLOUT tells when to go on */
    int64_t flush_at;        /* ENOBUFS: only time does; 0 if not waiting */
    int64_t retry_delay;
    int idle_tries;
};

/*
 * The queueing discipline has refused a frame.  It may be full; but a policy
 * that drops this very frame, or one that can't ever take a frame of this
 * length, looks the same.  Frames of ours that are still on their way tell
 * that it is worth to wait.  That there are none now doesn't tell that there
 * were none when the frame was refused: the attempt itself may set them going.
 *
 * Returns: false if the frame has no more chances.
 */
static bool wait_for_qdisc(AfPacketInject *inj)
{
    if (af_packet_socket_sends(inj->port->fd)) {
        inj->idle_tries = 0;
    } else if (inj->idle_tries >= IDLE_TRIES_MAX) {
        return false;
    } else {
        inj->idle_tries++;
    }
    inj->retry_delay = MIN(MAX(inj->retry_delay * 2, RETRY_MIN), RETRY_MAX);
    inj->flush_at = g_get_monotonic_time() + inj->retry_delay;
    return true;
}

static void count_sent(AfPacketInject *inj, size_t len)
{
    inj->port->stats.frames++;
    inj->port->stats.bytes += len - inj->port->vnet_hdr_len;
    inj->retry_delay = 0;
    inj->idle_tries = 0;
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
    int err;

    err = af_packet_socket_send(inj->port->fd, data, len);
    if (err == -ENETDOWN) {
        /* It may have been the pending error of a link that is up again */
        err = af_packet_socket_send(inj->port->fd, data, len);
    }

    switch (-err) {
    case 0:
        count_sent(inj, len);
        break;
    case EAGAIN:
        inj->wait_for_room = true;
        return false;
    case ENOBUFS:
    case ENOMEM:
        if (wait_for_qdisc(inj)) {
            return false;
        }
        af_packet_port_drop(inj->port, AF_PACKET_DROP_REFUSED, -err, len);
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

/* Send a frame, unless others wait or it has to wait itself. */
static void send_or_enqueue(AfPacketInject *inj, const struct iovec *payload)
{
    if (payload->iov_len < inj->port->vnet_hdr_len + ETH_HLEN) {
        af_packet_port_drop(inj->port, AF_PACKET_DROP_TOO_SHORT, 0,
                            payload->iov_len);
    } else if (af_packet_txq_head(&inj->txq) ||
               !send_frame(inj, payload->iov_base, payload->iov_len)) {
        enqueue(inj, payload->iov_base, payload->iov_len);
    }
}

bool af_packet_inject_write(AfPacketInject *inj, struct iovec in,
                            Error **errp)
{
    struct iovec payload;
    int ret;

    while ((ret = af_packet_splitter_next(&inj->splitter, &in, &payload,
                                          errp)) > 0) {
        send_or_enqueue(inj, &payload);
    }
    return ret == 0;
}

void af_packet_inject_flush(AfPacketInject *inj)
{
    const AfPacketTxFrame *frame;
    int budget = FLUSH_BUDGET;

    inj->wait_for_room = false;
    inj->flush_at = 0;
    while ((frame = af_packet_txq_head(&inj->txq))) {
        if (!budget--) {
            inj->flush_at = g_get_monotonic_time();
            return;
        }
        if (!send_frame(inj, frame->data, frame->len)) {
            return;
        }
        af_packet_txq_pop(&inj->txq);
    }
}

bool af_packet_inject_waits_for_room(const AfPacketInject *inj)
{
    return inj->wait_for_room;
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

    inj->port = port;
    inj->splitter.vnet_hdr_len = port->vnet_hdr_len;
    inj->deafened = af_packet_socket_deafen(port->fd);
    af_packet_txq_init(&inj->txq, QUEUE_MAX_BYTES);
    return inj;
}

void af_packet_inject_stop(AfPacketInject *inj)
{
    af_packet_inject_drop_partial(inj);
    af_packet_port_drop_detached(inj->port, inj->txq.n_frames);
    af_packet_txq_clear(&inj->txq);
    inj->wait_for_room = false;
    inj->flush_at = 0;
    if (inj->deafened) {
        /* The socket may live on in another process, or be passed in again */
        af_packet_socket_undeafen(inj->port->fd);
    }
}

void af_packet_inject_free(AfPacketInject *inj)
{
    if (inj) {
        af_packet_txq_clear(&inj->txq);
        af_packet_splitter_reset(&inj->splitter);
        g_free(inj);
    }
}
