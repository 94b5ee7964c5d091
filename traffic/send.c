/*
 * Sinks that send frames by a packet socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "traffic.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_US 1000               /* while the interface is down */

static int fd;

static void open_socket(int socket)
{
    fd = socket;
}

/*
 * What was refused is sent again, unless the interface is gone.  Returns:
 * whether to send it.
 */
static bool wait_after_error(const char *call)
{
    if (errno == ENXIO || errno == ENODEV) {
        pass.ended = now();
        return false;
    }
    if (errno == ENETDOWN) {
        usleep(PAUSE_US);
    } else if (errno != ENOBUFS) {
        fail(call);
    }
    pass.refused++;
    return true;
}

static void send_frame(const uint8_t *payload, size_t len)
{
    while (send(fd, payload, len, 0) < 0 && wait_after_error("send")) {
    }
}

/* ---- all until a flush with one call, as far as the queue has room */

static struct {
    struct iovec iov[BATCH];
    struct mmsghdr messages[BATCH];
    unsigned n;
} batch;

static void flush_batch(void)
{
    unsigned sent = 0;
    int n;

    while (sent < batch.n) {
        n = sendmmsg(fd, batch.messages + sent, batch.n - sent, 0);
        if (n < 0 && !wait_after_error("sendmmsg")) {
            break;
        }
        sent += n > 0 ? n : 0;
    }
    batch.n = 0;
}

static void put_in_batch(const uint8_t *payload, size_t len)
{
    struct iovec *iov = &batch.iov[batch.n];

    *iov = (struct iovec) { (void *)payload, len };
    batch.messages[batch.n].msg_hdr = (struct msghdr) { .msg_iov = iov,
                                                        .msg_iovlen = 1 };
    if (++batch.n == BATCH) {
        flush_batch();
    }
}

const End send1 = { "send", true, open_socket, .put = send_frame };
const End sendmmsg1 = { "sendmmsg", true, open_socket, .put = put_in_batch,
                        .flush = flush_batch };
