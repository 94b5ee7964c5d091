/*
 * af-packet-exec: checking and dropping privileges
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See capabilities(7).  This file uses system calls directly, because QEMU may
 * be built without libcap-ng, and no build of this program may keep its
 * privileges.
 */
#include "qemu/osdep.h"
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "elf.h"
#include "privileges.h"

typedef struct Capabilities {
    struct __user_cap_data_struct half[_LINUX_CAPABILITY_U32S_3];
} Capabilities;

static bool capabilities_get(Capabilities *caps)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };

    return syscall(SYS_capget, &header, caps->half) == 0;
}

static bool capabilities_set(const Capabilities *caps)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };

    return syscall(SYS_capset, &header, caps->half) == 0;
}

bool privileges_check_start(Error **errp)
{
    if (getuid() == geteuid() && getgid() == getegid()) {
        /* No other process may steal a socket before its filter is locked */
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        return true;
    }
    error_setg(errp, "this program must not be setuid or setgid: "
               "clear the mode bit, and give it a file capability "
               "instead (setcap cap_net_raw+ep)");
    return false;
}

void privileges_raise(void)
{
    Capabilities caps;

    if (capabilities_get(&caps)) {
        caps.half[0].effective |= caps.half[0].permitted &
                                  CAP_TO_MASK(CAP_NET_RAW);
        /* If this fails, opening a socket reports it */
        capabilities_set(&caps);
    }
}

bool privileges_of_file(void)
{
    return getuid() != 0 && qemu_getauxval(AT_SECURE);
}

/*
 * In a user namespace of an unprivileged user, the files in /proc that control
 * the system belong to an unmapped user.
 */
bool privileges_own_system(void)
{
    struct stat st;

    return geteuid() == 0 &&
           (stat("/proc/sys/kernel", &st) < 0 || st.st_uid == 0);
}

/* Refuse a sign, which strtoul() would accept, and wrap negative numbers */
static bool parse_id(const char *text, const char **rest, unsigned int *id)
{
    return g_ascii_isdigit(*text) &&
           qemu_strtoui(text, rest, 10, id) == 0 && *id != (uid_t)-1;
}

bool user_parse(const char *text, User *user, Error **errp)
{
    struct passwd *account = getpwnam(text);
    unsigned int uid, gid;
    const char *rest;

    if (account) {
        *user = (User) {
            .uid = account->pw_uid,
            .gid = account->pw_gid,
            .name = g_strdup(text),
        };
        return true;
    }
    if (!parse_id(text, &rest, &uid) || *rest != ':' ||
        !parse_id(rest + 1, NULL, &gid)) {
        error_setg(errp, "account '%s' not found: use the name of an account, "
                   "or UID:GID", text);
        return false;
    }
    *user = (User) { .uid = uid, .gid = gid };
    return true;
}

bool user_parse_id(const char *text, uid_t *uid, Error **errp)
{
    struct passwd *account = getpwnam(text);

    if (account) {
        *uid = account->pw_uid;
    } else if (!parse_id(text, NULL, uid)) {
        error_setg(errp, "account '%s' not found: use the name of an account, "
                   "or a UID", text);
        return false;
    }
    return true;
}

bool privileges_to_become(Error **errp)
{
    if (geteuid() != 0) {
        error_setg(errp, "only user 0 can switch to another user: "
                   "leave --user out, or run this program as root");
        return false;
    }
    return true;
}

static bool become(const User *user, Error **errp)
{
    if ((user->name ? initgroups(user->name, user->gid)
                    : setgroups(1, &user->gid)) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0) {
        error_setg_errno(errp, errno, "can't switch to UID %u and GID %u: "
                         "in a user namespace, leave --user out or map "
                         "both there", user->uid, user->gid);
        return false;
    }
    return true;
}

/* Capabilities, user IDs and no_new_privs are per thread. */
static bool is_only_thread(void)
{
    g_autoptr(GDir) threads = g_dir_open("/proc/self/task", 0, NULL);

    return threads && g_dir_read_name(threads) && !g_dir_read_name(threads);
}

/* Limits what execve() can grant; needs CAP_SETPCAP, which root has. */
static void empty_bounding_set(void)
{
    int cap;

    for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
}

/* Remove the special treatment of UID 0; needs CAP_SETPCAP, too. */
static void lock_securebits(void)
{
    prctl(PR_SET_SECUREBITS,
          SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
          SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
          SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED |
          SECBIT_KEEP_CAPS_LOCKED, 0, 0, 0);
}

static bool empty_capability_sets(void)
{
    const Capabilities none = { 0 };

    /* This also clears ambient capabilities, which must be inheritable */
    return capabilities_set(&none);
}

/* Verify the result instead of relying on return values. */
static bool privileges_dropped(const User *user)
{
    const Capabilities none = { 0 };
    Capabilities left;

    return capabilities_get(&left) && !memcmp(&left, &none, sizeof(left)) &&
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
           (!user || !user->uid || setuid(0) < 0);
}

bool privileges_drop(const User *user, Error **errp)
{
    if (!is_only_thread()) {
        error_setg(errp, "can't drop the privileges of all threads, because "
                   "there are several, or /proc is missing: mount /proc, don't "
                   "preload libraries that start threads, and use UID:GID for "
                   "--user in case account lookup loads such a library");
        return false;
    }
    empty_bounding_set();
    lock_securebits();
    if (user && !become(user, errp)) {
        return false;
    }
    /*
     * With no_new_privs, execve() grants no new privileges.  This is essential
     * where CAP_SETPCAP was missing above.
     */
    if (!empty_capability_sets() ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        !privileges_dropped(user)) {
        error_setg(errp, "can't drop all privileges: a security policy "
                   "of this system prevents it");
        return false;
    }
    return true;
}
