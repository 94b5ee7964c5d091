/*
 * A libFuzzer target: the channel between AF_PACKET frames and records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The channel is the real one; of the kernel there is what the input says.
 * In inject mode the input is the stream that is written, in pieces, and what
 * becomes of each frame that is sent.  In capture mode it is the frames, with
 * vnet headers and control messages, that the socket gives, by its queue or by
 * a ring, to which somebody else may write too.  In both, it is which calls
 * fail, when, how often and with which errno, and what poll() reports.
 *
 * Apart from what the sanitizers find, these must hold: a frame that is sent
 * is one of those that were written, in their order; each frame is counted
 * once, as passed or as dropped; nothing is read of a ring but frames; the
 * channel says once that it has ended; and it makes no more calls than there
 * is reason for.
 *
 * dev/fuzz builds and runs it.
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sanitizer/asan_interface.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include "chardev/channel-af-packet.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"

#define RECORD_MAX 69632
#define FRAMES_MAX 32
#define WRITES_MAX 64
#define CALLS_MAX 100000

/* As chardev/af-packet-ring.c has it */
#define BLOCK_SIZE 65536
#define SLOT_SIZE 1584
#define SLOTS_PER_BLOCK (BLOCK_SIZE / SLOT_SIZE)
#define N_BLOCKS 198
#define N_SLOTS (N_BLOCKS * SLOTS_PER_BLOCK)
#define RING_SIZE (N_BLOCKS * BLOCK_SIZE)

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

typedef enum Call {
    CALL_GETSOCKOPT,
    CALL_SETSOCKOPT,
    CALL_GETSOCKNAME,
    CALL_IOCTL,
    CALL_SEND,
    CALL_RECV,
    CALL_RECVMMSG,
    CALL_MMAP,
    CALL_TIMERFD_CREATE,
    CALL_TIMERFD_SETTIME,
    CALL__MAX
} Call;

/* From call number @first on, @times of a kind fail. */
typedef struct Failure {
    unsigned first;
    unsigned times;
    int err;
} Failure;

static uint8_t *ring;        /* that of the socket, if it has one */

static struct {
    int fd;
    Failure failures[CALL__MAX];
    unsigned n_calls[CALL__MAX];
    unsigned n_ends;         /* how often an end was told */
    bool has_ring;           /* it gives one to who asks for it */
    bool ring_is_mapped;
    bool ring_is_spoilt;     /* others have written to it */
    unsigned slot;           /* the next that the kernel fills */
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
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset);
int __real_munmap(void *addr, size_t len);
int __wrap_munmap(void *addr, size_t len);
int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);

static void plan_failures(void)
{
    unsigned n = take_int(1) % 4;

    while (n--) {
        Failure *failure = &kernel.failures[take_int(1) % CALL__MAX];

        failure->err = 1 + take_int(1) % 133;
        failure->first = take_int(1) % 32;
        failure->times = take_int(1) ?: UINT_MAX;
        if (failure->err == EINTR || failure->err == EAGAIN) {
            failure->times = 1; /* "try again" */
        }
    }
}

static bool fails(Call call)
{
    const Failure *failure = &kernel.failures[call];
    unsigned n = kernel.n_calls[call]++;

    if (n >= CALLS_MAX) {
        abort(); /* it spins */
    }
    if (!failure->err || n < failure->first ||
        n - failure->first >= failure->times) {
        return false;
    }
    errno = failure->err;
    return true;
}

int __wrap_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len)
{
    if (fails(CALL_GETSOCKOPT)) {
        return -1;
    }
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

int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t len)
{
    if (fails(CALL_SETSOCKOPT)) {
        return -1;
    }
    if (level == SOL_PACKET && name == PACKET_RX_RING && !kernel.has_ring) {
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

    if (fails(CALL_GETSOCKNAME)) {
        return -1;
    }
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

    if (fails(CALL_IOCTL)) {
        return -1;
    }
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

/* Can the channel learn what vnet headers there are? */
static bool knows_vnet_hdr(void)
{
    return !kernel.failures[CALL_GETSOCKOPT].err;
}

/* Is it the payload of a record that was written after the last that left? */
static void check_sent(const uint8_t *data, size_t len, bool leaves)
{
    size_t head = kernel.vnet_hdr_len ? 8 : 4;
    size_t at = kernel.sent;

    if (!knows_vnet_hdr()) {
        return;
    }
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
    uint8_t fate;

    if (fails(CALL_SEND)) {
        check_sent(data, len, false);
        return -1;
    }
    fate = take_int(1);
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
    uint8_t fate;

    if (fails(CALL_RECV)) {
        kernel.n_received += errno == EINVAL && !(flags & MSG_ERRQUEUE);
        return -1;
    }
    fate = take_int(1);
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

    if (fails(CALL_RECVMMSG)) {
        kernel.n_received += errno == EINVAL && kernel.vnet_hdr_len;
        return -1;
    }
    if (!input_len || kernel.n_received >= FRAMES_MAX) {
        errno = EAGAIN;
        return -1;
    }
    switch (take_int(1)) {
    case 0:
        errno = ENETDOWN;
        return -1;
    case 1:
        if (kernel.vnet_hdr_len) {
            errno = EINVAL;
            kernel.n_received++; /* and that was it */
            return -1;
        }
    }
    n = MIN(n, 1 + take_int(1) % 4);
    for (i = 0; i < n; i++) {
        give_frame(&msgs[i]);
    }
    return n;
}

int __wrap_timerfd_create(int clock, int flags)
{
    return fails(CALL_TIMERFD_CREATE) ? -1 :
           __real_timerfd_create(clock, flags);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old)
{
    return fails(CALL_TIMERFD_SETTIME) ? -1 :
           __real_timerfd_settime(fd, flags, value, old);
}

/*
 * The ring
 */

static struct tpacket2_hdr *ring_slot(unsigned i)
{
    return (void *)(ring + i / SLOTS_PER_BLOCK * BLOCK_SIZE +
                    i % SLOTS_PER_BLOCK * SLOT_SIZE);
}

/* Between what tells of a frame and the frame there is nothing to read. */
static void ring_init(void)
{
    unsigned i;

    ring = __real_mmap64(NULL, RING_SIZE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (i = 0; i < N_SLOTS; i++) {
        ASAN_POISON_MEMORY_REGION(ring_slot(i) + 1, 16);
    }
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset)
{
    if (fd < 0 || fd != kernel.fd) {
        return __real_mmap64(addr, len, prot, flags, fd, offset);
    }
    if (len != RING_SIZE) {
        abort();
    }
    if (fails(CALL_MMAP)) {
        return MAP_FAILED;
    }
    kernel.ring_is_mapped = true;
    return ring;
}

int __wrap_munmap(void *addr, size_t len)
{
    if (addr != ring) {
        return __real_munmap(addr, len);
    }
    kernel.ring_is_mapped = false;
    return 0;
}

/* As the kernel does it */
static void ring_give(void)
{
    static const uint32_t statuses[] = {
        TP_STATUS_USER,
        TP_STATUS_USER | TP_STATUS_VLAN_VALID,
        TP_STATUS_USER | TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID,
        TP_STATUS_USER | TP_STATUS_CSUMNOTREADY,
    };
    struct tpacket2_hdr *hdr = ring_slot(kernel.slot);
    size_t vnet_hdr_len = MIN(kernel.vnet_hdr_len, 10);
    size_t mac = 66 + vnet_hdr_len, room = SLOT_SIZE - mac, have;
    uint32_t status = statuses[take_int(1) % ARRAY_SIZE(statuses)];
    const uint8_t *bytes;

    if (hdr->tp_status || kernel.n_received >= FRAMES_MAX) {
        return;
    }
    hdr->tp_len = take_int(2) % (2 * SLOT_SIZE);
    hdr->tp_snaplen = MIN(hdr->tp_len, room);
    hdr->tp_mac = mac;
    hdr->tp_vlan_tci = take_int(2);
    hdr->tp_vlan_tpid = take_int(2);
    bytes = take_bytes(vnet_hdr_len + hdr->tp_snaplen, &have);
    memcpy((uint8_t *)hdr + mac - vnet_hdr_len, bytes, have);
    hdr->tp_status = status;
    kernel.slot = (kernel.slot + 1) % N_SLOTS;
    kernel.n_received++;
}

/* As somebody does it who holds a duplicate of the socket */
static void ring_spoil(void)
{
    struct tpacket2_hdr *hdr = ring_slot((kernel.slot + take_int(1) % 4 +
                                          N_SLOTS - 2) % N_SLOTS);
    const uint8_t *bytes;
    size_t have;

    bytes = take_bytes(sizeof(*hdr), &have);
    memcpy(hdr, bytes, have);
    kernel.ring_is_spoilt = true;
}

static void ring_clear(void)
{
    unsigned i;

    for (i = 0; i < FRAMES_MAX + 4; i++) {
        memset(ring_slot(i), 0, sizeof(struct tpacket2_hdr));
        memset(ring_slot(N_SLOTS - 1 - i), 0, sizeof(struct tpacket2_hdr));
    }
}

static void ring_fill(void)
{
    unsigned n;

    if (kernel.ring_is_mapped) {
        for (n = take_int(1) % 4; n; n--) {
            if (take_int(1) % 4) {
                ring_give();
            } else {
                ring_spoil();
            }
        }
    }
}

/*
 * poll()
 */

static gint poll_input(GPollFD *fds, guint n, gint timeout)
{
    static const gushort events[] = {
        0, G_IO_IN, G_IO_ERR, G_IO_OUT, G_IO_IN | G_IO_OUT | G_IO_ERR,
    };
    int ready = poll((struct pollfd *)fds, n, 0);
    guint i;

    for (i = 0; i < n; i++) {
        if (fds[i].fd == kernel.fd) {
            ready -= fds[i].revents != 0;
            fds[i].revents = events[take_int(1) % ARRAY_SIZE(events)] &
                             (fds[i].events | G_IO_ERR);
            ready += fds[i].revents != 0;
        }
    }
    return ready;
}

/*
 * The channel
 */

static QIOChannelAfPacket *channel_new(ChardevSocketAfPacketMode mode)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    QIOChannelSocket *sioc = qio_channel_socket_new_fd(fd, &error_abort);
    QIOChannelAfPacket *ioc;

    kernel.fd = fd;
    plan_failures();
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
    kernel.fd = -1;
    if (kernel.n_ends > 1) {
        abort();
    }
    qio_channel_af_packet_get_stats(ioc, &s);
    object_unref(OBJECT(ioc));
    return s.frames + s.no_carrier_frames + s.dropped_kernel +
           s.dropped_too_short + s.dropped_filtered + s.dropped_above_mtu +
           s.dropped_oversize +
           s.dropped_undescribable + s.dropped_csum + s.dropped_refused +
           s.dropped_tunnel_gso + s.dropped_queue_full + s.dropped_link_down +
           s.dropped_detach;
}

/*
 * Is each frame to be found in a counter?  Not those that others wrote to the
 * ring, nor, in inject mode, if the socket fails while records are written.
 */
static bool books_are_kept(void)
{
    return !kernel.ring_is_spoilt && knows_vnet_hdr() &&
           (!kernel.written_len || !kernel.failures[CALL_RECV].err);
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
    Error *err = NULL;
    int i;

    kernel.written = take_bytes(len, &kernel.written_len);
    /* A channel that has ended takes nothing, and says so to the writer. */
    for (i = 0; at < kernel.written_len && !kernel.n_ends; i++) {
        const uint8_t *stream = kernel.written + at;

        piece = kernel.written_len - at;
        if (i < WRITES_MAX) {
            piece = MIN(piece, 1 + take_int(1));
        }
        at += piece;
        qio_channel_write(QIO_CHANNEL(ioc), (const char *)stream, piece, &err);
        g_clear_pointer(&err, error_free);
        g_main_context_iteration(NULL, false);
    }
    if (channel_end(ioc) != count_records(kernel.written, at) &&
        books_are_kept()) {
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
        ring_fill();
        len = qio_channel_read(QIO_CHANNEL(ioc), (char *)buf,
                               take_int(1) * 16 ?: sizeof(buf), &error_abort);
        if (len > 0 && knows_vnet_hdr()) {
            reader_take(&reader, buf, len);
        }
        g_main_context_iteration(NULL, false);
    }
    if (channel_end(ioc) != kernel.n_received && books_are_kept()) {
        abort();
    }
    ring_clear();
}

/*
 * The target
 */

/* Errors and warnings go nowhere, but are made. */
static int discard_vprintf(const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);

    kernel.n_ends += strstr(text, "the connection has ended") != NULL;
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
    g_main_context_set_poll_func(NULL, poll_input);
    ring_init();
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
    kernel.fd = -1;
    kernel.vnet_hdr_len = vnet_hdr_lens[what / 2 % 4];
    kernel.has_ring = what / 8 % 2;
    if (what % 2) {
        fuzz_inject();
    } else {
        fuzz_capture();
    }
    return 0;
}
