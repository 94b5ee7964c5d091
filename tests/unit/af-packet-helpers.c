/*
 * Test helpers: packet sockets on virtual links in a network namespace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "af-packet-helpers.h"

#define PROBE_PROTO 0x88b6          /* the other experimental ethertype */
#define DEADLINE_SEC 10             /* for all events that a test waits for */

/*
 * Network namespace
 */

static bool in_netns;

static bool file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/*
 * Without privileges, a network namespace requires a user namespace, which a
 * process with several threads can't enter.  RCU starts a thread before main(),
 * in a constructor without a priority, which runs later.
 */
static void __attribute__((__constructor__(101))) netns_enter(void)
{
    g_autofree char *uid_map = g_strdup_printf("0 %u 1", geteuid());
    g_autofree char *gid_map = g_strdup_printf("0 %u 1", getegid());

    in_netns = unshare(CLONE_NEWNET) == 0 ||
               (unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 &&
                file_write("/proc/self/setgroups", "deny") &&
                file_write("/proc/self/uid_map", uid_map) &&
                file_write("/proc/self/gid_map", gid_map));
}

/*
 * A veth device receives on the processor that the frame was sent on, be it in
 * send() or when a queueing discipline's timer is over.  With several of them
 * frames can overtake each other.
 */
static void __attribute__((__constructor__(102))) stay_on_one_processor(void)
{
    int cpu = sched_getcpu();
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(MAX(cpu, 0), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

const char *netns_skip_reason(void)
{
    if (!in_netns) {
        return "no network namespace: neither privileges nor user namespaces";
    }
    if (veth_create("veth0", "veth1") == -EOPNOTSUPP) {
        return "the kernel has no veth devices";
    }
    link_remove("veth0");
    link_set_up("lo", true);
    return NULL;
}

/*
 * Links
 */

typedef struct LinkRequest {
    struct nlmsghdr nh;
    union {
        struct ifinfomsg ifi;
        struct tcmsg tc;
    };
    uint8_t attrs[256];
} LinkRequest;

/* Returns: the end of @req, where the next part is appended. */
static void *link_tail(LinkRequest *req)
{
    return (uint8_t *)req + req->nh.nlmsg_len;
}

/* Append @len bytes, and padding. */
static void link_append(LinkRequest *req, const void *data, size_t len)
{
    void *tail = link_tail(req);

    req->nh.nlmsg_len += NLMSG_ALIGN(len);
    g_assert_cmpuint(req->nh.nlmsg_len, <=, sizeof(*req));
    memcpy(tail, data, len);
}

/* Start attribute @type, which contains all data appended until link_end(). */
static struct rtattr *link_begin(LinkRequest *req, unsigned short type)
{
    struct rtattr *rta = link_tail(req);

    link_append(req, &(struct rtattr) { .rta_type = type }, sizeof(*rta));
    return rta;
}

/* End the attribute that link_begin() started. */
static void link_end(LinkRequest *req, struct rtattr *rta)
{
    rta->rta_len = (uint8_t *)link_tail(req) - (uint8_t *)rta;
}

static void link_put(LinkRequest *req, unsigned short type,
                     const void *value, size_t len)
{
    struct rtattr *rta = link_begin(req, type);

    link_append(req, value, len);
    link_end(req, rta);
}

static void link_put_string(LinkRequest *req, unsigned short type,
                            const char *value)
{
    link_put(req, type, value, strlen(value) + 1);
}

/* Start a request about @ifname. */
static void link_request(LinkRequest *req, int type, int flags,
                         const char *ifname)
{
    *req = (LinkRequest) {
        .nh.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
        .nh.nlmsg_type = type,
        .nh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
    };
    link_put_string(req, IFLA_IFNAME, ifname);
}

/* Send @req to the kernel.  Returns: 0, or a negative errno. */
static int link_do(LinkRequest *req)
{
    struct {
        struct nlmsghdr nh;
        struct nlmsgerr err;
        uint8_t rest[1024];
    } ack;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(send(fd, req, req->nh.nlmsg_len, 0), ==,
                    req->nh.nlmsg_len);
    g_assert_cmpint(recv(fd, &ack, sizeof(ack), 0), >=,
                    NLMSG_LENGTH(sizeof(ack.err)));
    g_assert_cmpint(ack.nh.nlmsg_type, ==, NLMSG_ERROR);
    close(fd);
    return ack.err.error;
}

void link_set_up(const char *ifname, bool up)
{
    LinkRequest req;

    link_request(&req, RTM_NEWLINK, 0, ifname);
    req.ifi.ifi_flags = up ? IFF_UP : 0;
    req.ifi.ifi_change = IFF_UP;
    g_assert_cmpint(link_do(&req), ==, 0);
}

static void link_change(const char *ifname, unsigned short type,
                        const void *value, size_t len)
{
    LinkRequest req;

    link_request(&req, RTM_NEWLINK, 0, ifname);
    link_put(&req, type, value, len);
    g_assert_cmpint(link_do(&req), ==, 0);
}

void link_set_mtu(const char *ifname, uint32_t mtu)
{
    link_change(ifname, IFLA_MTU, &mtu, sizeof(mtu));
}

void link_set_dormant(const char *ifname)
{
    const uint8_t mode = 1; /* a supplicant will set it up */

    link_change(ifname, IFLA_LINKMODE, &mode, sizeof(mode));
}

void link_rename(const char *ifname, const char *name)
{
    LinkRequest req;

    link_request(&req, RTM_NEWLINK, 0, name);
    req.ifi.ifi_index = if_nametoindex(ifname);
    g_assert_cmpint(link_do(&req), ==, 0);
}

void link_remove(const char *ifname)
{
    LinkRequest req;

    link_request(&req, RTM_DELLINK, 0, ifname);
    g_assert_cmpint(link_do(&req), ==, 0);
}

/* Prevent the kernel from sending frames of its own, which are IPv6 only. */
static void link_disable_ipv6_ll(const char *ifname)
{
    const uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
    struct rtattr *spec, *inet6;
    LinkRequest req;

    link_request(&req, RTM_NEWLINK, 0, ifname);
    spec = link_begin(&req, IFLA_AF_SPEC);
    inet6 = link_begin(&req, AF_INET6);
    link_put(&req, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
    link_end(&req, inet6);
    link_end(&req, spec);
    link_do(&req);
}

int veth_create(const char *ifname, const char *peer)
{
    struct rtattr *info, *data, *attr;
    LinkRequest req;
    int ret;

    link_request(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifname);
    info = link_begin(&req, IFLA_LINKINFO);
    link_put_string(&req, IFLA_INFO_KIND, "veth");
    data = link_begin(&req, IFLA_INFO_DATA);
    attr = link_begin(&req, VETH_INFO_PEER);
    link_append(&req, &(struct ifinfomsg) { 0 }, sizeof(struct ifinfomsg));
    link_put_string(&req, IFLA_IFNAME, peer);
    link_end(&req, attr);
    link_end(&req, data);
    link_end(&req, info);
    ret = link_do(&req);
    if (ret == 0) {
        link_disable_ipv6_ll(ifname);
        link_disable_ipv6_ll(peer);
    }
    return ret;
}

/* Send frames out of @from until one arrives at @to. */
static void veth_probe(const char *from, const char *to)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    const uint8_t frame[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0,
        PROBE_PROTO >> 8, PROBE_PROTO & 0xff,
    };
    int tx = packet_endpoint(from, 0);
    struct pollfd rx = {
        .fd = packet_endpoint(to, PROBE_PROTO),
        .events = POLLIN,
    };

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_assert_cmpint(send(tx, frame, sizeof(frame), 0), ==, sizeof(frame));
    } while (poll(&rx, 1, 10) == 0);
    close(tx);
    close(rx.fd);
}

void veth_bring_up(const char *ifname, const char *peer)
{
    link_set_up(peer, true);
    link_set_up(ifname, true);
    /* The kernel is not finished when it reports that they are up */
    veth_probe(peer, ifname);
    veth_probe(ifname, peer);
}

void veth_add(const char *ifname, const char *peer)
{
    g_assert_cmpint(veth_create(ifname, peer), ==, 0);
    veth_bring_up(ifname, peer);
}

int tun_create(const char *ifname, short flags)
{
    struct ifreq ifr = { .ifr_flags = flags };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    strpadcpy(ifr.ifr_name, sizeof(ifr.ifr_name), ifname, 0);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int tap_create(const char *ifname, bool vnet_hdr)
{
    int fd = tun_create(ifname, IFF_TAP | IFF_NO_PI |
                        (vnet_hdr ? IFF_VNET_HDR : 0));

    if (fd >= 0) {
        link_disable_ipv6_ll(ifname);
    }
    return fd;
}

/* Start a request about the queueing discipline of @ifname. */
static void qdisc_request(LinkRequest *req, int flags, const char *ifname,
                          const char *kind)
{
    *req = (LinkRequest) {
        .nh.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
        .nh.nlmsg_type = RTM_NEWQDISC,
        .nh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
        .tc.tcm_ifindex = if_nametoindex(ifname),
        .tc.tcm_parent = TC_H_ROOT,
    };
    link_put_string(req, TCA_KIND, kind);
}

static int link_set_tbf(const char *ifname, int flags, uint32_t rate,
                        uint32_t burst, uint32_t limit)
{
    const struct tc_tbf_qopt opt = {
        .rate.linklayer = TC_LINKLAYER_ETHERNET,
        .rate.rate = rate,
        .limit = limit,
    };
    struct rtattr *options;
    LinkRequest req;

    qdisc_request(&req, flags, ifname, "tbf");
    options = link_begin(&req, TCA_OPTIONS);
    link_put(&req, TCA_TBF_PARMS, &opt, sizeof(opt));
    link_put(&req, TCA_TBF_BURST, &burst, sizeof(burst));
    link_end(&req, options);
    return link_do(&req);
}

int link_add_tbf(const char *ifname, uint32_t rate, uint32_t burst,
                 uint32_t limit)
{
    return link_set_tbf(ifname, NLM_F_CREATE | NLM_F_EXCL, rate, burst,
                        limit);
}

int link_add_bfifo(const char *ifname, uint32_t limit)
{
    const struct tc_fifo_qopt opt = { .limit = limit };
    LinkRequest req;

    qdisc_request(&req, NLM_F_CREATE | NLM_F_EXCL, ifname, "bfifo");
    link_put(&req, TCA_OPTIONS, &opt, sizeof(opt));
    return link_do(&req);
}

void link_change_tbf(const char *ifname, uint32_t rate, uint32_t burst,
                     uint32_t limit)
{
    g_assert_cmpint(link_set_tbf(ifname, 0, rate, burst, limit), ==, 0);
}

/*
 * Sockets
 */

void socket_set_int(int fd, int level, int option, int value)
{
    g_assert_cmpint(setsockopt(fd, level, option, &value, sizeof(value)),
                    ==, 0);
}

int socket_get_int(int fd, int option)
{
    int value;
    socklen_t len = sizeof(value);

    g_assert_cmpint(getsockopt(fd, SOL_SOCKET, option, &value, &len), ==, 0);
    return value;
}

unsigned count_fds(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

int packet_socket(int type)
{
    int fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

bool packet_socket_knows(int level, int option)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    uint64_t value;
    socklen_t len = sizeof(value);
    bool known = getsockopt(fd, level, option, &value, &len) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return known;
}

void packet_set_vnet_hdr(int fd)
{
    socket_set_int(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
}

bool packet_has_ring(int fd)
{
    int version = TPACKET_V2;

    /* With a ring, setting the version fails, even to its current value */
    return setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version,
                      sizeof(version)) < 0;
}

void packet_bind(int fd, const char *ifname, uint16_t proto)
{
    struct sockaddr_ll sll = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(proto),
        .sll_ifindex = if_nametoindex(ifname),
    };

    g_assert_cmpint(sll.sll_ifindex, >, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), ==, 0);
}

int packet_open(const char *ifname, uint16_t proto)
{
    int fd = packet_socket(SOCK_RAW);

    packet_bind(fd, ifname, proto);
    return fd;
}

void socket_set_deadline(int fd)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)),
                    ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)),
                    ==, 0);
}

int packet_endpoint(const char *ifname, uint16_t proto)
{
    int fd = packet_open(ifname, proto);

    socket_set_deadline(fd);
    return fd;
}
