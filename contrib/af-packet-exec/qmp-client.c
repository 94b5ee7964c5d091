/*
 * af-packet-exec: pass sockets to a running QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A name assigned by getfd has the lifetime of the monitor, not of the
 * connection to it, so the next client of the same monitor can use it.
 *
 * The other side is not trusted: it may not answer, or may not be QEMU.
 */
#include "qemu/osdep.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qobject/json-parser.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qmp-client.h"

/* Timeout for all communication, including connect() */
#define TIMEOUT_SEC 10

/* Maximum length of quotes from the other side in messages */
#define MAX_QUOTE_LEN 300

struct QmpClient {
    int fd;
    const char *path;
    int64_t deadline;           /* of g_get_monotonic_time() */
    JSONMessageParser parser;
    GQueue messages;            /* of QDict *: received, not processed yet */
    bool garbage;               /* received something that is not QMP */
    GPtrArray *fdnames;         /* of char *: may have arrived in QEMU */
};

static void message_received(void *opaque, QObject *object, Error *err)
{
    QDict *message = qobject_to(QDict, object);
    QmpClient *qmp = opaque;

    if (message) {
        g_queue_push_tail(&qmp->messages, message);
        return;
    }
    qmp->garbage = true;
    qobject_unref(object);
    error_free(err);
}

/* This also limits how long connect() waits for room in the backlog. */
static void limit_waiting(int fd)
{
    const struct timeval patience = { .tv_sec = TIMEOUT_SEC };

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

/* Unlike unix_connect(), don't wait forever if the server's backlog is full. */
static int connect_to(const char *path, Error **errp)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        error_setg(errp, "'%s' is too long for the path of a UNIX socket, "
                   "use at most %zu bytes", path, sizeof(address.sun_path) - 1);
        return -1;
    }
    pstrcpy(address.sun_path, sizeof(address.sun_path), path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        limit_waiting(fd);
    }
    if (fd < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        error_setg_errno(errp, errno, "can't connect to '%s': start QEMU with "
                         "-qmp unix:PATH,server=on,wait=off, and use a user "
                         "who may open PATH (--user)", path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/*
 * In a world-writable directory, any user can listen.  The kernel reports the
 * user that called listen().
 */
static bool check_peer(QmpClient *qmp, uid_t wanted, Error **errp)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        error_setg_errno(errp, errno, "can't identify the owner of '%s'",
                         qmp->path);
        return false;
    }
    if (peer.uid != wanted && peer.uid != 0) {
        error_setg(errp, "user %u listens on '%s', but the socket is for user "
                   "%u: if this is the right QEMU, switch to its user "
                   "(--user), or specify it (--qmp-user)",
                   peer.uid, qmp->path, wanted);
        return false;
    }
    return true;
}

/* Returns: the number of bytes received; 0 at the end, -1 after the deadline */
static ssize_t receive_until_deadline(QmpClient *qmp, char *buf, size_t size)
{
    struct pollfd poll_fd = { .fd = qmp->fd, .events = POLLIN };
    int64_t left = qmp->deadline - g_get_monotonic_time();
    int ready;

    ready = RETRY_ON_EINTR(poll(&poll_fd, 1, MAX(left, 0) / 1000));
    return ready > 0 ? RETRY_ON_EINTR(recv(qmp->fd, buf, size, 0)) : -1;
}

/* Receive and parse data.  Returns: false on error. */
static bool receive_some(QmpClient *qmp, Error **errp)
{
    char buf[4096];
    ssize_t len = receive_until_deadline(qmp, buf, sizeof(buf));

    if (len > 0) {
        json_message_parser_feed(&qmp->parser, buf, len);
        if (!qmp->garbage) {
            return true;
        }
        error_setg(errp, "'%s' is not a QMP monitor: use a socket that QEMU "
                   "listens on with -qmp", qmp->path);
    } else if (len == 0) {
        error_setg(errp, "'%s' was closed by the other side", qmp->path);
    } else {
        error_setg(errp, "'%s' does not answer: a monitor has one client at a "
                   "time, so close the other one, or start QEMU with another "
                   "-qmp", qmp->path);
    }
    return false;
}

/*
 * Wait for a message that has one of two members, and discard other messages,
 * such as events.
 */
static QDict *receive(QmpClient *qmp, const char *member, const char *or_member,
                      Error **errp)
{
    while (g_get_monotonic_time() < qmp->deadline) {
        QDict *message = g_queue_pop_head(&qmp->messages);

        if (!message) {
            if (!receive_some(qmp, errp)) {
                return NULL;
            }
        } else if (qdict_haskey(message, member) ||
                   qdict_haskey(message, or_member)) {
            return message;
        } else {
            qobject_unref(message);
        }
    }
    error_setg(errp, "'%s' sends other messages, but no answer", qmp->path);
    return NULL;
}

/* Send @text, and the descriptor @fd unless it is negative. */
static bool send_text(QmpClient *qmp, GString *text, int fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(fd))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { .iov_base = text->str, .iov_len = text->len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct cmsghdr *cmsg;

    if (fd >= 0) {
        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
    }
    /* A stream socket accepts a short message as a whole */
    return sendmsg(qmp->fd, &msg, MSG_NOSIGNAL) == text->len;
}

/* Text from others must not control the terminal or imitate our messages. */
static char *quote(const char *text)
{
    g_autofree char *start = g_strndup(text, MAX_QUOTE_LEN);

    return g_strescape(start, "\"");
}

static void report_refusal(QDict *reply, Error **errp)
{
    QDict *refusal = qobject_to(QDict, qdict_get(reply, "error"));
    g_autofree char *reason =
        quote((refusal ? qdict_get_try_str(refusal, "desc") : NULL)
              ?: "no reason given");

    error_setg(errp, "QEMU refuses: %s", reason);
}

/* Send a command, with @fd unless it is negative; consumes @command. */
static bool send_command(QmpClient *qmp, QDict *command, int fd, Error **errp)
{
    g_autoptr(GString) text = qobject_to_json(QOBJECT(command));

    qobject_unref(command);
    g_string_append_c(text, '\n');
    if (!send_text(qmp, text, fd)) {
        error_setg_errno(errp, errno, "can't write to '%s'", qmp->path);
        return false;
    }
    return true;
}

static QDict *receive_reply(QmpClient *qmp, Error **errp)
{
    return receive(qmp, "return", "error", errp);
}

static bool is_success(QDict *reply)
{
    return !qdict_haskey(reply, "error");
}

static bool negotiate(QmpClient *qmp, Error **errp)
{
    g_autoptr(QDict) greeting = receive(qmp, "QMP", "QMP", errp);
    g_autoptr(QDict) reply = NULL;

    if (!greeting ||
        !send_command(qmp, qdict_from_jsonf_nofail(
                          "{'execute': 'qmp_capabilities'}"), -1, errp)) {
        return false;
    }
    reply = receive_reply(qmp, errp);
    if (reply && !is_success(reply)) {
        report_refusal(reply, errp);
        return false;
    }
    return reply;
}

QmpClient *qmp_client_open(const char *path, uid_t user, Error **errp)
{
    g_autoptr(QmpClient) qmp = g_new0(QmpClient, 1);

    qmp->path = path;
    qmp->deadline = g_get_monotonic_time() + TIMEOUT_SEC * G_TIME_SPAN_SECOND;
    qmp->fdnames = g_ptr_array_new_with_free_func(g_free);
    json_message_parser_init(&qmp->parser, message_received, qmp, NULL);
    qmp->fd = connect_to(path, errp);
    if (qmp->fd < 0 || !check_peer(qmp, user, errp) || !negotiate(qmp, errp)) {
        return NULL;
    }
    return g_steal_pointer(&qmp);
}

bool qmp_client_getfd(QmpClient *qmp, int fd, const char *fdname, Error **errp)
{
    QDict *command = qdict_from_jsonf_nofail(
        "{'execute': 'getfd', 'arguments': {'fdname': %s}}", fdname);
    g_autoptr(QDict) reply = NULL;

    /* If there is no answer, QEMU may still have accepted it */
    g_ptr_array_add(qmp->fdnames, g_strdup(fdname));
    if (!send_command(qmp, command, fd, errp)) {
        return false;
    }
    reply = receive_reply(qmp, errp);
    if (reply && !is_success(reply)) {
        /* A descriptor with this name was not passed by us */
        g_ptr_array_set_size(qmp->fdnames, qmp->fdnames->len - 1);
        report_refusal(reply, errp);
        return false;
    }
    return reply;
}

void qmp_client_take_back(QmpClient *qmp)
{
    int i;

    for (i = 0; i < qmp->fdnames->len; i++) {
        QDict *command = qdict_from_jsonf_nofail(
            "{'execute': 'closefd', 'arguments': {'fdname': %s}}",
            (char *)qmp->fdnames->pdata[i]);

        if (send_command(qmp, command, -1, NULL)) {
            qobject_unref(receive_reply(qmp, NULL));
        }
    }
}

static void message_free(gpointer message)
{
    qobject_unref((QDict *)message);
}

void qmp_client_close(QmpClient *qmp)
{
    if (!qmp) {
        return;
    }
    if (qmp->fd >= 0) {
        close(qmp->fd);
    }
    json_message_parser_destroy(&qmp->parser);
    g_queue_clear_full(&qmp->messages, message_free);
    g_ptr_array_unref(qmp->fdnames);
    g_free(qmp);
}
