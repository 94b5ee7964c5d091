/*
 * Receive ring of an AF_PACKET socket, shared with the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel's behavior is described as in net/packet/af_packet.c of Linux 6.18
 * and as tested there, unless another version is named.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/madvise.h"
#include "qemu/units.h"
#include "af-packet-ring.h"

/* Each of the 8118 slots holds a frame of up to 1518 bytes. */
#define SLOT_SIZE (99 * TPACKET_ALIGNMENT)
#define BLOCK_SIZE (64 * KiB)
#define N_BLOCKS 198
#define SLOTS_PER_BLOCK (BLOCK_SIZE / SLOT_SIZE)
#define N_SLOTS (N_BLOCKS * SLOTS_PER_BLOCK)
#define RING_SIZE (N_BLOCKS * BLOCK_SIZE)

struct AfPacketRing {
    int fd;
    uint8_t *mem;          /* NULL once stopped */
    unsigned slot;         /* the next slot */
    uint8_t slot_copy[AF_PACKET_RX_HEADROOM + SLOT_SIZE];
};

static struct tpacket2_hdr *ring_slot(const AfPacketRing *ring)
{
    return (void *)(ring->mem + ring->slot / SLOTS_PER_BLOCK * BLOCK_SIZE +
                    ring->slot % SLOTS_PER_BLOCK * SLOT_SIZE);
}

uint32_t af_packet_ring_status(const AfPacketRing *ring)
{
    return qatomic_load_acquire(&ring_slot(ring)->tp_status);
}

void af_packet_ring_advance(AfPacketRing *ring)
{
    qatomic_store_release(&ring_slot(ring)->tp_status, TP_STATUS_KERNEL);
    ring->slot = (ring->slot + 1) % N_SLOTS;
}

/*
 * Copying is cheaper than holding the slot: poll() reports the socket as
 * readable until its newest slot has been returned.
 *
 * Another process with a duplicate of the socket can write to the slot at any
 * time, so read each field only once, and do not trust its value.
 */
void af_packet_ring_copy(AfPacketRing *ring, uint32_t status,
                         AfPacketRxFrame *frame)
{
    const struct tpacket2_hdr *hdr = ring_slot(ring);
    size_t mac = qatomic_read(&hdr->tp_mac);
    uint32_t len = qatomic_read(&hdr->tp_len);
    uint32_t snaplen = qatomic_read(&hdr->tp_snaplen);
    uint8_t *data = ring->slot_copy + AF_PACKET_RX_HEADROOM;

    *frame = (AfPacketRxFrame) { .data = data };
    if (mac < TPACKET2_HDRLEN || mac > SLOT_SIZE ||
        snaplen > SLOT_SIZE - mac || snaplen > len) {
        frame->info.impossible = true;
        return;
    }

    frame->len = len;
    frame->info.no_room = snaplen < len && snaplen == SLOT_SIZE - mac;
    frame->info.filtered = snaplen < len && snaplen < SLOT_SIZE - mac;
    af_packet_rx_info_set(&frame->info, status,
                          qatomic_read(&hdr->tp_vlan_tpid),
                          qatomic_read(&hdr->tp_vlan_tci));
    memcpy(data, (const uint8_t *)hdr + mac, snaplen);
}

bool af_packet_ring_can_start(const AfPacketState *state)
{
    int bytes = 0;
    socklen_t len = sizeof(bytes);

    return getsockopt(af_packet_state_fd(state), SOL_PACKET, PACKET_RESERVE,
                      &bytes, &len) < 0 || bytes == 0;
}

static bool ring_allocate(AfPacketState *state)
{
    struct tpacket_req req = {
        .tp_block_size = BLOCK_SIZE,
        .tp_block_nr = N_BLOCKS,
        .tp_frame_size = SLOT_SIZE,
        .tp_frame_nr = N_SLOTS,
    };

    return af_packet_state_set(state, SOL_PACKET, PACKET_VERSION,
                               TPACKET_V2) == 0 &&
           /* Nonzero: queue frames that are longer than a slot */
           af_packet_state_set(state, SOL_PACKET, PACKET_COPY_THRESH,
                               1) == 0 &&
           setsockopt(af_packet_state_fd(state), SOL_PACKET, PACKET_RX_RING,
                      &req, sizeof(req)) == 0;
}

static void ring_deallocate(int fd)
{
    struct tpacket_req none = {};

    setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof(none));
}

static void ring_unmap(AfPacketRing *ring)
{
    if (ring->mem) {
        munmap(ring->mem, RING_SIZE);
        ring->mem = NULL;
    }
}

AfPacketRing *af_packet_ring_new(AfPacketState *state)
{
    int fd = af_packet_state_fd(state);
    AfPacketRing *ring;
    void *mem = MAP_FAILED;

    if (ring_allocate(state)) {
        mem = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (mem == MAP_FAILED) {
        ring_deallocate(fd);
        return NULL;
    }
    /* The kernel can't remove a ring that a child process still has mapped */
    qemu_madvise(mem, RING_SIZE, QEMU_MADV_DONTFORK);

    ring = g_new0(AfPacketRing, 1);
    ring->fd = fd;
    ring->mem = mem;
    return ring;
}

size_t af_packet_ring_stop(AfPacketRing *ring)
{
    size_t n = 0;

    if (!ring->mem) {
        return 0;
    }
    while (n < N_SLOTS && af_packet_ring_status(ring) & TP_STATUS_USER) {
        af_packet_ring_advance(ring);
        n++;
    }
    ring_unmap(ring);
    ring_deallocate(ring->fd);
    return n;
}

void af_packet_ring_free(AfPacketRing *ring)
{
    if (ring) {
        ring_unmap(ring);
        g_free(ring);
    }
}
