"""Locks a file as it is told on standard input; see mount-locks.test.ts."""

import errno
import fcntl
import os
import signal
import struct
import sys

OFD_SETLK, OFD_SETLKW = 37, 38
MODES = {"sh": fcntl.F_RDLCK, "ex": fcntl.F_WRLCK, "un": fcntl.F_UNLCK}
FLOCK = {"sh": fcntl.LOCK_SH, "ex": fcntl.LOCK_EX, "un": fcntl.LOCK_UN}

path = sys.argv[1]
file = os.open(path, os.O_RDWR)


class Alarm(Exception):
    pass


def interrupted(*_):
    raise Alarm


def record(mode, start=0, length=0):
    return struct.pack("hhqqi4x", MODES[mode], os.SEEK_SET, int(start), int(length), 0)


def lock(kind, mode, how, *where):
    if kind == "flock":
        fcntl.flock(file, FLOCK[mode] | (fcntl.LOCK_NB if how == "try" else 0))
    elif kind == "ofd":
        fcntl.fcntl(file, OFD_SETLK if how == "try" else OFD_SETLKW, record(mode, *where))
    else:
        command = fcntl.F_SETLK if how == "try" else fcntl.F_SETLKW
        fcntl.fcntl(file, command, record(mode, *where))


def who(start, length):
    answer = fcntl.fcntl(file, fcntl.F_GETLK, record("ex", start, length))
    mode, _, start, length, process = struct.unpack("hhqqi4x", answer)
    return f"{start} {length} {process}" if mode != fcntl.F_UNLCK else "nobody"


def count(times):
    for _ in range(int(times)):
        lock("posix", "ex", "wait")
        number = int(os.pread(file, 8, 0)) + 1
        os.pwrite(file, b"%08d" % number, 0)
        lock("posix", "un", "try")


def perform(command, *words):
    global file
    if command == "reopen":
        os.close(file)
        file = os.open(path, os.O_RDWR)
    elif command == "alarm":
        signal.signal(signal.SIGALRM, interrupted)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
    elif command == "write":
        os.pwrite(file, b"written", 0)
    elif command == "who":
        return who(*words)
    elif command == "count":
        count(*words)
    else:
        lock(command, *words)
    return "ok"


for line in sys.stdin:
    try:
        answer = perform(*line.split())
    except Alarm:
        answer = "EINTR"
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(answer, flush=True)
