/*
 * QTest helpers: frames with offloads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any failure here fails the test, unless it is reported by a return value.
 */
#ifndef TESTS_QTEST_AF_PACKET_PAYLOAD_H
#define TESTS_QTEST_AF_PACKET_PAYLOAD_H

#include <linux/if_ether.h>
#include "af-packet-relay.h"
#include "standard-headers/linux/virtio_net.h"

#define VNET_HDR_LEN sizeof(struct virtio_net_hdr)
#define VNET_HDR_MAX 12
#define TAGS_MAX 8

#define MTU_MAX 65535
#define LEN_MAX (ETH_HLEN + TAGS_MAX + MTU_MAX)

/* A vnet header, if there is one, and a frame */
typedef struct Payload {
    uint8_t buf[VNET_HDR_MAX + LEN_MAX];
    size_t vnet_hdr_len;
    size_t len;             /* of the frame */
} Payload;

/* VLAN tags */
typedef struct Tags {
    const char *name;
    size_t len;
    uint8_t bytes[TAGS_MAX];
} Tags;

#define N_TAGS 6
extern const Tags all_tags[N_TAGS];

typedef struct Protocol {
    const char *name;
    bool v6, tcp;
    uint8_t gso_type;
} Protocol;

#define N_PROTOCOLS 4
extern const Protocol protocols[N_PROTOCOLS];

/* Returns: false if the kernel has no headers of this length. */
bool packet_try_vnet_hdr(int fd, int len);

uint8_t *payload_frame(Payload *p);

struct virtio_net_hdr payload_vnet_hdr(const Payload *p);

/* Send @p through a socket with vnet headers of this length. */
void payload_send(const Payload *p, int fd);

/* Receive @p from a socket with vnet headers of this length. */
void payload_recv(Payload *p, int fd);

/* Read a record.  Filters state 0 if the netdev has no vnet headers. */
void payload_read(Payload *p, Relay *relay);

/* Write a record that states @stated as the length of its vnet header. */
void payload_write(const Payload *p, Relay *relay, uint32_t stated);

size_t ip_hlen(const Protocol *proto);

size_t l4_hlen(const Protocol *proto);

/* Returns: the offset of the IP header in a frame */
size_t ip_start(const Tags *tags);

/*
 * Create a frame with @data_len bytes of data, with checksum offload, and with
 * segmentation offload if @gso_size is not 0.
 */
void payload_fill(Payload *p, const Protocol *proto, const Tags *tags,
                  size_t data_len, size_t gso_size);

/* Complete the checksum of @p, like a network card. */
void payload_complete(Payload *p);

void expect_same_frame(Payload *got, Payload *expected);

void expect_same_vnet_hdr(const Payload *got, const Payload *expected);

#endif
