/*
 * Reinsertion of VLAN tags that the kernel has stripped from frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef CHARDEV_AF_PACKET_FRAME_H
#define CHARDEV_AF_PACKET_FRAME_H

/* Offset and length of the VLAN tag in a frame, in bytes */
#define AF_PACKET_VLAN_OFFSET 12
#define AF_PACKET_VLAN_LEN 4

/**
 * af_packet_frame_put_vlan:
 * @buf: a vnet header of @vnet_hdr_len bytes, followed by a frame of at least
 *     AF_PACKET_VLAN_OFFSET bytes and preceded by AF_PACKET_VLAN_LEN bytes of
 *     headroom
 * @vnet_hdr_len: length of the vnet header in bytes, 0 if there is none
 * @tpid: tag protocol identifier, such as 0x8100
 * @tci: priority and VLAN ID; 0 is a valid tag
 *
 * Insert a VLAN tag and adjust the offsets in the vnet header.
 *
 * Returns: the new start, AF_PACKET_VLAN_LEN bytes before @buf; NULL if the
 * new checksum offset does not fit into the vnet header.
 */
uint8_t *af_packet_frame_put_vlan(uint8_t *buf, size_t vnet_hdr_len,
                                  uint16_t tpid, uint16_t tci);

#endif
