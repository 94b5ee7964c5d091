/*
 * af-packet-exec: checking and dropping privileges
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_PRIVILEGES_H
#define AF_PACKET_EXEC_PRIVILEGES_H

/* The user to switch to */
typedef struct User {
    uid_t uid;
    gid_t gid;
    char *name;     /* account name, for supplementary groups, or NULL */
} User;

/**
 * privileges_check_start:
 * @errp: set if this is a setuid or setgid program
 *
 * Rights that come from another user's identity can't be distinguished from
 * those of the caller, unlike capabilities.  On success, this also prevents
 * other processes of the caller from tracing this one.
 *
 * Returns: true on success.
 */
bool privileges_check_start(Error **errp);

/**
 * privileges_raise:
 *
 * Make a permitted CAP_NET_RAW effective: file capabilities may lack the
 * effective bit.
 */
void privileges_raise(void);

/**
 * privileges_of_file:
 *
 * Returns: true if the privileges come from this program's file capabilities,
 *          and the caller has none.
 */
bool privileges_of_file(void);

/**
 * privileges_own_system:
 *
 * Returns: true if this process owns the system's files, and so does not need
 *          capabilities to be as powerful as root.
 */
bool privileges_own_system(void);

/**
 * privileges_to_become:
 * @errp: set if the caller is not user 0
 *
 * Returns: true if the caller may request another user, regardless of whether
 *          switching to it will succeed.
 */
bool privileges_to_become(Error **errp);

/**
 * user_parse:
 * @text: an account name, or UID:GID
 * @user: set to the user
 * @errp: set if there is no such account
 *
 * Looking up an account may load libraries, according to nsswitch.conf(5).
 *
 * Returns: true on success.
 */
bool user_parse(const char *text, User *user, Error **errp);

/**
 * user_parse_id:
 * @text: an account name, or a UID
 * @uid: set to the UID
 * @errp: set if there is no such account
 *
 * Returns: true on success.
 */
bool user_parse_id(const char *text, uid_t *uid, Error **errp);

/**
 * privileges_drop:
 * @user: the user to switch to, or NULL to keep the current one
 * @errp: set if this is not possible, or if this process has several threads
 *
 * Drop all capabilities of this process, and prevent it and the programs it
 * executes from gaining any through file capabilities, setuid programs or UID
 * 0.
 *
 * Returns: true on success; on failure, some privileges may have been dropped.
 */
bool privileges_drop(const User *user, Error **errp);

#endif
