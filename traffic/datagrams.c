/*
 * The commands "datagrams" and "stream": what clients send to a guest, until
 * SIGTERM; and "record", what the guest does with it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A datagram has the number of the run it belongs to, and its own; a new run
 * makes the recorder forget the one before.
 */
#include "traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_PORT 5000
#define STREAM_PORT 5001
#define REPORT_PORT 5002

#define DATAGRAM_LEN 100
#define QUEUE_BYTES (8 * 1024 * 1024)
#define MAX_SEQUENCES 100000
#define BACKLOG 8
#define STREAM_INTERVAL (5 * NS_PER_MS)
#define STREAM_PIECE 2048

static volatile sig_atomic_t ended;

static void end(int number)
{
    ended = number;
}

/* A socket that is connected to an address, or without one a server's */
static int open_inet(int type, const char *host, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
    };
    int fd = socket(AF_INET, type, 0);

    if (fd < 0 || inet_pton(AF_INET, host ?: "0.0.0.0",
                            &address.sin_addr) != 1 ||
        (host ? connect : bind)(fd, (struct sockaddr *)&address,
                                sizeof(address)) < 0 ||
        (!host && type == SOCK_STREAM && listen(fd, BACKLOG) < 0)) {
        fail(host ?: "server");
    }
    return fd;
}

/* ---- record */

/* Numbers that arrived one after the other, without a gap */
static struct Sequence {
    uint32_t first, last;
} sequences[MAX_SEQUENCES];
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
        sequences[n_sequences++] = (struct Sequence) { number, number };
    } else {
        wrong("too many gaps");
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

/* In a process of its own, and one more for each stream */
static void read_streams(void)
{
    static char buf[65536];
    int listener = open_inet(SOCK_STREAM, NULL, STREAM_PORT);
    int fd;

    if (fork()) {
        close(listener);
        return;
    }
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (fork() == 0) {
            while (recv(fd, buf, sizeof(buf), 0) > 0) {
            }
            _exit(0);
        }
        close(fd);
    }
    fail("accept");
}

int cmd_record(char **words UNUSED)
{
    struct pollfd fds[] = {
        { .fd = open_inet(SOCK_DGRAM, NULL, DATAGRAM_PORT), .events = POLLIN },
        { .fd = open_inet(SOCK_STREAM, NULL, REPORT_PORT), .events = POLLIN },
    };

    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    set_option(fds[0].fd, SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_BYTES);
    read_streams();
    puts("recording");
    fflush(stdout);
    while (poll(fds, 2, -1) > 0) {
        if (fds[0].revents) {
            record_datagram(fds[0].fd);
        }
        if (fds[1].revents) {
            report(fds[1].fd);
        }
    }
    fail("poll");
}

/* ---- datagrams and stream */

/* ADDRESS RUN RATE: so many a second; print how many there were */
int cmd_datagrams(char **words)
{
    uint32_t message[DATAGRAM_LEN / sizeof(uint32_t)] = {
        htonl(atoi(words[1]))
    };
    int fd = open_inet(SOCK_DGRAM, words[0], DATAGRAM_PORT);
    int rate = atoi(words[2]);
    uint64_t began = now();
    uint32_t number;

    signal(SIGTERM, end);
    for (number = 0; !ended; number++) {
        message[1] = htonl(number);
        /* What an earlier one came back with is no trouble of this one */
        while (send(fd, message, sizeof(message), 0) < 0) {
            if (errno != ECONNREFUSED && errno != EHOSTUNREACH) {
                fail("datagram");
            }
        }
        await_time(began + (number + 1) * NS_PER_SEC / rate);
    }
    printf("%u\n", number);
    return 0;
}

/*
 * ADDRESS: a paced TCP stream; print how many bytes, and the longest time in
 * ms in which the other side acknowledged nothing
 */
int cmd_stream(char **words)
{
    static char piece[STREAM_PIECE];
    int fd = open_inet(SOCK_STREAM, words[0], STREAM_PORT);
    int64_t sent = 0, acked = 0;
    uint64_t at = now(), progress_at = at, longest = 0;

    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    for (; !ended; await_time(at += STREAM_INTERVAL)) {
        ssize_t len = send(fd, piece, sizeof(piece), MSG_DONTWAIT);
        int waiting;

        if (len < 0 && errno != EAGAIN) {
            fail("TCP stream");
        }
        sent += len > 0 ? len : 0;
        if (ioctl(fd, SIOCOUTQ, &waiting) < 0) {
            fail("SIOCOUTQ");
        }
        if (sent - waiting > acked) {
            acked = sent - waiting;
            progress_at = now();
        }
        if (now() - progress_at > longest) {
            longest = now() - progress_at;
        }
    }
    printf("%lld %llu\n", (long long)acked,
           (unsigned long long)(longest / NS_PER_MS));
    return 0;
}
