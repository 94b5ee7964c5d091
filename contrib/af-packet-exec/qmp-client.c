/*
 * af-packet-exec: hand a socket to a QEMU that runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A name that getfd gives lasts as long as the monitor, not the connection to
 * it, so the next client of the same monitor can use it.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qobject/json-parser.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qmp-client.h"

#define PATIENCE_SEC 10

struct QmpClient {
    int fd;
    const char *path;
    JSONMessageParser parser;
    GQueue messages;            /* of QDict *: received, not looked at yet */
    bool garbage;               /* received something else */
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

static void set_deadlines(int fd)
{
    const struct timeval patience = { .tv_sec = PATIENCE_SEC };

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

/* unix_connect() waits for as long as the server's backlog is full. */
static int connect_to(const char *path, Error **errp)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        error_setg(errp, "'%s' is longer than the %zu bytes that a socket's "
                   "path may have", path, sizeof(address.sun_path) - 1);
        return -1;
    }
    pstrcpy(address.sun_path, sizeof(address.sun_path), path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        set_deadlines(fd);
    }
    if (fd < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        error_setg_errno(errp, errno, "can't connect to '%s': start QEMU with "
                         "-qmp unix:PATH,server=on,wait=off, and be a user "
                         "who may open PATH (--user)", path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* Returns: false when nothing came; parsed or not, the rest is in @qmp. */
static bool receive_some(QmpClient *qmp, Error **errp)
{
    char buf[4096];
    ssize_t len;

    do {
        len = recv(qmp->fd, buf, sizeof(buf), 0);
    } while (len < 0 && errno == EINTR);
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
                   "time, so end the other, or start QEMU with another -qmp",
                   qmp->path);
    }
    return false;
}

/*
 * Wait for a message that has one of two members; there may be others before
 * it, events.
 */
static QDict *receive(QmpClient *qmp, const char *member, const char *or_member,
                      Error **errp)
{
    const int64_t end = g_get_monotonic_time() +
                        PATIENCE_SEC * G_TIME_SPAN_SECOND;

    while (g_get_monotonic_time() < end) {
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
    error_setg(errp, "'%s' sends other things than an answer", qmp->path);
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
    /* A stream socket takes a short message in one piece */
    return sendmsg(qmp->fd, &msg, MSG_NOSIGNAL) == text->len;
}

/* Run a command; takes over @command. */
static bool run(QmpClient *qmp, QDict *command, int fd, Error **errp)
{
    g_autoptr(GString) text = qobject_to_json(QOBJECT(command));
    g_autoptr(QDict) reply = NULL;
    QDict *refusal;

    qobject_unref(command);
    g_string_append_c(text, '\n');
    if (!send_text(qmp, text, fd)) {
        error_setg_errno(errp, errno, "can't write to '%s'", qmp->path);
        return false;
    }
    reply = receive(qmp, "return", "error", errp);
    if (!reply) {
        return false;
    }
    refusal = qdict_get_qdict(reply, "error");
    if (refusal) {
        error_setg(errp, "QEMU refuses: %s",
                   qdict_get_try_str(refusal, "desc") ?: "no reason given");
        return false;
    }
    return true;
}

QmpClient *qmp_client_open(const char *path, Error **errp)
{
    g_autoptr(QmpClient) qmp = g_new0(QmpClient, 1);
    g_autoptr(QDict) greeting = NULL;

    qmp->path = path;
    json_message_parser_init(&qmp->parser, message_received, qmp, NULL);
    qmp->fd = connect_to(path, errp);
    if (qmp->fd < 0) {
        return NULL;
    }
    greeting = receive(qmp, "QMP", "QMP", errp);
    if (!greeting ||
        !run(qmp, qdict_from_jsonf_nofail("{'execute': 'qmp_capabilities'}"),
             -1, errp)) {
        return NULL;
    }
    return g_steal_pointer(&qmp);
}

bool qmp_client_getfd(QmpClient *qmp, int fd, const char *fdname, Error **errp)
{
    return run(qmp, qdict_from_jsonf_nofail(
                   "{'execute': 'getfd', 'arguments': {'fdname': %s}}",
                   fdname), fd, errp);
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
    g_free(qmp);
}
