/*
 * Receiver of frames from an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel's behavior is described as in net/packet/af_packet.c of Linux 6.18
 * and as tested there, unless another version is named.
 */
#include "qemu/osdep.h"
#include "qemu/queue.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "af-packet-ring.h"
#include "af-packet-rx.h"
#include "af-packet-socket.h"

/* Frames per system call on the receive queue */
#define BATCH 8

/*
 * Limits that hold regardless of net.core.rmem_default and rmem_max: the total
 * is 16 MiB, including the ring, the batch, and one frame more than SO_RCVBUF.
 */
#define QUEUE_SIZE_MAX (2 * MiB)
#define EARLY_SIZE_MAX (512 * KiB)

/* Linux 5.14 */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SOCK_RCVBUF_LOCK
#define SOCK_RCVBUF_LOCK 2
#endif

/* Timestamps that the opener requested precede the auxdata */
typedef union Control {
    struct cmsghdr align;
    uint8_t buf[CMSG_SPACE(sizeof(struct tpacket_auxdata)) + 256];
} Control;

/* A frame that was received before the ring was set up */
typedef struct EarlyFrame {
    QSIMPLEQ_ENTRY(EarlyFrame) next;
    AfPacketRxFrame frame;
    uint8_t mem[];
} EarlyFrame;

struct AfPacketRx {
    AfPacketState *state;
    int fd;
    size_t max;

    QSIMPLEQ_HEAD(, EarlyFrame) early;
    EarlyFrame *early_current;

    AfPacketRing *ring;    /* NULL without a ring */

    unsigned batch_next;
    unsigned batch_len;
    struct mmsghdr msgs[BATCH];
    struct iovec iovs[BATCH];
    Control controls[BATCH];
    uint8_t *buf;          /* BATCH frames with headroom */
};

/*
 * The receive queue
 */

static size_t buf_stride(const AfPacketRx *rx)
{
    return ROUND_UP(AF_PACKET_RX_HEADROOM + rx->max, 64);
}

static void parse_auxdata(struct cmsghdr *cmsg, AfPacketRxInfo *info)
{
    struct tpacket_auxdata aux;

    if (cmsg->cmsg_level != SOL_PACKET || cmsg->cmsg_type != PACKET_AUXDATA ||
        cmsg->cmsg_len < CMSG_LEN(sizeof(aux))) {
        return;
    }
    memcpy(&aux, CMSG_DATA(cmsg), sizeof(aux));
    info->filtered = aux.tp_snaplen < aux.tp_len;
    af_packet_rx_info_set(info, aux.tp_status, aux.tp_vlan_tpid,
                          aux.tp_vlan_tci);
}

/* Returns: the number of frames received, or a negative errno. */
static int batch_fill(AfPacketRx *rx)
{
    unsigned i;
    int n;

    for (i = 0; i < BATCH; i++) {
        rx->iovs[i].iov_base = rx->buf + i * buf_stride(rx) +
                               AF_PACKET_RX_HEADROOM;
        rx->iovs[i].iov_len = rx->max;
        rx->msgs[i].msg_hdr = (struct msghdr) {
            .msg_iov = &rx->iovs[i],
            .msg_iovlen = 1,
            .msg_control = &rx->controls[i],
            .msg_controllen = sizeof(rx->controls[i]),
        };
    }
    n = RETRY_ON_EINTR(recvmmsg(rx->fd, rx->msgs, BATCH,
                                MSG_DONTWAIT | MSG_TRUNC, NULL));
    if (n < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    }
    rx->batch_next = 0;
    rx->batch_len = n;
    return n;
}

static unsigned batch_left(const AfPacketRx *rx)
{
    return rx->batch_len - rx->batch_next;
}

static int batch_next(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    struct mmsghdr *msg;
    struct cmsghdr *cmsg;
    int ret;

    if (!batch_left(rx)) {
        ret = batch_fill(rx);
        if (ret <= 0) {
            return ret;
        }
    }

    msg = &rx->msgs[rx->batch_next++];
    *frame = (AfPacketRxFrame) {
        .data = msg->msg_hdr.msg_iov->iov_base,
        .len = msg->msg_len,
    };
    for (cmsg = CMSG_FIRSTHDR(&msg->msg_hdr); cmsg;
         cmsg = CMSG_NXTHDR(&msg->msg_hdr, cmsg)) {
        parse_auxdata(cmsg, &frame->info);
    }
    return 1;
}

static int get_int(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

/*
 * Find out the initial SO_RCVBUF of a socket (net.core.rmem_default), and the
 * value after requesting QUEUE_SIZE_MAX (limited by net.core.rmem_max).
 */
static void queue_limits(int *initial, int *most)
{
    int fd = qemu_socket(AF_UNIX, SOCK_DGRAM, 0);
    int half = QUEUE_SIZE_MAX / 2; /* the kernel doubles it */

    *initial = get_int(fd, SO_RCVBUF);
    *most = setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof(half)) == 0 ?
            get_int(fd, SO_RCVBUF) : -1;
    if (fd >= 0) {
        close(fd);
    }
}

/* Has the opener set SO_RCVBUF? */
static bool rcvbuf_is_set(const AfPacketRx *rx, int initial)
{
    int lock = get_int(rx->fd, SO_BUF_LOCK);

    return lock < 0 ? get_int(rx->fd, SO_RCVBUF) != initial :
                      lock & SOCK_RCVBUF_LOCK;
}

/* Make the receive queue as long as allowed. */
static void queue_resize(AfPacketRx *rx, int most)
{
    int rcvbuf = get_int(rx->fd, SO_RCVBUF);

    if (rcvbuf < most || rcvbuf > QUEUE_SIZE_MAX) {
        af_packet_state_set_buf(rx->state, SO_RCVBUF, QUEUE_SIZE_MAX);
    }
}

/*
 * The ring
 */

static int ring_next(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    uint32_t status = af_packet_ring_status(rx->ring);
    int ret = 0;

    if (!(status & TP_STATUS_USER)) {
        return 0;
    }
    if (status & TP_STATUS_COPY) {
        ret = batch_next(rx, frame);
        if (ret < 0) {
            return ret;
        }
        /* Not truncated; before Linux 5.17, its auxdata is not initialized */
        frame->info.filtered = false;
    }
    if (!ret) {
        af_packet_ring_copy(rx->ring, status, frame);
    }
    af_packet_ring_advance(rx->ring);
    return 1;
}

/*
 * Frames that arrived early: setting up a ring would discard them
 */

/* Returns: the memory that the frame uses, in bytes. */
static size_t early_push(AfPacketRx *rx, const AfPacketRxFrame *frame)
{
    size_t len = MIN(frame->len, rx->max);
    size_t size = sizeof(EarlyFrame) + AF_PACKET_RX_HEADROOM + len;
    EarlyFrame *early = g_malloc(size);

    early->frame = *frame;
    early->frame.data = early->mem + AF_PACKET_RX_HEADROOM;
    if (len) {
        memcpy(early->frame.data, frame->data, len);
    }
    QSIMPLEQ_INSERT_TAIL(&rx->early, early, next);
    return size;
}

/*
 * The size is limited because a flood may never end, and because more bytes may
 * be queued than SO_RCVBUF allows now.  Returns: the number of frames lost.
 */
static size_t early_collect(AfPacketRx *rx)
{
    size_t size = 0;
    AfPacketRxFrame frame;
    int ret;

    while (size < EARLY_SIZE_MAX || batch_left(rx)) {
        frame = (AfPacketRxFrame) {};
        ret = batch_next(rx, &frame);
        if (!ret) {
            return 0;
        }
        if (ret > 0) {
            size += early_push(rx, &frame);
        } else {
            size += sizeof(EarlyFrame); /* ignored; a lasting error recurs */
        }
    }
    return af_packet_socket_discard(rx->fd);
}

static int early_next(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    g_clear_pointer(&rx->early_current, g_free);
    rx->early_current = QSIMPLEQ_FIRST(&rx->early);
    if (!rx->early_current) {
        return 0;
    }
    QSIMPLEQ_REMOVE_HEAD(&rx->early, next);
    *frame = rx->early_current->frame;
    return 1;
}

/*
 * The receiver
 */

/*
 * Don't use a ring with vnet headers: if Linux can't generate the header for a
 * frame, which any guest can cause, it does not release the reserved slot, and
 * drops all later frames (since 5.6, seen in 6.18; not in 6.1.189, 6.12.112
 * and 7.3).
 */
AfPacketRx *af_packet_rx_new(AfPacketState *state, size_t max,
                             bool has_vnet_hdr, size_t *lost)
{
    AfPacketRx *rx = g_new0(AfPacketRx, 1);
    int initial, most;

    rx->state = state;
    rx->fd = af_packet_state_fd(state);
    rx->max = max;
    rx->buf = g_malloc(BATCH * buf_stride(rx));
    QSIMPLEQ_INIT(&rx->early);
    *lost = 0;
    queue_limits(&initial, &most);
    if (!rcvbuf_is_set(rx, initial)) {
        queue_resize(rx, most);
        if (!has_vnet_hdr && af_packet_ring_can_start(state)) {
            *lost = early_collect(rx);
            rx->ring = af_packet_ring_new(state);
        }
    }
    return rx;
}

size_t af_packet_rx_stop(AfPacketRx *rx)
{
    EarlyFrame *early;
    size_t n = 0;

    QSIMPLEQ_FOREACH(early, &rx->early, next) {
        n++;
    }
    if (rx->ring) {
        /* The ring is kept for its copy of the current frame */
        n += af_packet_ring_stop(rx->ring);
    } else {
        n += batch_left(rx) + af_packet_socket_discard(rx->fd);
    }
    return n;
}

void af_packet_rx_free(AfPacketRx *rx)
{
    AfPacketRxFrame frame;

    while (early_next(rx, &frame)) {
        continue;
    }
    af_packet_ring_free(rx->ring);
    g_free(rx->buf);
    g_free(rx);
}

bool af_packet_rx_has_ring(const AfPacketRx *rx)
{
    return rx->ring;
}

bool af_packet_rx_ready(const AfPacketRx *rx)
{
    if (!QSIMPLEQ_EMPTY(&rx->early)) {
        return true;
    }
    return rx->ring ? af_packet_ring_status(rx->ring) & TP_STATUS_USER :
                      batch_left(rx) > 0;
}

int af_packet_rx_next(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    int ret = early_next(rx, frame);

    if (ret) {
        return ret;
    }
    if (!rx->ring) {
        return batch_next(rx, frame);
    }
    return ring_next(rx, frame);
}
