/*
 * A stream of records, as QEMU's filters have it: a source and a sink
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "traffic.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define GATHERED_MAX 256            /* records; what writev() takes, by half */
#define GIVE_UP_NS (2 * NS_PER_SEC)

/* The length of what follows and, with vnet headers, that of one of these */
static size_t head_len(void)
{
    return (is_gso(pass.size) ? 2 : 1) * sizeof(uint32_t);
}

/* ---- reading: bytes that are not a whole record yet */

static struct {
    int fd;
    uint8_t data[4 * (8 + FRAME_MAX)];
    size_t begin, end;
} in;

static void open_reading(int fd)
{
    in.fd = fd;
    set_stall(fd);
}

/* Returns: whether there is a whole record. */
static bool has_record(size_t *len)
{
    size_t there = in.end - in.begin;
    uint32_t be_len;

    if (there < head_len()) {
        return false;
    }
    memcpy(&be_len, in.data + in.begin, sizeof(be_len));
    *len = ntohl(be_len);
    if (*len > FRAME_MAX) {
        wrong("a record is too long");
    }
    return there >= head_len() + *len;
}

static bool pass_records(void)
{
    size_t len;
    ssize_t n;

    memmove(in.data, in.data + in.begin, in.end - in.begin);
    in.end -= in.begin;
    in.begin = 0;
    n = read(in.fd, in.data + in.end, sizeof(in.data) - in.end);
    if (n <= 0) {
        return false;
    }
    in.end += n;
    while (has_record(&len)) {
        pass_frame(in.data + in.begin + head_len(), len);
        in.begin += head_len() + len;
    }
    pass_flush();
    return true;
}

/* ---- writing: all until a flush at once */

static struct {
    int fd;
    uint32_t heads[GATHERED_MAX][2];
    struct iovec iov[2 * GATHERED_MAX];
    size_t n, bytes;
} out;

static void open_writing(int fd)
{
    out.fd = fd;
}

static void flush_records(void)
{
    if (out.n && writev(out.fd, out.iov, 2 * out.n) != (ssize_t)out.bytes) {
        fail("write");
    }
    out.n = out.bytes = 0;
}

static void put_record(const uint8_t *payload, size_t len)
{
    uint32_t *head = out.heads[out.n];
    struct iovec *iov = out.iov + 2 * out.n;

    head[0] = htonl(len);
    head[1] = htonl(VNET_LEN);
    iov[0] = (struct iovec) { head, head_len() };
    iov[1] = (struct iovec) { (void *)payload, len };
    out.bytes += head_len() + len;
    if (++out.n == GATHERED_MAX) {
        flush_records();
    }
}

/* Wait until the other side has read it all. */
static void await_read(void)
{
    uint64_t give_up = now() + GIVE_UP_NS;
    int unread;

    while (ioctl(out.fd, SIOCOUTQ, &unread) == 0 && unread > 0 &&
           now() < give_up) {
        usleep(1000);
    }
}

const End record_source = { "records", true, open_reading,
                            .pass = pass_records };
const End record_sink = { "records", true, open_writing,
                          .put = put_record, .flush = flush_records,
                          .close = await_read };
