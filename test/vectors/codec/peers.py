"""Encodes with a peer that this machine may have: python3-zfec or libisal2 of Debian.

Reads {"peer", "k", "n", "pieces"} as JSON from standard input, with pieces in hexadecimal, and
writes {"version", "shards"}. Fails when the peer is not installed.
"""

import ctypes
import json
import sys


def encode_zfec(k, n, pieces):
    import zfec

    shards = list(zfec.Encoder(k, n).encode(pieces)) if pieces else []
    return zfec.__version__, shards


def encode_isal(k, n, pieces):
    library = ctypes.CDLL("libisal.so.2")
    if not pieces:
        return "2", []
    length = len(pieces[0])
    matrix = ctypes.create_string_buffer((k + n) * k)
    library.gf_gen_cauchy1_matrix(matrix, k + n, k)
    # The first k rows are the identity.
    rows = ctypes.create_string_buffer(matrix.raw[k * k :], n * k)
    tables = ctypes.create_string_buffer(32 * n * k)
    library.ec_init_tables(k, n, rows, tables)
    sources = [ctypes.create_string_buffer(piece, length) for piece in pieces]
    targets = [ctypes.create_string_buffer(length) for _ in range(n)]

    def pointers(buffers):
        return (ctypes.c_void_p * len(buffers))(*map(ctypes.addressof, buffers))

    library.ec_encode_data(length, k, n, tables, pointers(sources), pointers(targets))
    return "2", [target.raw for target in targets]


def main():
    request = json.load(sys.stdin)
    encode = {"zfec": encode_zfec, "isal": encode_isal}[request["peer"]]
    pieces = [bytes.fromhex(piece) for piece in request.get("pieces", [])]
    version, shards = encode(request.get("k", 1), request.get("n", 1), pieces)
    json.dump({"version": version, "shards": [shard.hex() for shard in shards]}, sys.stdout)


main()
