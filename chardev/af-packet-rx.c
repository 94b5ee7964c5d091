/*
 * Receiving the frames of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Behaviour of the kernel is as read in net/packet/af_packet.c and seen on
 * Linux 6.18, unless another version is named.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "qemu/atomic.h"
#include "qemu/madvise.h"
#include "qemu/queue.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-rx.h"

/*
 * A slot holds a frame of 174 bytes (less a vnet header); 32760 of them can
 * wait.
 */
#define SLOT_SIZE (15 * TPACKET_ALIGNMENT)
#define BLOCK_SIZE (64 * KiB)
#define N_BLOCKS 120
#define SLOTS_PER_BLOCK (BLOCK_SIZE / SLOT_SIZE)
#define N_SLOTS (N_BLOCKS * SLOTS_PER_BLOCK)
#define RING_SIZE (N_BLOCKS * BLOCK_SIZE)

/* Frames that are taken from the receive queue at a time */
#define BATCH 16

/* The kernel counts any frame as more bytes than this against SO_RCVBUF */
#define LEAST_COST 256

/* Linux 5.14 */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SOCK_RCVBUF_LOCK
#define SOCK_RCVBUF_LOCK 2
#endif

/* Time stamps that the opener asked for come before the auxdata */
typedef union Control {
    struct cmsghdr align;
    uint8_t buf[CMSG_SPACE(sizeof(struct tpacket_auxdata)) + 256];
} Control;

/* A frame that had been received before there was a ring */
typedef struct EarlyFrame {
    QSIMPLEQ_ENTRY(EarlyFrame) next;
    int ret;                     /* of af_packet_rx_next() */
    AfPacketRxFrame frame;
    uint8_t mem[];
} EarlyFrame;

struct AfPacketRx {
    int fd;
    size_t max;
    size_t vnet_hdr_len;
    int rcvbuf;            /* what SO_RCVBUF was; 0 if that was not changed */

    QSIMPLEQ_HEAD(, EarlyFrame) early;
    EarlyFrame *early_taken;

    uint8_t *ring;         /* NULL if there is none */
    unsigned slot;         /* the next to be taken */
    bool taken;            /* one was since af_packet_rx_look() */
    uint8_t slot_copy[AF_PACKET_RX_HEADROOM + SLOT_SIZE];

    unsigned batch_next;
    unsigned batch_len;
    struct mmsghdr msgs[BATCH];
    struct iovec iovs[BATCH];
    Control controls[BATCH];
    uint8_t *buf;          /* BATCH times room and frame */
};

/*
 * The receive queue
 */

static size_t buf_stride(const AfPacketRx *rx)
{
    return ROUND_UP(AF_PACKET_RX_HEADROOM + rx->max, 64);
}

static void set_vlan(AfPacketRxInfo *info, uint32_t status, uint16_t tpid,
                     uint16_t tci)
{
    info->has_vlan = status & TP_STATUS_VLAN_VALID;
    info->vlan_tci = tci;
    info->vlan_tpid = status & TP_STATUS_VLAN_TPID_VALID ? tpid : ETH_P_8021Q;
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
    set_vlan(info, aux.tp_status, aux.tp_vlan_tpid, aux.tp_vlan_tci);
}

/* Returns: how many frames there are now, or a negative errno. */
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

static bool set_rcvbuf(int fd, int bytes)
{
    return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) == 0;
}

/* The longest queue that anybody may have: no socket has more than this. */
#define RCVBUF_MOST (INT_MAX / 2)

/*
 * Learn what any socket has as SO_RCVBUF at first (net.core.rmem_default),
 * and what it has when it asks for the most (net.core.rmem_max).
 */
static void queue_limits(int *initial, int *most)
{
    int fd = qemu_socket(AF_UNIX, SOCK_DGRAM, 0);

    *initial = get_int(fd, SO_RCVBUF);
    *most = set_rcvbuf(fd, RCVBUF_MOST) ? get_int(fd, SO_RCVBUF) : -1;
    if (fd >= 0) {
        close(fd);
    }
}

/* Has the opener chosen the queue's length? */
static bool queue_is_chosen(const AfPacketRx *rx, int initial)
{
    int lock = get_int(rx->fd, SO_BUF_LOCK);

    return lock < 0 ? get_int(rx->fd, SO_RCVBUF) != initial :
                      lock & SOCK_RCVBUF_LOCK;
}

/* Have as long a queue as anybody may. */
static void queue_enlarge(AfPacketRx *rx, int most)
{
    int rcvbuf = get_int(rx->fd, SO_RCVBUF);

    if (rcvbuf < most && set_rcvbuf(rx->fd, RCVBUF_MOST)) {
        rx->rcvbuf = rcvbuf;
    }
}

/* The kernel doubles what it is given, to have room for its own. */
static void queue_restore(AfPacketRx *rx)
{
    int lock;

    if (rx->rcvbuf) {
        set_rcvbuf(rx->fd, rx->rcvbuf / 2);
        lock = get_int(rx->fd, SO_BUF_LOCK) & ~SOCK_RCVBUF_LOCK;
        setsockopt(rx->fd, SOL_SOCKET, SO_BUF_LOCK, &lock, sizeof(lock));
    }
}

/* Returns: how many frames there were. */
static size_t queue_discard(AfPacketRx *rx)
{
    char start[64]; /* with room for a vnet header: EINVAL otherwise */
    /* No more than can wait: frames may come in all the time */
    int most = get_int(rx->fd, SO_RCVBUF) / LEAST_COST;
    int n = 0;

    while (n < most) {
        if (recv(rx->fd, start, sizeof(start), MSG_DONTWAIT) >= 0 ||
            errno == EINVAL) { /* which has cost a frame */
            n++;
        } else if (errno != ENETDOWN && errno != EINTR) {
            break;
        }
    }
    return n;
}

/*
 * The ring
 */

static struct tpacket2_hdr *ring_slot(const AfPacketRx *rx, unsigned slot)
{
    return (void *)(rx->ring + slot / SLOTS_PER_BLOCK * BLOCK_SIZE +
                    slot % SLOTS_PER_BLOCK * SLOT_SIZE);
}

static uint32_t ring_status(const AfPacketRx *rx)
{
    return qatomic_load_acquire(&ring_slot(rx, rx->slot)->tp_status);
}

static unsigned ring_following(const AfPacketRx *rx)
{
    return (rx->slot + 1) % N_SLOTS;
}

/*
 * Is there nothing in it?  While the kernel still writes to the next slot,
 * it may have filled those after it.
 */
static bool ring_is_empty(const AfPacketRx *rx)
{
    struct tpacket2_hdr *following = ring_slot(rx, ring_following(rx));

    return !(ring_status(rx) & TP_STATUS_USER) &&
           !(qatomic_load_acquire(&following->tp_status) & TP_STATUS_USER);
}

/* Give the next slot back to the kernel. */
static void ring_advance(AfPacketRx *rx)
{
    qatomic_store_release(&ring_slot(rx, rx->slot)->tp_status,
                          TP_STATUS_KERNEL);
    rx->slot = ring_following(rx);
    rx->taken = true;
}

/*
 * The kernel writes the 10 bytes of a struct virtio_net_hdr right before the
 * frame, also for PACKET_VNET_HDR_SZ 12, where recv() would have num_buffers
 * behind them.
 */
static void ring_copy_vnet_hdr(AfPacketRx *rx, uint8_t *dst,
                               const uint8_t *frame)
{
    size_t len = MIN(sizeof(struct virtio_net_hdr), rx->vnet_hdr_len);

    memcpy(dst, frame - len, len);
    memset(dst + len, 0, rx->vnet_hdr_len - len);
}

/*
 * To copy so little costs less than to keep the slot: poll() reports the
 * socket as readable until its newest slot has been given back.
 */
static void ring_copy(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    const struct tpacket2_hdr *hdr = ring_slot(rx, rx->slot);
    const uint8_t *src = (const uint8_t *)hdr + hdr->tp_mac;
    size_t room = SLOT_SIZE - hdr->tp_mac;
    size_t len = MIN(hdr->tp_snaplen, room);
    bool cut = len < hdr->tp_len;

    *frame = (AfPacketRxFrame) {
        .data = rx->slot_copy + AF_PACKET_RX_HEADROOM,
        .len = rx->vnet_hdr_len + hdr->tp_len,
        .info.filtered = cut && len < room,
        .info.no_room = cut && len == room,
    };
    set_vlan(&frame->info, hdr->tp_status, hdr->tp_vlan_tpid,
             hdr->tp_vlan_tci);
    ring_copy_vnet_hdr(rx, frame->data, src);
    memcpy(frame->data + rx->vnet_hdr_len, src, len);
}

static int ring_next(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    uint32_t status = ring_status(rx);
    int ret = 0;

    if (!(status & TP_STATUS_USER)) {
        return 0;
    }
    if (status & TP_STATUS_COPY) {
        /* Too long for a slot: the whole frame is in the receive queue */
        ret = batch_next(rx, frame);
        if (ret < 0) {
            return ret;
        }
        /* It is never shortened, and before 5.17 its auxdata is not set */
        frame->info.filtered = false;
    }
    if (!ret) {
        ring_copy(rx, frame);
    }
    ring_advance(rx);
    return 1;
}

/* Returns: how many frames there were. */
static size_t ring_discard(AfPacketRx *rx)
{
    size_t n = 0;

    while (n < N_SLOTS && ring_status(rx) & TP_STATUS_USER) {
        ring_advance(rx);
        n++;
    }
    return n;
}

static int set_int(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value));
}

static void ring_stop(AfPacketRx *rx)
{
    struct tpacket_req none = {};

    if (rx->ring) {
        munmap(rx->ring, RING_SIZE);
        rx->ring = NULL;
    }
    setsockopt(rx->fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof(none));
    set_int(rx->fd, PACKET_COPY_THRESH, 0);
    set_int(rx->fd, PACKET_VERSION, TPACKET_V1);
}

/* Has the opener had the kernel leave bytes free in each slot? */
static bool slots_are_reserved(const AfPacketRx *rx)
{
    int bytes = 0;
    socklen_t len = sizeof(bytes);

    return getsockopt(rx->fd, SOL_PACKET, PACKET_RESERVE, &bytes, &len) == 0 &&
           bytes > 0;
}

static void ring_start(AfPacketRx *rx)
{
    struct tpacket_req req = {
        .tp_block_size = BLOCK_SIZE,
        .tp_block_nr = N_BLOCKS,
        .tp_frame_size = SLOT_SIZE,
        .tp_frame_nr = N_SLOTS,
    };

    if (set_int(rx->fd, PACKET_VERSION, TPACKET_V2) == 0 &&
        /* Any value but 0: frames that are longer than a slot are kept */
        set_int(rx->fd, PACKET_COPY_THRESH, 1) == 0 &&
        setsockopt(rx->fd, SOL_PACKET, PACKET_RX_RING,
                   &req, sizeof(req)) == 0) {
        void *ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                          rx->fd, 0);

        if (ring != MAP_FAILED) {
            /* A child that has it mapped would keep it from being removed */
            qemu_madvise(ring, RING_SIZE, QEMU_MADV_DONTFORK);
            rx->ring = ring;
        }
    }
    if (!rx->ring) {
        ring_stop(rx);
    }
}

/*
 * Frames that have arrived before: to set up a ring discards them.
 */

static void early_push(AfPacketRx *rx, int ret, const AfPacketRxFrame *frame)
{
    size_t len = MIN(frame->len, rx->max);
    EarlyFrame *early = g_malloc(sizeof(*early) + AF_PACKET_RX_HEADROOM + len);

    early->ret = ret;
    early->frame = *frame;
    early->frame.data = early->mem + AF_PACKET_RX_HEADROOM;
    if (len) {
        memcpy(early->frame.data, frame->data, len);
    }
    QSIMPLEQ_INSERT_TAIL(&rx->early, early, next);
}

static void early_collect(AfPacketRx *rx)
{
    /* No more than this can be waiting; a flood may go on and on */
    int64_t room = get_int(rx->fd, SO_RCVBUF);
    AfPacketRxFrame frame;
    int ret = 1;

    while (ret && (room > 0 || batch_left(rx))) {
        frame = (AfPacketRxFrame) {};
        ret = batch_next(rx, &frame);
        if (ret > 0 || ret == -EINVAL) { /* which has cost a frame */
            early_push(rx, ret, &frame);
            room -= MAX(frame.len, LEAST_COST);
        } else if (ret != -ENETDOWN) { /* which comes before the frames */
            break;
        }
    }
}

static int early_next(AfPacketRx *rx, AfPacketRxFrame *frame)
{
    g_clear_pointer(&rx->early_taken, g_free);
    rx->early_taken = QSIMPLEQ_FIRST(&rx->early);
    if (!rx->early_taken) {
        return 0;
    }
    QSIMPLEQ_REMOVE_HEAD(&rx->early, next);
    *frame = rx->early_taken->frame;
    return rx->early_taken->ret;
}

/*
 * All together
 */

AfPacketRx *af_packet_rx_new(int fd, size_t max, size_t vnet_hdr_len)
{
    AfPacketRx *rx = g_new0(AfPacketRx, 1);
    int initial, most;

    rx->fd = fd;
    rx->max = max;
    rx->vnet_hdr_len = vnet_hdr_len;
    rx->buf = g_malloc(BATCH * buf_stride(rx));
    QSIMPLEQ_INIT(&rx->early);
    queue_limits(&initial, &most);
    if (!queue_is_chosen(rx, initial)) {
        queue_enlarge(rx, most);
        early_collect(rx);
        if (!slots_are_reserved(rx)) {
            ring_start(rx);
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
        n += ring_discard(rx);
        ring_stop(rx);
    } else {
        n += batch_left(rx) + queue_discard(rx);
    }
    queue_restore(rx);
    return n;
}

void af_packet_rx_free(AfPacketRx *rx)
{
    AfPacketRxFrame frame;

    while (early_next(rx, &frame)) {
        continue;
    }
    if (rx->ring) {
        munmap(rx->ring, RING_SIZE);
    }
    g_free(rx->buf);
    g_free(rx);
}

bool af_packet_rx_has_ring(const AfPacketRx *rx)
{
    return rx->ring;
}

/*
 * When the vnet header of a frame can't be made, Linux (since 5.6, seen in
 * 6.18) forgets to release the slot that it had chosen.  It never fills that
 * one, nor any other, but drops all that comes.
 */
AfPacketRxState af_packet_rx_look(AfPacketRx *rx, bool dropped)
{
    bool taken = rx->taken;

    rx->taken = false;
    if (!rx->ring) {
        return AF_PACKET_RX_STEADY;
    }
    if (taken) {
        return AF_PACKET_RX_BUSY;
    }
    if (dropped && ring_is_empty(rx)) {
        ring_stop(rx);
        return AF_PACKET_RX_STUCK;
    }
    return AF_PACKET_RX_STEADY;
}

bool af_packet_rx_ready(const AfPacketRx *rx)
{
    if (!QSIMPLEQ_EMPTY(&rx->early)) {
        return true;
    }
    return rx->ring ? ring_status(rx) & TP_STATUS_USER :
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
