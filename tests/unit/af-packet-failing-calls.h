/*
 * Test helpers: system calls that fail on demand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The linker puts the functions named __wrap_ in front of the system calls
 * (--wrap, see meson.build); a test that must not fail itself calls those
 * named __real_.
 */
#ifndef TESTS_UNIT_AF_PACKET_FAILING_CALLS_H
#define TESTS_UNIT_AF_PACKET_FAILING_CALLS_H

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

typedef enum Call {
    CALL_NONE,
    CALL_RECVMMSG,
    CALL_RECV,
    CALL_SEND,
    CALL_GETSOCKOPT,
    CALL_SETSOCKOPT,
    CALL_GETSOCKNAME,
    CALL_IOCTL,
    CALL_MMAP,
    CALL_TIMERFD_CREATE,
    CALL_TIMERFD_SETTIME,
} Call;
#define FOR_GOOD INT_MAX

/**
 * fail_calls:
 * @call: the call to fail and to count from now on; CALL_NONE for none
 * @err: the errno to fail with
 * @times: number of failures, or FOR_GOOD
 */
void fail_calls(Call call, int err, int times);

/**
 * count_calls:
 *
 * Returns: the number of calls since fail_calls() of the call that fails.
 */
int count_calls(void);

/* With glibc, _FILE_OFFSET_BITS causes mmap64() to be called */
#ifndef __GLIBC__
#define __real_mmap64 __real_mmap
#define __wrap_mmap64 __wrap_mmap
#endif

int __real_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags,
                    struct timespec *timeout);
int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags,
                    struct timespec *timeout);
ssize_t __real_recv(int fd, void *buf, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
int __real_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value,
                      socklen_t *len);
int __real_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value,
                      socklen_t len);
int __real_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd,
                    off_t offset);
int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);

#endif
