"""Random calls on one file of a mount, each compared with a model in memory.

    python3 fuzz.py SEED COUNT DIRECTORY [DIRECTORY]

With two directories, two mounts of one volume, the file is used in turns: all is closed in one
before it is opened in the other (close-to-open). Prints one line of JSON; at the first difference
or error it prints the last calls and ends with 1. The same seed makes the same calls.
"""

import collections
import ctypes
import errno
import json
import mmap
import os
import random
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
KEEP_SIZE, PUNCH_HOLE = 1, 2
SIZES_MAX = (10_000, 200_000, 3_000_000, 12_000_000)
EDGES = (4096, 65536, 1 << 20)
LAST_CALLS = 40


class Difference(Exception):
    pass


class Fuzz:
    def __init__(self, seed, directories):
        self.random = random.Random(seed)
        self.size_max = self.random.choice(SIZES_MAX)
        self.directories = directories
        self.turn = 0
        self.name = f"fuzz-{seed}"
        self.model = bytearray()
        self.calls = collections.deque(maxlen=LAST_CALLS)
        self.fds, self.view, self.view_dirty = [], None, False
        self.reads = self.writes = 0
        self.weighted = [
            (self.read, 30), (self.write, 25), (self.append, 4), (self.truncate, 4),
            (self.truncate_path, 1), (self.punch, 4), (self.copy, 4), (self.copy_file, 0.2),
            (self.map_read, 8), (self.map_write, 8), (self.sync_map, 2), (self.seek, 5),
            (self.fsync, 2), (self.fdatasync, 1), (self.forget, 6), (self.check_size, 6),
            (self.open_another, 2), (self.close_one, 1.5), (self.preallocate, 0.5),
            (self.rename, 0.5), (self.direct_read, 3), (self.check_all, 0.5), (self.turn_over, 0.5),
        ]
        self.open(os.O_CREAT | os.O_EXCL)

    # What is drawn

    def offset(self):
        size = len(self.model)
        dice = self.random.random()
        if dice < 0.3:
            edge = self.random.choice(EDGES)
            near = self.random.randrange(0, self.size_max // edge + 1) * edge
            at = near + self.random.randrange(-3, 4)
        elif dice < 0.4:
            at = size + self.random.randrange(-3, 4)
        elif dice < 0.9:
            at = self.random.randrange(0, size + 1)
        else:
            at = self.random.randrange(0, self.size_max)
        return max(0, min(at, self.size_max - 1))

    def length(self):
        most = self.random.choice((10, 100, 4096, 4097, 70_000, 400_000))
        return self.random.randrange(1, most + 1)

    def within(self):
        """Offset and length of a range that is in the file and not empty."""
        size = len(self.model)
        at = min(self.offset(), size - 1)
        return at, min(self.length(), size - at)

    def data(self, length):
        if self.random.random() < 0.1:
            return bytes(length)
        return self.random.randbytes(min(length, 997)) * (length // 997 + 1)

    # What is compared

    def path(self):
        return os.path.join(self.directories[self.turn], self.name)

    def fd(self):
        return self.random.choice(self.fds)

    def compare(self, what, got, at, length):
        expected = bytes(self.model[at : at + length])
        if got == expected:
            return
        if len(got) != len(expected):
            raise Difference(f"{what} at {at}: {len(got)} bytes instead of {len(expected)}")
        wrong = [i for i in range(len(got)) if got[i] != expected[i]]
        first, last = wrong[0], wrong[-1]
        raise Difference(
            f"{what}: {len(wrong)} bytes differ in {at + first}..{at + last}: "
            f"{got[first:first + 16].hex()} instead of {expected[first:first + 16].hex()}"
        )

    def put(self, at, data):
        if at > len(self.model):
            self.model.extend(bytes(at - len(self.model)))
        self.model[at : at + len(data)] = data

    # The calls

    def open(self, flags=0):
        self.calls.append(("open", flags, self.turn))
        self.fds.append(os.open(self.path(), os.O_RDWR | flags, 0o600))

    def read(self):
        at, length = self.offset(), self.length()
        self.calls.append(("read", at, length))
        self.reads += 1
        self.compare("read", os.pread(self.fd(), length, at), at, length)

    def direct_read(self):
        at, length = self.offset() // 4096 * 4096, (self.length() + 4095) // 4096 * 4096
        self.calls.append(("direct read", at, length))
        fd = os.open(self.path(), os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, length) as buffer:
                count = os.preadv(fd, [buffer], at)
                self.compare("direct read", buffer[:count], at, length)
        finally:
            os.close(fd)

    def write(self):
        at, length = self.offset(), self.length()
        data = self.data(length)[: min(length, self.size_max - at)]
        self.calls.append(("write", at, len(data)))
        self.writes += 1
        while data:
            count = os.pwrite(self.fd(), data, at)
            self.put(at, data[:count])
            at, data = at + count, data[count:]

    def append(self):
        data = self.data(100)[: min(100, self.size_max - len(self.model))]
        self.calls.append(("append", len(data)))
        fd = os.open(self.path(), os.O_WRONLY | os.O_APPEND)
        try:
            if os.write(fd, data) != len(data):
                raise Difference("append: not all was written")
        finally:
            os.close(fd)
        self.put(len(self.model), data)

    def cut(self, size):
        if size < len(self.model):
            del self.model[size:]
        else:
            self.put(size, b"")

    def truncate(self):
        size = self.offset()
        self.calls.append(("truncate", size))
        os.ftruncate(self.fd(), size)
        self.cut(size)

    def truncate_path(self):
        size = self.offset()
        self.calls.append(("truncate path", size))
        os.truncate(self.path(), size)
        self.cut(size)

    def punch(self):
        at, length = self.offset(), self.length()
        self.calls.append(("punch", at, length))
        if LIBC.fallocate(self.fd(), PUNCH_HOLE | KEEP_SIZE, at, length) != 0:
            raise OSError(ctypes.get_errno(), "punch")
        end = min(at + length, len(self.model))
        if at < end:
            self.model[at:end] = bytes(end - at)

    def preallocate(self):
        at, length = self.offset(), min(self.length(), 4097)
        length = min(length, self.size_max - at)
        self.calls.append(("preallocate", at, length))
        os.posix_fallocate(self.fd(), at, length)
        if at + length > len(self.model):
            self.put(at + length, b"")

    def copy(self):
        if len(self.model) < 2:
            return
        source, length = self.within()
        target = self.offset()
        length = min(length, self.size_max - target)
        if source < target + length and target < source + length:
            return
        self.calls.append(("copy", source, target, length))
        data = bytes(self.model[source : source + length])
        done = 0
        while done < length:
            count = os.copy_file_range(
                self.fd(), self.fd(), length - done, source + done, target + done
            )
            if count == 0:
                raise Difference(f"copy: ended after {done} of {length}")
            done += count
        self.put(target, data)

    def copy_file(self):
        self.calls.append(("copy file",))
        name = self.path() + "-copy"
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            done = 0
            while done < len(self.model):
                done += os.copy_file_range(self.fd(), fd, len(self.model) - done, done, done)
            self.compare("copied file", os.pread(fd, len(self.model) + 1, 0), 0, self.size_max)
        finally:
            os.close(fd)
            os.unlink(name)

    def map(self):
        """A mapping of all that is there; `None`: there is nothing."""
        size = len(self.model)
        if self.view is not None and (len(self.view) < size or self.random.random() < 0.05):
            self.unmap()
        if self.view is None and size > 0:
            self.calls.append(("map", size))
            self.view = mmap.mmap(self.fd(), size)
        return self.view if size > 0 else None

    def unmap(self):
        if self.view is None:
            return
        self.sync_map()
        self.view.close()
        self.view = None

    def map_read(self):
        if self.map() is None:
            return
        at, length = self.within()
        self.calls.append(("map read", at, length))
        self.reads += 1
        self.compare("mapping", self.view[at : at + length], at, length)

    def map_write(self):
        if self.map() is None:
            return
        at, length = self.within()
        data = self.data(length)[:length]
        self.calls.append(("map write", at, length))
        self.writes += 1
        self.view[at : at + length] = data
        self.view_dirty = True
        self.put(at, data)

    def sync_map(self):
        if self.view is not None and self.view_dirty:
            self.calls.append(("sync map",))
            self.view.flush()
            self.view_dirty = False

    def seek(self):
        self.sync_map()  # the kernel asks for holes without telling what is in mappings
        at = self.offset()
        self.calls.append(("seek", at))
        size = len(self.model)
        fd = self.fd()
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size
        if at < size and any(self.model[at:data]):
            raise Difference(f"seek: data between {at} and {data}, which are said to be a hole")
        try:
            hole = os.lseek(fd, at, os.SEEK_HOLE)
            if at >= size or not at <= hole <= size:
                raise Difference(f"seek: a hole at {hole}, from {at}, size {size}")
        except OSError as error:
            if error.errno != errno.ENXIO or at < size:
                raise

    def fsync(self):
        self.calls.append(("fsync",))
        os.fsync(self.fd())

    def fdatasync(self):
        self.calls.append(("fdatasync",))
        os.fdatasync(self.fd())

    def forget(self):
        """What the kernel remembers, so that the next read is answered by the mount."""
        self.sync_map()
        self.calls.append(("forget",))
        os.posix_fadvise(self.fd(), 0, 0, os.POSIX_FADV_DONTNEED)

    def check_size(self):
        self.calls.append(("check size",))
        for what, stat in (("fstat", os.fstat(self.fd())), ("stat", os.stat(self.path()))):
            if stat.st_size != len(self.model):
                raise Difference(f"{what}: {stat.st_size} bytes instead of {len(self.model)}")

    def check_all(self):
        self.calls.append(("check all",))
        fd = os.open(self.path(), os.O_RDONLY)
        try:
            at = 0
            while at <= len(self.model):
                self.compare("check", os.pread(fd, 1 << 20, at), at, 1 << 20)
                at += 1 << 20
        finally:
            os.close(fd)

    def open_another(self):
        if len(self.fds) < 4:
            self.open()

    def close_one(self):
        if len(self.fds) > 1:
            self.calls.append(("close",))
            os.close(self.fds.pop(self.random.randrange(len(self.fds))))

    def close_all(self):
        self.unmap()
        self.calls.append(("close all",))
        while self.fds:
            os.close(self.fds.pop())

    def rename(self):
        old = self.path()
        self.name = self.name[:-1] if self.name.endswith("~") else self.name + "~"
        self.calls.append(("rename", self.name))
        os.rename(old, self.path())

    def turn_over(self):
        """Everything is closed, and opened again: in the other mount when there is one."""
        self.close_all()
        self.turn = (self.turn + 1) % len(self.directories)
        if self.random.random() < 0.05:
            self.model.clear()
            self.open(os.O_TRUNC)
        else:
            self.open()
        self.check_size()
        self.check_all()

    def run(self, count):
        calls = [call for call, _ in self.weighted]
        weights = [weight for _, weight in self.weighted]
        for self.number in range(count):
            self.random.choices(calls, weights)[0]()
        for _ in range(2):
            self.turn_over()
        self.close_all()
        os.unlink(self.path())


def main():
    seed, count, directories = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    began = time.monotonic()
    fuzz = Fuzz(seed, directories)
    try:
        fuzz.run(count)
    except (Difference, OSError) as error:
        print(f"seed {seed}, call {fuzz.number} ({time.strftime('%H:%M:%S')}): {error!r}")
        for call in fuzz.calls:
            print("  ", *call)
        return 1
    seconds = time.monotonic() - began
    print(json.dumps({"count": count, "seconds": seconds, "sizeMax": fuzz.size_max}))
    return 0


sys.exit(main())
