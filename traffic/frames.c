/*
 * Frames with a number, and what is found of them where they arrive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames longer than an Ethernet frame are GSO frames, and have a vnet header.
 * A sealed frame is filled with what depends on its number, and has a checksum
 * over that; others cost less to make and to check.
 */
#include "traffic.h"

#include <arpa/inet.h>
#include <string.h>

#define ETHERTYPE 0x88b5            /* IEEE 802 Local Experimental */
#define TYPE_AT (2 * ETH_ALEN)
#define CHECKSUM_AT ETH_HLEN
#define SEALED_AT (CHECKSUM_AT + 8)
#define TCP_AT (ETH_HLEN + 20)
#define NUMBER_AT (TCP_AT + 4)      /* TCP's own, where there is TCP */
#define SHORTEST (NUMBER_AT + 4)
#define FILLING 65536

Tally tally;

bool is_gso(size_t size)
{
    return size > ETH_FRAME_LEN;
}

static size_t vnet_len_of(size_t size)
{
    return is_gso(size) ? VNET_LEN : 0;
}

static uint16_t ethertype_of(size_t size)
{
    return htons(is_gso(size) ? ETH_P_IP : ETHERTYPE);
}

/* ---- making them */

static void put_tcp(uint8_t *ethernet, size_t size)
{
    const uint8_t addresses[8] = { 10, 0, 0, 1, 10, 0, 0, 2 };

    ethernet[ETH_HLEN] = 0x45;
    *(uint16_t *)(ethernet + ETH_HLEN + 2) = htons(size - ETH_HLEN);
    ethernet[ETH_HLEN + 8] = 64;
    ethernet[ETH_HLEN + 9] = IPPROTO_TCP;
    memcpy(ethernet + ETH_HLEN + 12, addresses, sizeof(addresses));
    ethernet[TCP_AT + 12] = 5 << 4;
}

static void put_gso_header(uint8_t *payload)
{
    const struct virtio_net_hdr header = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = TCP_AT + 20,
        .gso_size = 1460,
        .csum_start = TCP_AT,
        .csum_offset = 16,
    };

    memcpy(payload, &header, sizeof(header));
}

/* Return a frame that may be numbered, again and again. */
Frame make_frame(size_t size)
{
    static const uint8_t addresses[] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
    size_t vnet_len = vnet_len_of(size);
    Frame frame = { allocate(vnet_len + size), vnet_len + size };
    uint8_t *ethernet = frame.payload + vnet_len;
    uint16_t type = ethertype_of(size);

    memset(ethernet, 0xa5, size);
    memcpy(ethernet, addresses, sizeof(addresses));
    memcpy(ethernet + TYPE_AT, &type, sizeof(type));
    if (is_gso(size)) {
        put_gso_header(frame.payload);
        put_tcp(ethernet, size);
    }
    return frame;
}

void number_frame(Frame *frame, size_t size, uint32_t number)
{
    number = htonl(number);
    memcpy(frame->payload + frame->len - size + NUMBER_AT, &number,
           sizeof(number));
}

/* ---- sealing them */

static uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15;
    return sum ^ sum >> 29;
}

/* Of all that comes after it, and of the length */
static uint64_t checksum(const uint8_t *frame, size_t len)
{
    uint64_t word, sum = len;
    size_t i;

    for (i = SEALED_AT; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(&word, frame + i, sizeof(word));
        sum = mix(sum, word);
    }
    word = 0;
    memcpy(&word, frame + i, len - i);
    return mix(sum, word);
}

/* Where the filling of a frame begins in this depends on its number. */
static const uint8_t *filling(uint32_t number)
{
    static uint8_t all[FILLING + ETH_FRAME_LEN];
    uint64_t word = 1;
    size_t i;

    for (i = 0; !all[0] && i < sizeof(all); i++) {
        word = mix(word, i);
        all[sizeof(all) - 1 - i] = word >> 56 | 1;
    }
    return all + number % FILLING;
}

/* Make of a frame, of at least that size and no GSO, a sealed one. */
void seal_frame(Frame *frame, size_t size, uint32_t number)
{
    uint64_t sum;

    frame->len = size;
    memcpy(frame->payload + SEALED_AT, filling(number), size - SEALED_AT);
    number_frame(frame, size, number);
    sum = checksum(frame->payload, size);
    memcpy(frame->payload + CHECKSUM_AT, &sum, sizeof(sum));
}

static bool is_sealed(const uint8_t *frame, size_t len)
{
    uint64_t sum = checksum(frame, len);

    return memcmp(frame + CHECKSUM_AT, &sum, sizeof(sum)) == 0;
}

/* ---- checking them */

static void tally_number(uint32_t number)
{
    if (number < tally.next) {
        tally.disordered++;
    } else {
        tally.missing += number - tally.next;
        tally.next = number + 1ull;
    }
}

/* Size 0 is that of any sealed frame. */
void tally_frame(const uint8_t *payload, size_t len, size_t size)
{
    const uint8_t *ethernet = payload + vnet_len_of(size);
    uint16_t type = ethertype_of(size);
    uint32_t number;

    if (len < SHORTEST || memcmp(ethernet + TYPE_AT, &type, sizeof(type))) {
        tally.foreign++;
        return;
    }
    tally.bytes += len;
    if (size ? len != vnet_len_of(size) + size : !is_sealed(payload, len)) {
        tally.corrupt++;
        return;
    }
    memcpy(&number, ethernet + NUMBER_AT, sizeof(number));
    tally_number(ntohl(number));
}
