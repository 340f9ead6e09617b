"""Fills a mount until there is no space: what is refused is refused with ENOSPC, at once, and
nothing that was acknowledged is lost. Prints one line of JSON.

    python3 full.py keep DIRECTORY          files that are to stay
    python3 full.py fill DIRECTORY ROUND    until there is no space, in several ways
    python3 full.py check DIRECTORY         what is to stay has its bytes
    python3 full.py write DIRECTORY BYTES   one file, synced, read again; ends with 3 on ENOSPC
"""

import errno
import json
import os
import random
import sys

KEPT, KEPT_BYTES = 20, 100_000
PIECE = 256 * 1024
SYNC_EVERY = 8
SMALL = 40


def data(name, size):
    return random.Random(name).randbytes(size)


def write_file(path, content):
    """Whether all of it was acknowledged; ENOSPC at any of the three calls is a plain no."""
    fd = None
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        done = 0
        while done < len(content):
            done += os.pwrite(fd, content[done:done + PIECE], done)
        os.fsync(fd)
        fd, closing = None, fd
        os.close(closing)
        return True
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    finally:
        if fd is not None:
            close_full(fd)


def close_full(fd):
    """The file of a refused write may be refused again when it is closed."""
    try:
        os.close(fd)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def read(path):
    with open(path, "rb") as file:
        return file.read()


def keep(directory):
    os.mkdir(os.path.join(directory, "kept"))
    for number in range(KEPT):
        path = os.path.join(directory, "kept", str(number))
        assert write_file(path, data(f"kept {number}", KEPT_BYTES)), "there is space at first"


def check(directory):
    for number in range(KEPT):
        path = os.path.join(directory, "kept", str(number))
        assert read(path) == data(f"kept {number}", KEPT_BYTES), f"kept/{number}"


def fill(directory, turn):
    """One large file, synced now and then; then small ones."""
    path = os.path.join(directory, "large")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    written, synced, refused = 0, 0, ""
    try:
        while True:
            step = written // PIECE
            refused = "write"
            os.pwrite(fd, data(f"{turn} {step}", PIECE), written)
            written += PIECE
            if step % SYNC_EVERY == SYNC_EVERY - 1:
                refused = "fsync"
                os.fsync(fd)
                synced = written
    except OSError as error:
        assert error.errno == errno.ENOSPC, f"{refused}: {error!r}"
    close_full(fd)
    for step in range(synced // PIECE):
        with open(path, "rb") as file:
            file.seek(step * PIECE)
            assert file.read(PIECE) == data(f"{turn} {step}", PIECE), f"piece {step}, synced"
    small = os.path.join(directory, "small")
    os.mkdir(small)
    taken = []
    for number in range(SMALL):
        content = data(f"{turn} small {number}", 50_000)
        if write_file(os.path.join(small, str(number)), content):
            taken.append(number)
    for number in taken:
        content = data(f"{turn} small {number}", 50_000)
        assert read(os.path.join(small, str(number))) == content, f"small/{number}"
    # In place: what is there may be old or new, block by block, but nothing else.
    old, new = data("kept 0", KEPT_BYTES), data(f"{turn} new", KEPT_BYTES)
    over = os.path.join(directory, "over")
    if os.path.exists(over) or write_file(over, old):
        before = read(over)
        isDone = write_file(over, new)
        found = read(over)
        assert found == new if isDone else len(found) == len(before), "written over"
    os.rename(small, small + " renamed")
    return {"synced": synced, "refused": refused, "smallTaken": len(taken)}


what, directory, *more = sys.argv[1:]
if what == "keep":
    keep(directory)
elif what == "check":
    check(directory)
elif what == "fill":
    print(json.dumps(fill(directory, int(more[0]))))
elif what == "write":
    path, content = os.path.join(directory, "again"), data("again", int(more[0]))
    if not write_file(path, content):
        sys.exit(3)
    assert read(path) == content
    os.unlink(path)
