/*
 * Queue of packet records between two byte streams
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "packet-records.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"

static size_t record_head_len(const PacketRecords *records)
{
    return (records->vnet_hdr ? 2 : 1) * sizeof(uint32_t);
}

/* Word @i of a record's header; ldl_be_p() would sign-extend it */
static uint32_t record_head_word(const uint8_t *record, int i)
{
    return ldl_be_p(record + i * sizeof(uint32_t));
}

/* Check that the lengths in a record's header are valid. */
static bool record_check_head(const PacketRecords *records,
                              const uint8_t *record, Error **errp)
{
    uint32_t len = record_head_word(record, 0);
    uint32_t vnet_hdr_len;

    if (len > NET_BUFSIZE) {
        error_setg(errp, "record length %" PRIu32 " exceeds the limit of %d: "
                   "not a packet stream, or one %s vnet headers",
                   len, NET_BUFSIZE, records->vnet_hdr ? "without" : "with");
        return false;
    }
    if (!records->vnet_hdr) {
        return true;
    }

    vnet_hdr_len = record_head_word(record, 1);
    if (vnet_hdr_len > MIN(len, sizeof(struct virtio_net_hdr_v1_hash))) {
        error_setg(errp, "record of %" PRIu32 " bytes states a vnet header of "
                   "%" PRIu32 " bytes: not a packet stream, or one without "
                   "vnet headers", len, vnet_hdr_len);
        return false;
    }
    return true;
}

/*
 * The length of a record of which @have bytes were received; as long as its
 * header is incomplete, the length of the header.
 */
static size_t record_len(const PacketRecords *records, const uint8_t *record,
                         size_t have)
{
    size_t head_len = record_head_len(records);

    return head_len + (have < head_len ? 0 : record_head_word(record, 0));
}

static struct iovec iov_take(struct iovec *in, size_t len)
{
    struct iovec taken = { in->iov_base, len };

    in->iov_base = (uint8_t *)in->iov_base + len;
    in->iov_len -= len;
    return taken;
}

static void records_append(PacketRecords *records, struct iovec iov)
{
    g_byte_array_append(records->bytes, iov.iov_base, iov.iov_len);
}

/* Complete the partial record, as far as @in suffices. */
static bool records_complete(PacketRecords *records, struct iovec *in,
                             Error **errp)
{
    size_t head_len = record_head_len(records);
    size_t have, len;

    while ((have = records->bytes->len - records->whole)) {
        const uint8_t *record = records->bytes->data + records->whole;

        if (have >= head_len && !record_check_head(records, record, errp)) {
            return false;
        }
        len = record_len(records, record, have);
        if (have == len) {
            records->whole += len;
            records->n_records++;
            records->n_bytes += len;
        } else if (in->iov_len) {
            records_append(records, iov_take(in, MIN(len - have,
                                                     in->iov_len)));
        } else {
            break;
        }
    }
    return true;
}

/*
 * Set @len to the length of the whole records in the @max bytes at @buf, and
 * @count to their number.  Returns: false if an invalid record follows.
 */
static bool records_find(const PacketRecords *records, const uint8_t *buf,
                         size_t max, size_t *len, size_t *count, Error **errp)
{
    size_t head_len = record_head_len(records);

    *len = 0;
    *count = 0;
    while (max - *len >= head_len) {
        const uint8_t *record = buf + *len;
        size_t next;

        if (!record_check_head(records, record, errp)) {
            return false;
        }
        next = record_len(records, record, head_len);
        if (next > max - *len) {
            break;
        }
        *len += next;
        ++*count;
    }
    return true;
}

/* Returns: the start of the record that contains byte @pos of whole records */
static size_t records_floor(const PacketRecords *records, const uint8_t *buf,
                            size_t pos)
{
    size_t start, count;

    records_find(records, buf, pos, &start, &count, &error_abort);
    return start;
}

bool packet_records_next(PacketRecords *records, struct iovec *in,
                         struct iovec *whole, Error **errp)
{
    size_t len, count;
    bool ok;

    *whole = (struct iovec) { };
    if (!records_complete(records, in, errp)) {
        packet_records_drop_partial(records);
        return false;
    }
    ok = records_find(records, in->iov_base, in->iov_len, &len, &count, errp);
    *whole = iov_take(in, len);
    records->n_records += count;
    records->n_bytes += len;
    return ok;
}

size_t packet_records_count(const PacketRecords *records, struct iovec whole)
{
    size_t len, count;

    records_find(records, whole.iov_base, whole.iov_len, &len, &count,
                 &error_abort);
    return count;
}

void packet_records_put(PacketRecords *records, struct iovec whole,
                        size_t sent)
{
    size_t start;

    if (!whole.iov_len) {
        return;
    }
    assert(records->bytes->len == (sent ? 0 : records->whole));
    start = records_floor(records, whole.iov_base, sent);
    iov_take(&whole, start);
    records_append(records, whole);
    records->whole = records->bytes->len;
    records->sent += sent - start;
}

void packet_records_put_partial(PacketRecords *records, struct iovec part)
{
    assert(!part.iov_len || records->bytes->len == records->whole);
    records_append(records, part);
}

bool packet_records_drop_partial(PacketRecords *records)
{
    bool partly = records->bytes->len > records->whole;

    g_byte_array_set_size(records->bytes, records->whole);
    return partly;
}

struct iovec packet_records_waiting(const PacketRecords *records)
{
    if (records->sent == records->whole) {
        return (struct iovec) { };
    }
    return (struct iovec) {
        records->bytes->data + records->sent,
        records->whole - records->sent,
    };
}

void packet_records_sent(PacketRecords *records, size_t len)
{
    records->sent += len;
    assert(records->sent <= records->whole);
    if (records->sent == records->whole) {
        g_byte_array_remove_range(records->bytes, 0, records->sent);
        records->whole = 0;
        records->sent = 0;
    }
}

bool packet_records_rewind(PacketRecords *records)
{
    size_t start = records_floor(records, records->bytes->data, records->sent);
    bool torn = start < records->sent;

    records->sent = start;
    return torn;
}

void packet_records_init(PacketRecords *records, bool vnet_hdr)
{
    *records = (PacketRecords) {
        .vnet_hdr = vnet_hdr,
        .bytes = g_byte_array_new(),
    };
}

void packet_records_destroy(PacketRecords *records)
{
    g_clear_pointer(&records->bytes, g_byte_array_unref);
}
