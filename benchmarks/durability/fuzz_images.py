# SPDX-License-Identifier: Apache-2.0
"""Does a damaged or malicious image file harm the process that reads it?

    python benchmarks/durability/fuzz_images.py --json benchmarks/results/fuzz_images.json

For each image format and image record: a million mutants of small valid files, with bits flipped, bytes replaced,
lengths changed, parts cut out, repeated, or taken from another file. Forked processes decode them by
`abis.extraction.decoding.decode_pages`, or take records apart by `abis.extraction.records.read`, some ten
thousand mutants each. Counted are images read, refusals, decoders that died (with the signal) and decoders that were
killed after a time limit. A refusal that is not an error of abis ends the script with exit code 1, as does the death of
the parent. Counts in the file of `--json` are added to, so that a run that was stopped goes on. A mutant is a function
of seed, format and number: `--show FORMAT NUMBER` writes it to standard output.

Run with glibc's own checks of the heap to find silent damage too:

    LD_PRELOAD=libc_malloc_debug.so.0 GLIBC_TUNABLES=glibc.malloc.check=3 python benchmarks/durability/fuzz_images.py
"""

from __future__ import annotations

import io
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import PIL.Image
from rich.progress import track

from abis.errors import AbisError
from abis.extraction import records, transactions
from abis.extraction.decoding import decode_pages
from abis.formats.ansi_nist import is_transaction
from benchmarks.lib.common import options, print_table, write

BATCH = 10_000  # mutants of one process
PART = 50_000  # mutants between two writes of the figures
LIMIT_S = 20  # of one mutant; abis.extraction.decoder allows as much processor time
MEMORY = 4 * 2**30  # bytes of address space of a process, as abis.extraction.decoder has it
OUTCOMES = ("read", "refused", "died", "slow")
LENGTHS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


# ---------------------------------------------------------------------------------------------- seeds


def pictures() -> list[PIL.Image.Image]:
    """Small pictures, grey and in colour, of odd sizes."""
    dice = np.random.default_rng(0)
    y, x = np.mgrid[:40, :33]
    waves = (127 + 120 * np.sin(x / 2 + y / 5)).astype(np.uint8)
    colour = dice.integers(0, 256, (17, 24, 3), dtype=np.uint8)
    return [PIL.Image.fromarray(waves), PIL.Image.fromarray(colour)]


def saved(picture: PIL.Image.Image, kind: str, **given: object) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **given)
    return file.getvalue()


def seeds() -> dict[str, list[bytes]]:
    """Valid files and records by format."""
    grey, colour = pictures()
    large = grey.resize((96, 96))
    other = PIL.Image.fromarray(np.asarray(grey)[::-1].copy())
    deep = PIL.Image.fromarray(np.asarray(grey).astype(np.uint16) * 4)
    made = {
        "TIFF": [
            *(saved(grey, "TIFF", compression=c) for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")),
            saved(colour, "TIFF", compression="jpeg"),
            saved(grey.convert("1"), "TIFF", compression="group4"),
            saved(grey, "TIFF", save_all=True, append_images=[other]),
            saved(deep, "TIFF"),
        ],
        "PNG": [
            saved(grey, "PNG", dpi=(500, 500)),
            *(saved(one, "PNG") for one in (colour, deep, grey.convert("P"))),
        ],
        "BMP": [saved(grey, "BMP"), saved(colour, "BMP")],
        "JPEG": [saved(grey, "JPEG"), saved(colour, "JPEG", progressive=True), saved(colour, "JPEG", dpi=(300, 300))],
        "JPEG2000": [saved(grey, "JPEG2000"), saved(colour, "JPEG2000", irreversible=True, quality_layers=[20])],
        "PPM": [saved(grey, "PPM"), saved(colour, "PPM"), b"P2 2 2 255 1 2 3 4\n"],
        "WEBP": [
            saved(colour, "WEBP"),
            saved(colour, "WEBP", lossless=True),
            saved(colour, "WEBP", save_all=True, append_images=[colour]),
        ],
        "GIF": [saved(grey, "GIF"), saved(grey, "GIF", save_all=True, append_images=[other], loop=0)],
        "WSQ": [saved(large, "WSQ"), saved(large.rotate(30), "WSQ")],
    }  # fmt: skip
    made["records"] = record_seeds(made["PNG"][0], grey)
    return made


def record_seeds(png: bytes, grey: PIL.Image.Image) -> list[bytes]:
    """Records of ISO/IEC 19794-4, -5 and -6, and a transaction of ANSI/NIST-ITL."""
    pixels, (width, height) = grey.tobytes(), grey.size
    return [
        finger_record(pixels, width, height, compression=0),
        finger_record(png, width, height, compression=5),
        face_record(png),
        iris_record(pixels, width, height),
        transaction(pixels, width, height),
    ]


def finger_record(
    image: bytes, width: int, height: int, *, compression: int, dpi: int = 500, views: int = 1
) -> bytes:
    """A record of ISO/IEC 19794-4:2005 of one finger (tables 2 and 4)."""
    head = struct.pack(">4xBB4xHHBB2x", 1, 1, dpi, dpi, 8, compression)
    view = struct.pack(">IBBBBBHHx", 14 + len(image), 2, views, 1, 80, 0, width, height) + image
    body = head + view * views
    return b"FIR\x00010\0" + (14 + len(body)).to_bytes(6, "big") + body


def face_record(image: bytes) -> bytes:
    """A record of ISO/IEC 19794-5:2005 of one face (table 2, and clauses 5.5 to 5.8)."""
    block = struct.pack(">IH14x", 20 + 12 + len(image), 0) + bytes(12) + image
    return b"FAC\x00010\0" + struct.pack(">IH", 14 + len(block), 1) + block


def iris_record(pixels: bytes, width: int, height: int) -> bytes:
    """A record of ISO/IEC 19794-6:2005 of one eye, a byte a pixel (clause 6.5)."""
    eye = struct.pack(">BHHBHHI", 1, 1, 1, 90, 0, 0, len(pixels)) + pixels
    head = struct.pack(">HBHHHHHHBB", 0, 1, 45, 0, 0, 2, width, height, 8, 0) + bytes(16)
    return b"IIR\x00010\0" + struct.pack(">I", 45 + len(eye)) + head + eye


def transaction(pixels: bytes, width: int, height: int) -> bytes:
    """A transaction of ANSI/NIST-ITL with a raw image of type 4."""
    second = struct.pack(
        ">IBB6sBHHB", 18 + len(pixels), 1, 0, bytes([2, 255, 255, 255, 255, 255]), 1, width, height, 0
    )
    fields = ["1.002:0500", "1.003:1\x1f1\x1e4\x1f01", "1.004:TEST", "1.005:20260101", "1.012:19.69"]
    rest = "\x1d".join(fields) + "\x1c"
    size = len(rest) + len("1.001:000\x1d")
    return f"1.001:{size:03d}\x1d{rest}".encode() + second + pixels


# -------------------------------------------------------------------------------------------- mutants


def mutant(kind: str, number: int, own: Sequence[bytes], every: Sequence[bytes], seed: int) -> bytes:
    """The mutant of a number."""
    dice = random.Random(f"{seed} {kind} {number}")
    data = bytearray(dice.choice(own))
    for _ in range(1 + int(dice.expovariate(0.6))):
        if not data:
            break
        at = dice.randrange(len(data))
        if dice.random() < 0.5:
            at = min(at, dice.randrange(min(len(data), 128)))  # headers are where lengths are
        match dice.randrange(7):
            case 0:
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                data[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            case 2:
                width = dice.choice((2, 4))
                value = dice.choice(LENGTHS) & (256**width - 1)
                data[at : at + width] = value.to_bytes(width, dice.choice(("big", "little")))
            case 3:
                del data[at : at + 1 + int(dice.expovariate(0.1))]
            case 4:
                part = data[at : at + 1 + int(dice.expovariate(0.05))]
                data[at:at] = part * dice.choice((1, 2, 20))
            case 5:
                other = dice.choice(every)
                start = dice.randrange(len(other))
                data[at:at] = other[start : start + 1 + int(dice.expovariate(0.05))]
            case 6:
                del data[at:]
    return with_right_checksums(bytes(data)) if kind == "PNG" and dice.random() < 0.8 else bytes(data)


def with_right_checksums(png: bytes) -> bytes:
    """A PNG file whose chunks have the right CRC, so that what is in them is decoded."""
    at, whole = 8, bytearray(png[:8])
    while at + 8 <= len(png):
        end = at + 8 + min(int.from_bytes(png[at : at + 4]), len(png))
        chunk = png[at + 4 : end]
        whole += png[at : at + 4] + chunk + zlib.crc32(chunk).to_bytes(4)
        at = end + 4
    return bytes(whole)


# ------------------------------------------------------------------------------------------- processes


def take_apart(data: bytes) -> None:
    """Read the views of a record without decoding their images."""
    if is_transaction(data):
        transactions.read(data)
    else:
        records.read(data)


READERS: Mapping[str, Callable[[bytes], object]] = {"records": take_apart}
"""What reads a format, where that is not ``decode_pages``."""


def batch(
    kind: str, numbers: range, made: Mapping[str, Sequence[bytes]], seed: int, shared: mmap.mmap
) -> None:
    """Decode mutants in this process, which may die; ``shared`` tells how far it came, and what came of them."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)  # decoders complain there
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    own, every = made[kind], [data for files in made.values() for data in files]
    reader = READERS.get(kind, decode_pages)
    read = refused = 0
    for number in numbers:
        struct.pack_into("<QQQ", shared, 0, number, read, refused)
        data = mutant(kind, number, own, every, seed)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            reader(data)
            read += 1
        except AbisError:
            refused += 1
        except MemoryError:
            refused += 1
    struct.pack_into("<QQQ", shared, 0, numbers.stop, read, refused)


def run_batch(
    kind: str, numbers: range, made: Mapping[str, Sequence[bytes]], seed: int, shared: mmap.mmap
) -> tuple[int, int, int, int]:
    """Run a batch in a forked process.

    Returns:
        Number of the mutant at which it ended, images read, refusals, and the signal or exit code that ended it.
    """
    struct.pack_into("<QQQ", shared, 0, numbers.start, 0, 0)
    child = os.fork()
    if child == 0:
        errors = os.dup(2)
        try:
            batch(kind, numbers, made, seed, shared)
        except BaseException as error:
            where = f"{kind} {struct.unpack_from('<Q', shared)[0]}"
            os.write(errors, f"{where}: {error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    at, read, refused = struct.unpack_from("<QQQ", shared)
    return at, read, refused, os.waitstatus_to_exitcode(status)


def fuzz(kind: str, wanted: range, made: Mapping[str, Sequence[bytes]], seed: int) -> dict[str, int]:
    """What came of the mutants of some numbers, by :data:`OUTCOMES` and by signal."""
    found = dict.fromkeys(OUTCOMES, 0)
    shared = mmap.mmap(-1, 24)
    number = wanted.start
    with_bar = track(range(wanted.start, wanted.stop, BATCH), kind, disable=not sys.stdout.isatty())
    for start in with_bar:
        number = max(number, start)
        while number < min(start + BATCH, wanted.stop):
            numbers = range(number, min(start + BATCH, wanted.stop))
            number, read, refused, code = run_batch(kind, numbers, made, seed, shared)
            found["read"] += read
            found["refused"] += refused
            if code == 0:
                continue
            if code > 0:
                sys.exit(f"{kind}, mutant {number}: an error that is none of abis")
            outcome = "slow" if -code == signal.SIGALRM else "died"
            found[outcome] += 1
            name = signal.Signals(-code).name
            found[name] = found.get(name, 0) + 1
            number += 1
    return found


def main() -> None:
    """Fuzz, print the table, write the figures."""
    made = seeds()
    parser = options(__doc__ or "")
    parser.add_argument("--executions", type=int, default=1_000_000, help="for each format (1,000,000)")
    parser.add_argument("--formats", nargs="+", choices=list(made), default=list(made), help="(all)")
    parser.add_argument(
        "--show", nargs=2, metavar=("FORMAT", "NUMBER"), help="write a mutant to standard output"
    )
    arguments = parser.parse_args()
    if arguments.show:
        kind, number = arguments.show
        every = [data for files in made.values() for data in files]
        sys.stdout.buffer.write(mutant(kind, int(number), made[kind], every, arguments.seed))
        return
    figures: dict[str, float | int | str] = {}
    if arguments.json is not None and arguments.json.exists():  # formats that earlier runs have fuzzed
        figures = json.loads(arguments.json.read_text())
    for kind in arguments.formats:
        done = int(figures.get(f"{kind}_executions", 0))
        while done < arguments.executions:
            start = time.perf_counter()
            wanted = range(done, min(done + PART, arguments.executions))
            found = fuzz(kind, wanted, made, arguments.seed)
            if sum(found[outcome] for outcome in OUTCOMES) != len(wanted):
                sys.exit(f"{kind}: {found} do not add up to {len(wanted)}")
            done = wanted.stop
            found |= {"executions": len(wanted)}
            for name, count in (found | {"seconds": round(time.perf_counter() - start)}).items():
                figures[f"{kind}_{name}"] = int(figures.get(f"{kind}_{name}", 0)) + count
            write(arguments.json, figures, seed=arguments.seed)
    names = [kind for kind in made if f"{kind}_executions" in figures]
    print_table(
        "Mutants of image files",
        ["format", "executions", *OUTCOMES],
        [
            [kind, figures[f"{kind}_executions"], *(figures[f"{kind}_{each}"] for each in OUTCOMES)]
            for kind in names
        ],
        note="died: ends the process that decodes this image; the calling process goes on.",
    )


if __name__ == "__main__":
    main()
