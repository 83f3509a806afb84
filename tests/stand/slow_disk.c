/* A disk that fails or is slow to sync, for a process that has this as LD_PRELOAD. The file that
 * SLOW_DISK names says how each fdatasync goes, and may change at any time:
 *
 *   (empty)   as always
 *   fail      returns EIO
 *   hang      does not return before the file says something else
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int says(const char *word)
{
    char text[8] = "";
    const char *path = getenv("SLOW_DISK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) < 0)
        text[0] = 0;
    close(file);
    return !strcmp(text, word);
}

int fdatasync(int file)
{
    static int (*real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    while (says("hang"))
        usleep(5000);
    if (says("fail")) {
        errno = EIO;
        return -1;
    }
    return real(file);
}
