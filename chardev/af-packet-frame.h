/*
 * Putting back into a frame what the kernel reports beside it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A packet socket delivers a frame as the host's stack holds it: its VLAN
 * tag out of band, its checksum perhaps left to a network card that it
 * never meets.  These functions make it what would be seen on the wire.
 */
#ifndef CHARDEV_AF_PACKET_FRAME_H
#define CHARDEV_AF_PACKET_FRAME_H

#include "standard-headers/linux/virtio_net.h"

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
 * Returns: the new start, AF_PACKET_VLAN_LEN bytes before @buf.
 */
uint8_t *af_packet_frame_put_vlan(uint8_t *buf, size_t vnet_hdr_len,
                                  uint16_t tpid, uint16_t tci);

/**
 * af_packet_frame_complete_csum:
 * @frame: the frame
 * @len: its length in bytes
 * @vnet_hdr: what the kernel says of the frame, in the host's byte order
 *
 * Finish a checksum that @vnet_hdr describes as partial, for IPv4 and IPv6,
 * TCP and UDP alike: the field holds the sum of the pseudo header.
 *
 * Returns: false if @vnet_hdr points out of the frame; it is unchanged then.
 */
bool af_packet_frame_complete_csum(uint8_t *frame, size_t len,
                                   const struct virtio_net_hdr *vnet_hdr);

#endif
