/*
 * Reinsertion of VLAN tags that the kernel has stripped from frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-frame.h"

/*
 * Adjust offsets, which count from the start of the frame, to the new tag.
 * Returns: false if csum_start would overflow.
 */
static bool vnet_hdr_move(uint8_t *vnet_hdr)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, vnet_hdr, sizeof(hdr));
    if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        if (hdr.csum_start > UINT16_MAX - AF_PACKET_VLAN_LEN) {
            return false;
        }
        hdr.csum_start += AF_PACKET_VLAN_LEN;
    }
    if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        /* hdr_len is only a hint, so it can be clamped */
        hdr.hdr_len = MIN(hdr.hdr_len + AF_PACKET_VLAN_LEN, UINT16_MAX);
    }
    memcpy(vnet_hdr, &hdr, sizeof(hdr));
    return true;
}

uint8_t *af_packet_frame_put_vlan(uint8_t *buf, size_t vnet_hdr_len,
                                  uint16_t tpid, uint16_t tci)
{
    size_t before = vnet_hdr_len + AF_PACKET_VLAN_OFFSET;
    uint8_t *start = buf - AF_PACKET_VLAN_LEN;

    memmove(start, buf, before);
    stw_be_p(start + before, tpid);
    stw_be_p(start + before + sizeof(tpid), tci);
    if (vnet_hdr_len && !vnet_hdr_move(start)) {
        return NULL;
    }
    return start;
}
