/*
 * Putting back into a frame what the kernel reports beside it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "af-packet-frame.h"

/* The offsets count from the start of the frame, which the tag lengthens */
static void vnet_hdr_move(uint8_t *vnet_hdr)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, vnet_hdr, sizeof(hdr));
    if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        hdr.csum_start += AF_PACKET_VLAN_LEN;
    }
    if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        hdr.hdr_len += AF_PACKET_VLAN_LEN;
    }
    memcpy(vnet_hdr, &hdr, sizeof(hdr));
}

uint8_t *af_packet_frame_put_vlan(uint8_t *buf, size_t vnet_hdr_len,
                                  uint16_t tpid, uint16_t tci)
{
    size_t before = vnet_hdr_len + AF_PACKET_VLAN_OFFSET;
    uint8_t *start = buf - AF_PACKET_VLAN_LEN;

    memmove(start, buf, before);
    stw_be_p(start + before, tpid);
    stw_be_p(start + before + sizeof(tpid), tci);
    if (vnet_hdr_len) {
        vnet_hdr_move(start);
    }
    return start;
}

/* The Internet checksum (RFC 1071) over @len bytes */
static uint16_t internet_checksum(const uint8_t *data, size_t len)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i + 1 < len; i += 2) {
        sum += lduw_be_p(data + i);
    }
    if (len % 2) {
        sum += data[len - 1] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

bool af_packet_frame_complete_csum(uint8_t *frame, size_t len,
                                   const struct virtio_net_hdr *vnet_hdr)
{
    size_t start = vnet_hdr->csum_start;
    size_t field = start + vnet_hdr->csum_offset;
    uint16_t sum;

    if (!(vnet_hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        return true;
    }
    if (field + sizeof(sum) > len) {
        return false;
    }

    sum = internet_checksum(frame + start, len - start);
    /* 0 would mean "no checksum" in UDP; 0xffff is its equal */
    stw_be_p(frame + field, sum ?: 0xffff);
    return true;
}
