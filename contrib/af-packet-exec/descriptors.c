/*
 * af-packet-exec: file descriptors that a command inherits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A descriptor can exceed the limit of open files if the limit was lowered
 * after it was opened.  qemu_close_all_open_fd() stops at the limit.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "descriptors.h"

bool descriptors_open_standard(void)
{
    int fd;

    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* open() returns the lowest closed descriptor, which is fd */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
            return false;
        }
    }
    return true;
}

bool descriptors_reserve(int number, Error **errp)
{
    /* Any open descriptor will do */
    if (dup3(STDERR_FILENO, number, O_CLOEXEC) < 0) {
        error_setg(errp, "fd=%d can't be used: %s; use one below the limit of "
                   "open files (ulimit -n), %ld", number, strerror(errno),
                   sysconf(_SC_OPEN_MAX));
        return false;
    }
    return true;
}

/* Fails before Linux 5.11, and in sandboxes without close_range(). */
static bool mark_range(void)
{
#ifdef CONFIG_CLOSE_RANGE
    return close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
#else
    return false;
#endif
}

bool descriptors_mark_all(Error **errp)
{
    g_autoptr(GDir) open_ones = NULL;
    const char *name;

    if (mark_range()) {
        return true;
    }
    open_ones = g_dir_open("/proc/self/fd", 0, NULL);
    if (!open_ones) {
        error_setg(errp, "can't list open descriptors: mount /proc, or use "
                   "Linux 5.11");
        return false;
    }
    while ((name = g_dir_read_name(open_ones))) {
        int fd = atoi(name);

        if (fd > STDERR_FILENO) {
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    return true;
}
