/*
 * QTest helpers: frames whose checksum, or more, is left to a network card
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What fails here fails the test, unless a return value says otherwise.
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

/* Send what is in @p by a socket that has such headers. */
void payload_send(const Payload *p, int fd);

/* Receive from a socket with headers as those of @p. */
void payload_recv(Payload *p, int fd);

/* Read a record.  Filters say 0 of headers that the netdev doesn't have. */
void payload_read(Payload *p, Relay *relay);

/* Write a record that says @stated of its header's length. */
void payload_write(const Payload *p, Relay *relay, uint32_t stated);

size_t ip_hlen(const Protocol *proto);

size_t l4_hlen(const Protocol *proto);

/* Where in a frame IP starts */
size_t ip_start(const Tags *tags);

/*
 * Make a frame with @data_len bytes of data, whose checksum is left to a
 * network card, and which the card is to cut into segments of @gso_size
 * unless that is 0.
 */
void payload_fill(Payload *p, const Protocol *proto, const Tags *tags,
                  size_t data_len, size_t gso_size);

/* Finish the checksum of @p, as a network card would. */
void payload_complete(Payload *p);

void expect_same_frame(Payload *got, Payload *expected);

void expect_same_vnet_hdr(const Payload *got, const Payload *expected);

#endif
