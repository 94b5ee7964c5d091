/*
 * Sources that receive frames from a packet socket's ring
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "traffic.h"

#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define RING_BYTES (4 * 1024 * 1024)
#define RING_BLOCK (256 * 1024)
#define RETIRE_MS 1

static int fd;
static uint8_t *ring;
static uint64_t turn;

static void open_ring(int version, const void *request, size_t len)
{
    set_option(fd, SOL_PACKET, PACKET_VERSION, version);
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, request, len) < 0) {
        fail("PACKET_RX_RING");
    }
    ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) {
        fail("mmap");
    }
}

static bool is_ours(const uint32_t *status)
{
    return __atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* Wait until a slot or block is ours.  Returns: false if it will not be. */
static bool await_status(const uint32_t *status)
{
    while (!is_ours(status)) {
        if (!await_readable(fd)) {
            return false;
        }
    }
    return true;
}

static void give_back(uint32_t *status)
{
    __atomic_store_n(status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* In a ring, a vnet header stands right before the Ethernet header. */
static void pass_ring_frame(const uint8_t *ethernet, size_t len)
{
    size_t vnet_len = is_gso(pass.size) ? VNET_LEN : 0;

    pass_frame(ethernet - vnet_len, len + vnet_len);
}

static size_t slot_bytes(void)
{
    return is_gso(pass.size) ? 128 * 1024 : 2048;
}

static void open_ring2(int socket)
{
    const struct tpacket_req request = {
        .tp_block_size = RING_BLOCK,
        .tp_block_nr = RING_BYTES / RING_BLOCK,
        .tp_frame_size = slot_bytes(),
        .tp_frame_nr = RING_BYTES / slot_bytes(),
    };

    fd = socket;
    open_ring(TPACKET_V2, &request, sizeof(request));
}

static struct tpacket2_hdr *slot(uint64_t number)
{
    return (struct tpacket2_hdr *)(ring + number * slot_bytes() % RING_BYTES);
}

static bool pass_ring2(void)
{
    uint64_t first = turn;
    struct tpacket2_hdr *header = slot(turn);

    if (!await_status(&header->tp_status)) {
        return false;
    }
    do {
        pass_ring_frame((uint8_t *)header + header->tp_mac,
                        header->tp_snaplen);
        header = slot(++turn);
    } while (turn < first + BATCH && is_ours(&header->tp_status));
    pass_flush();
    for (; first < turn; first++) {
        give_back(&slot(first)->tp_status);
    }
    return true;
}

static void open_ring3(int socket)
{
    const struct tpacket_req3 request = {
        .tp_block_size = RING_BLOCK,
        .tp_block_nr = RING_BYTES / RING_BLOCK,
        .tp_frame_size = 2048,
        .tp_frame_nr = RING_BYTES / 2048,
        .tp_retire_blk_tov = RETIRE_MS,
    };

    fd = socket;
    open_ring(TPACKET_V3, &request, sizeof(request));
}

static bool pass_ring3(void)
{
    uint8_t *next = ring + turn * RING_BLOCK % RING_BYTES;
    struct tpacket_hdr_v1 *block =
        &((struct tpacket_block_desc *)next)->hdr.bh1;
    struct tpacket3_hdr *header;
    uint32_t i;

    if (!await_status(&block->block_status)) {
        return false;
    }
    next += block->offset_to_first_pkt;
    for (i = 0; i < block->num_pkts; i++) {
        header = (struct tpacket3_hdr *)next;
        pass_ring_frame(next + header->tp_mac, header->tp_snaplen);
        next += header->tp_next_offset;
    }
    pass_flush();
    give_back(&block->block_status);
    turn++;
    return true;
}

const End ring2 = { "ring2", true, open_ring2, .pass = pass_ring2 };
const End ring3 = { "ring3", true, open_ring3, .pass = pass_ring3 };
