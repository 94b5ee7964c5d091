/*
 * Unit tests for the receiver of frames from an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They test interference by another process with a duplicate of the socket, and
 * the memory usage.  They use real packet sockets, on the loopback interface in
 * a network namespace of their own; if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sock_diag.h>
#include <malloc.h>
#include <sys/mman.h>
#include "chardev/af-packet-rx.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-helpers.h"
#include "af-packet-suite.h"

/* Like in the receiver */
#define RING_SIZE (198 * 64 * KiB)
#define SLOT_SIZE 1584
#define QUEUE_SIZE_MAX (2 * MiB)
#define EARLY_SIZE_MAX (512 * KiB)

#define FRAME_MAX 69632
#define FRAME_LEN 60

/* Linux 6.3 */
#ifndef TP_STATUS_GSO_TCP
#define TP_STATUS_GSO_TCP (1 << 8)
#endif

typedef struct Rig {
    int fd;               /* the receiver's */
    int peer;             /* to send */
    bool has_vnet_hdr;
    AfPacketState *state;
    AfPacketRx *rx;
    size_t lost;          /* when it started */
    struct tpacket2_hdr *ring; /* mapped by means of a duplicate */
} Rig;

static void rig_open(Rig *r)
{
    r->fd = packet_open("lo", TEST_ETHERTYPE);
    r->peer = packet_endpoint("lo", 0);
    if (r->has_vnet_hdr) {
        packet_set_vnet_hdr(r->fd);
    }
}

static void rig_start(Rig *r)
{
    r->state = af_packet_state_new(r->fd, "test");
    r->rx = af_packet_rx_new(r->state, FRAME_MAX, r->has_vnet_hdr, &r->lost);
}

static void rig_map_ring(Rig *r)
{
    g_assert_true(af_packet_rx_has_ring(r->rx));
    r->ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                   r->fd, 0);
    g_assert_true(r->ring != MAP_FAILED);
}

static void rig_free(Rig *r)
{
    if (r->ring) {
        munmap(r->ring, RING_SIZE);
    }
    af_packet_rx_stop(r->rx);
    af_packet_rx_free(r->rx);
    af_packet_state_free(r->state);
    close(r->fd);
    close(r->peer);
}

static void put_frame(uint8_t *frame, int seq)
{
    memset(frame, seq, FRAME_LEN);
    frame[12] = TEST_ETHERTYPE >> 8;
    frame[13] = TEST_ETHERTYPE & 0xff;
}

static void rig_send(Rig *r, int seq)
{
    uint8_t frame[FRAME_LEN];

    put_frame(frame, seq);
    g_assert_cmpint(send(r->peer, frame, sizeof(frame), 0), ==,
                    sizeof(frame));
}

static void rig_expect(Rig *r, int seq)
{
    uint8_t expected[FRAME_LEN];
    AfPacketRxFrame frame;

    put_frame(expected, seq);
    g_assert_cmpint(af_packet_rx_next(r->rx, &frame), ==, 1);
    g_assert_false(frame.info.impossible);
    g_assert_false(frame.info.no_room);
    g_assert_false(frame.info.filtered);
    g_assert_cmpmem(frame.data, frame.len, expected, sizeof(expected));
}

/*
 * A ring that another process writes to
 */

/* What the kernel writes; @mac is the same for all frames of this test */
typedef struct SlotCase {
    const char *name;
    void (*spoil)(struct tpacket2_hdr *slot);
    bool shortened; /* truncation is allowed */
} SlotCase;

static void mac_0(struct tpacket2_hdr *slot)
{
    slot->tp_mac = 0;
}

static void mac_in_header(struct tpacket2_hdr *slot)
{
    slot->tp_mac = TPACKET2_HDRLEN - 1;
}

static void mac_at_end(struct tpacket2_hdr *slot)
{
    slot->tp_mac = SLOT_SIZE;
}

static void mac_beyond_slot(struct tpacket2_hdr *slot)
{
    slot->tp_mac = SLOT_SIZE + 10;
}

static void mac_beyond_ring(struct tpacket2_hdr *slot)
{
    slot->tp_mac = 65000;
}

static void mac_too_late(struct tpacket2_hdr *slot)
{
    slot->tp_mac = SLOT_SIZE - FRAME_LEN + 1;
}

static void snaplen_above_len(struct tpacket2_hdr *slot)
{
    slot->tp_snaplen = FRAME_LEN + 1;
}

static void snaplen_above_slot(struct tpacket2_hdr *slot)
{
    slot->tp_len = slot->tp_snaplen = SLOT_SIZE;
}

static void snaplen_max(struct tpacket2_hdr *slot)
{
    slot->tp_len = slot->tp_snaplen = UINT32_MAX;
}

static void snaplen_wraps(struct tpacket2_hdr *slot)
{
    slot->tp_len = slot->tp_snaplen = UINT32_MAX - slot->tp_mac + 1;
}

static void len_below_snaplen(struct tpacket2_hdr *slot)
{
    slot->tp_len = FRAME_LEN - 1;
}

static void len_max(struct tpacket2_hdr *slot)
{
    slot->tp_len = UINT32_MAX;
}

static void all_ones(struct tpacket2_hdr *slot)
{
    memset(slot, 0xff, SLOT_SIZE);
}

static const SlotCase slot_cases[] = {
    { "mac-0", mac_0 },
    { "mac-in-header", mac_in_header },
    { "mac-at-end", mac_at_end },
    { "mac-too-late", mac_too_late },
    { "mac-beyond-slot", mac_beyond_slot },
    { "mac-beyond-ring", mac_beyond_ring },
    { "snaplen-above-len", snaplen_above_len },
    { "snaplen-above-slot", snaplen_above_slot },
    { "snaplen-max", snaplen_max },
    { "snaplen-wraps", snaplen_wraps },
    { "len-below-snaplen", len_below_snaplen },
    { "len-max", len_max, true },
    { "all-ones", all_ones },
};

/* An invalid slot is reported, and the next frame is received. */
static void test_slot(const void *opaque)
{
    const SlotCase *c = opaque;
    Rig r = {};
    AfPacketRxFrame frame;

    rig_open(&r);
    rig_start(&r);
    rig_map_ring(&r);
    rig_send(&r, 1);
    g_assert_true(af_packet_rx_ready(r.rx));
    g_assert_cmpuint(r.ring->tp_len, ==, FRAME_LEN);
    g_assert_cmpuint(r.ring->tp_snaplen, ==, FRAME_LEN);
    c->spoil(r.ring);
    g_assert_cmpint(af_packet_rx_next(r.rx, &frame), ==, 1);
    if (c->shortened) {
        g_assert_true(frame.info.no_room || frame.info.filtered);
    } else {
        g_assert_true(frame.info.impossible);
    }
    rig_send(&r, 2);
    rig_expect(&r, 2);
    g_assert_cmpint(af_packet_rx_next(r.rx, &frame), ==, 0);
    rig_free(&r);
}

/* All slots are in use, with invalid data: receiving and stopping end. */
static void test_ring_of_ones(void)
{
    Rig r = {};
    AfPacketRxFrame frame;
    int i;

    rig_open(&r);
    rig_start(&r);
    rig_map_ring(&r);
    memset(r.ring, 0xff, RING_SIZE);
    for (i = 0; i < 5000; i++) {
        g_assert_cmpint(af_packet_rx_next(r.rx, &frame), ==, 1);
        g_assert_true(frame.info.impossible);
    }
    munmap(r.ring, RING_SIZE);
    r.ring = NULL;
    g_assert_cmpuint(af_packet_rx_stop(r.rx), >, 0);
    rig_free(&r);
}

/* Slots that refer to frames in the queue that do not exist */
static void test_ring_copy(void)
{
    Rig r = {};
    AfPacketRxFrame frame;

    rig_open(&r);
    rig_start(&r);
    rig_map_ring(&r);
    rig_send(&r, 1);
    rig_send(&r, 2);
    r.ring->tp_status |= TP_STATUS_COPY;
    g_assert_cmpint(af_packet_rx_next(r.rx, &frame), ==, 1);
    rig_expect(&r, 2);
    rig_free(&r);
}

/* A user may still have the last frame when another thread stops. */
static void test_stop(void)
{
    uint8_t expected[FRAME_LEN];
    AfPacketRxFrame frame;
    Rig r = {};

    rig_open(&r);
    rig_start(&r);
    g_assert_true(af_packet_rx_has_ring(r.rx));
    put_frame(expected, 1);
    rig_send(&r, 1);
    g_assert_cmpint(af_packet_rx_next(r.rx, &frame), ==, 1);
    af_packet_rx_stop(r.rx);
    g_assert_cmpmem(frame.data, frame.len, expected, sizeof(expected));
    rig_free(&r);
}

/*
 * Memory
 */

static uint32_t queued_bytes(int fd)
{
    uint32_t meminfo[SK_MEMINFO_VARS] = {};
    socklen_t len = sizeof(meminfo);

    g_assert_cmpint(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, meminfo, &len),
                    ==, 0);
    return meminfo[SK_MEMINFO_RMEM_ALLOC];
}

/* Regardless of net.core.rmem_max */
static void test_queue_size(void)
{
    Rig r = {};
    int before;

    rig_open(&r);
    before = socket_get_int(r.fd, SO_RCVBUF);
    rig_start(&r);
    g_assert_cmpint(socket_get_int(r.fd, SO_RCVBUF), <=, QUEUE_SIZE_MAX);
    g_assert_cmpint(socket_get_int(r.fd, SO_RCVBUF), >=,
                    MIN(before, QUEUE_SIZE_MAX));
    rig_free(&r);
}

/*
 * Set the receive buffer to @bytes but mark it as not set, as if this was
 * net.core.rmem_default.  Returns: false if this is not supported.
 */
static bool set_default_rcvbuf(int fd, int bytes)
{
    const int unlocked = 0;

    return setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
                      sizeof(bytes)) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &unlocked,
                      sizeof(unlocked)) == 0;
}

static bool can_set_default_rcvbuf(void)
{
    int fd = packet_socket(SOCK_RAW);
    bool can = set_default_rcvbuf(fd, 64 * MiB);

    close(fd);
    return can;
}

/* Of a long queue, some frames are received and the rest is counted. */
static void test_early(void)
{
    const int n_sent = 40000;
    AfPacketRxFrame frame;
    int n_taken = 0;
    Rig r = {};
    int i;

    rig_open(&r);
    g_assert_true(set_default_rcvbuf(r.fd, 64 * MiB));
    for (i = 0; i < n_sent; i++) {
        rig_send(&r, i);
    }
    g_assert_cmpuint(queued_bytes(r.fd), >, 16 * MiB);

    rig_start(&r);
    g_assert_cmpint(socket_get_int(r.fd, SO_RCVBUF), <=, QUEUE_SIZE_MAX);
    g_assert_cmpuint(queued_bytes(r.fd), ==, 0);
    g_assert_true(af_packet_rx_has_ring(r.rx));
    while (af_packet_rx_next(r.rx, &frame) > 0) {
        g_assert_cmphex(frame.data[0], ==, n_taken & 0xff);
        n_taken++;
    }
    g_assert_cmpint(n_taken + r.lost, ==, n_sent);
    g_assert_cmpint(n_taken, >, 1000);
    g_assert_cmpint(n_taken, <, EARLY_SIZE_MAX / FRAME_LEN);
    rig_send(&r, 7);
    rig_expect(&r, 7);
    rig_free(&r);
}

/*
 * Offloads
 */

/* A vnet header and TCP, @len bytes in all */
static void put_tcp(uint8_t *buf, size_t len, uint8_t flags, uint8_t gso_type)
{
    const struct virtio_net_hdr hdr = {
        .flags = flags,
        .gso_type = gso_type,
        .hdr_len = gso_type ? ETH_HLEN + 40 : 0,
        .gso_size = gso_type ? 20 : 0,
        .csum_start = flags ? ETH_HLEN + 20 : 0,
        .csum_offset = flags ? 16 : 0,
    };
    uint8_t *frame = buf + sizeof(hdr), *ip = frame + ETH_HLEN;

    memset(buf, 0, len);
    memcpy(buf, &hdr, sizeof(hdr));
    stw_be_p(frame + 12, ETH_P_IP);
    ip[0] = 0x45;
    stw_be_p(ip + 2, len - sizeof(hdr) - ETH_HLEN);
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    ip[20 + 12] = 5 << 4;
}

/* Returns: the status that the kernel reports with the next frame of @fd */
static uint32_t recv_status(int fd)
{
    uint8_t control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    struct msghdr msg = {
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    struct tpacket_auxdata aux;

    g_assert_cmpint(recvmsg(fd, &msg, 0), ==, 0);
    g_assert_nonnull(CMSG_FIRSTHDR(&msg));
    memcpy(&aux, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(aux));
    return aux.tp_status;
}

static const struct {
    uint8_t flags;
    uint8_t gso_type;
} offloads[] = {
    { 0, VIRTIO_NET_HDR_GSO_NONE },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4 },
    { 0, VIRTIO_NET_HDR_GSO_NONE },
};

/* Offloads are reported for each frame, short or long. */
static void test_offloads(const void *opaque)
{
    const bool queue = GPOINTER_TO_INT(opaque);
    const size_t lens[] = { 10 + ETH_HLEN + 40 + 50, 1000 };
    uint8_t buf[1000];
    AfPacketRxFrame frame;
    int other = packet_endpoint("lo", ETH_P_IP), i, k;
    Rig r = {};

    r.fd = packet_open("lo", ETH_P_IP);
    r.peer = packet_endpoint("lo", 0);
    packet_set_vnet_hdr(r.peer);
    socket_set_int(r.fd, SOL_PACKET, PACKET_AUXDATA, 1);
    socket_set_int(other, SOL_PACKET, PACKET_AUXDATA, 1);
    if (queue) {
        socket_set_int(r.fd, SOL_SOCKET, SO_RCVBUF, 100000);
    }
    rig_start(&r);
    g_assert_cmpint(af_packet_rx_has_ring(r.rx), ==, !queue);
    for (i = 0; i < ARRAY_SIZE(offloads); i++) {
        for (k = 0; k < ARRAY_SIZE(lens); k++) {
            uint32_t status;

            put_tcp(buf, lens[k], offloads[i].flags, offloads[i].gso_type);
            g_assert_cmpint(send(r.peer, buf, lens[k], 0), ==, lens[k]);
            g_assert_cmpint(af_packet_rx_next(r.rx, &frame), ==, 1);
            g_assert_cmpuint(frame.len, ==, lens[k] - 10);
            g_assert_cmpint(frame.info.csum_not_ready, ==,
                            !!offloads[i].flags);
            /* Linux 6.3 reports TCP super-frames */
            status = recv_status(other);
            g_assert_cmpint(frame.info.gso_tcp, ==,
                            !!(status & TP_STATUS_GSO_TCP));
            g_assert_true(offloads[i].gso_type || !frame.info.gso_tcp);
        }
    }
    close(other);
    rig_free(&r);
}

/* With vnet headers there is no ring, because a frame could block it. */
static void test_vnet_hdr(void)
{
    Rig r = { .has_vnet_hdr = true };

    rig_open(&r);
    rig_start(&r);
    g_assert_false(af_packet_rx_has_ring(r.rx));
    rig_free(&r);
}

int main(int argc, char **argv)
{
#ifdef M_PERTURB
    /* Notice the use of memory that was freed */
    mallopt(M_PERTURB, 0xaf);
#endif
    suite_init(&argc, &argv, "/af-packet/rx");
    SUITE_ADD_TABLE("slot", slot_cases, test_slot);
    suite_add("ring/ones", test_ring_of_ones);
    suite_add("ring/copy", test_ring_copy);
    suite_add("ring/stop", test_stop);
    suite_add_data("offloads/ring", GINT_TO_POINTER(false), test_offloads);
    suite_add_data("offloads/queue", GINT_TO_POINTER(true), test_offloads);
    suite_add("memory/vnet-hdr", test_vnet_hdr);
    suite_add("memory/queue", test_queue_size);
    /* Needs Linux 5.14, and privileges outside of a user namespace */
    if (suite_has_netns() && can_set_default_rcvbuf()) {
        suite_add("memory/early", test_early);
    }
    return g_test_run();
}
