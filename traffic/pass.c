/*
 * The command "pass": frames from a source to a sink
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Generators, receivers and relays are all of this kind.
 */
#include "traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXTRAS_MAX 4

Pass pass;

static const End *sink;

static void open_nothing(int fd UNUSED)
{
}

static void check_frame(const uint8_t *payload, size_t len)
{
    tally_frame(payload, len, pass.size);
}

static const End checking = { "check", false, open_nothing,
                              .put = check_frame };

static const End *const ends[] = {
    &steady, &bursts, &sealed, &pings, &recv1, &recvmmsg1, &listening, &ring2,
    &ring3, &record_source, &record_sink, &send1, &sendmmsg1, &checking, NULL
};

void pass_frame(const uint8_t *payload, size_t len)
{
    sink->put(payload, len);
    pass.passed += !pass.ended;
}

void pass_flush(void)
{
    if (sink->flush) {
        sink->flush();
    }
}

void print_counters(void)
{
#define PRINT(name, value) printf(name "=%llu ", (unsigned long long)(value))
    PRINT("passed", pass.passed);
    PRINT("refused", pass.refused);
    PRINT("ns", pass.ended - pass.began);
    PRINT("p50", pass.p50);
    PRINT("p99", pass.p99);
    PRINT("bytes", tally.bytes);
    PRINT("missing", tally.missing);
    PRINT("disordered", tally.disordered);
    PRINT("corrupt", tally.corrupt);
    PRINT("foreign", tally.foreign);
    PRINT("next", tally.next);
    putchar('\n');
    fflush(stdout);
}

/* ---- the command line */

static char **left;                 /* words */

static uint64_t number(void)
{
    return *left ? strtoull(*left++, NULL, 10) : 0;
}

static const End *open_end(bool is_source, int *fd)
{
    const char *name = *left ? *left++ : "";
    size_t i;

    for (i = 0; ends[i]; i++) {
        if (!strcmp(ends[i]->name, name) && !ends[i]->pass == !is_source) {
            *fd = ends[i]->needs_fd ? (int)number() : -1;
            return ends[i];
        }
    }
    wrong(is_source ? "no such source" : "no such sink");
}

static const int *parse_extras(void)
{
    static int extras[EXTRAS_MAX + 1];
    int i;

    for (i = 0; i < EXTRAS_MAX && *left; i++) {
        extras[i] = number();
    }
    extras[i] = -1;
    return extras;
}

int cmd_pass(char **words)
{
    const End *source;
    int from, to;

    left = words;
    source = open_end(true, &from);
    sink = open_end(false, &to);
    pass.size = number();
    pass.count = number();
    pass.extra = parse_extras();
    if (pass.size < ETH_ZLEN || pass.size > FRAME_MAX - VNET_LEN) {
        wrong("pass: SIZE is from 60 to 69622");
    }
    source->open(from);
    sink->open(to);
    start();
    pass.began = now();
    while (!pass.ended && pass.passed < pass.count && source->pass()) {
    }
    pass.ended = now();
    if (sink->close) {
        sink->close();
    }
    print_counters();
    while (go_on(-1, -1)) {
    }
    return 0;
}
