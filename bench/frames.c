/*
 * What the benchmark runs beside QEMU: generators and bare loops on packet
 * sockets, the relay that QEMU replaces, and both ends of a record stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A command gets its sockets as descriptors.  It prints "ready", starts when
 * it reads a line, prints its result, and ends when its standard input does:
 * in between, bench/bench reads the clock of its CPU time.
 *
 * Frames longer than an Ethernet frame are GSO frames, which have a vnet
 * header on the socket and in the record.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define VNET_LEN sizeof(struct virtio_net_hdr)
#define FRAME_MAX 69632             /* what a record can hold */
#define RECORD_MAX (8 + FRAME_MAX)
#define ETHERTYPE 0x88b5            /* IEEE 802 Local Experimental */
#define TCP_AT (ETH_HLEN + 20)
#define SEQUENCE_AT (TCP_AT + 4)    /* TCP's own, where there is TCP */
#define STALL_SEC 2                 /* nothing for so long: the rest is lost */
#define STALL_MS (STALL_SEC * 1000)
#define LIFE_SEC 120                /* whatever happens */

/* Of one burst; twice as much fits into the queue that bench/bench asks for */
/* What the default receive buffer of a socket holds */
#define BURST_FRAMES 128
#define BURST_BYTES (192 * 1024)
#define BURST_GAP_US 100
#define BURST_GAPS 5    /* QEMU may have more to write than a socket takes */

#define BATCH 64                    /* frames per recvmmsg() */
#define RING_BYTES (4 * 1024 * 1024)
#define RING_BLOCK (256 * 1024)
#define RETIRE_MS 1
#define PING_GAP_US 200
#define EXTRAS_MAX 4

/*
 * The process
 */

static void fail(const char *what)
{
    fprintf(stderr, "frames: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void wrong(const char *what)
{
    fprintf(stderr, "frames: %s\n", what);
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory) {
        fail("calloc");
    }
    return memory;
}

static void start(void)
{
    puts("ready");
    fflush(stdout);
    if (getchar() != '\n') {
        exit(0);
    }
}

static int end_with(uint64_t a, uint64_t b, uint64_t c)
{
    printf("%llu %llu %llu\n", (unsigned long long)a, (unsigned long long)b,
           (unsigned long long)c);
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void set_int(int fd, int option, int value)
{
    if (setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0) {
        fail("setsockopt");
    }
}

/* Let reading from a socket end when nothing comes any more. */
static void set_stall(int fd)
{
    const struct timeval t = { .tv_sec = STALL_SEC };

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0) {
        fail("SO_RCVTIMEO");
    }
}

/* Wait for something to read.  Returns: false if nothing comes any more. */
static bool await(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, STALL_MS) > 0;
}

/*
 * Frames: one buffer, which has room for a record's head before the frame
 */

typedef struct Frame {
    uint8_t record[RECORD_MAX];
    uint8_t *payload;       /* vnet header, if any, and frame */
    size_t payload_len;
    uint8_t *ethernet;
    size_t record_len;      /* with its head */
} Frame;

static bool is_gso(size_t size)
{
    return size > ETH_FRAME_LEN;
}

static size_t payload_len_of(size_t size)
{
    return is_gso(size) ? VNET_LEN + size : size;
}

static size_t record_head_len_of(size_t size)
{
    return is_gso(size) ? 8 : 4;
}

static void put_tcp(uint8_t *ethernet, size_t size)
{
    const uint8_t addresses[8] = { 10, 0, 0, 1, 10, 0, 0, 2 };

    ethernet[ETH_HLEN] = 0x45;
    *(uint16_t *)(ethernet + ETH_HLEN + 2) = htons(size - ETH_HLEN);
    ethernet[ETH_HLEN + 8] = 64;
    ethernet[ETH_HLEN + 9] = IPPROTO_TCP;
    memcpy(ethernet + ETH_HLEN + 12, addresses, sizeof(addresses));
    ethernet[TCP_AT + 12] = 5 << 4;
}

static void put_gso_header(uint8_t *payload)
{
    const struct virtio_net_hdr header = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = TCP_AT + 20,
        .gso_size = 1460,
        .csum_start = TCP_AT,
        .csum_offset = 16,
    };

    memcpy(payload, &header, sizeof(header));
}

static Frame *make_frame(size_t size)
{
    static const uint8_t to[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };
    static const uint8_t from[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };
    Frame *f = allocate(sizeof(*f));
    uint32_t *head = (uint32_t *)f->record;

    f->payload = f->record + record_head_len_of(size);
    f->payload_len = payload_len_of(size);
    f->record_len = f->payload + f->payload_len - f->record;
    f->ethernet = f->payload + f->payload_len - size;
    head[0] = htonl(f->payload_len);
    memset(f->payload, 0xa5, f->payload_len);
    memcpy(f->ethernet, to, ETH_ALEN);
    memcpy(f->ethernet + ETH_ALEN, from, ETH_ALEN);
    *(uint16_t *)(f->ethernet + 2 * ETH_ALEN) =
        htons(is_gso(size) ? ETH_P_IP : ETHERTYPE);
    if (is_gso(size)) {
        head[1] = htonl(VNET_LEN);
        put_gso_header(f->payload);
        put_tcp(f->ethernet, size);
    }
    return f;
}

static void number_frame(Frame *f, uint32_t number)
{
    number = htonl(number);
    memcpy(f->ethernet + SEQUENCE_AT, &number, sizeof(number));
}

/* Number 0 comes first; a gap is a loss, which the count tells. */
static void check_frame(const uint8_t *payload, size_t len, size_t size)
{
    static uint64_t next;
    uint32_t number;

    if (len != payload_len_of(size)) {
        wrong("a frame has the wrong length");
    }
    memcpy(&number, payload + len - size + SEQUENCE_AT, sizeof(number));
    if (ntohl(number) < next) {
        wrong("a frame came twice, or out of order");
    }
    next = ntohl(number) + 1ull;
}

/*
 * Sending
 */

static void send_frame(int fd, Frame *f, uint32_t number)
{
    number_frame(f, number);
    while (send(fd, f->payload, f->payload_len, 0) < 0) {
        if (errno != ENOBUFS && errno != EINTR) {
            fail("send");
        }
    }
}

/* The bare loop that injecting is compared to */
static int cmd_send(int fd, size_t size, uint64_t count, const int *unused)
{
    Frame *f = make_frame(size);
    uint64_t i;

    start();
    for (i = 0; i < count; i++) {
        send_frame(fd, f, i);
    }
    return end_with(count, 0, 0);
}

/* A steady rate, for which it needs a CPU of its own */
static int cmd_pace(int fd, size_t size, uint64_t count, const int *rate)
{
    Frame *f = make_frame(size);
    uint64_t i, began;

    start();
    began = now();
    for (i = 0; i < count; i++) {
        while (now() - began < i * 1000000000ull / *rate) {
        }
        send_frame(fd, f, i);
    }
    return end_with(count, now() - began, 0);
}

static uint64_t burst_frames(size_t size)
{
    uint64_t frames = BURST_BYTES / size;

    return frames < BURST_FRAMES ? frames : BURST_FRAMES;
}

/*
 * Wait until there has been nothing to read for a while at any of these
 * descriptors, which others read from.  Returns: false if they stand still.
 */
static bool await_drained(const int *readers)
{
    struct pollfd p[EXTRAS_MAX];
    uint64_t give_up = now() + STALL_SEC * 1000000000ull;
    nfds_t n;
    int gaps = 0;

    for (n = 0; readers[n] >= 0; n++) {
        p[n] = (struct pollfd) { .fd = readers[n], .events = POLLIN };
    }
    while (gaps < BURST_GAPS) {
        if (now() > give_up) {
            return false;
        }
        usleep(BURST_GAP_US);
        gaps = poll(p, n, 0) > 0 ? 0 : gaps + 1;
    }
    return true;
}

/*
 * A path at full load that loses nothing: one burst, then the next when the
 * path has nothing more to read.  With a higher priority, on the same CPU as
 * whoever reads, a burst is complete before its first frame is read.  So how
 * many frames a reader finds, and what a frame costs it, does not depend on
 * how fast this process is.
 */
static int cmd_bursts(int fd, size_t size, uint64_t count, const int *readers)
{
    const struct sched_param priority = { .sched_priority = 2 };
    Frame *f = make_frame(size);
    uint64_t i = 0, end;

    if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0) {
        fail("real time priority");
    }
    start();
    while (i < count) {
        for (end = i + burst_frames(size); i < end && i < count; i++) {
            send_frame(fd, f, i);
        }
        if (!await_drained(readers)) {
            break;
        }
    }
    return end_with(i, 0, 0);
}

/*
 * Bare loops that capturing is compared to
 */

static int cmd_recv(int fd, size_t size, uint64_t count, const int *unused)
{
    uint8_t *payload = allocate(FRAME_MAX);
    uint64_t i;
    ssize_t len;

    set_stall(fd);
    start();
    for (i = 0; i < count; i++) {
        len = recv(fd, payload, FRAME_MAX, 0);
        if (len < 0) {
            break;
        }
        check_frame(payload, len, size);
    }
    return end_with(i, 0, 0);
}

static int cmd_recvmmsg(int fd, size_t size, uint64_t count, const int *unused)
{
    struct mmsghdr messages[BATCH] = {};
    struct iovec vectors[BATCH];
    uint64_t received = 0;
    int i, n;

    for (i = 0; i < BATCH; i++) {
        vectors[i].iov_base = allocate(FRAME_MAX);
        vectors[i].iov_len = FRAME_MAX;
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    set_stall(fd);
    start();
    while (received < count) {
        n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0) {
            break;
        }
        for (i = 0; i < n; i++) {
            check_frame(vectors[i].iov_base, messages[i].msg_len, size);
        }
        received += n;
    }
    return end_with(received, 0, 0);
}

static uint8_t *make_ring(int fd, int version, const void *request, size_t len)
{
    uint8_t *ring;

    set_int(fd, PACKET_VERSION, version);
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, request, len) < 0) {
        fail("PACKET_RX_RING");
    }
    ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) {
        fail("mmap");
    }
    return ring;
}

/* Wait until a slot or block is ours.  Returns: false if it will not be. */
static bool await_status(int fd, const uint32_t *status)
{
    while (!(__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
        if (!await(fd)) {
            return false;
        }
    }
    return true;
}

/* In a ring, a vnet header stands right before the Ethernet header. */
static void check_ring_frame(const uint8_t *ethernet, size_t len, size_t size)
{
    size_t vnet_len = is_gso(size) ? VNET_LEN : 0;

    check_frame(ethernet - vnet_len, len + vnet_len, size);
}

static int cmd_ring2(int fd, size_t size, uint64_t count, const int *unused)
{
    const size_t slot = is_gso(size) ? 128 * 1024 : 2048;
    const struct tpacket_req request = {
        .tp_block_size = RING_BLOCK,
        .tp_block_nr = RING_BYTES / RING_BLOCK,
        .tp_frame_size = slot,
        .tp_frame_nr = RING_BYTES / slot,
    };
    uint8_t *ring = make_ring(fd, TPACKET_V2, &request, sizeof(request));
    struct tpacket2_hdr *header;
    uint64_t i;

    start();
    for (i = 0; i < count; i++) {
        header = (struct tpacket2_hdr *)(ring + i * slot % RING_BYTES);
        if (!await_status(fd, &header->tp_status)) {
            break;
        }
        check_ring_frame((uint8_t *)header + header->tp_mac,
                         header->tp_snaplen, size);
        __atomic_store_n(&header->tp_status, TP_STATUS_KERNEL,
                         __ATOMIC_RELEASE);
    }
    return end_with(i, 0, 0);
}

static uint64_t read_block(struct tpacket_hdr_v1 *block, size_t size)
{
    struct tpacket3_hdr *header;
    uint8_t *next = (uint8_t *)block - offsetof(struct tpacket_block_desc, hdr)
                    + block->offset_to_first_pkt;
    uint32_t i;

    for (i = 0; i < block->num_pkts; i++) {
        header = (struct tpacket3_hdr *)next;
        check_ring_frame(next + header->tp_mac, header->tp_snaplen, size);
        next += header->tp_next_offset;
    }
    return block->num_pkts;
}

static int cmd_ring3(int fd, size_t size, uint64_t count, const int *unused)
{
    const struct tpacket_req3 request = {
        .tp_block_size = RING_BLOCK,
        .tp_block_nr = RING_BYTES / RING_BLOCK,
        .tp_frame_size = 2048,
        .tp_frame_nr = RING_BYTES / 2048,
        .tp_retire_blk_tov = RETIRE_MS,
    };
    uint8_t *ring = make_ring(fd, TPACKET_V3, &request, sizeof(request));
    struct tpacket_hdr_v1 *block;
    uint64_t received = 0, i;

    start();
    for (i = 0; received < count; i++) {
        block = &((struct tpacket_block_desc *)
                  (ring + i * RING_BLOCK % RING_BYTES))->hdr.bh1;
        if (!await_status(fd, &block->block_status)) {
            break;
        }
        received += read_block(block, size);
        __atomic_store_n(&block->block_status, TP_STATUS_KERNEL,
                         __ATOMIC_RELEASE);
    }
    return end_with(received, 0, 0);
}

/*
 * Record streams
 */

static void write_all(int fd, const uint8_t *data, size_t len)
{
    ssize_t n;

    for (; len; data += n, len -= n) {
        n = write(fd, data, len);
        if (n < 0) {
            fail("write");
        }
    }
}

/* Bytes of a stream that are not a whole record yet */
typedef struct Stream {
    int fd;
    size_t head_len;
    uint8_t data[4 * RECORD_MAX];
    size_t begin, end;
} Stream;

static Stream *make_stream(int fd, size_t size)
{
    Stream *s = allocate(sizeof(*s));

    s->fd = fd;
    s->head_len = record_head_len_of(size);
    set_stall(fd);
    return s;
}

/* Returns: whether there is more. */
static bool fill(Stream *s)
{
    ssize_t n;

    memmove(s->data, s->data + s->begin, s->end - s->begin);
    s->end -= s->begin;
    s->begin = 0;
    n = read(s->fd, s->data + s->end, sizeof(s->data) - s->end);
    if (n <= 0) {
        return false;
    }
    s->end += n;
    return true;
}

/* Returns: the next record's payload, or NULL after the last one. */
static const uint8_t *next_payload(Stream *s, size_t *len)
{
    const uint8_t *payload;
    uint32_t be_len;

    for (;;) {
        if (s->end - s->begin >= s->head_len) {
            memcpy(&be_len, s->data + s->begin, sizeof(be_len));
            *len = ntohl(be_len);
            if (*len > FRAME_MAX) {
                wrong("a record is too long");
            }
            if (s->end - s->begin >= s->head_len + *len) {
                payload = s->data + s->begin + s->head_len;
                s->begin += s->head_len + *len;
                return payload;
            }
        }
        if (!fill(s)) {
            return NULL;
        }
    }
}

/* The same bursts as records */
static int cmd_source(int fd, size_t size, uint64_t count, const int *readers)
{
    Frame *f = make_frame(size);
    uint8_t *data = allocate(burst_frames(size) * f->record_len);
    uint64_t i = 0, end;
    size_t len;

    start();
    while (i < count) {
        len = 0;
        for (end = i + burst_frames(size); i < end && i < count; i++) {
            number_frame(f, i);
            memcpy(data + len, f->record, f->record_len);
            len += f->record_len;
        }
        write_all(fd, data, len);
        if (!await_drained(readers)) {
            break;
        }
    }
    return end_with(i, 0, 0);
}

static int cmd_sink(int fd, size_t size, uint64_t count, const int *unused)
{
    Stream *s = make_stream(fd, size);
    const uint8_t *payload;
    uint64_t i;
    size_t len;

    start();
    for (i = 0; i < count; i++) {
        payload = next_payload(s, &len);
        if (!payload) {
            break;
        }
        check_frame(payload, len, size);
    }
    return end_with(i, 0, 0);
}

/*
 * The relay: what a user without af-packet-mode runs beside QEMU
 */

/* Wait until the other side has read it all. */
static void await_read(int stream)
{
    uint64_t give_up = now() + STALL_SEC * 1000000000ull;
    int unread;

    while (ioctl(stream, SIOCOUTQ, &unread) == 0 && unread > 0 &&
           now() < give_up) {
        usleep(1000);
    }
}

static int cmd_relay_capture(int fd, size_t size, uint64_t count,
                             const int *stream)
{
    const size_t head_len = record_head_len_of(size);
    uint8_t *record = allocate(RECORD_MAX);
    uint32_t *head = (uint32_t *)record;
    uint64_t i;
    ssize_t len;

    head[1] = htonl(VNET_LEN); /* overwritten if there is none */
    set_stall(fd);
    start();
    for (i = 0; i < count; i++) {
        len = recv(fd, record + head_len, FRAME_MAX, 0);
        if (len < 0) {
            break;
        }
        head[0] = htonl(len);
        write_all(*stream, record, head_len + len);
    }
    await_read(*stream);
    return end_with(i, 0, 0);
}

static int cmd_relay_inject(int fd, size_t size, uint64_t count,
                            const int *stream)
{
    Stream *s = make_stream(*stream, size);
    const uint8_t *payload;
    uint64_t i;
    size_t len;

    start();
    for (i = 0; i < count; i++) {
        payload = next_payload(s, &len);
        if (!payload) {
            break;
        }
        if (send(fd, payload, len, 0) < 0) {
            fail("send");
        }
    }
    return end_with(i, 0, 0);
}

/*
 * One frame at a time
 */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int cmd_ping(int fd, size_t size, uint64_t count, const int *back)
{
    uint64_t *times = allocate(count * sizeof(*times)), i, began;
    uint8_t *payload = allocate(FRAME_MAX);
    Frame *f = make_frame(size);
    ssize_t len;

    set_stall(*back);
    start();
    for (i = 0; i < count; i++) {
        usleep(PING_GAP_US);
        began = now();
        send_frame(fd, f, i);
        len = recv(*back, payload, FRAME_MAX, 0);
        if (len < 0) {
            break;
        }
        times[i] = now() - began;
        check_frame(payload, len, size);
    }
    qsort(times, i, sizeof(*times), by_value);
    return i ? end_with(i, times[i / 2], times[i * 99 / 100]) :
               end_with(0, 0, 0);
}

static const struct Command {
    const char *name;
    int (*run)(int fd, size_t size, uint64_t count, const int *extra);
} commands[] = {
    { "send", cmd_send },
    { "pace", cmd_pace },               /* extra: frames per second */
    { "bursts", cmd_bursts },           /* descriptors of who has to read */
    { "recv", cmd_recv },
    { "recvmmsg", cmd_recvmmsg },
    { "ring2", cmd_ring2 },
    { "ring3", cmd_ring3 },
    { "source", cmd_source },           /* the same */
    { "sink", cmd_sink },
    { "relay-capture", cmd_relay_capture },  /* the stream */
    { "relay-inject", cmd_relay_inject },    /* the stream */
    { "ping", cmd_ping },               /* the socket where it comes back */
    { }
};

int main(int argc, char **argv)
{
    int extra[EXTRAS_MAX + 1];
    int i;

    if (argc < 5 || argc > 5 + EXTRAS_MAX) {
        wrong("usage: frames COMMAND FD FRAME-SIZE COUNT [EXTRA...]");
    }
    for (i = 5; i < argc; i++) {
        extra[i - 5] = atoi(argv[i]);
    }
    extra[i - 5] = -1;
    alarm(LIFE_SEC);
    for (i = 0; commands[i].name; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(atoi(argv[2]), strtoull(argv[3], NULL, 10),
                                   strtoull(argv[4], NULL, 10), extra);
        }
    }
    wrong("there is no such command");
}
