/*
 * af-packet-exec: open packet sockets for an unprivileged command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For security, the order is: parse the command line; open the sockets, the
 * only step that requires privileges; drop the privileges; and only then access
 * anything else: filters, interfaces, a monitor, a command.
 */
#include "qemu/osdep.h"
#include <getopt.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/help-texts.h"
#include "qemu-version.h"
#include "descriptors.h"
#include "qmp-client.h"
#include "privileges.h"
#include "socket.h"

/* Like env(1), nohup(1) and others */
enum {
    EXIT_OWN_FAILURE = 125,
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NOT_FOUND = 127,
};

enum {
    OPTION_SOCKET = 256,
    OPTION_USER,
    OPTION_KEEP_FD,
    OPTION_QMP,
    OPTION_QMP_USER,
    OPTION_FDNAME,
};

typedef struct SocketOption {
    PacketSocket *socket;
    Location loc;
} SocketOption;

typedef struct Task {
    GArray *sockets;        /* of SocketOption */
    GPtrArray *fdnames;     /* of char *, in the order of sockets */
    GArray *kept;           /* of int: descriptors to pass on */
    const char *qmp;
    const char *qmp_user;   /* of the monitor, NULL for the own user */
    bool only_allowed;      /* refuse interfaces that are not allowed */
    bool has_user;
    User user;
    char **command;         /* NULL-terminated; empty with @qmp */
} Task;

static const char usage[] =
"usage: af-packet-exec --socket OPTIONS... [--user USER] [--keep-fd FD]...\n"
"                      [--] COMMAND [ARGUMENT]...\n"
"       af-packet-exec --socket OPTIONS... [--user USER]\n"
"                      --qmp PATH [--qmp-user USER] --fdname NAME...\n"
"Open AF_PACKET sockets, drop all privileges, and execute COMMAND, which\n"
"inherits the sockets; or pass them to a running QEMU.\n"
"\n"
"  --socket fd=FD,ifname=NAME[,direction=in|out|both][,protocol=all|none]\n"
"           [,promisc=on|off][,vnet-hdr-len=0|10|12]\n"
"           [,rcvbuf=SIZE][,sndbuf=SIZE][,filter=EXPRESSION]\n"
"                 one socket; may be repeated\n"
"  --user USER    switch to this user: an account name, or UID:GID\n"
"  --keep-fd FD   let COMMAND inherit this descriptor too; may be repeated\n"
"  --qmp PATH     pass the sockets to the QEMU that listens on this socket\n"
"  --qmp-user USER\n"
"                 the user that QEMU runs as (default: the current user)\n"
"  --fdname NAME  name for getfd; one for each --socket, which has no fd\n"
"  -h, --help     print this help and exit\n"
"  -V, --version  print the version and exit\n"
"\n"
"The exit status is COMMAND's, or 125 if af-packet-exec fails, 126 if COMMAND\n"
"can't be executed, and 127 if it is not found.\n";

static void G_NORETURN fail(Error *err)
{
    error_report_err(err);
    exit(EXIT_OWN_FAILURE);
}

static void G_NORETURN G_GNUC_PRINTF(1, 2) fail_with(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    error_vreport(format, ap);
    va_end(ap);
    exit(EXIT_OWN_FAILURE);
}

static PacketSocket *nth_socket(Task *task, int i)
{
    return g_array_index(task->sockets, SocketOption, i).socket;
}

/* Messages of @function refer to the option that describes the socket. */
static void for_each_socket(Task *task, void (*function)(Task *, int))
{
    int i;

    for (i = 0; i < task->sockets->len; i++) {
        loc_restore(&g_array_index(task->sockets, SocketOption, i).loc);
        function(task, i);
    }
    loc_set_none();
}

/*
 * Command line
 */

static void add_socket(Task *task, const char *text)
{
    SocketOption option = { 0 };
    Error *err = NULL;

    option.socket = packet_socket_parse(text, &err);
    if (!option.socket) {
        fail(err);
    }
    loc_save(&option.loc);
    g_array_append_val(task->sockets, option);
}

static void add_kept(Task *task, const char *text)
{
    int fd;

    if (qemu_strtoi(text, NULL, 10, &fd) < 0 || fd <= STDERR_FILENO ||
        fcntl(fd, F_GETFD) < 0) {
        fail_with("'%s' is not an open descriptor: use the number of one, "
                  "from 3 on", text);
    }
    g_array_append_val(task->kept, fd);
}

static void parse_option(Task *task, int option)
{
    Error *err = NULL;

    switch (option) {
    case OPTION_SOCKET:
        add_socket(task, optarg);
        break;
    case OPTION_USER:
        task->has_user = true;
        if (!privileges_to_become(&err) ||
            !user_parse(optarg, &task->user, &err)) {
            fail(err);
        }
        break;
    case OPTION_KEEP_FD:
        add_kept(task, optarg);
        break;
    case OPTION_QMP:
        task->qmp = optarg;
        break;
    case OPTION_QMP_USER:
        task->qmp_user = optarg;
        break;
    case OPTION_FDNAME:
        g_ptr_array_add(task->fdnames, optarg);
        break;
    case 'h':
        printf("%s\n%s\n", usage, QEMU_HELP_BOTTOM);
        exit(EXIT_SUCCESS);
    case 'V':
        printf("af-packet-exec version %s\n%s\n",
               QEMU_FULL_VERSION, QEMU_COPYRIGHT);
        exit(EXIT_SUCCESS);
    default:
        fail_with("unknown option or missing argument: see --help");
    }
}

static void parse_command_line(Task *task, int argc, char **argv)
{
    static const struct option options[] = {
        { "socket", required_argument, NULL, OPTION_SOCKET },
        { "user", required_argument, NULL, OPTION_USER },
        { "keep-fd", required_argument, NULL, OPTION_KEEP_FD },
        { "qmp", required_argument, NULL, OPTION_QMP },
        { "qmp-user", required_argument, NULL, OPTION_QMP_USER },
        { "fdname", required_argument, NULL, OPTION_FDNAME },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL }
    };
    int option, first = 1;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
        loc_set_cmdline(argv, first, optind - first);
        parse_option(task, option);
        first = optind;
    }
    loc_set_none();
    task->command = argv + optind;
}

static void check_number(Task *task, int i)
{
    int number = nth_socket(task, i)->number;
    int j;

    if (number < 0) {
        fail_with("missing descriptor number: add fd=NUMBER");
    }
    for (j = 0; j < i; j++) {
        if (number == nth_socket(task, j)->number) {
            fail_with("fd=%d is used twice: use another", number);
        }
    }
    for (j = 0; j < task->kept->len; j++) {
        if (number == g_array_index(task->kept, int, j)) {
            fail_with("fd=%d is used by --keep-fd: use another", number);
        }
    }
}

static void check_no_number(Task *task, int i)
{
    if (nth_socket(task, i)->number >= 0) {
        fail_with("fd is incompatible with --qmp: use --fdname instead");
    }
}

static void check_to_execute(Task *task)
{
    if (!task->command[0]) {
        fail_with("no command: add one, or --qmp (see --help)");
    }
    if (task->fdnames->len) {
        fail_with("--fdname requires --qmp: use fd instead");
    }
    if (task->qmp_user) {
        fail_with("--qmp-user requires --qmp: remove it, or "
                  "use --user for the command's user");
    }
    for_each_socket(task, check_number);
}

static void check_to_hand_over(Task *task)
{
    if (task->command[0]) {
        fail_with("--qmp is incompatible with a command: remove --qmp or '%s'",
                  task->command[0]);
    }
    if (task->kept->len) {
        fail_with("--keep-fd is incompatible with --qmp: remove it");
    }
    if (task->fdnames->len != task->sockets->len) {
        fail_with("--qmp requires one --fdname for each --socket, but there "
                  "are %u and %u", task->fdnames->len, task->sockets->len);
    }
    for_each_socket(task, check_no_number);
}

static void check_task(Task *task)
{
    if (!task->sockets->len) {
        fail_with("no socket to open: use --socket (see --help)");
    }
    if (task->qmp) {
        check_to_hand_over(task);
    } else {
        check_to_execute(task);
    }
}

/*
 * Execution
 */

static void reserve_number(Task *task, int i)
{
    Error *err = NULL;

    if (!descriptors_reserve(nth_socket(task, i)->number, &err)) {
        fail(err);
    }
}

static void open_socket(Task *task, int i)
{
    Error *err = NULL;

    if (!packet_socket_open(nth_socket(task, i), &err)) {
        fail(err);
    }
}

static void set_up_socket(Task *task, int i)
{
    Error *err = NULL;

    if (!packet_socket_set_up(nth_socket(task, i), task->only_allowed, &err)) {
        fail(err);
    }
}

static void drop_privileges(Task *task)
{
    Error *err = NULL;

    if (!privileges_drop(task->has_user ? &task->user : NULL, &err)) {
        fail(err);
    }
}

/* Look up the account only here, since this may load third-party libraries. */
static uid_t user_behind_monitor(Task *task)
{
    uid_t uid = geteuid();
    Error *err = NULL;

    if (task->qmp_user && !user_parse_id(task->qmp_user, &uid, &err)) {
        fail(err);
    }
    return uid;
}

static void G_NORETURN hand_over(Task *task)
{
    Error *err = NULL;
    QmpClient *qmp = qmp_client_open(task->qmp, user_behind_monitor(task),
                                     &err);
    int i;

    for (i = 0; !err && i < task->sockets->len; i++) {
        qmp_client_getfd(qmp, nth_socket(task, i)->fd,
                         task->fdnames->pdata[i], &err);
    }
    if (qmp && err) {
        qmp_client_take_back(qmp);
    }
    qmp_client_close(qmp);
    if (err) {
        fail(err);
    }
    exit(EXIT_SUCCESS);
}

static void pass_on_socket(Task *task, int i)
{
    PacketSocket *s = nth_socket(task, i);

    if (dup2(s->fd, s->number) < 0) {
        fail_with("fd=%d: %s", s->number, strerror(errno));
    }
}

static void pass_on_kept(Task *task)
{
    int i;

    for (i = 0; i < task->kept->len; i++) {
        fcntl(g_array_index(task->kept, int, i), F_SETFD, 0);
    }
}

static void G_NORETURN execute(Task *task)
{
    Error *err = NULL;
    int error;

    if (!task->has_user && privileges_own_system()) {
        warn_report("'%s' runs as user 0, who owns the system's files, so it "
                    "can regain root's privileges without any capability: use "
                    "--user (--user root if this is intended)",
                    task->command[0]);
    }
    if (!descriptors_mark_all(&err)) {
        fail(err);
    }
    for_each_socket(task, pass_on_socket);
    pass_on_kept(task);
    execvp(task->command[0], task->command);
    error = errno;
    error_report("can't execute '%s': %s", task->command[0], strerror(error));
    exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

int main(int argc, char **argv)
{
    Task task = {
        .sockets = g_array_new(false, false, sizeof(SocketOption)),
        .fdnames = g_ptr_array_new(),
        .kept = g_array_new(false, false, sizeof(int)),
    };
    Error *err = NULL;

    error_init(argv[0]);
    if (!descriptors_open_standard()) {
        fail_with("a standard descriptor is closed, and opening /dev/null "
                  "instead failed: %s", strerror(errno));
    }
    if (!privileges_check_start(&err)) {
        fail(err);
    }
    task.only_allowed = privileges_of_file();
    parse_command_line(&task, argc, argv);
    check_task(&task);
    if (!task.qmp) {
        for_each_socket(&task, reserve_number);
    }
    privileges_raise();
    for_each_socket(&task, open_socket);
    drop_privileges(&task);
    for_each_socket(&task, set_up_socket);
    if (task.qmp) {
        hand_over(&task);
    }
    execute(&task);
}
