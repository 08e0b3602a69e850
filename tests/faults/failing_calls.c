/*
 * Stands before calls of the system that change a folder, in all processes of a run, and
 * lets one of them fail, or ends them all: whichever comes as the nth.
 *
 * To be preloaded. FAILING_CALLS names a file that holds a `struct control`, which the
 * processes share with who has set it up.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { FULL, BROKEN, SHORT, KILL };

struct control {
    _Atomic long calls; /* of those that count in this mode */
    _Atomic long hits;
    long which; /* from 1; 0 for none */
    long mode;
    char folder[PATH_MAX];
    char call[32]; /* the first that was hit */
    char path[PATH_MAX];
};

static struct control *shared;

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("FAILING_CALLS");
    int descriptor = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *memory = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory != MAP_FAILED)
        shared = memory;
}

/* Find out which path a call is about, and whether it lies in the folder. */
static int concerns(int folder, const char *name, char *path)
{
    size_t length = strlen(shared->folder);
    if (!length)
        return 0;
    path[0] = 0;
    if (name && name[0] == '/') {
        strncat(path, name, PATH_MAX - 1);
    } else if (folder >= 0) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t count = readlink(link, path, PATH_MAX - 1);
        if (count < 0)
            return 0;
        path[count] = 0;
        if (name) {
            strncat(path, "/", PATH_MAX - 1 - strlen(path));
            strncat(path, name, PATH_MAX - 1 - strlen(path));
        }
    }
    return !strncmp(path, shared->folder, length) && (path[length] == '/' || !path[length]);
}

/*
 * Return whether a call is to fail. On a full disk all fail from the nth on that need
 * room; a broken one fails once, whatever the call, and a short write is no failure.
 */
static int hit(const char *call, int folder, const char *name, int needs_room, int writes)
{
    char path[PATH_MAX];
    if (!shared || (shared->mode == FULL && !needs_room) || (shared->mode == SHORT && !writes))
        return 0;
    int error = errno;
    int ours = concerns(folder, name, path);
    errno = error;
    if (!ours)
        return 0;
    long number = atomic_fetch_add(&shared->calls, 1) + 1;
    if (!shared->which || number < shared->which)
        return 0;
    if (number > shared->which && shared->mode != FULL)
        return 0;
    if (!atomic_fetch_add(&shared->hits, 1)) {
        strncpy(shared->call, call, sizeof shared->call - 1);
        strncpy(shared->path, path, sizeof shared->path - 1);
    }
    if (shared->mode == KILL)
        kill(0, SIGKILL);
    errno = shared->mode == FULL ? ENOSPC : EIO;
    return 1;
}

/* A short write writes a part, as does the first that finds a disk full. */
static int partly(size_t size)
{
    return size > 1 && (shared->mode == SHORT || (shared->mode == FULL && shared->hits == 1));
}

#define NEXT(type, name, ...)                            \
    static type (*next)(__VA_ARGS__);                    \
    if (!next)                                           \
        next = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        NEXT(int, #name, const char *, int, ...);                              \
        mode_t mode = 0;                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                   \
            va_list rest;                                                      \
            va_start(rest, flags);                                             \
            mode = va_arg(rest, mode_t);                                       \
            va_end(rest);                                                      \
        }                                                                      \
        int creates = (flags & O_CREAT) && access(path, F_OK);                 \
        if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) && hit("open", -1, path, creates, 0)) \
            return -1;                                                         \
        return next(path, flags, mode);                                        \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                           \
    int name(int folder, const char *path, int flags, ...)                     \
    {                                                                          \
        NEXT(int, #name, int, const char *, int, ...);                         \
        mode_t mode = 0;                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                   \
            va_list rest;                                                      \
            va_start(rest, flags);                                             \
            mode = va_arg(rest, mode_t);                                       \
            va_end(rest);                                                      \
        }                                                                      \
        int creates = (flags & O_CREAT) && faccessat(folder, path, F_OK, 0);   \
        if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) && hit("open", folder, path, creates, 0)) \
            return -1;                                                         \
        return next(folder, path, flags, mode);                                \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size)
{
    NEXT(ssize_t, "write", int, const void *, size_t);
    if (hit("write", file, NULL, 1, 1)) {
        if (!partly(size))
            return shared->mode == SHORT ? next(file, data, size) : -1;
        size /= 2;
    }
    return next(file, data, size);
}

#define PWRITE(name, offset_type)                                              \
    ssize_t name(int file, const void *data, size_t size, offset_type offset)  \
    {                                                                          \
        NEXT(ssize_t, #name, int, const void *, size_t, offset_type);          \
        if (hit("pwrite", file, NULL, 1, 1)) {                                 \
            if (!partly(size))                                                 \
                return shared->mode == SHORT ? next(file, data, size, offset) : -1; \
            size /= 2;                                                         \
        }                                                                      \
        return next(file, data, size, offset);                                 \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define SIMPLE(name, folder, path, room, parameters, arguments, ...)           \
    int name parameters                                                        \
    {                                                                          \
        NEXT(int, #name, __VA_ARGS__);                                         \
        return hit(#name, folder, path, room, 0) ? -1 : next arguments;        \
    }
SIMPLE(fsync, file, NULL, 1, (int file), (file), int)
SIMPLE(fdatasync, file, NULL, 1, (int file), (file), int)
SIMPLE(syncfs, file, NULL, 1, (int file), (file), int)
SIMPLE(ftruncate, file, NULL, 0, (int file, off_t size), (file, size), int, off_t)
SIMPLE(ftruncate64, file, NULL, 0, (int file, off64_t size), (file, size), int, off64_t)
SIMPLE(mkdir, -1, path, 1, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
SIMPLE(mkdirat, folder, path, 1, (int folder, const char *path, mode_t mode),
       (folder, path, mode), int, const char *, mode_t)
SIMPLE(rmdir, -1, path, 0, (const char *path), (path), const char *)
SIMPLE(unlink, -1, path, 0, (const char *path), (path), const char *)
SIMPLE(unlinkat, folder, path, 0, (int folder, const char *path, int flags),
       (folder, path, flags), int, const char *, int)
SIMPLE(rename, -1, to, 1, (const char *from, const char *to), (from, to),
       const char *, const char *)
SIMPLE(renameat, folder, to, 1,
       (int source, const char *from, int folder, const char *to), (source, from, folder, to),
       int, const char *, int, const char *)
