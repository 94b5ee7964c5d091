/*
 * A libFuzzer target: the channel between AF_PACKET frames and records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The channel is the real one; of the kernel there is what the input says.
 * In inject mode the input is the stream that is written, in pieces, and what
 * becomes of each frame that is sent.  In capture mode it is the frames, with
 * vnet headers and control messages, that the socket gives.
 *
 * Apart from what the sanitizers find, two things must hold: a frame that is
 * sent is one of those that were written, in their order; and each frame is
 * counted once, as passed or as dropped.
 *
 * dev/fuzz builds and runs it.
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include "chardev/channel-af-packet.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"

#define RECORD_MAX 69632
#define FRAMES_MAX 32
#define WRITES_MAX 64

#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * The input
 */

static const uint8_t *input;
static size_t input_len;

static uint32_t take_int(size_t len)
{
    uint32_t value = 0;

    len = MIN(len, input_len);
    memcpy(&value, input, len);
    input += len;
    input_len -= len;
    return value;
}

/* Take at most @max bytes; they stay where they are. */
static const uint8_t *take_bytes(size_t max, size_t *len)
{
    const uint8_t *bytes = input;

    *len = MIN(max, input_len);
    input += *len;
    input_len -= *len;
    return bytes;
}

/*
 * The kernel
 */

static struct {
    int vnet_hdr_len;        /* what the socket has */
    uint64_t n_received;     /* frames that it gave */
    const uint8_t *written;  /* the stream that is to become frames */
    size_t written_len;
    size_t sent;             /* how far in it the last frame was that left */
} kernel;

int __real_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len);
int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t len);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *len);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags);
int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags,
                    struct timespec *timeout);

int __wrap_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len)
{
    if (level != SOL_PACKET) {
        return __real_getsockopt(fd, level, name, value, len);
    }
    memset(value, 0, *len);
    switch (name) {
    case PACKET_VNET_HDR:
        *(int *)value = kernel.vnet_hdr_len != 0;
        break;
    case PACKET_VNET_HDR_SZ:
        *(int *)value = kernel.vnet_hdr_len;
        break;
    }
    return 0;
}

/* There are vnet headers, but no ring. */
int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t len)
{
    if (level == SOL_PACKET && name == PACKET_RX_RING) {
        errno = EINVAL;
        return -1;
    }
    if (level == SOL_PACKET && name == PACKET_VNET_HDR) {
        kernel.vnet_hdr_len = *(const int *)value ? 10 : 0;
    }
    return 0;
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
    struct sockaddr_ll sll = { .sll_family = AF_PACKET, .sll_ifindex = 1 };

    *len = MIN(*len, sizeof(sll));
    memcpy(address, &sll, *len);
    return 0;
}

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    errno = EOPNOTSUPP;
    return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);

    switch (request) {
    case SIOCGIFNAME:
        strcpy(((struct ifreq *)arg)->ifr_name, "fuzz0");
        break;
    case SIOCGIFFLAGS:
        ((struct ifreq *)arg)->ifr_flags = take_int(1) % 4 ? IFF_UP : 0;
        break;
    case SIOCOUTQ:
        *(int *)arg = take_int(1) % 2;
        break;
    default:
        errno = ENOTTY;
        return -1;
    }
    return 0;
}

/* Is it the payload of a record that was written after the last that left? */
static void check_sent(const uint8_t *data, size_t len, bool leaves)
{
    size_t head = kernel.vnet_hdr_len ? 8 : 4;
    size_t at = kernel.sent;

    while (at + head <= kernel.written_len) {
        size_t record_len = ldl_be_p(kernel.written + at) & UINT32_MAX;

        at += head;
        if (record_len > kernel.written_len - at) {
            break;
        }
        if (record_len == len && !memcmp(kernel.written + at, data, len)) {
            if (leaves) {
                kernel.sent = at + len;
            }
            return;
        }
        at += record_len;
    }
    abort();
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    static const int errors[] = {
        EAGAIN, ENOBUFS, ENETDOWN, ENXIO, EMSGSIZE, EINVAL, ENOMEM, EIO,
    };
    uint8_t fate = take_int(1);

    check_sent(data, len, fate >= ARRAY_SIZE(errors));
    if (fate < ARRAY_SIZE(errors)) {
        errno = errors[fate];
        return -1;
    }
    return len;
}

/* To throw away what nobody has read, or to see whether there is something */
ssize_t __wrap_recv(int fd, void *data, size_t len, int flags)
{
    uint8_t fate = take_int(1);

    if (flags & MSG_ERRQUEUE || !input_len || kernel.n_received >= FRAMES_MAX) {
        errno = EAGAIN;
        return -1;
    }
    if (fate == 0) {
        errno = ENETDOWN;
        return -1;
    }
    kernel.n_received++;
    if (fate == 1) {
        errno = EINVAL;
        return -1;
    }
    return len;
}

static void give_control(struct msghdr *msg)
{
    struct tpacket_auxdata aux;
    size_t len;
    const uint8_t *bytes;

    if (take_int(1) % 2) {
        bytes = take_bytes(msg->msg_controllen, &len);
        memcpy(msg->msg_control, bytes, len);
        msg->msg_controllen = len;
        return;
    }
    bytes = take_bytes(sizeof(aux), &len);
    memset(&aux, 0, sizeof(aux));
    memcpy(&aux, bytes, len);
    CMSG_FIRSTHDR(msg)->cmsg_level = SOL_PACKET;
    CMSG_FIRSTHDR(msg)->cmsg_type = PACKET_AUXDATA;
    CMSG_FIRSTHDR(msg)->cmsg_len = CMSG_LEN(sizeof(aux));
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(msg)), &aux, sizeof(aux));
    msg->msg_controllen = CMSG_SPACE(sizeof(aux));
}

static void give_frame(struct mmsghdr *mmsg)
{
    struct iovec *iov = mmsg->msg_hdr.msg_iov;
    size_t len, have;
    const uint8_t *bytes;

    len = take_int(2) % 256 ?: take_int(3) % (RECORD_MAX + 256);
    give_control(&mmsg->msg_hdr);
    bytes = take_bytes(MIN(len, iov->iov_len), &have);
    memset(iov->iov_base, 0, MIN(len, iov->iov_len));
    memcpy(iov->iov_base, bytes, have);
    mmsg->msg_len = len;
    kernel.n_received++;
}

int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags,
                    struct timespec *timeout)
{
    unsigned i;

    if (!input_len || kernel.n_received >= FRAMES_MAX) {
        errno = EAGAIN;
        return -1;
    }
    switch (take_int(1)) {
    case 0:
        errno = ENETDOWN;
        return -1;
    case 1:
        errno = EINVAL;
        kernel.n_received++; /* and that was it */
        return -1;
    }
    n = MIN(n, 1 + take_int(1) % 4);
    for (i = 0; i < n; i++) {
        give_frame(&msgs[i]);
    }
    return n;
}

/*
 * The channel
 */

static QIOChannelAfPacket *channel_new(ChardevSocketAfPacketMode mode)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    QIOChannelSocket *sioc = qio_channel_socket_new_fd(fd, &error_abort);
    QIOChannelAfPacket *ioc;

    ioc = qio_channel_af_packet_new(sioc, mode, "fuzz",
                                    &(ChardevAfPacketStats) {});
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(ioc, NULL);
    return ioc;
}

/* End it.  Returns: how many frames it has counted */
static uint64_t channel_end(QIOChannelAfPacket *ioc)
{
    ChardevAfPacketStats s;

    qio_channel_close(QIO_CHANNEL(ioc), &error_abort);
    qio_channel_af_packet_get_stats(ioc, &s);
    object_unref(OBJECT(ioc));
    return s.frames + s.dropped_kernel + s.dropped_too_short +
           s.dropped_too_long + s.dropped_refused + s.dropped_queue_full +
           s.dropped_link_down + s.dropped_detach;
}

/*
 * Inject
 */

/* How many frames there are in @len bytes, a part of one included */
static uint64_t count_records(const uint8_t *stream, size_t len)
{
    size_t head = kernel.vnet_hdr_len ? 8 : 4;
    uint64_t n = 0;

    while (len) {
        size_t record_len;

        n++;
        if (len < head) {
            break;
        }
        record_len = ldl_be_p(stream) & UINT32_MAX;
        if (record_len > RECORD_MAX) {
            break; /* which ends the stream */
        }
        if (kernel.vnet_hdr_len && ldl_be_p(stream + 4) &&
            ldl_be_p(stream + 4) != kernel.vnet_hdr_len) {
            break; /* and so does this */
        }
        if (record_len > len - head) {
            break;
        }
        stream += head + record_len;
        len -= head + record_len;
    }
    return n;
}

static void fuzz_inject(void)
{
    QIOChannelAfPacket *ioc = channel_new(CHARDEV_SOCKET_AF_PACKET_MODE_INJECT);
    size_t len = take_int(2), at = 0, piece;
    bool ended = false;
    Error *err = NULL;
    int i;

    kernel.written = take_bytes(len, &kernel.written_len);
    for (i = 0; at < kernel.written_len && !ended; i++) {
        const uint8_t *stream = kernel.written + at;

        piece = kernel.written_len - at;
        if (i < WRITES_MAX) {
            piece = MIN(piece, 1 + take_int(1));
        }
        at += piece;
        ended = qio_channel_write(QIO_CHANNEL(ioc), (const char *)stream,
                                  piece, &err) < 0;
        g_clear_pointer(&err, error_free);
        g_main_context_iteration(NULL, false);
    }
    if (channel_end(ioc) != count_records(kernel.written, at)) {
        abort();
    }
}

/*
 * Capture
 */

/* What has been read of a stream: whole records, and a part of one */
typedef struct Reader {
    uint8_t buf[8 + RECORD_MAX];
    size_t have;
    size_t vnet_hdr_len;
} Reader;

static void reader_take(Reader *r, const uint8_t *data, size_t len)
{
    size_t head = r->vnet_hdr_len ? 8 : 4;

    while (len--) {
        r->buf[r->have++] = *data++;
        if (r->have < head) {
            continue;
        }
        if (ldl_be_p(r->buf) > RECORD_MAX ||
            ldl_be_p(r->buf) < ETH_HLEN + r->vnet_hdr_len ||
            (r->vnet_hdr_len && ldl_be_p(r->buf + 4) != r->vnet_hdr_len)) {
            abort();
        }
        if (r->have == head + ldl_be_p(r->buf)) {
            r->have = 0;
        }
    }
}

static void fuzz_capture(void)
{
    static uint8_t buf[RECORD_MAX];
    static Reader reader;
    QIOChannelAfPacket *ioc;
    int left = 4 * FRAMES_MAX;
    ssize_t len = QIO_CHANNEL_ERR_BLOCK;

    reader.have = 0;
    reader.vnet_hdr_len = kernel.vnet_hdr_len;
    ioc = channel_new(CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE);
    while (left-- && (len > 0 || input_len)) {
        len = qio_channel_read(QIO_CHANNEL(ioc), (char *)buf,
                               take_int(1) * 16 ?: sizeof(buf), &error_abort);
        if (len > 0) {
            reader_take(&reader, buf, len);
        }
        g_main_context_iteration(NULL, false);
    }
    if (channel_end(ioc) != kernel.n_received) {
        abort();
    }
}

/*
 * The target
 */

/* Errors and warnings go nowhere, but are made. */
static int discard_vprintf(const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);

    return strlen(text);
}

int error_vprintf(const char *fmt, va_list ap)
{
    return discard_vprintf(fmt, ap);
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return discard_vprintf(fmt, ap);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    qemu_init_main_loop(&error_abort);
    module_call_init(MODULE_INIT_QOM);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int vnet_hdr_lens[] = { 0, 10, 12, 0 };
    uint8_t what;

    input = data;
    input_len = size;
    what = take_int(1);
    memset(&kernel, 0, sizeof(kernel));
    kernel.vnet_hdr_len = vnet_hdr_lens[what / 2 % 4];
    if (what % 2) {
        fuzz_inject();
    } else {
        fuzz_capture();
    }
    return 0;
}
