/*
 * Test helpers: system calls that fail on demand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "af-packet-failing-calls.h"

static struct {
    Call call;
    int err;
    int times; /* how often it still has to fail */
    int n_calls;
} failing;

void fail_calls(Call call, int err, int times)
{
    failing.call = call;
    failing.err = err;
    failing.times = times;
    failing.n_calls = 0;
}

int count_calls(void)
{
    return failing.n_calls;
}

static bool fails(Call call)
{
    if (failing.call != call) {
        return false;
    }
    failing.n_calls++;
    if (failing.times == 0) {
        return false;
    }
    if (failing.times != FOR_GOOD) {
        failing.times--;
    }
    errno = failing.err;
    return true;
}

int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags,
                    struct timespec *timeout)
{
    return fails(CALL_RECVMMSG) ? -1 :
           __real_recvmmsg(fd, msgs, n, flags, timeout);
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
    return fails(CALL_RECV) ? -1 : __real_recv(fd, buf, len, flags);
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
    return fails(CALL_SEND) ? -1 : __real_send(fd, buf, len, flags);
}

int __wrap_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len)
{
    return fails(CALL_GETSOCKOPT) ? -1 :
           __real_getsockopt(fd, level, name, value, len);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t len)
{
    return fails(CALL_SETSOCKOPT) ? -1 :
           __real_setsockopt(fd, level, name, value, len);
}

int __wrap_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    return fails(CALL_GETSOCKNAME) ? -1 : __real_getsockname(fd, addr, len);
}

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
    return fails(CALL_IOCTL) ? -1 : __real_ioctl(fd, request, arg);
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset)
{
    return fails(CALL_MMAP) ? MAP_FAILED :
           __real_mmap64(addr, len, prot, flags, fd, offset);
}

int __wrap_timerfd_create(int clock, int flags)
{
    return fails(CALL_TIMERFD_CREATE) ? -1 :
           __real_timerfd_create(clock, flags);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old)
{
    return fails(CALL_TIMERFD_SETTIME) ? -1 :
           __real_timerfd_settime(fd, flags, value, old);
}
