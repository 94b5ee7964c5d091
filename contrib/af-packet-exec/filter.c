/*
 * af-packet-exec: the filter that a packet socket is given
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One classic BPF program: a test of the direction, then what libpcap makes of
 * the user's expression.  Jumps in such a program are relative, so neither part
 * needs to know of the other.
 */
#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/if_packet.h>
#ifdef CONFIG_LIBPCAP
#include <pcap/pcap.h>
#endif
#include "qapi/error.h"
#include "filter.h"

/* What a filter returns is the number of bytes to keep: all of them */
#define ACCEPT INT_MAX

static void append(GArray *program, const struct sock_filter *part, size_t len)
{
    g_array_append_vals(program, part, len);
}

static void append_direction(GArray *program)
{
    const struct sock_filter only_outgoing[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        /* What follows finds the accumulator as at the start of a program */
        BPF_STMT(BPF_LD | BPF_IMM, 0),
    };

    append(program, only_outgoing, ARRAY_SIZE(only_outgoing));
}

static void append_accept(GArray *program)
{
    const struct sock_filter accept = BPF_STMT(BPF_RET | BPF_K, ACCEPT);

    append(program, &accept, 1);
}

#ifdef CONFIG_LIBPCAP

/*
 * libpcap looks for a tag in the frame, but the kernel takes it out of each
 * received frame before a filter sees that.
 */
static bool mentions_vlan(const char *expression)
{
    return g_regex_match_simple("\\bvlan\\b", expression, 0, 0);
}

static bool append_expression(GArray *program, const char *expression,
                              Error **errp)
{
    struct bpf_program compiled;
    pcap_t *pcap;
    bool ok;

    if (mentions_vlan(expression)) {
        error_setg(errp, "filter: 'vlan' would match nothing, since the "
                   "kernel keeps VLAN tags outside of the frame: leave it "
                   "out, or use the interface of one VLAN (ifname=eth0.5)");
        return false;
    }
    pcap = pcap_open_dead(DLT_EN10MB, ACCEPT);
    if (!pcap) {
        error_setg(errp, "filter: out of memory");
        return false;
    }
    ok = pcap_compile(pcap, &compiled, expression, true,
                      PCAP_NETMASK_UNKNOWN) == 0;
    if (ok) {
        append(program, (struct sock_filter *)compiled.bf_insns,
               compiled.bf_len);
        pcap_freecode(&compiled);
    } else {
        error_setg(errp, "filter: %s; pcap-filter(7) tells what can be "
                   "written, and a comma is written twice",
                   pcap_geterr(pcap));
    }
    pcap_close(pcap);
    return ok;
}

#else

static bool append_expression(GArray *program, const char *expression,
                              Error **errp)
{
    error_setg(errp, "filter: this program was built without libpcap; "
               "leave filter out, or configure QEMU with --enable-libpcap");
    return false;
}

#endif

static bool attach(int fd, GArray *program, Error **errp)
{
    struct sock_fprog fprog = {
        .len = program->len,
        .filter = (struct sock_filter *)program->data,
    };

    if (program->len > BPF_MAXINSNS) {
        error_setg(errp, "filter: it takes %u instructions, and the kernel "
                   "takes no more than %d; write a shorter one",
                   program->len, BPF_MAXINSNS);
        return false;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER,
                   &fprog, sizeof(fprog)) < 0) {
        error_setg_errno(errp, errno, "filter: the kernel refuses it");
        return false;
    }
    return true;
}

bool filter_attach(int fd, bool only_outgoing, const char *expression,
                   Error **errp)
{
    g_autoptr(GArray) program =
        g_array_new(false, false, sizeof(struct sock_filter));

    if (!only_outgoing && !expression) {
        return true;
    }
    if (only_outgoing) {
        append_direction(program);
    }
    if (!expression) {
        append_accept(program);
    } else if (!append_expression(program, expression, errp)) {
        return false;
    }
    return attach(fd, program, errp);
}
