/*
 * Test helpers: frames composed of layers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Their checksums are calculated byte by byte, independently of the code under
 * test.
 */
#ifndef TESTS_UNIT_AF_PACKET_LAYERS_H
#define TESTS_UNIT_AF_PACKET_LAYERS_H

#define TCP 6
#define UDP 17
#define GRE 47
#define SCTP 132

#define LAYERS_MAX 12

typedef enum Layer {
    END,
    ETH,
    TAG,
    QINQ_TAG,
    MPLS,         /* two labels */
    IP4,
    IP4_OPTIONS,
    IP4_BIG,      /* a length of 0 */
    IP6,
    IP6_BIG,
    IP6_OPTIONS,  /* hop-by-hop and destination options */
    IP6_ROUTE,    /* type 0, with two hops */
    IP6_SEGMENTS, /* type 4, with two hops */
    IP6_ATOMIC,   /* an atomic fragment */
    L4_UDP,
    L4_UDP_NONE,  /* without a checksum */
    L4_TCP,
    L4_SCTP,
    VXLAN,
    VXLAN_GPE,
    GENEVE,       /* with 8 bytes of options */
    GRE_PLAIN,
    GRE_CSUM,
    GRE_FULL,     /* with checksum, key, sequence number */
} Layer;

/* A header with a checksum */
typedef struct Header {
    int proto;
    uint8_t *start;
    uint8_t *field;
    size_t len;           /* without padding */
    const uint8_t *src;   /* of the pseudo header */
    const uint8_t *dst;
    size_t addr_len;
} Header;

/* Built from the end, which is the end of readable memory. */
typedef struct Frame {
    uint8_t *mem;
    uint8_t *end;
    uint8_t *start;
    size_t padding;
    int next;             /* protocol or ethertype of the layer at start */
    int n;                /* headers, from the innermost to the outermost */
    int n_addressed;      /* of which the addresses are known */
    Header headers[LAYERS_MAX];
} Frame;

/* Frames of all kinds that have a checksum */
#define N_LAYER_STACKS 51
extern const Layer layer_stacks[N_LAYER_STACKS][LAYERS_MAX];

/* Big-endian words */
void put_16(uint8_t *p, unsigned value);
unsigned get_16(const uint8_t *p);

/* Ones' complement sum of @sum and @data.  Returns: the sum, never 0x10000 */
uint32_t add_bytes(uint32_t sum, const uint8_t *data, size_t len);

/* CRC32c */
uint32_t crc_bytes(const uint8_t *data, size_t len);

/* The sum of the pseudo header, 0 if there is none */
uint32_t header_pseudo_sum(const Header *h);

/* Write the complete checksum */
void header_put_complete(const Header *h);

/* Write the partial checksum that the kernel leaves to a network card */
void header_put_partial(const Header *h);

/* Returns: the names of @layers, up to END; free with g_free() */
char *layers_name(const Layer *layers);

/* Allocate an empty frame: reading beyond its end crashes */
void frame_alloc(Frame *f);

void frame_free(Frame *f);

/* Make a frame of @layers, up to END, with complete checksums */
void frame_build(Frame *f, const Layer *layers, size_t payload,
                 size_t padding);

/* Complete all checksums */
void frame_complete(Frame *f);

size_t frame_len(const Frame *f);

/* Put @len bytes in front.  Returns: where they are, set to 0 */
uint8_t *frame_push(Frame *f, size_t len);

#endif
