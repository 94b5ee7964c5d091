/*
 * Notification when sent frames leave the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/epoll.h>
#include "af-packet-departures.h"

void af_packet_departures_init(AfPacketDepartures *dep, int fd)
{
    *dep = (AfPacketDepartures) {
        .fd = fd,
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
    };
}

void af_packet_departures_destroy(AfPacketDepartures *dep)
{
    if (dep->epoll_fd >= 0) {
        close(dep->epoll_fd);
    }
}

void af_packet_departures_watch(AfPacketDepartures *dep)
{
    struct epoll_event event = { .events = EPOLLOUT | EPOLLET };

    if (dep->epoll_fd < 0) {
        return;
    }
    if (!dep->watching) {
        dep->watching = epoll_ctl(dep->epoll_fd, EPOLL_CTL_ADD, dep->fd,
                                  &event) == 0;
    }
    /* Consume the initial event, which reports that the socket is writable */
    epoll_wait(dep->epoll_fd, &event, 1, 0);
}

void af_packet_departures_unwatch(AfPacketDepartures *dep)
{
    if (dep->watching) {
        epoll_ctl(dep->epoll_fd, EPOLL_CTL_DEL, dep->fd, NULL);
        dep->watching = false;
    }
}
