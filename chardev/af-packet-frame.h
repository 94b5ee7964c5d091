/*
 * Putting back into a frame the VLAN tag that the kernel reports beside it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef CHARDEV_AF_PACKET_FRAME_H
#define CHARDEV_AF_PACKET_FRAME_H

/* Where a VLAN tag stands in a frame, and its length, in bytes */
#define AF_PACKET_VLAN_OFFSET 12
#define AF_PACKET_VLAN_LEN 4

/**
 * af_packet_frame_put_vlan:
 * @buf: a vnet header of @vnet_hdr_len bytes, then a frame of at least
 *     AF_PACKET_VLAN_OFFSET bytes; AF_PACKET_VLAN_LEN bytes of room before
 * @vnet_hdr_len: length of the vnet header in bytes, 0 if there is none
 * @tpid: protocol of the tag, such as 0x8100
 * @tci: priority and VLAN id; 0 is a tag too
 *
 * Insert a VLAN tag, and move the offsets in the vnet header along.
 *
 * Returns: the new start, AF_PACKET_VLAN_LEN bytes before @buf; NULL if the
 * checksum of the frame starts so late that the vnet header can't say so.
 */
uint8_t *af_packet_frame_put_vlan(uint8_t *buf, size_t vnet_hdr_len,
                                  uint16_t tpid, uint16_t tci);

#endif
