/*
 * Failures, time, and the talk with whoever started the program
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "traffic.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STALL_SEC 2                 /* nothing for so long: the rest is lost */
#define SPIN_NS 100000              /* a sleep would be longer than said */

void fail(const char *what)
{
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}

void wrong(const char *what)
{
    fprintf(stderr, "traffic: %s\n", what);
    exit(1);
}

void *allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory) {
        fail("calloc");
    }
    return memory;
}

uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

/* A signal may cut it short.  What is near takes a CPU meanwhile. */
void await_time(uint64_t at)
{
    uint64_t t = now();

    if (t + SPIN_NS < at) {
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec) {
                            at / NS_PER_SEC, at % NS_PER_SEC }, NULL);
    } else {
        while (t < at) {
            t = now();
        }
    }
}

/* Wait for something to read.  Returns: false if nothing comes any more. */
bool await_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, STALL_SEC * 1000) > 0;
}

/* Let reading from a socket end when nothing comes any more. */
void set_stall(int fd)
{
    const struct timeval t = { .tv_sec = STALL_SEC };

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0) {
        fail("SO_RCVTIMEO");
    }
}

void set_option(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof(value)) < 0) {
        fail("setsockopt");
    }
}

/* Say that all is there, and wait for a line of standard input. */
void start(void)
{
    char line;

    puts("ready");
    fflush(stdout);
    if (read(STDIN_FILENO, &line, 1) != 1) {
        exit(0);
    }
}

/*
 * Wait for input at a socket, or for MS, negative for ever, and answer a line
 * of standard input.  Returns: false once standard input has ended.
 */
bool go_on(int fd, int ms)
{
    struct pollfd fds[] = {
        { .fd = STDIN_FILENO, .events = POLLIN },
        { .fd = fd, .events = POLLIN },
    };
    char line;

    if (poll(fds, 2, ms) > 0 && fds[0].revents) {
        if (read(STDIN_FILENO, &line, 1) != 1) {
            return false;
        }
        print_counters();
    }
    return true;
}
