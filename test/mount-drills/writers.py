"""Writers that know what has been promised to them, and a check that it is there.

    python3 writers.py write DIRECTORY KIND NAME 0       until an error; a line for each promise
    python3 writers.py check DIRECTORY KIND NAME COUNT   that all of the first COUNT hold

Kinds: `append` (records in one file), `files` (a new file each), `replace` (one file, replaced by
rename again and again), `names` (directories made and renamed). A promise is what fsync has answered:
of a file with its name, as on other file systems of Linux; of a directory with the names in it. An
error ends a writer with a line "error CODE".
"""

import errno
import os
import sys

RECORD = 5000
SIZES = (10, 5000, 300_000)


def content(name, number, size):
    piece = f"{name} {number} ".encode()
    return (piece * (size // len(piece) + 1))[:size]


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


class Append:
    def __init__(self, path, name, first):
        self.path, self.name = path, name
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644) if first is not None else -1

    def step(self, number):
        os.lseek(self.fd, number * RECORD, os.SEEK_SET)
        write_all(self.fd, content(self.name, number, RECORD))
        os.fsync(self.fd)

    def check(self, count):
        with open(self.path, "rb") as file:
            data = file.read()
        assert len(data) >= count * RECORD, f"{len(data)} bytes, {count * RECORD} were synced"
        for number in range(count):
            found = data[number * RECORD:(number + 1) * RECORD]
            assert found == content(self.name, number, RECORD), f"record {number} of {count}"
        # What was under way is there, or in part, or not; nothing else is.
        rest, expected = data[count * RECORD:], content(self.name, count, RECORD)
        assert len(rest) <= RECORD, f"{len(rest)} bytes more than were written"
        assert all(a in (b, 0) for a, b in zip(rest, expected)), "foreign bytes at the end"


class Files:
    def __init__(self, path, name, first):
        self.path, self.name = path, name
        if first == 0:
            os.mkdir(path)

    def file(self, number):
        return os.path.join(self.path, f"file-{number}")

    def step(self, number):
        fd = os.open(self.file(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, content(self.name, number, SIZES[number % 3]))
            os.fsync(fd)
        finally:
            os.close(fd)

    def check(self, count):
        for number in range(count):
            with open(self.file(number), "rb") as file:
                expected = content(self.name, number, SIZES[number % 3])
                assert file.read() == expected, f"file {number} of {count}"
        known = {f"file-{number}" for number in range(count + 1)}
        assert set(os.listdir(self.path)) <= known, "files that nobody made"


class Replace:
    def __init__(self, path, name, first):
        self.path, self.name = path, name

    def step(self, number):
        fd = os.open(self.path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, content(self.name, number, 20_000 + number))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(self.path + ".new", self.path)
        sync_directory(os.path.dirname(self.path))

    def check(self, count):
        if count == 0:
            return
        with open(self.path, "rb") as file:
            data = file.read()
        known = [content(self.name, number, 20_000 + number) for number in (count - 1, count)]
        assert data in known, f"neither version {count - 1} nor the next one, but {data[:40]}"


class Names:
    def __init__(self, path, name, first):
        self.path, self.name = path, name
        if first == 0:
            os.mkdir(path)

    def step(self, number):
        made = os.path.join(self.path, f"made-{number}")
        if not os.path.isdir(made):
            os.mkdir(made)  # and not what is above it, when nothing is mounted any more
        os.symlink(str(number), os.path.join(made, "link"))
        named = os.path.join(self.path, f"named-{number}")
        os.rename(made, named)
        sync_directory(named)
        sync_directory(self.path)

    def check(self, count):
        for number in range(count):
            link = os.path.join(self.path, f"named-{number}", "link")
            assert os.readlink(link) == str(number), f"name {number} of {count}"


KINDS = {"append": Append, "files": Files, "replace": Replace, "names": Names}


def write(writer, number):
    directory = os.path.dirname(writer.path)
    device = os.stat(directory).st_dev
    try:
        while True:
            # A path leads into the directory beneath when the mount is gone between two calls.
            if os.stat(directory).st_dev != device:
                raise OSError(errno.ENOTCONN, "nothing is mounted")
            writer.step(number)
            number += 1
            print(number, flush=True)
    except OSError as error:
        print(f"error {errno.errorcode.get(error.errno, error.errno)}", flush=True)


what, directory, kind, name, number = sys.argv[1:]
path = os.path.join(directory, name)
if what == "write":
    write(KINDS[kind](path, name, int(number)), int(number))
else:
    KINDS[kind](path, name, None).check(int(number))
