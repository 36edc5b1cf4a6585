/*
 * walship_notify: telling the service manager, by the socket that
 * NOTIFY_SOCKET names.  Without one nothing happens.
 */
#ifndef WALSHIP_NOTIFY_H
#define WALSHIP_NOTIFY_H

/* "READY=1\nSTATUS=..." */
void walship_notify(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

#endif /* WALSHIP_NOTIFY_H */
