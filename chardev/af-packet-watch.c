/*
 * Watches on the channel of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "af-packet-watch.h"

typedef struct AfPacketWatch {
    GSource parent;
    QIOChannel *ioc;
    GIOCondition condition;
    AfPacketWatchStaged *staged;
    GPollFD socket;
    GPollFD timer; /* polled instead of the socket during a rest */
    bool dispatching; /* a nested loop must not dispatch it again */
} AfPacketWatch;

/* Before poll(); glib may leave @revents as it is if there are no events. */
static void poll_for_input(GPollFD *fd, bool enable)
{
    fd->events = enable ? G_IO_IN : 0;
    fd->revents = 0;
}

/* Returns: the conditions that are met regardless of the socket */
static GIOCondition watch_staged(const AfPacketWatch *watch, bool *resting)
{
    return watch->staged(watch->ioc, resting) & watch->condition;
}

/* Returns: the conditions that are met after poll() */
static GIOCondition watch_ready(const AfPacketWatch *watch)
{
    bool resting;

    /* The channel's service source handles errors */
    return watch_staged(watch, &resting) |
           ((watch->socket.revents | watch->timer.revents) & G_IO_IN);
}

static gboolean watch_prepare(GSource *source, gint *timeout)
{
    AfPacketWatch *watch = (AfPacketWatch *)source;
    bool resting = false;
    GIOCondition ready = watch_staged(watch, &resting);

    *timeout = -1;
    resting = resting && watch->timer.fd >= 0;
    poll_for_input(&watch->socket, !resting && !watch->dispatching);
    poll_for_input(&watch->timer, resting && !watch->dispatching);
    return ready && !watch->dispatching;
}

static gboolean watch_check(GSource *source)
{
    AfPacketWatch *watch = (AfPacketWatch *)source;

    return watch_ready(watch) && !watch->dispatching;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc callback,
                               gpointer user_data)
{
    AfPacketWatch *watch = (AfPacketWatch *)source;
    QIOChannelFunc func = (QIOChannelFunc)callback;
    GIOCondition ready = watch_ready(watch);
    gboolean ret = G_SOURCE_CONTINUE;

    watch->dispatching = true;
    if (ready) {
        ret = func(watch->ioc, ready, user_data);
    }
    watch->dispatching = false;
    return ret;
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

GSource *af_packet_watch_new(QIOChannel *ioc, GIOCondition condition,
                             AfPacketWatchStaged *staged, int fd,
                             int timer_fd)
{
    GSource *source = g_source_new(&watch_funcs, sizeof(AfPacketWatch));
    AfPacketWatch *watch = (AfPacketWatch *)source;

    watch->ioc = ioc;
    object_ref(OBJECT(ioc));
    watch->condition = condition;
    watch->staged = staged;
    watch->socket = (GPollFD) { .fd = fd };
    watch->timer = (GPollFD) { .fd = timer_fd };
    if (fd >= 0 && condition & G_IO_IN) {
        g_source_add_poll(source, &watch->socket);
        if (timer_fd >= 0) {
            g_source_add_poll(source, &watch->timer);
        }
    }
    /*
     * During a dispatch, glib stops polling the descriptors of other sources,
     * which wakes up the loop twice
     */
    g_source_set_can_recurse(source, true);
    return source;
}
