/*
 * QIOChannel that turns frames of an AF_PACKET socket into records and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/ethernet.h>
#include "chardev/channel-af-packet.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/module.h"
#include "qemu/queue.h"
#include "qemu/units.h"
#include "af-packet-frame.h"
#include "af-packet-pace.h"
#include "af-packet-record.h"
#include "af-packet-rx.h"
#include "af-packet-socket.h"
#include "af-packet-txq.h"
#include "trace.h"

#define TXQ_MAX_BYTES (4 * MiB)
#define TX_BUDGET 64 /* frames per dispatch */
#define RX_DROP_BUDGET 256 /* frames per read that gives none */

/* All times are in microseconds of g_get_monotonic_time() */
#define LOOK_INTERVAL G_USEC_PER_SEC
#define LOOK_INTERVAL_BUSY (G_USEC_PER_SEC / 10)
#define RETRY_MIN 1000
#define RETRY_MAX 64000
#define WARN_INTERVAL (10 * G_USEC_PER_SEC)

#define IDLE_TRIES_MAX 5 /* to send, while nothing else is on its way */

/* The longest frame that still makes a record */
#define RX_MAX (AF_PACKET_RECORD_MAX - AF_PACKET_VLAN_LEN)

/* What turns it into one */
QEMU_BUILD_BUG_ON(AF_PACKET_RX_HEADROOM <
                  AF_PACKET_RECORD_HEAD_MAX + AF_PACKET_VLAN_LEN);

struct QIOChannelAfPacket {
    QIOChannel parent;
    QLIST_ENTRY(QIOChannelAfPacket) next;
    QIOChannelSocket *master;
    ChardevSocketAfPacketMode mode;
    char *label;
    char *ifname;              /* when the channel was made */
    size_t vnet_hdr_len;       /* in the socket's frames */
    bool strip_vnet_hdr;       /* it was QEMU that switched it on */
    bool deafened;             /* it was QEMU that attached a filter */
    GSource *service;          /* link state and transmit queue */
    gpointer service_tag;
    bool service_writable;     /* it polls for room to send */

    QemuMutex lock;            /* for all that follows */
    bool closed;
    bool ended;
    AfPacketLink link;
    int64_t look_at;           /* when to look at interface and ring again */
    int64_t warn_at;           /* when to warn about a drop again */
    ChardevAfPacketStats stats;

    /* capture; @staged is what is left of a record that is being read */
    AfPacketRx *rx;
    uint64_t rx_looked_dropped; /* dropped_kernel at the last look */
    AfPacketPace pace;
    const uint8_t *staged;
    size_t staged_len;
    size_t staged_frame_len;
    bool warned_discard;

    /* inject */
    AfPacketSplitter splitter;
    AfPacketTxq txq;
    bool tx_wait_writable;     /* EAGAIN: POLLOUT tells when to go on */
    int64_t tx_retry_at;       /* ENOBUFS: only time does; 0 if not waiting */
    int64_t tx_retry_delay;
    int tx_idle_tries;
};

/* All there are; they come and go in any thread */
static QLIST_HEAD(, QIOChannelAfPacket) channels;
static QemuMutex channels_lock;

static bool is_capture(const QIOChannelAfPacket *ioc)
{
    return ioc->mode == CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE;
}

/* Length of the vnet header that records have */
static size_t record_vnet_hdr_len(const QIOChannelAfPacket *ioc)
{
    return ioc->strip_vnet_hdr ? 0 : ioc->vnet_hdr_len;
}

/* Count a frame that goes no further, and say so now and then. */
static void drop_frame(QIOChannelAfPacket *ioc, uint64_t *counter,
                       const char *why, size_t len)
{
    int64_t now = g_get_monotonic_time();

    ++*counter;
    trace_qio_channel_af_packet_drop(ioc, why, len);
    if (now < ioc->warn_at) {
        return;
    }
    ioc->warn_at = now + WARN_INTERVAL;
    warn_report("chardev '%s': dropped a frame (%zu bytes), %s %s; "
                "'af-packet-stats' counts them", ioc->label, len, ioc->ifname,
                why);
}

/* Count frames that were lost because an end of the channel went away. */
static void drop_detached(QIOChannelAfPacket *ioc, uint64_t n_frames)
{
    if (n_frames) {
        ioc->stats.dropped_detach += n_frames;
        trace_qio_channel_af_packet_detach(ioc, n_frames);
    }
}

/* Tell the service source what to wait for. */
static void service_rearm(QIOChannelAfPacket *ioc)
{
    /*
     * While the interface is down nothing tells that it is removed, and a
     * socket with protocol 0, as inject mode is given, is never told a thing.
     * Nor does anything tell that a ring is stuck.
     */
    bool look = !is_capture(ioc) || ioc->link == AF_PACKET_LINK_DOWN ||
                af_packet_rx_has_ring(ioc->rx);
    int64_t at = look ? ioc->look_at : -1;

    if (!ioc->service) {
        return;
    }
    if (ioc->tx_retry_at && (at < 0 || ioc->tx_retry_at < at)) {
        at = ioc->tx_retry_at;
    }
    g_source_set_ready_time(ioc->service, ioc->ended ? -1 : at);
    if (ioc->service_writable != ioc->tx_wait_writable) {
        ioc->service_writable = ioc->tx_wait_writable;
        g_source_modify_unix_fd(ioc->service, ioc->service_tag,
                                ioc->service_writable ? G_IO_OUT : 0);
    }
}

/* Let every watch on the channel see that it has ended, in any thread. */
static void end_channel(QIOChannelAfPacket *ioc)
{
    ioc->ended = true;
    if (ioc->service) {
        g_source_set_ready_time(ioc->service, 0);
    }
}

static void look_at_interface(QIOChannelAfPacket *ioc)
{
    AfPacketLink link = af_packet_socket_link(ioc->master->fd);

    ioc->look_at = g_get_monotonic_time() + LOOK_INTERVAL;
    if (link == ioc->link) {
        return;
    }

    ioc->link = link;
    trace_qio_channel_af_packet_link(ioc, ioc->ifname,
                                     link == AF_PACKET_LINK_UP ? "up" :
                                     link == AF_PACKET_LINK_DOWN ? "down" :
                                     "gone");
    if (link == AF_PACKET_LINK_GONE && !ioc->ended) {
        error_report("chardev '%s': interface %s is gone (removed, or moved "
                     "to another network namespace), the connection has "
                     "ended; pass a new socket with add_client",
                     ioc->label, ioc->ifname);
        end_channel(ioc);
    }
}

/*
 * Capture
 */

/* Returns: false if the kernel's description of the frame is wrong. */
static bool rx_strip_vnet_hdr(QIOChannelAfPacket *ioc, uint8_t **data,
                              size_t *len)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, *data, sizeof(hdr));
    *data += sizeof(hdr);
    *len -= sizeof(hdr);
    if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        ioc->stats.gso_frames++;
    }
    return af_packet_frame_complete_csum(*data, *len, &hdr);
}

/* Make a record of a received frame, in place. */
static void rx_stage(QIOChannelAfPacket *ioc, const AfPacketRxFrame *frame)
{
    const AfPacketRxInfo *info = &frame->info;
    uint8_t *data = frame->data;
    size_t len = frame->len;

    if (info->no_room) {
        drop_frame(ioc, &ioc->stats.dropped_kernel,
                   "gave more than fits the socket's receive buffer", len);
        return;
    }
    if (len > RX_MAX) {
        drop_frame(ioc, &ioc->stats.dropped_too_long,
                   "gave more than a record can hold", len);
        return;
    }
    if (info->filtered) {
        drop_frame(ioc, &ioc->stats.dropped_too_long,
                   "gave only the part that the socket's filter lets through",
                   len);
        return;
    }
    if (len < ioc->vnet_hdr_len + ETH_HLEN) {
        drop_frame(ioc, &ioc->stats.dropped_too_short,
                   "gave less than an Ethernet header", len);
        return;
    }

    if (info->has_vlan) {
        data = af_packet_frame_put_vlan(data, ioc->vnet_hdr_len,
                                        info->vlan_tpid, info->vlan_tci);
        len += AF_PACKET_VLAN_LEN;
    }
    if (ioc->strip_vnet_hdr && !rx_strip_vnet_hdr(ioc, &data, &len)) {
        drop_frame(ioc, &ioc->stats.dropped_refused,
                   "gave an impossible checksum offset", len);
        return;
    }

    ioc->staged = af_packet_record_put_head(data, len,
                                            record_vnet_hdr_len(ioc));
    ioc->staged_len = data + len - ioc->staged;
    ioc->staged_frame_len = len - record_vnet_hdr_len(ioc);
}

static void rx_error(QIOChannelAfPacket *ioc, int err)
{
    switch (err) {
    case ENETDOWN:
        /* Comes before the frames that are still queued */
        look_at_interface(ioc);
        service_rearm(ioc);
        break;
    case EINVAL:
        /* A GSO type that a vnet header can't express; consumed (6.18) */
        drop_frame(ioc, &ioc->stats.dropped_refused,
                   "gave one that a vnet header can't describe", 0);
        break;
    default:
        error_report("chardev '%s': receiving on %s failed: %s",
                     ioc->label, ioc->ifname, strerror(err));
        end_channel(ioc);
        break;
    }
}

static void take_kernel_drops(QIOChannelAfPacket *ioc)
{
    if (is_capture(ioc) && !ioc->closed) {
        ioc->stats.dropped_kernel +=
            af_packet_socket_take_drops(ioc->master->fd);
    }
}

static void look_at_ring(QIOChannelAfPacket *ioc)
{
    uint64_t dropped = ioc->rx_looked_dropped;

    take_kernel_drops(ioc);
    ioc->rx_looked_dropped = ioc->stats.dropped_kernel;
    switch (af_packet_rx_look(ioc->rx, ioc->rx_looked_dropped != dropped)) {
    case AF_PACKET_RX_STEADY:
        break;
    case AF_PACKET_RX_BUSY:
        ioc->look_at = g_get_monotonic_time() + LOOK_INTERVAL_BUSY;
        break;
    case AF_PACKET_RX_STUCK:
        warn_report("chardev '%s': the kernel does not fill the ring on %s any "
                    "more, as happens after a frame that a vnet header can't "
                    "describe; frames wait in the receive buffer from now on",
                    ioc->label, ioc->ifname);
        break;
    }
}

static bool rx_open(const QIOChannelAfPacket *ioc)
{
    return ioc->rx && !ioc->closed;
}

static bool rx_ready(const QIOChannelAfPacket *ioc)
{
    return rx_open(ioc) && af_packet_rx_ready(ioc->rx);
}

/* Stage or drop a frame, or an error.  Returns: false if there was none. */
static bool rx_receive(QIOChannelAfPacket *ioc)
{
    AfPacketRxFrame frame;
    int ret;

    if (!rx_open(ioc)) {
        return false;
    }

    ret = af_packet_rx_next(ioc->rx, &frame);
    if (ret > 0) {
        af_packet_pace_count(&ioc->pace);
        rx_stage(ioc, &frame);
    } else if (ret < 0) {
        rx_error(ioc, -ret);
    } else {
        af_packet_pace_update(&ioc->pace);
        return false;
    }
    return true;
}

/*
 * Stage a frame, unless there is none, or many have to be dropped first.
 * Returns: false if there was none.
 */
static bool rx_fill(QIOChannelAfPacket *ioc)
{
    int budget = RX_DROP_BUDGET;
    bool received = true;

    while (!ioc->staged_len && received && budget--) {
        received = rx_receive(ioc);
    }
    return received;
}

ssize_t qio_channel_af_packet_take(QIOChannelAfPacket *ioc, size_t max,
                                   const uint8_t **buf)
{
    bool received;
    size_t len;

    QEMU_LOCK_GUARD(&ioc->lock);
    received = rx_fill(ioc);
    if (!ioc->staged_len) {
        return received || !ioc->ended ? QIO_CHANNEL_ERR_BLOCK : 0;
    }

    len = MIN(max, ioc->staged_len);
    *buf = ioc->staged;
    ioc->staged += len;
    ioc->staged_len -= len;
    if (!ioc->staged_len) {
        ioc->stats.frames++;
        ioc->stats.bytes += ioc->staged_frame_len;
    }
    return len;
}

static ssize_t qio_channel_af_packet_readv(QIOChannel *ioc,
                                           const struct iovec *iov,
                                           size_t niov,
                                           int **fds,
                                           size_t *nfds,
                                           int flags,
                                           Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    const uint8_t *buf;
    ssize_t len = qio_channel_af_packet_take(pioc, iov_size(iov, niov), &buf);

    return len > 0 ? iov_from_buf(iov, niov, 0, buf, len) : len;
}

/*
 * Inject
 */

/*
 * The queueing discipline has refused a frame.  It may be full; but a policy
 * that drops this very frame, or one that can't ever take a frame of this
 * length, looks the same.  Frames of ours that are still on their way tell
 * that it is worth to wait.  That there are none now doesn't tell that there
 * were none when the frame was refused: the attempt itself may set them going.
 *
 * Returns: false if the frame has no more chances.
 */
static bool tx_wait_for_room(QIOChannelAfPacket *ioc)
{
    if (af_packet_socket_sends(ioc->master->fd)) {
        ioc->tx_idle_tries = 0;
    } else if (ioc->tx_idle_tries >= IDLE_TRIES_MAX) {
        return false;
    } else {
        ioc->tx_idle_tries++;
    }
    ioc->tx_retry_delay = MIN(MAX(ioc->tx_retry_delay * 2, RETRY_MIN),
                              RETRY_MAX);
    ioc->tx_retry_at = g_get_monotonic_time() + ioc->tx_retry_delay;
    return true;
}

static void tx_drop_link_down(QIOChannelAfPacket *ioc, size_t len)
{
    drop_frame(ioc, &ioc->stats.dropped_link_down, "is down", len);
    if (ioc->link == AF_PACKET_LINK_UP) {
        look_at_interface(ioc);
    }
}

static void tx_drop_refused(QIOChannelAfPacket *ioc, int err, size_t len)
{
    g_autofree char *why = g_strdup_printf("refuses it: %s", strerror(err));

    drop_frame(ioc, &ioc->stats.dropped_refused, why, len);
}

/* Returns: false if the frame has to wait. */
static bool tx_send(QIOChannelAfPacket *ioc, const uint8_t *data, size_t len)
{
    int err;

    err = af_packet_socket_send(ioc->master->fd, data, len);
    if (err == -ENETDOWN) {
        /* It may have been the pending error of a link that is up again */
        err = af_packet_socket_send(ioc->master->fd, data, len);
    }

    switch (-err) {
    case 0:
        ioc->stats.frames++;
        ioc->stats.bytes += len - ioc->vnet_hdr_len;
        ioc->tx_retry_delay = 0;
        ioc->tx_idle_tries = 0;
        break;
    case EAGAIN:
        ioc->tx_wait_writable = true;
        return false;
    case ENOBUFS:
    case ENOMEM:
        if (tx_wait_for_room(ioc)) {
            return false;
        }
        tx_drop_refused(ioc, -err, len);
        break;
    case ENETDOWN:
    case ENXIO:
        tx_drop_link_down(ioc, len);
        break;
    case EMSGSIZE:
        drop_frame(ioc, &ioc->stats.dropped_too_long,
                   "takes no frame of this length", len);
        break;
    default:
        tx_drop_refused(ioc, -err, len);
        break;
    }
    return true;
}

static void tx_enqueue(QIOChannelAfPacket *ioc, const uint8_t *data,
                       size_t len)
{
    if (!af_packet_txq_push(&ioc->txq, data, len)) {
        drop_frame(ioc, &ioc->stats.dropped_queue_full,
                   "is slower than the stream", len);
        return;
    }
    ioc->stats.queue_max_bytes = MAX(ioc->stats.queue_max_bytes,
                                     ioc->txq.n_bytes);
}

static void tx_flush(QIOChannelAfPacket *ioc)
{
    const AfPacketTxFrame *frame;
    int budget = TX_BUDGET;

    ioc->tx_wait_writable = false;
    ioc->tx_retry_at = 0;
    while ((frame = af_packet_txq_head(&ioc->txq))) {
        if (!budget--) {
            ioc->tx_retry_at = g_get_monotonic_time();
            return;
        }
        if (!tx_send(ioc, frame->data, frame->len)) {
            return;
        }
        af_packet_txq_pop(&ioc->txq);
    }
}

static void tx_frame(QIOChannelAfPacket *ioc, const struct iovec *payload)
{
    if (payload->iov_len < ioc->vnet_hdr_len + ETH_HLEN) {
        drop_frame(ioc, &ioc->stats.dropped_too_short,
                   "takes no less than an Ethernet header", payload->iov_len);
        return;
    }
    if (af_packet_txq_head(&ioc->txq)) {
        tx_enqueue(ioc, payload->iov_base, payload->iov_len);
        return;
    }
    if (!tx_send(ioc, payload->iov_base, payload->iov_len)) {
        tx_enqueue(ioc, payload->iov_base, payload->iov_len);
        service_rearm(ioc);
    }
}

/* Returns: false if the stream makes no sense, which ends the channel. */
static bool tx_stream(QIOChannelAfPacket *ioc, struct iovec in, Error **errp)
{
    struct iovec payload;
    Error *err = NULL;
    int ret;

    while ((ret = af_packet_splitter_next(&ioc->splitter, &in, &payload,
                                          &err)) > 0) {
        tx_frame(ioc, &payload);
    }
    if (ret < 0) {
        /* Reported here as well: io_channel_send_full() drops errors */
        error_report("chardev '%s': %s; the connection has ended",
                     ioc->label, error_get_pretty(err));
        error_propagate(errp, err);
        end_channel(ioc);
        return false;
    }
    return true;
}

static void discard_written(QIOChannelAfPacket *ioc)
{
    if (!ioc->warned_discard) {
        ioc->warned_discard = true;
        warn_report("chardev '%s': what is written is discarded, since "
                    "'af-packet-mode' is 'capture'", ioc->label);
    }
}

static ssize_t qio_channel_af_packet_writev(QIOChannel *ioc,
                                            const struct iovec *iov,
                                            size_t niov,
                                            int *fds,
                                            size_t nfds,
                                            int flags,
                                            Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    size_t i;

    QEMU_LOCK_GUARD(&pioc->lock);
    if (pioc->ended || pioc->closed) {
        error_setg(errp, "The connection has ended");
        return -1;
    }
    if (is_capture(pioc)) {
        discard_written(pioc);
        return iov_size(iov, niov);
    }
    for (i = 0; i < niov; i++) {
        if (!tx_stream(pioc, iov[i], errp)) {
            return -1;
        }
    }
    return iov_size(iov, niov);
}

/*
 * The service source: sends what is queued, watches the link
 */

typedef struct AfPacketServiceSource {
    GSource parent;
    QIOChannelAfPacket *ioc;
} AfPacketServiceSource;

/* The socket reports an error that neither recv() nor send() has told of. */
static void service_error(QIOChannelAfPacket *ioc)
{
    int err = af_packet_socket_take_error(ioc->master->fd);

    look_at_interface(ioc);
    if (err && is_capture(ioc)) {
        rx_error(ioc, err);
    }
}

static gboolean service_dispatch(GSource *source, GSourceFunc callback,
                                 gpointer user_data)
{
    QIOChannelAfPacket *ioc = ((AfPacketServiceSource *)source)->ioc;
    GIOCondition revents;

    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed || source != ioc->service) {
        return G_SOURCE_REMOVE;
    }

    revents = g_source_query_unix_fd(source, ioc->service_tag);
    if (revents & G_IO_ERR) {
        service_error(ioc);
    } else if (g_get_monotonic_time() >= ioc->look_at) {
        look_at_interface(ioc);
        if (is_capture(ioc)) {
            look_at_ring(ioc);
        }
    }
    tx_flush(ioc);
    service_rearm(ioc);
    return G_SOURCE_CONTINUE;
}

static void service_finalize(GSource *source)
{
    object_unref(OBJECT(((AfPacketServiceSource *)source)->ioc));
}

static GSourceFuncs service_funcs = {
    .dispatch = service_dispatch,
    .finalize = service_finalize,
};

static void service_detach(QIOChannelAfPacket *ioc)
{
    GSource *service;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        service = g_steal_pointer(&ioc->service);
    }
    if (service) {
        g_source_destroy(service);
        g_source_unref(service);
    }
}

void qio_channel_af_packet_attach(QIOChannelAfPacket *ioc,
                                  GMainContext *context)
{
    GSource *service;

    service_detach(ioc);

    /* Under the lock throughout: once it is there, a close() may free it */
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed) {
        return;
    }
    service = g_source_new(&service_funcs, sizeof(AfPacketServiceSource));
    ((AfPacketServiceSource *)service)->ioc = ioc;
    object_ref(OBJECT(ioc));
    g_source_set_name(service, "qio-channel-af-packet");

    ioc->service = service;
    ioc->service_tag = g_source_add_unix_fd(service, ioc->master->fd, 0);
    ioc->service_writable = false;
    look_at_interface(ioc);
    service_rearm(ioc);
    g_source_attach(service, context);
}

/*
 * Watches
 */

typedef struct AfPacketWatch {
    GSource parent;
    QIOChannelAfPacket *ioc;
    GIOCondition condition;
    gpointer tag;       /* NULL if readiness does not depend on the socket */
    gpointer timer_tag; /* polled instead of it during a rest */
    bool resting;
} AfPacketWatch;

/* Poll what there is to wait for. */
static void watch_rest(AfPacketWatch *watch, bool resting)
{
    if (watch->timer_tag && watch->resting != resting) {
        watch->resting = resting;
        g_source_modify_unix_fd(&watch->parent, watch->tag,
                                resting ? 0 : G_IO_IN);
        g_source_modify_unix_fd(&watch->parent, watch->timer_tag,
                                resting ? G_IO_IN : 0);
    }
}

/* What the channel is ready for without asking the socket */
static GIOCondition watch_staged(AfPacketWatch *watch)
{
    QIOChannelAfPacket *ioc = watch->ioc;
    GIOCondition ready = G_IO_OUT;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        bool resting = ioc->pace.resting && !ioc->staged_len && !ioc->ended;

        if (ioc->staged_len || (!resting && rx_ready(ioc))) {
            ready |= G_IO_IN;
        }
        if (ioc->ended) {
            ready |= G_IO_IN | G_IO_HUP;
        }
        watch_rest(watch, resting);
    }
    return ready & watch->condition;
}

/* What the channel is ready for, after poll() */
static GIOCondition watch_ready(AfPacketWatch *watch)
{
    GIOCondition ready = watch_staged(watch);

    if (watch->tag) {
        /* Errors are the service source's */
        ready |= g_source_query_unix_fd(&watch->parent,
                                        watch->resting ? watch->timer_tag :
                                        watch->tag) & G_IO_IN;
    }
    return ready;
}

static gboolean watch_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return watch_staged((AfPacketWatch *)source) != 0;
}

static gboolean watch_check(GSource *source)
{
    return watch_ready((AfPacketWatch *)source) != 0;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc callback,
                               gpointer user_data)
{
    AfPacketWatch *watch = (AfPacketWatch *)source;
    QIOChannelFunc func = (QIOChannelFunc)callback;
    GIOCondition ready = watch_ready(watch);

    /* glib dispatches on any event of the socket */
    return ready ? func(QIO_CHANNEL(watch->ioc), ready, user_data) :
                   G_SOURCE_CONTINUE;
}

static void watch_finalize(GSource *source)
{
    object_unref(OBJECT(((AfPacketWatch *)source)->ioc));
}

static GSourceFuncs watch_funcs = {
    .prepare = watch_prepare,
    .check = watch_check,
    .dispatch = watch_dispatch,
    .finalize = watch_finalize,
};

static GSource *qio_channel_af_packet_create_watch(QIOChannel *ioc,
                                                   GIOCondition condition)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    GSource *source = g_source_new(&watch_funcs, sizeof(AfPacketWatch));
    AfPacketWatch *watch = (AfPacketWatch *)source;

    watch->ioc = pioc;
    object_ref(OBJECT(pioc));
    watch->condition = condition;
    if (is_capture(pioc) && condition & G_IO_IN) {
        watch->tag = g_source_add_unix_fd(source, pioc->master->fd, G_IO_IN);
        if (pioc->pace.timer_fd >= 0) {
            watch->timer_tag = g_source_add_unix_fd(source,
                                                    pioc->pace.timer_fd, 0);
        }
    }
    return source;
}

/*
 * Life
 */

static int qio_channel_af_packet_set_blocking(QIOChannel *ioc, bool enabled,
                                              Error **errp)
{
    if (enabled) {
        error_setg(errp, "Blocking mode not supported for packet sockets");
        return -1;
    }
    return 0;
}

static void restart_locked(QIOChannelAfPacket *ioc)
{
    if (ioc->staged_len) {
        ioc->staged_len = 0;
        drop_detached(ioc, 1);
    }
    drop_detached(ioc, af_packet_splitter_reset(&ioc->splitter));
}

void qio_channel_af_packet_restart(QIOChannelAfPacket *ioc)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    restart_locked(ioc);
}

void qio_channel_af_packet_get_stats(QIOChannelAfPacket *ioc,
                                     ChardevAfPacketStats *stats)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    take_kernel_drops(ioc);
    ioc->stats.queue_frames = ioc->txq.n_frames;
    ioc->stats.queue_bytes = ioc->txq.n_bytes;
    *stats = ioc->stats;
}

/* The socket may live on in another process, or be passed in again. */
static void restore_socket(QIOChannelAfPacket *ioc)
{
    if (ioc->strip_vnet_hdr) {
        af_packet_socket_set_vnet_hdr(ioc->master->fd, false);
    }
    if (ioc->deafened) {
        af_packet_socket_undeafen(ioc->master->fd);
    }
}

static int qio_channel_af_packet_close(QIOChannel *ioc, Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);

    service_detach(pioc);
    WITH_QEMU_LOCK_GUARD(&pioc->lock) {
        if (pioc->closed) {
            return 0;
        }
        trace_qio_channel_af_packet_close(pioc);
        take_kernel_drops(pioc);
        restart_locked(pioc);
        if (pioc->rx) {
            drop_detached(pioc, af_packet_rx_stop(pioc->rx));
        }
        drop_detached(pioc, pioc->txq.n_frames);
        af_packet_txq_clear(&pioc->txq);
        restore_socket(pioc);
        pioc->closed = true;
    }
    return qio_channel_close(QIO_CHANNEL(pioc->master), errp);
}

static void start_capture(QIOChannelAfPacket *ioc)
{
    int fd = ioc->master->fd;

    if (af_packet_socket_report_info(fd) < 0) {
        warn_report("chardev '%s': can't ask for VLAN tags, captured frames "
                    "may lack theirs", ioc->label);
    }
    if (!ioc->vnet_hdr_len) {
        /* Only the vnet header tells where a checksum is partial */
        ioc->strip_vnet_hdr = af_packet_socket_set_vnet_hdr(fd, true) == 0;
        ioc->vnet_hdr_len = af_packet_socket_vnet_hdr_len(fd);
    }
    af_packet_pace_init(&ioc->pace);
    ioc->rx = af_packet_rx_new(fd, RX_MAX, ioc->vnet_hdr_len);
    take_kernel_drops(ioc);
    ioc->rx_looked_dropped = ioc->stats.dropped_kernel;
    trace_qio_channel_af_packet_rx(ioc, af_packet_rx_has_ring(ioc->rx));
}

/* What a loop captures it injects, again and again, with all of a CPU. */
static void warn_of_loop(QIOChannelAfPacket *ioc, QIOChannelAfPacket *other)
{
    QIOChannelAfPacket *capture = is_capture(ioc) ? ioc : other;
    QIOChannelAfPacket *inject = is_capture(ioc) ? other : ioc;

    if (is_capture(ioc) != is_capture(other) &&
        af_packet_socket_hears(capture->master->fd, inject->master->fd)) {
        warn_report("chardev '%s' captures what chardev '%s' injects, both "
                    "are on interface %s: if the one feeds the other, open "
                    "the capture socket with PACKET_IGNORE_OUTGOING or a "
                    "filter", capture->label, inject->label, ioc->ifname);
    }
}

static void enlist(QIOChannelAfPacket *ioc)
{
    QIOChannelAfPacket *other;

    QEMU_LOCK_GUARD(&channels_lock);
    QLIST_FOREACH(other, &channels, next) {
        warn_of_loop(ioc, other);
    }
    QLIST_INSERT_HEAD(&channels, ioc, next);
}

QIOChannelAfPacket *
qio_channel_af_packet_new(QIOChannelSocket *master,
                          ChardevSocketAfPacketMode mode,
                          const char *label,
                          const ChardevAfPacketStats *totals)
{
    QIOChannelAfPacket *ioc;

    ioc = QIO_CHANNEL_AF_PACKET(object_new(TYPE_QIO_CHANNEL_AF_PACKET));
    ioc->master = master;
    object_ref(OBJECT(master));
    ioc->mode = mode;
    ioc->label = g_strdup(label);
    ioc->ifname = af_packet_socket_ifname(master->fd) ?: g_strdup("?");
    ioc->link = AF_PACKET_LINK_UP; /* qio_channel_af_packet_attach() looks */
    ioc->vnet_hdr_len = af_packet_socket_vnet_hdr_len(master->fd);
    ioc->stats = *totals;
    enlist(ioc); /* before there is a filter of our own */
    if (is_capture(ioc)) {
        start_capture(ioc);
    } else {
        ioc->deafened = af_packet_socket_deafen(master->fd);
    }
    ioc->splitter.vnet_hdr_len = record_vnet_hdr_len(ioc);

    trace_qio_channel_af_packet_new(ioc, master, ioc->ifname,
                                    ChardevSocketAfPacketMode_str(mode),
                                    record_vnet_hdr_len(ioc));
    return ioc;
}

static void qio_channel_af_packet_init(Object *obj)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(obj);

    qemu_mutex_init(&ioc->lock);
    af_packet_txq_init(&ioc->txq, TXQ_MAX_BYTES);
}

static void qio_channel_af_packet_finalize(Object *obj)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(obj);

    WITH_QEMU_LOCK_GUARD(&channels_lock) {
        QLIST_SAFE_REMOVE(ioc, next);
    }
    if (ioc->rx) {
        af_packet_rx_free(ioc->rx);
        af_packet_pace_destroy(&ioc->pace);
    }
    af_packet_txq_clear(&ioc->txq);
    af_packet_splitter_reset(&ioc->splitter);
    object_unref(OBJECT(ioc->master));
    qemu_mutex_destroy(&ioc->lock);
    g_free(ioc->ifname);
    g_free(ioc->label);
}

static void qio_channel_af_packet_class_init(ObjectClass *klass, void *data)
{
    QIOChannelClass *ioc_klass = QIO_CHANNEL_CLASS(klass);

    qemu_mutex_init(&channels_lock);

    ioc_klass->io_writev = qio_channel_af_packet_writev;
    ioc_klass->io_readv = qio_channel_af_packet_readv;
    ioc_klass->io_set_blocking = qio_channel_af_packet_set_blocking;
    ioc_klass->io_close = qio_channel_af_packet_close;
    ioc_klass->io_create_watch = qio_channel_af_packet_create_watch;
}

static const TypeInfo qio_channel_af_packet_info = {
    .parent = TYPE_QIO_CHANNEL,
    .name = TYPE_QIO_CHANNEL_AF_PACKET,
    .instance_size = sizeof(QIOChannelAfPacket),
    .instance_init = qio_channel_af_packet_init,
    .instance_finalize = qio_channel_af_packet_finalize,
    .class_init = qio_channel_af_packet_class_init,
};

static void qio_channel_af_packet_register_types(void)
{
    type_register_static(&qio_channel_af_packet_info);
}

type_init(qio_channel_af_packet_register_types);
