/*
 * QIOChannel that turns frames of an AF_PACKET socket into records and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/channel-af-packet.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/module.h"
#include "qemu/queue.h"
#include "af-packet-capture.h"
#include "af-packet-inject.h"
#include "af-packet-port.h"
#include "af-packet-watch.h"
#include "trace.h"

struct QIOChannelAfPacket {
    QIOChannel parent;
    QLIST_ENTRY(QIOChannelAfPacket) next;
    QIOChannelSocket *master;
    GSource *service;          /* link state and transmit queue */
    gpointer service_tag;
    bool service_writable;     /* the source polls for G_IO_OUT */

    QemuMutex lock;            /* protects all fields below */
    bool closed;
    bool ended;
    ChardevAfPacketEnd end_reason; /* "disconnected" while it is open */
    bool warned_discard;
    AfPacketPort port;
    AfPacketCapture *capture;  /* exactly one of these two is not NULL */
    AfPacketInject *inject;
};

/* All channels, in any thread; take channels_lock before a channel's lock */
static QLIST_HEAD(, QIOChannelAfPacket) channels;
static QemuMutex channels_lock;

/*
 * While the interface is down, the socket does not report its removal.  A
 * socket with protocol 0, as used in inject mode, reports no events at all.
 */
static bool has_to_poll_link(const QIOChannelAfPacket *ioc)
{
    return ioc->inject || ioc->port.link == AF_PACKET_LINK_DOWN;
}

static int64_t service_ready_time(const QIOChannelAfPacket *ioc)
{
    int64_t poll_at = has_to_poll_link(ioc) ? ioc->port.link_poll_at : -1;
    int64_t flush_at = ioc->inject ? af_packet_inject_flush_at(ioc->inject) : 0;

    if (ioc->ended) {
        return 0; /* let service_dispatch() remove the source */
    }
    return flush_at && (poll_at < 0 || flush_at < poll_at) ? flush_at : poll_at;
}

/* Update the events that the service source waits for. */
static void service_rearm(QIOChannelAfPacket *ioc)
{
    bool writable = ioc->inject && af_packet_inject_waits_for_room(ioc->inject);

    if (!ioc->service) {
        return;
    }
    g_source_set_ready_time(ioc->service, service_ready_time(ioc));
    if (ioc->service_writable != writable) {
        ioc->service_writable = writable;
        g_source_modify_unix_fd(ioc->service, ioc->service_tag,
                                writable ? G_IO_OUT : 0);
    }
}

/* Wake up every watch on the channel, in any thread. */
static void end_channel(QIOChannelAfPacket *ioc, ChardevAfPacketEnd reason)
{
    ioc->ended = true;
    ioc->end_reason = reason;
    service_rearm(ioc);
}

static void poll_link(QIOChannelAfPacket *ioc)
{
    if (af_packet_port_poll_link(&ioc->port) &&
        ioc->port.link == AF_PACKET_LINK_GONE && !ioc->ended) {
        error_report("chardev '%s': interface %s is gone (removed, or moved "
                     "to another network namespace), the connection has "
                     "ended; pass a new socket with add_client",
                     ioc->port.label, af_packet_port_ifname(&ioc->port));
        end_channel(ioc, CHARDEV_AF_PACKET_END_INTERFACE_GONE);
    }
}

/* Handle events that a direction has reported in the port. */
static void check_port(QIOChannelAfPacket *ioc)
{
    int err = ioc->port.error;

    if (ioc->port.link_changed) {
        poll_link(ioc);
        service_rearm(ioc);
    }
    if (err && !ioc->ended) {
        error_report("chardev '%s': the socket on %s has failed: %s; the "
                     "connection has ended, pass a new socket with add_client",
                     ioc->port.label, af_packet_port_ifname(&ioc->port),
                     strerror(err));
        end_channel(ioc, CHARDEV_AF_PACKET_END_SOCKET_ERROR);
    }
}

/*
 * Reading and writing
 */

ssize_t qio_channel_af_packet_take(QIOChannelAfPacket *ioc, size_t max,
                                   const uint8_t **buf)
{
    bool received = false;
    size_t len = 0;

    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->capture) {
        received = af_packet_capture_take(ioc->capture, max, buf, &len);
        check_port(ioc);
    }
    if (!len) {
        return received || !ioc->ended ? QIO_CHANNEL_ERR_BLOCK : 0;
    }
    return len;
}

static ssize_t qio_channel_af_packet_readv(QIOChannel *ioc,
                                           const struct iovec *iov, size_t niov,
                                           int **fds, size_t *nfds, int flags,
                                           Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    const uint8_t *buf;
    ssize_t len = qio_channel_af_packet_take(pioc, iov_size(iov, niov), &buf);

    return len > 0 ? iov_from_buf(iov, niov, 0, buf, len) : len;
}

static void discard_written(QIOChannelAfPacket *ioc)
{
    if (!ioc->warned_discard) {
        ioc->warned_discard = true;
        warn_report("chardev '%s': writes are discarded, since "
                    "'af-packet-mode' is 'capture'", ioc->port.label);
    }
}

/*
 * The rest of the stream is ignored, not refused: a writer must not send it
 * again to the next socket, together with the frames before it.
 */
static void end_bad_stream(QIOChannelAfPacket *ioc, Error *err)
{
    if (!ioc->ended) {
        error_report("chardev '%s': %s; the connection has ended",
                     ioc->port.label, error_get_pretty(err));
        end_channel(ioc, CHARDEV_AF_PACKET_END_BAD_STREAM);
    }
    error_free(err);
}

/* Returns: like io_writev */
static ssize_t inject_write(QIOChannelAfPacket *ioc, const struct iovec *iov,
                            size_t niov)
{
    struct iovec in = { };
    ssize_t taken = 0;
    Error *err = NULL;
    size_t i;

    for (i = 0; i < niov && !err && !in.iov_len; i++) {
        in = iov[i];
        af_packet_inject_write(ioc->inject, &in, &err);
        taken += iov[i].iov_len - in.iov_len;
    }
    check_port(ioc);
    if (err) {
        end_bad_stream(ioc, err);
        return iov_size(iov, niov);
    }
    service_rearm(ioc);
    return in.iov_len && !taken ? QIO_CHANNEL_ERR_BLOCK : taken;
}

static ssize_t qio_channel_af_packet_writev(QIOChannel *ioc,
                                            const struct iovec *iov,
                                            size_t niov, int *fds, size_t nfds,
                                            int flags, Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);

    QEMU_LOCK_GUARD(&pioc->lock);
    if (pioc->ended || pioc->closed) {
        error_setg(errp, "The connection has ended");
        return -1;
    }
    if (pioc->inject) {
        return inject_write(pioc, iov, niov);
    }
    discard_written(pioc);
    return iov_size(iov, niov);
}

/*
 * The service source: sends queued frames and watches the link
 */

typedef struct AfPacketServiceSource {
    GSource parent;
    QIOChannelAfPacket *ioc;
} AfPacketServiceSource;

/* Handle an error from poll() that recv() or send() has not returned. */
static void service_error(QIOChannelAfPacket *ioc)
{
    int err = af_packet_socket_take_error(ioc->port.fd);

    poll_link(ioc);
    if (err < 0) {
        /* poll() would report it forever */
        ioc->port.error = -err;
    } else if (err && ioc->capture) {
        af_packet_capture_error(ioc->capture, err);
    }
    check_port(ioc);
}

static gboolean service_dispatch(GSource *source, GSourceFunc callback,
                                 gpointer user_data)
{
    QIOChannelAfPacket *ioc = ((AfPacketServiceSource *)source)->ioc;
    GIOCondition revents;

    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed || ioc->ended || source != ioc->service) {
        /* poll() may forever report events that nobody handles any more */
        return G_SOURCE_REMOVE;
    }

    revents = g_source_query_unix_fd(source, ioc->service_tag);
    if (revents & G_IO_ERR) {
        service_error(ioc);
    } else if (g_get_monotonic_time() >= ioc->port.link_poll_at) {
        poll_link(ioc);
    }
    if (ioc->inject) {
        af_packet_inject_flush(ioc->inject);
        check_port(ioc);
    }
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

    /* Hold the lock: once ioc->service is set, a close() may free it */
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed) {
        return;
    }
    service = g_source_new(&service_funcs, sizeof(AfPacketServiceSource));
    ((AfPacketServiceSource *)service)->ioc = ioc;
    object_ref(OBJECT(ioc));
    g_source_set_name(service, "qio-channel-af-packet");
    ioc->service = service;
    ioc->service_tag = g_source_add_unix_fd(service, ioc->port.fd, 0);
    ioc->service_writable = false;
    if (ioc->inject && af_packet_inject_departures_fd(ioc->inject) >= 0) {
        g_source_add_unix_fd(service,
                             af_packet_inject_departures_fd(ioc->inject),
                             G_IO_IN);
    }
    poll_link(ioc);
    service_rearm(ioc);
    g_source_attach(service, context);
}

/*
 * Other QIOChannel methods and public functions
 */

static GIOCondition watch_staged(QIOChannel *ioc, bool *resting)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    GIOCondition ready = 0;

    QEMU_LOCK_GUARD(&pioc->lock);
    if (!pioc->inject || af_packet_inject_has_room(pioc->inject)) {
        ready |= G_IO_OUT;
    }
    if (pioc->ended) {
        ready |= G_IO_IN | G_IO_OUT | G_IO_HUP;
    }
    if (pioc->capture && af_packet_capture_ready(pioc->capture)) {
        ready |= G_IO_IN;
    }
    *resting = pioc->capture && !pioc->ended &&
               af_packet_capture_resting(pioc->capture);
    return ready;
}

static GSource *qio_channel_af_packet_create_watch(QIOChannel *ioc,
                                                   GIOCondition condition)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);

    if (pioc->inject && condition & G_IO_OUT) {
        QEMU_LOCK_GUARD(&pioc->lock);
        af_packet_inject_set_writer_waits(pioc->inject, true);
    }
    return pioc->capture ?
           af_packet_watch_new(ioc, condition, watch_staged, pioc->port.fd,
                               af_packet_capture_timer_fd(pioc->capture)) :
           af_packet_watch_new(ioc, condition, watch_staged, -1, -1);
}

static int qio_channel_af_packet_set_blocking(QIOChannel *ioc, bool enabled,
                                              Error **errp)
{
    if (enabled) {
        error_setg(errp, "Blocking mode not supported for packet sockets");
        return -1;
    }
    return 0;
}

void qio_channel_af_packet_drop_partial(QIOChannelAfPacket *ioc)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->capture) {
        af_packet_capture_drop_partial(ioc->capture);
    } else {
        af_packet_inject_drop_partial(ioc->inject);
        af_packet_inject_set_writer_waits(ioc->inject, false);
    }
}

void qio_channel_af_packet_get_stats(QIOChannelAfPacket *ioc,
                                     ChardevAfPacketStats *stats)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->capture) {
        af_packet_capture_update_stats(ioc->capture);
    } else {
        af_packet_inject_update_stats(ioc->inject);
    }
    *stats = ioc->port.stats;
}

ChardevAfPacketEnd qio_channel_af_packet_end_reason(QIOChannelAfPacket *ioc)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    return ioc->end_reason;
}

/* Returns: false if the socket has already been released. */
static bool release_socket(QIOChannelAfPacket *ioc)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed) {
        return false;
    }
    trace_qio_channel_af_packet_close(ioc);
    if (ioc->capture) {
        af_packet_capture_stop(ioc->capture);
    } else {
        af_packet_inject_stop(ioc->inject);
    }
    af_packet_port_release(&ioc->port);
    ioc->closed = true;
    return true;
}

static int qio_channel_af_packet_close(QIOChannel *ioc, Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);

    service_detach(pioc);
    return release_socket(pioc) ?
           qio_channel_close(QIO_CHANNEL(pioc->master), errp) : 0;
}

/* exit() does not free chardevs and their channels. */
static void release_all_sockets(void)
{
    QIOChannelAfPacket *ioc;

    QEMU_LOCK_GUARD(&channels_lock);
    QLIST_FOREACH(ioc, &channels, next) {
        release_socket(ioc);
    }
}

QIOChannelAfPacket *
qio_channel_af_packet_new(QIOChannelSocket *master,
                          ChardevSocketAfPacketMode mode,
                          const char *label,
                          const ChardevAfPacketStats *totals)
{
    QIOChannelAfPacket *ioc =
        QIO_CHANNEL_AF_PACKET(object_new(TYPE_QIO_CHANNEL_AF_PACKET));

    ioc->master = master;
    object_ref(OBJECT(master));
    ioc->end_reason = CHARDEV_AF_PACKET_END_DISCONNECTED;
    af_packet_port_init(&ioc->port, master->fd, label, totals);
    if (mode == CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE) {
        ioc->capture = af_packet_capture_new(&ioc->port);
    } else {
        ioc->inject = af_packet_inject_new(&ioc->port);
    }

    WITH_QEMU_LOCK_GUARD(&channels_lock) {
        QLIST_INSERT_HEAD(&channels, ioc, next);
    }

    trace_qio_channel_af_packet_new(ioc, master,
                                    ChardevSocketAfPacketMode_str(mode));
    return ioc;
}

static void qio_channel_af_packet_init(Object *obj)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(obj);

    qemu_mutex_init(&ioc->lock);
}

static void qio_channel_af_packet_finalize(Object *obj)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(obj);

    qio_channel_af_packet_close(QIO_CHANNEL(ioc), NULL);
    WITH_QEMU_LOCK_GUARD(&channels_lock) {
        QLIST_REMOVE(ioc, next);
    }
    af_packet_capture_free(ioc->capture);
    af_packet_inject_free(ioc->inject);
    object_unref(OBJECT(ioc->master));
    qemu_mutex_destroy(&ioc->lock);
    af_packet_port_destroy(&ioc->port);
}

static void qio_channel_af_packet_class_init(ObjectClass *klass, void *data)
{
    QIOChannelClass *ioc_klass = QIO_CHANNEL_CLASS(klass);

    qemu_mutex_init(&channels_lock);
    atexit(release_all_sockets);

    ioc_klass->io_writev = qio_channel_af_packet_writev;
    ioc_klass->io_readv = qio_channel_af_packet_readv;
    ioc_klass->io_set_blocking = qio_channel_af_packet_set_blocking;
    ioc_klass->io_close = qio_channel_af_packet_close;
    ioc_klass->io_create_watch = qio_channel_af_packet_create_watch;
}

static const TypeInfo qio_channel_af_packet_types[] = {
    {
        .parent = TYPE_QIO_CHANNEL,
        .name = TYPE_QIO_CHANNEL_AF_PACKET,
        .instance_size = sizeof(QIOChannelAfPacket),
        .instance_init = qio_channel_af_packet_init,
        .instance_finalize = qio_channel_af_packet_finalize,
        .class_init = qio_channel_af_packet_class_init,
    },
};

DEFINE_TYPES(qio_channel_af_packet_types)
