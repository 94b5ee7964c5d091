/*
 * af-packet-exec: the filter of a packet socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter is a single classic BPF program: it tests the interface and the
 * direction, and then runs the user's expression as compiled by libpcap.  These
 * parts are independent, as jumps are relative and each part loads the data
 * that it tests.
 *
 * A process can bind a packet socket to another interface without privileges.
 * This is of no use, because the filter stays attached to the socket.
 */
#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/if_packet.h>
#include "qapi/error.h"
#include "compile.h"
#include "filter.h"

/* A filter returns the number of bytes to keep: none, or all */
static const struct sock_filter reject = BPF_STMT(BPF_RET | BPF_K, 0);
static const struct sock_filter accept_all = BPF_STMT(BPF_RET | BPF_K, INT_MAX);

static GArray *program_new(void)
{
    return g_array_new(false, false, sizeof(struct sock_filter));
}

static void append_interface(GArray *program, int ifindex)
{
    const struct sock_filter only_it[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_IFINDEX),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ifindex, 1, 0),
        reject,
    };

    g_array_append_vals(program, only_it, ARRAY_SIZE(only_it));
}

static void append_direction(GArray *program, Direction direction)
{
    const bool out = direction == DIRECTION_OUT;
    const struct sock_filter only_one[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, out, !out),
        reject,
    };

    if (direction != DIRECTION_BOTH) {
        g_array_append_vals(program, only_one, ARRAY_SIZE(only_one));
    }
}

static bool attach(int fd, GArray *program, Error **errp)
{
    struct sock_fprog fprog = {
        .len = program->len,
        .filter = (struct sock_filter *)program->data,
    };
    int lock = 1;

    if (program->len > BPF_MAXINSNS) {
        error_setg(errp, "filter: more than the %d instructions that the "
                   "kernel accepts; use a shorter one", BPF_MAXINSNS);
        return false;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER,
                   &fprog, sizeof(fprog)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &lock, sizeof(lock)) < 0) {
        error_setg_errno(errp, errno, "filter: the kernel refuses it");
        return false;
    }
    return true;
}

bool filter_attach_nothing(int fd, Error **errp)
{
    g_autoptr(GArray) program = program_new();

    g_array_append_val(program, reject);
    return attach(fd, program, errp);
}

bool filter_attach(int fd, int ifindex, Direction direction,
                   const char *expression, Error **errp)
{
    g_autoptr(GArray) program = program_new();

    append_interface(program, ifindex);
    append_direction(program, direction);
    if (!expression) {
        g_array_append_val(program, accept_all);
    } else if (!compile_filter(expression, program, errp)) {
        return false;
    }
    return attach(fd, program, errp);
}
