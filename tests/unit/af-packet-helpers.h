/*
 * Test helpers: packet sockets on virtual links in a network namespace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What fails here fails the test, unless a return value says otherwise.
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
 * A program that links this file is in a network namespace of its own when
 * main() starts, with or without privileges; its loopback is up once this
 * function has been called.  The program and QEMUs that it starts stay on one
 * processor, so that frames arrive in the order that they were sent in.
 *
 * Returns: why tests can't run here, or NULL.
 */
const char *netns_skip_reason(void);

/**
 * link_set_up:
 * @ifname: an interface
 * @up: whether it is to be up or down
 */
void link_set_up(const char *ifname, bool up);

/**
 * link_set_mtu:
 * @ifname: an interface
 * @mtu: the longest frame that it takes, in bytes after the Ethernet header
 */
void link_set_mtu(const char *ifname, uint32_t mtu);

/**
 * link_rename:
 * @ifname: an interface that is down
 * @name: what it is to be called from now on
 */
void link_rename(const char *ifname, const char *name);

/**
 * link_set_dormant:
 * @ifname: an interface that is down
 *
 * Once up, it will send, but not say that it is running.
 */
void link_set_dormant(const char *ifname);

/**
 * link_remove:
 * @ifname: an interface; a veth device goes with its peer
 */
void link_remove(const char *ifname);

/**
 * veth_create:
 * @ifname: name of one end
 * @peer: name of the other
 *
 * Both ends are down.  Once up, they send nothing by themselves.
 *
 * Returns: 0, or a negative errno.
 */
int veth_create(const char *ifname, const char *peer);

/**
 * veth_bring_up:
 * @ifname: name of one end
 * @peer: name of the other
 *
 * Set both ends up, and wait until frames pass both ways.
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
 * @flags: of TUNSETIFF
 *
 * Returns: the descriptor that it lasts as long as, or -1 if this system does
 * not let one have it.
 */
int tun_create(const char *ifname, short flags);

/**
 * tap_create:
 * @ifname: an interface to create, which is down
 * @vnet_hdr: whether what is read and written has a vnet header of 10 bytes
 *
 * Once up, it sends nothing by itself.
 *
 * Returns: the descriptor that it lasts as long as, or -1 if this system does
 * not let one have it.
 */
int tap_create(const char *ifname, bool vnet_hdr);

/**
 * link_add_tbf:
 * @ifname: an interface
 * @rate: what it is to send, in bytes per second
 * @burst: bytes that may go at once, at least a frame
 * @limit: bytes that may wait in the kernel
 *
 * Make the interface slow, with a token bucket filter.
 *
 * Returns: 0, or a negative errno if the kernel has none.
 */
int link_add_tbf(const char *ifname, uint32_t rate, uint32_t burst,
                 uint32_t limit);

/**
 * link_add_bfifo:
 * @ifname: an interface
 * @limit: bytes that may wait in the kernel
 *
 * Have the interface's frames wait in a queue that is as short as that.
 *
 * Returns: 0, or a negative errno if the kernel has no such queue.
 */
int link_add_bfifo(const char *ifname, uint32_t limit);

/**
 * link_change_tbf:
 * @ifname: an interface that link_add_tbf() made slow
 * @rate: as there
 * @burst: as there
 * @limit: as there
 *
 * What waits in the kernel keeps waiting.
 */
void link_change_tbf(const char *ifname, uint32_t rate, uint32_t burst,
                     uint32_t limit);

/**
 * socket_set_int:
 * @fd: a socket
 * @level: SOL_SOCKET or SOL_PACKET
 * @option: an option of it
 * @value: what it is to be
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
 * Have calls that block fail when nothing happens for 10 seconds.
 */
void socket_set_deadline(int fd);

/**
 * count_fds:
 * @pid: a process
 *
 * Returns: how many descriptors it has, and one more if it is this one.
 */
unsigned count_fds(pid_t pid);

/**
 * packet_socket:
 * @type: SOCK_RAW or SOCK_DGRAM
 *
 * Returns: a packet socket that hears nothing yet.
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
 * @proto: the ethertype to hear, 0 for none, ETH_P_ALL for all
 */
void packet_bind(int fd, const char *ifname, uint16_t proto);

/**
 * packet_open:
 * @ifname: the interface to bind it to
 * @proto: the ethertype to hear, 0 for none, ETH_P_ALL for all
 *
 * Returns: a packet socket as QEMU expects it.
 */
int packet_open(const char *ifname, uint16_t proto);

/**
 * packet_endpoint:
 * @ifname: the interface to bind it to
 * @proto: the ethertype to hear, 0 for none, ETH_P_ALL for all
 *
 * Returns: a packet socket for a test's own use: blocking, but failing when
 * nothing happens for 10 seconds.
 */
int packet_endpoint(const char *ifname, uint16_t proto);

#endif
