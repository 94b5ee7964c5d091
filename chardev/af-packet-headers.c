/*
 * Parser for the headers of a frame that have a checksum
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <netinet/in.h>
#include <linux/if_ether.h>
#include "qemu/bswap.h"
#include "af-packet-headers.h"

#define IP_HEADERS_MAX 8      /* nesting depth */
#define EXTENSIONS_MAX 16     /* per IPv6 header */

#define ROUTE_SEGMENTS 4      /* RFC 8754: the last segment comes first */

#define GRE_CHECKSUM 0x8000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_UNKNOWN 0x4fff    /* source routing, other versions */

#define VXLAN_HAS_VNI 0x08
#define VXLAN_HAS_PROTO 0x04  /* VXLAN-GPE */

/*
 * Parser state.  Functions that skip a header return the type of the next
 * header, which is an ethertype or an IP protocol, or NOTHING.
 */
typedef struct Walk {
    AfPacketHeaders *headers;
    const uint8_t *frame;
    size_t at;     /* offset of the next header */
    size_t end;    /* of the innermost packet, never beyond the frame */
    bool whole;    /* no packet so far is a fragment or truncated */
    size_t src;
    size_t dst;
    size_t addr_len;
} Walk;

#define NOTHING -1

/* Returns: the next @len bytes, or NULL if there are fewer. */
static const uint8_t *peek(const Walk *w, size_t len)
{
    return w->end - w->at >= len ? w->frame + w->at : NULL;
}

/* A packet of @len bytes starts here, but may be truncated. */
static void enter_packet(Walk *w, size_t len)
{
    if (len > w->end - w->at) {
        w->whole = false;
    } else {
        w->end = w->at + len;
    }
}

static bool is_vlan_tag(int ethertype)
{
    return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD ||
           ethertype == ETH_P_QINQ1 || ethertype == ETH_P_QINQ2 ||
           ethertype == ETH_P_QINQ3;
}

static int skip_ethernet(Walk *w)
{
    size_t skip = 2 * ETH_ALEN;
    const uint8_t *p;
    int type;

    do {
        p = peek(w, skip + sizeof(uint16_t));
        if (!p) {
            return NOTHING;
        }
        type = lduw_be_p(p + skip);
        w->at += skip + sizeof(uint16_t);
        skip = sizeof(uint16_t); /* TCI of a tag */
    } while (is_vlan_tag(type));
    return type;
}

/* MPLS has no payload type: assume IP and use its version field. */
static int skip_mpls(Walk *w)
{
    const uint8_t *p;
    bool last;

    do {
        p = peek(w, 4);
        if (!p) {
            return NOTHING;
        }
        last = p[2] & 1;
        w->at += 4;
    } while (!last);

    p = peek(w, 1);
    switch (p ? *p >> 4 : 0) {
    case 4:
        return ETH_P_IP;
    case 6:
        return ETH_P_IPV6;
    default:
        return NOTHING;
    }
}

static int skip_ipv4(Walk *w)
{
    const uint8_t *p = peek(w, 20);
    size_t hlen, len, fragment;

    if (!p || *p >> 4 != 4) {
        return NOTHING;
    }
    hlen = (*p & 0xf) * 4;
    /* 0 if the length exceeds 16 bits: a super-frame (BIG TCP, Linux 6.3) */
    len = lduw_be_p(p + 2) ?: w->end - w->at;
    if (hlen < 20 || len < hlen || !peek(w, hlen)) {
        return NOTHING;
    }

    enter_packet(w, len);
    fragment = lduw_be_p(p + 6);
    if (fragment & 0x1fff) {
        return NOTHING;
    }
    if (fragment & 0x2000) {
        w->whole = false;
    }
    w->src = w->at + 12;
    w->dst = w->at + 16;
    w->addr_len = 4;
    w->at += hlen;
    return p[9];
}

/* The pseudo header uses the final destination of a routing header. */
static void follow_route(Walk *w, const uint8_t *p, size_t len)
{
    const int type = p[2], left = p[3];

    if (left && len >= 8 + 16) {
        w->dst = type == ROUTE_SEGMENTS ? w->at + 8 : w->at + len - 16;
    }
}

static int skip_ipv6_extensions(Walk *w, int next)
{
    const uint8_t *p;
    size_t len;
    int i;

    for (i = 0; i < EXTENSIONS_MAX; i++) {
        if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS &&
            next != IPPROTO_ROUTING && next != IPPROTO_FRAGMENT &&
            next != IPPROTO_MH) {
            return next;
        }
        p = peek(w, 8);
        len = !p || next == IPPROTO_FRAGMENT ? 8 : (p[1] + 1) * 8;
        p = peek(w, len);
        if (!p) {
            return NOTHING;
        }
        if (next == IPPROTO_ROUTING) {
            follow_route(w, p, len);
        } else if (next == IPPROTO_FRAGMENT) {
            if (lduw_be_p(p + 2) & 0xfff8) {
                return NOTHING;
            }
            w->whole = w->whole && !(p[3] & 1);
        }
        next = p[0];
        w->at += len;
    }
    return NOTHING;
}

static int skip_ipv6(Walk *w)
{
    const uint8_t *p = peek(w, 40);
    size_t len;

    if (!p || *p >> 4 != 6) {
        return NOTHING;
    }
    len = lduw_be_p(p + 4);
    w->src = w->at + 8;
    w->dst = w->at + 24;
    w->addr_len = 16;
    w->at += 40;
    /* 0: a super-frame with a jumbo payload option (BIG TCP, Linux 5.19) */
    enter_packet(w, len ?: w->end - w->at);
    return skip_ipv6_extensions(w, p[6]);
}

static int skip_ip(Walk *w, int ethertype)
{
    switch (ethertype) {
    case ETH_P_IP:
        return skip_ipv4(w);
    case ETH_P_IPV6:
        return skip_ipv6(w);
    default:
        return NOTHING;
    }
}

static void add_header(Walk *w, int proto, size_t len, bool has_pseudo)
{
    AfPacketHeaders *headers = w->headers;

    if (headers->n < AF_PACKET_HEADERS_MAX) {
        headers->header[headers->n++] = (AfPacketHeader) {
            .proto = proto,
            .whole = w->whole,
            .start = w->at,
            .len = len,
            .src = has_pseudo ? w->src : 0,
            .dst = has_pseudo ? w->dst : 0,
            .addr_len = has_pseudo ? w->addr_len : 0,
        };
    }
}

/* Returns: the type of the first header in the tunnel. */
static int enter_tunnel(Walk *w, size_t skip, int ethertype)
{
    w->at += skip;
    return ethertype == ETH_P_TEB ? skip_ethernet(w) : ethertype;
}

static bool is_tunnelled(int ethertype)
{
    return ethertype == ETH_P_TEB || ethertype == ETH_P_IP ||
           ethertype == ETH_P_IPV6 || ethertype == ETH_P_MPLS_UC;
}

static int skip_geneve(Walk *w)
{
    const uint8_t *p = peek(w, 8);
    size_t len;

    if (!p || *p >> 6 || p[7] || !is_tunnelled(lduw_be_p(p + 2))) {
        return NOTHING;
    }
    len = 8 + (*p & 0x3f) * 4;
    return peek(w, len) ? enter_tunnel(w, len, lduw_be_p(p + 2)) : NOTHING;
}

static int skip_vxlan(Walk *w)
{
    static const uint16_t gpe[] = { 0, ETH_P_IP, ETH_P_IPV6, ETH_P_TEB };
    const uint8_t *p = peek(w, 8);

    if (!p || !(*p & VXLAN_HAS_VNI) || p[7]) {
        return NOTHING;
    }
    if (!(*p & VXLAN_HAS_PROTO)) {
        return enter_tunnel(w, 8, ETH_P_TEB);
    }
    return p[3] < ARRAY_SIZE(gpe) ? enter_tunnel(w, 8, gpe[p[3]]) : NOTHING;
}

/* Tunnels may use any port, so try every packet that looks like a tunnel. */
static int skip_udp(Walk *w)
{
    const uint8_t *p = peek(w, 8);
    size_t len;
    int inner;

    if (!p) {
        return NOTHING;
    }
    len = lduw_be_p(p + 4);
    if (len < 8 || len > w->end - w->at) {
        len = w->end - w->at;
    }
    add_header(w, IPPROTO_UDP, len, true);
    w->end = w->at + len;
    w->at += 8;
    inner = skip_geneve(w);
    return inner == NOTHING ? skip_vxlan(w) : inner;
}

static int skip_gre(Walk *w)
{
    const uint8_t *p = peek(w, 4);
    size_t len = 4;
    int flags;

    if (!p) {
        return NOTHING;
    }
    flags = lduw_be_p(p);
    len += flags & GRE_CHECKSUM ? 4 : 0;
    len += flags & GRE_KEY ? 4 : 0;
    len += flags & GRE_SEQUENCE ? 4 : 0;
    if (flags & GRE_UNKNOWN || !peek(w, len)) {
        return NOTHING;
    }
    if (flags & GRE_CHECKSUM) {
        add_header(w, IPPROTO_GRE, w->end - w->at, false);
    }
    return enter_tunnel(w, len, lduw_be_p(p + 2));
}

/* Returns: the ethertype of a tunnel's payload, or NOTHING. */
static int skip_transport(Walk *w, int proto)
{
    switch (proto) {
    case IPPROTO_TCP:
        if (peek(w, 20)) {
            add_header(w, proto, w->end - w->at, true);
        }
        return NOTHING;
    case IPPROTO_SCTP:
        if (peek(w, 12)) {
            add_header(w, proto, w->end - w->at, false);
        }
        return NOTHING;
    case IPPROTO_UDP:
        return skip_udp(w);
    case IPPROTO_GRE:
        return skip_gre(w);
    case IPPROTO_IPIP:
        return ETH_P_IP;
    case IPPROTO_IPV6:
        return ETH_P_IPV6;
    case IPPROTO_MPLS:
        return ETH_P_MPLS_UC;
    default:
        return NOTHING;
    }
}

void af_packet_headers_find(AfPacketHeaders *headers, const uint8_t *frame,
                            size_t len)
{
    Walk w = { .headers = headers, .frame = frame, .end = len, .whole = true };
    int type = skip_ethernet(&w), proto, i;

    headers->outer_proto = NOTHING;
    headers->outer_start = 0;
    headers->n = 0;
    for (i = 0; i < IP_HEADERS_MAX && type != NOTHING; i++) {
        if (type == ETH_P_MPLS_UC || type == ETH_P_MPLS_MC) {
            type = skip_mpls(&w);
        }
        proto = skip_ip(&w, type);
        if (i == 0 && proto != NOTHING) {
            headers->outer_proto = proto;
            headers->outer_start = w.at;
        }
        type = skip_transport(&w, proto);
    }
}
