/*
 * Numbered frames, as fast as a packet socket takes them, and their receiver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   traffic send INTERFACE SHORTEST LONGEST [FRAMES-PER-SECOND [COUNT]]
 *   traffic receive INTERFACE
 *
 * Lengths are in bytes with the Ethernet header, and differ from frame to
 * frame.  Each frame has a number and a checksum over all that comes after
 * its Ethernet header.  0 frames per second, or a count of 0, is no limit.
 *
 * For each line on its standard input, and at the end of that before it ends
 * itself, a program prints a line of counters.  The interface may go down and
 * come back, and may even be removed and made again with the same name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

/* An ethertype that nobody else sends (IEEE 802 Local Experimental) */
#define ETHERTYPE 0x88b5
#define LONGEST 65535
#define BATCH 64
#define RECEIVE_BUFFER (64 << 20)
#define NANOSECONDS 1000000000
#define PAUSE_MS 1              /* while the interface takes nothing */
#define LOOK_MS 100             /* is the interface still there? */

typedef struct {
    uint8_t target[ETH_ALEN];
    uint8_t source[ETH_ALEN];
    uint16_t type;
    uint64_t checksum;          /* of what follows, and of the length */
    uint64_t number;
} __attribute__((packed)) Head;

typedef struct {
    uint8_t bytes[LONGEST];
} Frame;

static const char *interface;
static int fd = -1;
static uint64_t opened;

static void fail(const char *what)
{
    fprintf(stderr, "traffic: %s: %s: %s\n", interface, what, strerror(errno));
    exit(1);
}

/* ---- frames */

static uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15;
    return sum ^ sum >> 29;
}

static uint64_t checksum(const uint8_t *data, size_t len)
{
    uint64_t word, sum = len;
    size_t i;

    for (i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
        memcpy(&word, data + i, sizeof(word));
        sum = mix(sum, word);
    }
    word = 0;
    memcpy(&word, data + i, len - i);
    return mix(sum, word);
}

static uint64_t frame_checksum(const uint8_t *frame, size_t len)
{
    size_t skip = offsetof(Head, number);

    return checksum(frame + skip, len - skip);
}

/* What frames are filled with; where in it one begins depends on its number */
static uint8_t filling[2 * LONGEST];

static void make_filling(void)
{
    uint64_t word = 1;
    size_t i;

    for (i = 0; i < sizeof(filling); i++) {
        word = mix(word, i);
        filling[i] = word >> 56;
    }
}

static void make_frame(uint8_t *frame, size_t len, uint64_t number)
{
    Head head = {
        .target = { 2, 0, 0, 0, 0, 2 },
        .source = { 2, 0, 0, 0, 0, 1 },
        .type = htons(ETHERTYPE),
        .number = number,
    };

    memcpy(frame, &head, sizeof(head));
    memcpy(frame + sizeof(head), filling + number % LONGEST,
           len - sizeof(head));
    head.checksum = frame_checksum(frame, len);
    memcpy(frame + offsetof(Head, checksum), &head.checksum,
           sizeof(head.checksum));
}

/* ---- socket */

/* Open the socket on the interface of that name, as soon as there is one. */
static bool try_open(uint16_t protocol)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(protocol),
        .sll_ifindex = if_nametoindex(interface),
    };
    int bytes = RECEIVE_BUFFER, on = 1;

    if (!address.sll_ifindex) {
        return false;
    }
    fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on))) {
        fail("packet socket");
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes))) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
        close(fd); /* removed in between */
        fd = -1;
        return false;
    }
    opened++;
    return true;
}

static bool is_removed(void)
{
    struct sockaddr_ll address;
    socklen_t len = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &len) ||
           address.sll_ifindex <= 0;
}

/* Wait for at most MS for input on the socket or standard input. */
static bool is_asked(int ms)
{
    struct pollfd fds[] = {
        { .fd = STDIN_FILENO, .events = POLLIN },
        { .fd = fd, .events = POLLIN },
    };

    return poll(fds, ms ? 2 : 1, ms) > 0 && fds[0].revents;
}

/* Take a question from standard input.  Returns: false at its end. */
static bool is_question(void)
{
    char line[16];

    return read(STDIN_FILENO, line, sizeof(line)) > 0;
}

/* ---- sending */

static struct {
    uint64_t sent;
    uint64_t refused;           /* by queue or driver, which count it too */
    uint64_t waited;            /* for an interface that was down or gone */
} out;

static void print_sent(void)
{
    printf("sent=%" PRIu64 " refused=%" PRIu64 " waited=%" PRIu64 " opened=%"
           PRIu64 "\n", out.sent, out.refused, out.waited, opened);
    fflush(stdout);
}

/* Send a frame, or find out why not. */
static void try_send(const uint8_t *frame, size_t len)
{
    if (fd >= 0 && send(fd, frame, len, 0) == (ssize_t)len) {
        out.sent++;
    } else if (fd >= 0 && errno == ENOBUFS) {
        out.refused++;
    } else if (fd < 0 || errno == ENETDOWN || errno == ENXIO ||
               errno == EAGAIN || errno == ENODEV) {
        out.waited++;
        if (fd >= 0 && is_removed()) {
            close(fd);
            fd = -1;
        }
        if (fd >= 0 || !try_open(0)) {
            poll(NULL, 0, PAUSE_MS);
        }
    } else {
        fail("send");
    }
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NANOSECONDS + t.tv_nsec;
}

/* Keep to the rate, on average and in bursts of BATCH. */
static void pace(uint64_t start, uint64_t rate)
{
    uint64_t due = start + (double)out.sent * NANOSECONDS / rate;
    uint64_t t = now();

    if (t < due) {
        nanosleep(&(struct timespec) { (due - t) / NANOSECONDS,
                                       (due - t) % NANOSECONDS }, NULL);
    }
}

static void send_all(size_t shortest, size_t longest, uint64_t rate,
                     uint64_t count)
{
    static Frame frame;
    uint64_t turn, start = now();
    bool more = true;

    for (turn = 0; more; turn++) {
        bool done = count && out.sent >= count;
        size_t len = shortest + out.sent * 7919 % (longest - shortest + 1);

        if (turn % BATCH == 0 || done) {
            if (is_asked(done ? -1 : 0)) {
                more = is_question();
                print_sent();
                continue;
            }
            if (rate) {
                pace(start, rate);
            }
        }
        if (!done) {
            make_frame(frame.bytes, len, out.sent);
            try_send(frame.bytes, len);
        }
    }
}

/* ---- receiving */

static struct {
    uint64_t received;
    uint64_t bytes;
    uint64_t missing;           /* gaps between numbers */
    uint64_t disordered;        /* below one that came before, or twice */
    uint64_t corrupt;
    uint64_t foreign;
    uint64_t dropped;           /* for want of room in the socket */
    uint64_t next;              /* number */
} in;

static void print_received(void)
{
    printf("received=%" PRIu64 " bytes=%" PRIu64 " missing=%" PRIu64
           " disordered=%" PRIu64 " corrupt=%" PRIu64 " foreign=%" PRIu64
           " dropped=%" PRIu64 " next=%" PRIu64 " opened=%" PRIu64 "\n",
           in.received, in.bytes, in.missing, in.disordered, in.corrupt,
           in.foreign, in.dropped, in.next, opened);
    fflush(stdout);
}

static void take_drops(void)
{
    struct tpacket_stats stats = {};
    socklen_t len = sizeof(stats);

    if (fd >= 0 &&
        getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0) {
        in.dropped += stats.tp_drops;
    }
}

static void take_frame(const uint8_t *frame, size_t len)
{
    Head head;

    if (len >= sizeof(head)) {
        memcpy(&head, frame, sizeof(head));
    }
    if (len < sizeof(head) || head.type != htons(ETHERTYPE)) {
        in.foreign++;
        return;
    }
    in.received++;
    in.bytes += len;
    if (len > LONGEST || head.checksum != frame_checksum(frame, len)) {
        in.corrupt++;
    } else if (head.number < in.next) {
        in.disordered++;
    } else {
        in.missing += head.number - in.next;
        in.next = head.number + 1;
    }
}

/* Returns: the number of frames that there were, or -1. */
static int receive_batch(void)
{
    static Frame frames[BATCH];
    static struct iovec iov[BATCH];
    static struct mmsghdr messages[BATCH];
    int i, n;

    for (i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec) { &frames[i], sizeof(Frame) };
        messages[i].msg_hdr = (struct msghdr) { .msg_iov = &iov[i],
                                                .msg_iovlen = 1 };
    }
    n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
    for (i = 0; i < n; i++) {
        take_frame(frames[i].bytes, messages[i].msg_len);
    }
    return n;
}

/* The interface may have been removed, and made again. */
static void follow_interface(void)
{
    if (fd < 0) {
        try_open(ETH_P_ALL);
    } else if (is_removed()) {
        take_drops();
        close(fd);
        fd = -1;
    }
}

/* Returns: whether there may be more. */
static bool receive_some(void)
{
    if (fd >= 0) {
        if (receive_batch() > 0 || errno == ENETDOWN) {
            return true;
        }
        if (errno != EAGAIN) {
            fail("receive");
        }
    }
    follow_interface();
    return false;
}

static void receive_all(void)
{
    bool busy, more = true;

    do {
        busy = receive_some();
        if (more && is_asked(busy ? 0 : fd < 0 ? PAUSE_MS : LOOK_MS)) {
            more = is_question();
            if (more) {
                take_drops();
                print_received();
            }
        }
    } while (busy || more);
    take_drops();
    print_received();
}

/* ---- the program */

static uint64_t number(int argc, char **argv, int i)
{
    return argc > i ? strtoull(argv[i], NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    size_t shortest = number(argc, argv, 3), longest = number(argc, argv, 4);

    interface = argc > 2 ? argv[2] : "";
    if (argc == 3 && !strcmp(argv[1], "receive")) {
        receive_all();
    } else if (argc >= 5 && argc <= 7 && !strcmp(argv[1], "send") &&
               shortest >= sizeof(Head) && longest >= shortest &&
               longest <= LONGEST) {
        make_filling();
        send_all(shortest, longest, number(argc, argv, 5),
                 number(argc, argv, 6));
    } else {
        fprintf(stderr, "usage: traffic send INTERFACE SHORTEST LONGEST "
                "[FRAMES-PER-SECOND [COUNT]]\n"
                "       traffic receive INTERFACE\n"
                "lengths are in bytes, from %zu to %d\n",
                sizeof(Head), LONGEST);
        return 2;
    }
    return 0;
}
