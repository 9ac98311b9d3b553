"""A machine whose clock has lost the time: what runs under it is told that it is 1970, and time goes on from there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t lost(time_t now) { static time_t first; if (!first) first = now; return now - first + 10; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = syscall(SYS_clock_gettime, clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec = lost(now->tv_sec);
    return status;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""
AVAILABLE = shutil.which("gcc") is not None


def lost_clock(folder: Path) -> Path:
    """The library to name in LD_PRELOAD."""
    library = folder / "lost-clock.so"
    (folder / "lost-clock.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O", "-shared", "-fPIC", "-o", str(library), str(folder / "lost-clock.c")], check=True, timeout=60)
    return library
