/*
 * af-packet-exec: pcap-filter(7) expressions, compiled within limits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Compiling a long expression can take libpcap hours and gigabytes of memory,
 * and the expression is chosen by the caller.  Therefore, a child process with
 * resource limits compiles it and returns the result through a pipe.
 */
#include "qemu/osdep.h"
#include <glib-unix.h>
#include <linux/filter.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef CONFIG_LIBPCAP
#include <pcap/pcap.h>
#endif
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "compile.h"

#ifdef CONFIG_LIBPCAP

/* Expressions that the kernel accepts rarely need a tenth of these limits */
#define LIMIT_CPU_SEC 5
#define LIMIT_MEMORY_MIB 256

/* The child sends one of these, then instructions or an error message */
enum {
    COMPILED = 'C',
    REFUSED = 'R',
};

/* One instruction above the kernel's limit, to detect longer programs */
#define MAX_RESULT (1 + (BPF_MAXINSNS + 1) * sizeof(struct sock_filter))

/*
 * libpcap generates code that expects the tag in the frame, where that of a
 * sent frame often is.  The kernel strips tags from received frames before a
 * filter runs.
 */
static void warn_of_vlan(const char *expression)
{
    if (g_regex_match_simple("\\bvlan\\b", expression, 0, 0)) {
        warn_report("filter: 'vlan' does not match received frames, because "
                    "the kernel strips their VLAN tags: to select one VLAN, "
                    "use its interface (ifname=eth0.5)");
    }
}

/*
 * The child
 */

static void set_limit(int resource, rlim_t limit)
{
    struct rlimit rlimit;

    if (getrlimit(resource, &rlimit) == 0) {
        rlimit.rlim_max = MIN(rlimit.rlim_max, limit);
        rlimit.rlim_cur = rlimit.rlim_max;
        setrlimit(resource, &rlimit);
    }
}

/* A blocking write to a pipe is never short. */
static void send_result(int to, char kind, const void *data, size_t len)
{
    const struct iovec parts[] = {
        { .iov_base = &kind, .iov_len = 1 },
        { .iov_base = (void *)data, .iov_len = MIN(len, MAX_RESULT - 1) },
    };

    if (writev(to, parts, ARRAY_SIZE(parts)) < 0) {
        _exit(EXIT_FAILURE);
    }
}

/* If the child runs out of memory or CPU time, it sends nothing. */
static void G_NORETURN compile_in_child(const char *expression, int to)
{
    struct bpf_program compiled;
    pcap_t *pcap;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    set_limit(RLIMIT_CPU, LIMIT_CPU_SEC);
#ifndef QEMU_SANITIZE_ADDRESS   /* needs terabytes of address space */
    set_limit(RLIMIT_AS, LIMIT_MEMORY_MIB * MiB);
#endif
    pcap = pcap_open_dead(DLT_EN10MB, INT_MAX);
    errno = 0;
    if (pcap && pcap_compile(pcap, &compiled, expression, true,
                             PCAP_NETMASK_UNKNOWN) == 0) {
        send_result(to, COMPILED, compiled.bf_insns,
                    compiled.bf_len * sizeof(struct sock_filter));
    } else if (pcap && errno != ENOMEM) {
        send_result(to, REFUSED, pcap_geterr(pcap), strlen(pcap_geterr(pcap)));
    }
    _exit(EXIT_SUCCESS);
}

/*
 * The parent
 */

/* Returns: the number of bytes read, 0 if the child sent nothing */
static size_t read_result(int from, char *result)
{
    size_t have = 0;
    ssize_t len;

    do {
        len = RETRY_ON_EINTR(read(from, result + have, MAX_RESULT - have));
        have += MAX(len, 0);
    } while (len > 0);
    return have;
}

/* Returns: a file descriptor to read the child's result from, or -1 */
static int start_child(const char *expression, pid_t *pid, Error **errp)
{
    int ends[2];

    if (!g_unix_open_pipe(ends, FD_CLOEXEC, NULL)) {
        error_setg_errno(errp, errno, "filter: can't open a pipe");
        return -1;
    }
    *pid = fork();
    if (*pid == 0) {
        compile_in_child(expression, ends[1]);
    }
    close(ends[1]);
    if (*pid < 0) {
        error_setg_errno(errp, errno, "filter: can't start a process");
        close(ends[0]);
        return -1;
    }
    return ends[0];
}

/* Returns: the length of the result, 0 on error */
static size_t run_child(const char *expression, char *result, Error **errp)
{
    pid_t pid;
    int from = start_child(expression, &pid, errp);
    size_t len;

    if (from < 0) {
        return 0;
    }
    len = read_result(from, result);
    close(from);
    /* Fails if this program was started with SIGCHLD ignored */
    (void)RETRY_ON_EINTR(waitpid(pid, NULL, 0));
    if (!len) {
        error_setg(errp, "filter: compiling it takes more than %d s of CPU "
                   "time or %d MiB of memory: use a shorter one (for example, "
                   "'net' instead of many hosts, 'portrange' instead of ports)",
                   LIMIT_CPU_SEC, LIMIT_MEMORY_MIB);
    }
    return len;
}

bool compile_filter(const char *expression, GArray *program, Error **errp)
{
    g_autofree char *result = g_malloc(MAX_RESULT);
    size_t len;

    warn_of_vlan(expression);
    len = run_child(expression, result, errp);
    if (!len) {
        return false;
    }
    if (result[0] != COMPILED) {
        error_setg(errp, "filter: %.*s; see pcap-filter(7); write each comma "
                   "twice in an option",
                   (int)len - 1, result + 1);
        return false;
    }
    g_array_append_vals(program, result + 1,
                        (len - 1) / sizeof(struct sock_filter));
    return true;
}

#else

bool compile_filter(const char *expression, GArray *program, Error **errp)
{
    error_setg(errp, "filter: this program was built without libpcap: "
               "leave filter out, or configure QEMU with --enable-libpcap");
    return false;
}

#endif
