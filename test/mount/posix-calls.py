"""System calls that Node does not have, made in a directory; prints one line for each that is fine."""

import ctypes
import fcntl
import mmap
import os
import sys

os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE = -100, 0x400, 2


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


def read(name):
    with open(name, "rb") as file:
        return file.read()


def shared_mapping():
    write("mapped", b"x" * 10000)
    with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        assert view[9999:] == b"x"
        view[5000:5005] = b"hello"
        view.flush()
    assert read("mapped")[4999:5006] == b"xhellox"


def unnamed_file():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"unnamed")
    source = f"/proc/self/fd/{fd}".encode()
    assert libc.linkat(AT_FDCWD, source, AT_FDCWD, b"named", AT_SYMLINK_FOLLOW) == 0
    os.close(fd)
    assert read("named") == b"unnamed"


def exchange():
    write("left", b"l")
    write("right", b"r")
    assert libc.renameat2(AT_FDCWD, b"left", AT_FDCWD, b"right", RENAME_EXCHANGE) == 0
    assert (read("left"), read("right")) == (b"r", b"l")


def preallocate_and_holes():
    fd = os.open("sparse", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 8 << 20)
    assert os.fstat(fd).st_size == 8 << 20
    os.pwrite(fd, b"data", 5 << 20)
    os.fsync(fd)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 5 << 20
    assert os.lseek(fd, 5 << 20, os.SEEK_HOLE) == 6 << 20
    os.close(fd)


def copy_range():
    write("source", b"0123456789")
    source, target = os.open("source", os.O_RDONLY), os.open("copy", os.O_RDWR | os.O_CREAT)
    assert os.copy_file_range(source, target, 5, 3, 0) == 5
    assert read("copy") == b"34567"


def locks_of_processes():
    write("locked", b"")
    file = open("locked", "r+b")
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)
    parent, child = os.pipe()
    if os.fork() == 0:
        other = open("locked", "r+b")
        for start, expected in ((0, b"+"), (5, b"-"), (15, b"+")):
            try:
                fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
                got = b"+"
            except BlockingIOError:
                got = b"-"
            os.write(child, b"=" if got == expected else b"!")
        fcntl.lockf(other, fcntl.LOCK_EX, 1, 5)  # waits until the parent lets go
        os.write(child, b"g")
        os._exit(0)
    assert b"".join(os.read(parent, 1) for _ in range(3)) == b"==="
    file.close()
    assert os.read(parent, 1) == b"g"
    os.wait()


def append_and_exclusive():
    fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    other = os.open("log", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"a")
    os.write(other, b"b")
    assert read("log") == b"ab"
    try:
        os.open("log", os.O_CREAT | os.O_EXCL)
        raise AssertionError("made twice")
    except FileExistsError:
        pass


def attributes():
    write("attributed", b"")
    os.setxattr("attributed", "user.large", b"v" * 65536)
    assert len(os.getxattr("attributed", "user.large")) == 65536
    assert os.listxattr("attributed") == ["user.large"]
    os.utime("attributed", ns=(-1, 2**33 * 10**9 + 7))
    assert os.stat("attributed").st_mtime_ns == 2**33 * 10**9 + 7
    assert os.stat("attributed").st_atime_ns == -1
    assert os.statvfs(".").f_namemax == 255


for call in (
    shared_mapping,
    unnamed_file,
    exchange,
    preallocate_and_holes,
    copy_range,
    locks_of_processes,
    append_and_exclusive,
    attributes,
):
    call()
    print(call.__name__)
