/*
 * The traffic of demo/switchover: what clients send, and what a guest records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   switchover-traffic record
 *       In the guest: take datagrams and TCP streams.  Whoever connects to
 *       REPORT_PORT is told which datagrams arrived, in what order.
 *   switchover-traffic send ADDRESS RUN RATE
 *       Send RATE numbered datagrams a second; print how many.
 *   switchover-traffic stream ADDRESS
 *       Send a paced TCP stream; print how many bytes, and the longest time
 *       in ms in which the other side acknowledged nothing.
 *
 * The last two go on until SIGTERM.  A datagram has the number of the run it
 * belongs to, and its own; a new run makes the recorder forget the one before.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DATAGRAM_PORT 5000
#define STREAM_PORT 5001
#define REPORT_PORT 5002

#define DATAGRAM_LEN 100
#define QUEUE_BYTES (8 * 1024 * 1024)
#define MAX_SEQUENCES 100000
#define MAX_STREAMS 8

#define NS_PER_MS 1000000
#define NS_PER_SEC 1000000000
#define STREAM_INTERVAL (5 * NS_PER_MS)
#define STREAM_PIECE 2048

static volatile sig_atomic_t ended;

static void end(int number)
{
    ended = number;
}

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

/* Sleep until a point in time; a signal may cut it short. */
static void sleep_until(int64_t at)
{
    struct timespec ts = { at / NS_PER_SEC, at % NS_PER_SEC };

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static struct sockaddr_in address(const char *host, int port)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
    };

    if (inet_pton(AF_INET, host, &sin.sin_addr) != 1) {
        errx(1, "'%s' is no IPv4 address", host);
    }
    return sin;
}

static int open_client(int type, const char *host, int port)
{
    struct sockaddr_in to = address(host, port);
    int fd = socket(AF_INET, type, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        err(1, "%s, port %d", host, port);
    }
    return fd;
}

static int open_server(int type, int port)
{
    struct sockaddr_in on = address("0.0.0.0", port);
    int fd = socket(AF_INET, type, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&on, sizeof(on)) < 0 ||
        (type == SOCK_STREAM && listen(fd, MAX_STREAMS) < 0)) {
        err(1, "port %d", port);
    }
    return fd;
}

/*
 * record
 */

/* Numbers that arrived one after the other, without a gap */
typedef struct Sequence {
    uint32_t first, last;
} Sequence;

static Sequence sequences[MAX_SEQUENCES];
static size_t n_sequences;
static uint32_t run;

static void record_datagram(int fd)
{
    uint32_t message[DATAGRAM_LEN / sizeof(uint32_t)];
    uint32_t number;

    if (recv(fd, message, sizeof(message), 0) != DATAGRAM_LEN) {
        return;
    }
    if (ntohl(message[0]) != run) {
        run = ntohl(message[0]);
        n_sequences = 0;
    }
    number = ntohl(message[1]);
    if (n_sequences && sequences[n_sequences - 1].last + 1 == number) {
        sequences[n_sequences - 1].last = number;
    } else if (n_sequences < MAX_SEQUENCES) {
        sequences[n_sequences++] = (Sequence) { number, number };
    } else {
        errx(1, "more than %d gaps", MAX_SEQUENCES);
    }
}

static void report(int listener)
{
    int fd = accept(listener, NULL, NULL);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    size_t i;

    if (!out) {
        return;
    }
    fprintf(out, "%u\n", run);
    for (i = 0; i < n_sequences; i++) {
        fprintf(out, "%u-%u\n", sequences[i].first, sequences[i].last);
    }
    fclose(out);
}

static void take_stream(int listener, struct pollfd *streams)
{
    int fd = accept(listener, NULL, NULL);
    int i;

    for (i = 0; i < MAX_STREAMS; i++) {
        if (streams[i].fd < 0) {
            streams[i].fd = fd;
            return;
        }
    }
    close(fd);
}

static void read_stream(struct pollfd *stream)
{
    static char buf[65536];

    if (recv(stream->fd, buf, sizeof(buf), 0) <= 0) {
        close(stream->fd);
        stream->fd = -1;
    }
}

static int record(void)
{
    enum { DATAGRAMS, REPORTS, STREAMS, FIRST_STREAM };
    struct pollfd fds[FIRST_STREAM + MAX_STREAMS];
    const int bytes = QUEUE_BYTES;
    int i;

    for (i = 0; i < FIRST_STREAM + MAX_STREAMS; i++) {
        fds[i] = (struct pollfd) { .fd = -1, .events = POLLIN };
    }
    fds[DATAGRAMS].fd = open_server(SOCK_DGRAM, DATAGRAM_PORT);
    fds[REPORTS].fd = open_server(SOCK_STREAM, REPORT_PORT);
    fds[STREAMS].fd = open_server(SOCK_STREAM, STREAM_PORT);
    if (setsockopt(fds[DATAGRAMS].fd, SOL_SOCKET, SO_RCVBUFFORCE,
                   &bytes, sizeof(bytes)) < 0) {
        err(1, "SO_RCVBUFFORCE");
    }
    puts("recording");
    fflush(stdout);

    for (;;) {
        if (poll(fds, FIRST_STREAM + MAX_STREAMS, -1) < 0) {
            err(1, "poll");
        }
        if (fds[DATAGRAMS].revents) {
            record_datagram(fds[DATAGRAMS].fd);
        }
        if (fds[REPORTS].revents) {
            report(fds[REPORTS].fd);
        }
        if (fds[STREAMS].revents) {
            take_stream(fds[STREAMS].fd, fds + FIRST_STREAM);
        }
        for (i = FIRST_STREAM; i < FIRST_STREAM + MAX_STREAMS; i++) {
            if (fds[i].revents) {
                read_stream(&fds[i]);
            }
        }
    }
}

/*
 * send and stream
 */

static int send_datagrams(const char *host, uint32_t of_run, int rate)
{
    uint32_t message[DATAGRAM_LEN / sizeof(uint32_t)] = { htonl(of_run) };
    int fd = open_client(SOCK_DGRAM, host, DATAGRAM_PORT);
    int64_t start = now();
    uint32_t number;

    for (number = 0; !ended; number++) {
        message[1] = htonl(number);
        /* What an earlier one came back with is no trouble of this one */
        while (send(fd, message, sizeof(message), 0) < 0) {
            if (errno != ECONNREFUSED && errno != EHOSTUNREACH) {
                err(1, "datagram %u", number);
            }
        }
        sleep_until(start + (int64_t)(number + 1) * NS_PER_SEC / rate);
    }
    printf("%u\n", number);
    return 0;
}

static int send_stream(const char *host)
{
    static char piece[STREAM_PIECE];
    int fd = open_client(SOCK_STREAM, host, STREAM_PORT);
    int64_t sent = 0, acked = 0, longest = 0;
    int64_t progress_at = now(), at;

    for (at = progress_at; !ended; sleep_until(at += STREAM_INTERVAL)) {
        ssize_t len = send(fd, piece, sizeof(piece), MSG_DONTWAIT);
        int waiting;

        if (len < 0 && errno != EAGAIN) {
            err(1, "TCP stream");
        }
        sent += len > 0 ? len : 0;
        if (ioctl(fd, SIOCOUTQ, &waiting) < 0) {
            err(1, "SIOCOUTQ");
        }
        if (sent - waiting > acked) {
            acked = sent - waiting;
            progress_at = now();
        }
        if (now() - progress_at > longest) {
            longest = now() - progress_at;
        }
    }
    printf("%lld %lld\n", (long long)acked, (long long)(longest / NS_PER_MS));
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(what, "record") == 0 && argc == 2) {
        return record();
    }
    if (strcmp(what, "send") == 0 && argc == 5) {
        return send_datagrams(argv[2], atoi(argv[3]), atoi(argv[4]));
    }
    if (strcmp(what, "stream") == 0 && argc == 3) {
        return send_stream(argv[2]);
    }
    errx(1, "usage: %s record | send ADDRESS RUN RATE | stream ADDRESS",
         argv[0]);
}
