/*
 * Test helpers: packet sockets on virtual links in a network namespace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any failure here fails the test, unless it is reported by a return value.
 */
#ifndef TESTS_UNIT_AF_PACKET_HELPERS_H
#define TESTS_UNIT_AF_PACKET_HELPERS_H

/* An ethertype that nothing but a test sends (IEEE 802 Local Experimental) */
#define TEST_ETHERTYPE 0x88b5

/* Linux 4.20 */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* Linux 5.14 */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

/**
 * netns_skip_reason:
 *
 * When main() starts, a program linked with this file is in a network namespace
 * of its own, with or without privileges.  This function sets its loopback
 * interface up.  The program and the QEMUs that it starts run on one processor,
 * so that frames arrive in the order in which they were sent.
 *
 * Returns: why tests can't run here, or NULL.
 */
const char *netns_skip_reason(void);

/**
 * link_set_up:
 * @ifname: an interface
 * @up: whether to set it up or down
 */
void link_set_up(const char *ifname, bool up);

/**
 * link_set_mtu:
 * @ifname: an interface
 * @mtu: its new MTU in bytes
 */
void link_set_mtu(const char *ifname, uint32_t mtu);

/**
 * link_rename:
 * @ifname: an interface that is down
 * @name: its new name
 */
void link_rename(const char *ifname, const char *name);

/**
 * link_set_dormant:
 * @ifname: an interface that is down
 *
 * Once up, it sends frames, but is not reported as running.
 */
void link_set_dormant(const char *ifname);

/**
 * link_remove:
 * @ifname: an interface; a veth device is removed with its peer
 */
void link_remove(const char *ifname);

/**
 * veth_create:
 * @ifname: name of one end
 * @peer: name of the other
 *
 * Both ends are down.  Once up, they send no frames of their own.
 *
 * Returns: 0, or a negative errno.
 */
int veth_create(const char *ifname, const char *peer);

/**
 * veth_bring_up:
 * @ifname: name of one end
 * @peer: name of the other
 *
 * Set both ends up, and wait until frames pass in both directions.
 */
void veth_bring_up(const char *ifname, const char *peer);

/**
 * veth_add:
 * @ifname: name of one end
 * @peer: name of the other
 *
 * Create a pair and bring it up.
 */
void veth_add(const char *ifname, const char *peer);

/**
 * tun_create:
 * @ifname: an interface to create, which is down
 * @flags: flags for TUNSETIFF
 *
 * Returns: the descriptor, which keeps the interface while it is open, or -1 if
 * this system does not permit it.
 */
int tun_create(const char *ifname, short flags);

/**
 * tap_create:
 * @ifname: an interface to create, which is down
 * @vnet_hdr: whether what is read and written has a vnet header of 10 bytes
 *
 * Once up, it sends no frames of its own.
 *
 * Returns: the descriptor, which keeps the interface while it is open, or -1 if
 * this system does not permit it.
 */
int tap_create(const char *ifname, bool vnet_hdr);

/**
 * link_add_tbf:
 * @ifname: an interface
 * @rate: maximum rate in bytes per second
 * @burst: maximum burst in bytes, at least one frame
 * @limit: maximum number of bytes queued in the kernel
 *
 * Make the interface slow, with a token bucket filter.
 *
 * Returns: 0, or a negative errno if the kernel does not support it.
 */
int link_add_tbf(const char *ifname, uint32_t rate, uint32_t burst,
                 uint32_t limit);

/**
 * link_add_bfifo:
 * @ifname: an interface
 * @limit: bytes that may wait in the kernel
 *
 * Give the interface a queue of limited length.
 *
 * Returns: 0, or a negative errno if the kernel does not support it.
 */
int link_add_bfifo(const char *ifname, uint32_t limit);

/**
 * link_change_tbf:
 * @ifname: an interface that link_add_tbf() made slow
 * @rate: as there
 * @burst: as there
 * @limit: as there
 *
 * Frames that are queued in the kernel stay there.
 */
void link_change_tbf(const char *ifname, uint32_t rate, uint32_t burst,
                     uint32_t limit);

/**
 * socket_set_int:
 * @fd: a socket
 * @level: SOL_SOCKET or SOL_PACKET
 * @option: an option of it
 * @value: its new value
 */
void socket_set_int(int fd, int level, int option, int value);

/**
 * socket_get_int:
 * @fd: a socket
 * @option: an option of SOL_SOCKET
 *
 * Returns: its value.
 */
int socket_get_int(int fd, int option);

/**
 * socket_set_deadline:
 * @fd: a socket
 *
 * Make blocking calls fail after 10 seconds.
 */
void socket_set_deadline(int fd);

/**
 * count_fds:
 * @pid: a process
 *
 * Returns: the number of its open descriptors, plus one if it is this process.
 */
unsigned count_fds(pid_t pid);

/**
 * packet_socket:
 * @type: SOCK_RAW or SOCK_DGRAM
 *
 * Returns: a packet socket that does not receive anything yet.
 */
int packet_socket(int type);

/**
 * packet_socket_knows:
 * @level: SOL_SOCKET or SOL_PACKET
 * @option: an option that not every kernel has
 *
 * Returns: whether this one has it.
 */
bool packet_socket_knows(int level, int option);

/**
 * packet_set_vnet_hdr:
 * @fd: a packet socket, whose frames are to have vnet headers of 10 bytes
 */
void packet_set_vnet_hdr(int fd);

/**
 * packet_has_ring:
 * @fd: a packet socket
 *
 * Returns: whether it has a receive or transmit ring.
 */
bool packet_has_ring(int fd);

/**
 * packet_bind:
 * @fd: a packet socket
 * @ifname: the interface to bind it to
 * @proto: the ethertype to receive, 0 for none, ETH_P_ALL for all
 */
void packet_bind(int fd, const char *ifname, uint16_t proto);

/**
 * packet_open:
 * @ifname: the interface to bind it to
 * @proto: the ethertype to receive, 0 for none, ETH_P_ALL for all
 *
 * Returns: a packet socket as QEMU expects it.
 */
int packet_open(const char *ifname, uint16_t proto);

/**
 * packet_endpoint:
 * @ifname: the interface to bind it to
 * @proto: the ethertype to receive, 0 for none, ETH_P_ALL for all
 *
 * Returns: a packet socket for use by the test: its blocking calls fail after
 * 10 seconds.
 */
int packet_endpoint(const char *ifname, uint16_t proto);

#endif
