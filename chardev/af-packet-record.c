/*
 * Records that carry L2 frames in a byte stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "af-packet-record.h"

uint8_t *af_packet_record_put_hdr(uint8_t *payload, size_t len,
                                  size_t vnet_hdr_len)
{
    uint8_t *head = payload - af_packet_record_hdr_len(vnet_hdr_len);

    assert(len <= AF_PACKET_RECORD_MAX);
    stl_be_p(head, len);
    if (vnet_hdr_len) {
        stl_be_p(head + sizeof(uint32_t), vnet_hdr_len);
    }
    return head;
}

/* Word @i of the record's header; ldl_be_p() would sign-extend it */
static uint32_t splitter_head_word(const AfPacketSplitter *sp, int i)
{
    return ldl_be_p(sp->head + i * sizeof(uint32_t));
}

static void splitter_advance(struct iovec *in, size_t len)
{
    in->iov_base = (uint8_t *)in->iov_base + len;
    in->iov_len -= len;
}

/*
 * Complete the @want bytes at @dst, of which @have are there, from @in.
 * Returns: true once they are complete.
 */
static bool splitter_gather(uint8_t *dst, size_t *have, size_t want,
                            struct iovec *in)
{
    size_t len = MIN(want - *have, in->iov_len);

    memcpy(dst + *have, in->iov_base, len);
    *have += len;
    splitter_advance(in, len);
    return *have == want;
}

/* Check that the lengths in the record's header are valid. */
static bool splitter_check_head(const AfPacketSplitter *sp, Error **errp)
{
    size_t len = splitter_head_word(sp, 0);
    size_t stated;

    if (len > AF_PACKET_RECORD_MAX) {
        error_setg(errp, "record length %zu exceeds the limit of %d: not "
                   "a packet stream%s", len, AF_PACKET_RECORD_MAX,
                   sp->vnet_hdr_len ? "" : ", or one with vnet headers");
        return false;
    }
    if (!sp->vnet_hdr_len) {
        return true;
    }

    stated = splitter_head_word(sp, 1);
    if (stated && stated != sp->vnet_hdr_len) {
        error_setg(errp, "record states a vnet header of %zu bytes, the "
                   "socket has %zu: 'vnet_hdr_support' of the filter must "
                   "match PACKET_VNET_HDR_SZ of the socket",
                   stated, sp->vnet_hdr_len);
        return false;
    }
    return true;
}

int af_packet_splitter_next(AfPacketSplitter *sp, struct iovec *in,
                            struct iovec *payload, Error **errp)
{
    size_t head_len = af_packet_record_hdr_len(sp->vnet_hdr_len);
    size_t len;

    if (sp->head_have < head_len &&
        !splitter_gather(sp->head, &sp->head_have, head_len, in)) {
        return 0;
    }
    if (!splitter_check_head(sp, errp)) {
        return -1;
    }

    len = splitter_head_word(sp, 0);
    if (!sp->partial_have && in->iov_len >= len) {
        *payload = (struct iovec) { in->iov_base, len };
        splitter_advance(in, len);
    } else {
        if (!sp->partial) {
            sp->partial = g_malloc(AF_PACKET_RECORD_MAX);
        }
        if (!splitter_gather(sp->partial, &sp->partial_have, len, in)) {
            return 0;
        }
        *payload = (struct iovec) { sp->partial, len };
    }

    sp->head_have = 0;
    sp->partial_have = 0;
    return 1;
}

bool af_packet_splitter_reuses(const AfPacketSplitter *sp,
                               const struct iovec *payload)
{
    return payload->iov_base == sp->partial;
}

bool af_packet_splitter_reset(AfPacketSplitter *sp)
{
    bool partly = sp->head_have > 0;

    g_clear_pointer(&sp->partial, g_free);
    sp->head_have = 0;
    sp->partial_have = 0;
    return partly;
}
