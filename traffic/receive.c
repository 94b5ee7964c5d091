/*
 * Sources that receive frames from a packet socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "traffic.h"

#include <errno.h>
#include <sys/socket.h>

#define CACHE_LINES 128

static int fd;

static void open_socket(int socket)
{
    fd = socket;
    set_stall(fd);
}

static bool pass_recv(void)
{
    static uint8_t payload[FRAME_MAX];
    ssize_t len = recv(fd, payload, sizeof(payload), 0);

    if (len < 0) {
        return false;
    }
    pass_frame(payload, len);
    pass_flush();
    return true;
}

/* Returns: the number of frames that there were, or -1. */
static int receive_batch(int flags)
{
    /* Not all at the same place of a page: they would share cache lines. */
    static uint8_t payloads[BATCH][FRAME_MAX + CACHE_LINES];
    static struct iovec iov[BATCH];
    static struct mmsghdr messages[BATCH];
    int i, n;

    for (i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec) { payloads[i], FRAME_MAX };
        messages[i].msg_hdr = (struct msghdr) { .msg_iov = &iov[i],
                                                .msg_iovlen = 1 };
    }
    n = recvmmsg(fd, messages, BATCH, flags, NULL);
    for (i = 0; i < n; i++) {
        pass_frame(payloads[i], messages[i].msg_len);
    }
    pass_flush();
    return n;
}

static bool pass_recvmmsg(void)
{
    return receive_batch(MSG_WAITFORONE) > 0;
}

/*
 * As long as it is asked, and then what is left.  Numbers go on from one; the
 * interface may go down, and may be removed.
 */
static void open_listening(int socket)
{
    fd = socket;
    tally.next = pass.extra[0];
    pass.size = 0;
}

static bool pass_heard(void)
{
    bool more = go_on(fd, -1);
    int n;

    do {
        n = receive_batch(MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && errno != EAGAIN && errno != ENETDOWN) {
            fail("receive");
        }
    } while (!more && (n > 0 || errno == ENETDOWN));
    return more;
}

const End recv1 = { "recv", true, open_socket, .pass = pass_recv };
const End recvmmsg1 = { "recvmmsg", true, open_socket, .pass = pass_recvmmsg };
const End listening = { "listen", true, open_listening, .pass = pass_heard };
