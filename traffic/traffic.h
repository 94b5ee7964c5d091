/*
 * What the parts of the program share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#define NS_PER_MS 1000000ull
#define NS_PER_SEC 1000000000ull

#define VNET_LEN sizeof(struct virtio_net_hdr)
#define FRAME_MAX 69632             /* what a record can hold */
#define BATCH 64                    /* frames per recvmmsg() or sendmmsg() */

#define UNUSED __attribute__((unused))

/* ---- process.c: failures, time, and the talk with whoever started it */

void fail(const char *what) __attribute__((noreturn));
void wrong(const char *what) __attribute__((noreturn));
void *allocate(size_t size);

uint64_t now(void);
void await_time(uint64_t at);
bool await_readable(int fd);
void set_stall(int fd);
void set_option(int fd, int level, int option, int value);

void start(void);
bool go_on(int fd, int ms);

/* ---- frames.c: frames with a number, and what is found of them */

typedef struct Frame {
    uint8_t *payload;               /* vnet header, if any, and frame */
    size_t len;
} Frame;

typedef struct Tally {
    uint64_t bytes;
    uint64_t missing;               /* gaps between numbers */
    uint64_t disordered;            /* below one that came before, or twice */
    uint64_t corrupt;               /* another length, or checksum */
    uint64_t foreign;
    uint64_t next;                  /* number */
} Tally;

extern Tally tally;

bool is_gso(size_t size);
Frame make_frame(size_t size);
void number_frame(Frame *frame, size_t size, uint32_t number);
void seal_frame(Frame *frame, size_t size, uint32_t number);
void tally_frame(const uint8_t *payload, size_t len, size_t size);

/* ---- pass.c: frames from a source to a sink */

/*
 * A source passes frames on with pass_frame(); each of them stays where it is
 * until pass_flush(), which says that there are no more for now.
 */
typedef struct End {
    const char *name;
    bool needs_fd;
    void (*open)(int fd);
    /* A source: pass on some frames.  Returns: false if no more will come. */
    bool (*pass)(void);
    /* A sink; flush and close may be NULL */
    void (*put)(const uint8_t *payload, size_t len);
    void (*flush)(void);
    void (*close)(void);
} End;

typedef struct Pass {
    size_t size;                    /* of each frame */
    const int *extra;               /* the source's; ends with -1 */
    uint64_t count;                 /* of those to be passed */
    uint64_t passed;
    uint64_t refused;               /* and sent again */
    uint64_t began, ended;          /* ns; not ended: 0 */
    uint64_t p50, p99;              /* ns, there and back */
} Pass;

extern Pass pass;
extern const End steady, bursts, sealed, pings;         /* generate.c */
extern const End recv1, recvmmsg1, listening;           /* receive.c */
extern const End ring2, ring3;                          /* ring.c */
extern const End record_source, record_sink;            /* records.c */
extern const End send1, sendmmsg1;                      /* send.c */

void pass_frame(const uint8_t *payload, size_t len);
void pass_flush(void);
void print_counters(void);

/* ---- commands; they get the words that follow theirs, and NULL */

int cmd_pass(char **words);
int cmd_datagrams(char **words);
int cmd_stream(char **words);
int cmd_record(char **words);

#endif
