# SPDX-License-Identifier: Apache-2.0
"""What a service takes and gives: verifications and searches over HTTP beside the library's own, and hostile requests.

A service in processes of its own answers clients on the same machine, over keep-alive connections. Requests carry
tokens, and each is in the audit log, as in production; the library is measured with an actor stated, which
writes the same log. Templates are synthetic: random minutiae for verification, random embeddings for searches, which
take the same time as real ones. How a service stands being killed is measured by `benchmarks/durability/service.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hmac
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import jwt
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

from abis.formats import Format
from abis.formats import write as write_record
from abis.gallery import Gallery
from abis.service.operations import OPERATIONS
from abis.store import Enrollment
from abis.template import Embedding, Minutiae, Position
from abis.verification import Claim
from benchmarks.lib.common import options, print_table, write
from benchmarks.lib.http_load import Load, closed_loop, open_loop, request, run

Figures: TypeAlias = dict[str, float | int | str]
PARTS = ("verification", "hostile", "identification")
DIMENSION = 512
CLIENTS = 64
SEARCHERS = 8


def main() -> None:
    """Measure, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument(
        "--verifications", type=int, default=20_000, metavar="N", help="at full load (20,000)"
    )
    parser.add_argument(
        "--rate", type=float, default=1_000, help="of verifications at partial load (1,000/s)"
    )
    parser.add_argument("--subjects", type=int, default=100_000, metavar="N", help="searched (100,000)")
    parser.add_argument("--searches", type=int, default=2_000, metavar="N", help="(2,000)")
    parser.add_argument("--hostile", type=int, default=10_000, metavar="N", help="hostile requests (10,000)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that verify (1)")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (everything)"
    )
    arguments = parser.parse_args()
    figures: Figures = {"clients_verify": CLIENTS, "clients_identify": SEARCHERS}
    figures["processes_verify"] = arguments.processes
    figures["load_before"] = os.getloadavg()[0]
    dice = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="abis-service-") as folder:
        if "verification" in arguments.parts:
            verification(Path(folder, "fingers"), arguments, dice, figures)
        if "hostile" in arguments.parts:
            hostile(Path(folder, "fingers"), arguments.hostile, dice, figures)
        if "identification" in arguments.parts:
            identification(Path(folder, "faces"), arguments.subjects, arguments.searches, dice, figures)
    write(arguments.json, figures, seed=arguments.seed)


class Keys:
    """A key pair: its public part as a file of JSON Web Keys, and tokens.

    Attributes:
        file: of the public key.
        public: the public key as PEM.
    """

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "jwks.json"
        public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.file.write_text(json.dumps({"keys": [{**public, "kid": "1", "alg": "ES256"}]}))

    def token(self, key: Any = None, algorithm: str = "ES256", **claims: Any) -> str:
        """A token for everything, valid for a day; or one by another key or with other claims."""
        scopes = " ".join(sorted({operation.scope for operation in OPERATIONS}))
        payload = {"sub": "benchmark", "exp": time.time() + 86_400, "scope": scopes, **claims}
        return jwt.encode(payload, self._key if key is None else key, algorithm, headers={"kid": "1"})

    def header(self) -> str:
        """The header of a request with a token."""
        return f"Authorization: Bearer {self.token()}\r\n"


@contextmanager
def service(gallery: Path, keys: Keys, *flags: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A service in a process of its own; yields its port, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "abis", "serve", str(gallery), "--port", str(port)]
    process = subprocess.Popen([*command, "--jwks", str(keys.file), *flags], stderr=subprocess.DEVNULL)
    try:
        until_ready(port)
        yield port, process
    finally:
        process.terminate()
        process.wait()


def until_ready(port: int) -> None:
    """Wait until a service answers that it is ready."""
    for _ in range(1_200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("the service does not become ready")


def finger(person: int, impression: int) -> Minutiae:
    """A finger of 40 minutiae, each a little off in every impression."""
    own, noise = np.random.default_rng([person]), np.random.default_rng([person, impression])
    n = 40
    return Minutiae(
        x=np.rint(own.uniform(40, 360, n) + noise.normal(0, 2, n)),
        y=np.rint(own.uniform(40, 360, n) + noise.normal(0, 2, n)),
        direction=np.rint((own.uniform(0, 360, n) + noise.normal(0, 4, n)) / 2) * 2 % 360,
        width=400,
        height=400,
        position=Position.RIGHT_INDEX,
    )


def datum_of(template: Minutiae | Embedding) -> dict[str, str]:
    """OSIA's biometric datum."""
    if isinstance(template, Minutiae):
        record = write_record([template], Format.ISO_19794_2_2005)
        return {
            "biometricType": "FINGER",
            "templateFormat": "ISO_19794_2",
            "template": base64.b64encode(record).decode(),
        }
    record = write_record([template], Format.NATIVE)
    return {"biometricType": "FACE", "templateFormat": "ABIS", "template": base64.b64encode(record).decode()}


def verification(
    folder: Path, arguments: argparse.Namespace, dice: np.random.Generator, figures: Figures
) -> None:
    """Verifications by one template at full load and at a rate, and by the library alone."""
    persons, count, rate = 500, arguments.verifications, arguments.rate
    keys = Keys(folder.parent)
    with Gallery.open(folder) as gallery, gallery.acting("benchmark", purpose="osia"):
        gallery.enroll_many(Enrollment(f"p{i}", [finger(i, 0)]) for i in range(persons))
        claims = [Claim(f"p{i}", [finger(i, 1)]) for i in range(persons)]
        list(gallery.verify_many(claims))
        times = []
        for claim in claims:
            begun = time.perf_counter()
            gallery.verify(claim.templates, claim.subject_id)
            times.append(time.perf_counter() - begun)
        alone = float(np.median(times))
        begun = time.perf_counter()
        list(gallery.verify_many(claims * 10))
        together = (time.perf_counter() - begun) / persons / 10
    requests = []
    for i in range(persons):
        body = json.dumps({"biometricData": [datum_of(finger(i, 1))]}).encode()
        requests.append(request("POST", f"/v1/verify/ALL/p{i}?transactionId=1", body, keys.header()))
    flags = ("--no-identification", "--processes", str(arguments.processes))
    with service(folder, keys, *flags) as (port, _):
        some = [requests[i % persons] for i in range(count)]
        run(closed_loop(port, some[: count // 4], CLIENTS))  # caches
        full = run(closed_loop(port, some, CLIENTS))
        partial = run(open_loop(port, some[: int(10 * rate)], rate, CLIENTS, dice))
        single = run(closed_loop(port, some[:2_000], 1))
    check(full, partial, single)
    print_table(
        "Verification by one finger",
        ["", "a second", "median, ms", "p99, ms"],
        [
            [f"HTTP, {CLIENTS} clients", f"{full.rate:,.0f}", *percentiles(full)],
            [f"HTTP, {rate:,.0f}/s arriving at random", f"{partial.rate:,.0f}", *percentiles(partial)],
            ["HTTP, 1 client", f"{single.rate:,.0f}", *percentiles(single)],
            ["verify, 1 thread, logged", f"{1 / alone:,.0f}", f"{1e3 * alone:.2f}", ""],
            ["verify_many, logged", f"{1 / together:,.0f}", "", ""],
        ],
    )
    figures |= {
        "verify_http_per_s": full.rate,
        "verify_http_p99_ms": full.percentile_ms(99),
        "verify_rate": rate,
        "verify_at_rate_median_ms": partial.percentile_ms(50),
        "verify_at_rate_p99_ms": partial.percentile_ms(99),
        "verify_one_client_median_ms": single.percentile_ms(50),
        "verify_library_ms": 1e3 * alone,
        "verify_http_adds_ms": single.percentile_ms(50) - 1e3 * alone,
        "verify_many_per_s": 1 / together,
    }


def identification(
    folder: Path, subjects: int, count: int, dice: np.random.Generator, figures: Figures
) -> None:
    """Searches by a face among many, over HTTP and by the library alone."""
    vectors = dice.normal(size=(subjects, DIMENSION)).astype(np.float32)
    probes = [
        Embedding(vector=vectors[i] + dice.normal(0, 0.5, DIMENSION), model="random")
        for i in dice.integers(0, subjects, count)
    ]
    keys = Keys(folder.parent)
    with Gallery.open(folder) as gallery, gallery.acting("benchmark", purpose="osia"):
        gallery.enroll_many(
            Enrollment(f"p{i}", [Embedding(vector=vectors[i], model="random")]) for i in range(subjects)
        )
        list(gallery.identify_many(([probe] for probe in probes[:200]), fpir=1e-3))
        begun = time.perf_counter()
        list(gallery.identify_many(([probe] for probe in probes), fpir=1e-3))
        library = count / (time.perf_counter() - begun)
    requests = [
        request(
            "POST",
            "/v1/identify/ALL?transactionId=1",
            json.dumps({"filter": {}, "biometricData": [datum_of(probe)]}).encode(),
            keys.header(),
        )
        for probe in probes
    ]
    with service(folder, keys) as (port, _):
        run(closed_loop(port, requests[:200], SEARCHERS))
        load = run(closed_loop(port, requests, SEARCHERS))
    check(load)
    print_table(
        f"Identification by a face of {DIMENSION} dimensions among {subjects:,}",
        ["", "a second", "median, ms", "p99, ms"],
        [
            [f"HTTP, {SEARCHERS} clients", f"{load.rate:,.0f}", *percentiles(load)],
            ["identify_many", f"{library:,.0f}", "", ""],
        ],
    )
    figures |= {
        "subjects": subjects,
        "searches": count,
        "identify_http_per_s": load.rate,
        "identify_http_p99_ms": load.percentile_ms(99),
        "identify_many_per_s": library,
        "identify_http_share": load.rate / library,
    }


def hostile(folder: Path, count: int, dice: np.random.Generator, figures: Figures) -> None:
    """Requests that are oversized, slow, malformed or forged, while others are served."""
    keys = Keys(folder.parent)
    with Gallery.open(folder) as gallery:
        if "p1" not in gallery:
            gallery.enroll("p1", [finger(1, 0)])
    body = json.dumps({"biometricData": [datum_of(finger(1, 1))]}).encode()
    good = request("POST", "/v1/verify/ALL/p1?transactionId=1", body, keys.header())
    bad = _hostile_requests(keys, dice)
    with service(folder, keys, "--no-identification") as (port, process):
        before = resident_bytes(process.pid)

        async def both() -> tuple[Load, Load, int]:
            slow = [asyncio.create_task(_slow(port, start)) for start in _SLOW * 25]
            attack = asyncio.create_task(_attack(port, [bad[i % len(bad)] for i in range(count)], 16))
            served = Load()
            while not attack.done():
                part = await closed_loop(port, [good] * 20, 2)
                served.latencies += part.latencies
                served.statuses += part.statuses
                served.seconds += part.seconds
            for each in slow:
                each.cancel()
            return await attack, served, len(slow)

        attacked, served, slow = run(both())
        after, peak = resident_bytes(process.pid), peak_bytes(process.pid)
    check(served)
    errors = sum(number for status, number in attacked.statuses.items() if status >= 500 and status != 503)
    print_table(
        f"Hostile requests of {len(bad)} kinds",
        ["status", "requests"],
        [[str(status or "closed"), f"{number:,}"] for status, number in sorted(attacked.statuses.items())],
        note=f"{slow} connections that send a byte a second beside; memory {before / 2**20:.0f} -> "
        f"{after / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB; others were served at {served.rate:.0f}/s, "
        f"p99 {served.percentile_ms(99):.0f} ms",
    )
    figures |= {
        "hostile_requests": count,
        "hostile_kinds": len(bad),
        "hostile_errors_5xx": errors,
        "hostile_accepted": attacked.statuses[200],
        "hostile_slow_connections": slow,
        "hostile_memory_before_bytes": before,
        "hostile_memory_after_bytes": after,
        "hostile_memory_peak_bytes": peak,
        "hostile_others_requests": len(served.latencies),
        "hostile_others_p99_ms": served.percentile_ms(99),
    }


def _hostile_requests(keys: Keys, dice: np.random.Generator) -> list[bytes]:
    """One request of each kind; most carry a valid token, so that they come far."""
    noise = dice.bytes(3_000)
    datum = '{"biometricType":"FINGER","template":"%s"}'
    deep = b'{"filter":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b'},"biometricData":[]}'
    target = "/v1/verify/ALL/p1?transactionId=1"
    token = keys.header()
    key, other = "transfer-encoding: chunked\r\n", ec.generate_private_key(ec.SECP256R1())
    bodies = [
        noise,
        b"{",
        b"null",
        b'{"biometricData":' + b"[" * 50_000,
        b'{"biometricData":' + b'{"a":' * 50_000,
        b'{"biometricData":[],"biometricData":[{"biometricType":"FINGER"}]}',
        b'{"biometricData":[' + ",".join([datum % "AAAA"] * 500).encode() + b"]}",
        b'{"biometricData":[' + (datum % base64.b64encode(noise).decode()).encode() + b"]}",
        b'{"biometricData":[' + (datum % base64.b64encode(b"FMR\0 20\0" + noise).decode()).encode() + b"]}",
        b'{"biometricData":[{"biometricType":"FINGER","width":' + b"9" * 5_000 + b"}]}",
        b'{"biometricData":[{"biometricType":"FINGER","template":"\xff\xfe"}]}',
        b'{"biometricData":[{"biometricType":"FINGER","imageRef":"http://169.254.169.254/"}]}',
        b" " * 2**20,
    ]
    tokens = [
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        forged_by_hmac(keys),
        keys.token(other),
        keys.token(exp=1),
        keys.token(sub=None),
        keys.token(scope="abis.gallery.read"),
        keys.token()[:-4] + "AAAA",
        "." * 5_000,
    ]
    return [
        *(request("POST", target, body, token) for body in bodies),
        *(request("POST", target, b"{}", f"Authorization: Bearer {each}\r\n") for each in tokens),
        request("POST", target, b"{}"),
        request("POST", "/v1/identify/ALL?transactionId=1", deep, token),
        request("POST", target, b"{}", token + f"X-Header: {'x' * 8_000}\r\n"),
        request("POST", target, b"{}", token + "X: y\r\n" * 5_000),
        request("POST", target, b"{}", token + f"X-Header: {'x' * 200_000}\r\n"),
        request("GET", "/v1/galleries?transactionId=1&" + "a=1&" * 500, b"", token),
        request("GET", f"/v1/persons/{'%F0%9F' * 400}/encounters?transactionId=1", b"", token),
        request("GET", "/v1/persons/..%2F..%2F..%2Fetc%2Fpasswd/encounters?transactionId=1", b"", token),
        request("GET", "/v1/persons/../../metrics?transactionId=1", b"", token),
        request("GET", f"/v1/persons/{'p' * 5_000}/encounters?transactionId=1", b"", token),
        request("GET", "/v1/persons/%00/encounters?transactionId=1", b"", token),
        request("GET", "/v1/galleries/ALL?transactionId=1&offset=-1&limit=999999999999999999999", b"", token),
        request("TRACE", "/v1/persons", b"", token),
        f"POST {target} HTTP/1.1\r\nHost: x\r\n{token}{key}\r\n".encode() + b"ffffffffff\r\n" + b"x" * 4_096,
        f"POST {target} HTTP/1.1\r\nHost: x\r\n{token}{key}\r\nzz\r\n".encode(),
        f"POST {target} HTTP/1.1\r\nHost: x\r\n{token}{key}\r\n".encode()
        + b"100000\r\n"
        + b" " * 2**20
        + b"\r\n0\r\n\r\n",
        f"POST {target} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 999999999999\r\n\r\n".encode(),
        f"POST {target} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: -5\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
    ]


def forged_by_hmac(keys: Keys) -> str:
    """A token that is signed with the public key as if that were a secret, as PyJWT refuses to make it."""
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "1"}, {"sub": "x", "exp": time.time() + 3_600}]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in parts)
    signature = hmac.new(keys.public, text, "sha256").digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def _attack(port: int, requests: list[bytes], clients: int) -> Load:
    """Each request over a connection of its own; status 0: the server closed it without an answer."""
    load = Load()
    waiting = iter(requests)

    async def client() -> None:
        for each in waiting:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            status = 0
            try:
                writer.write(each)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
                status = int(head[9:12])
            except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()
            load.statuses[status] += 1
            load.latencies.append(0.0)

    await asyncio.gather(*(client() for _ in range(clients)))
    return load


_SLOW = (
    b"POST /v1/persons?transactionId=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",  # its body
    b"POST /v1/persons?transactionId=1 HTTP/1.1\r\nHost: x\r\nX: ",  # its headers
)


async def _slow(port: int, start: bytes) -> None:
    """Send the start of a request, then a byte a second; again when the server has enough."""
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(1)


def resident_bytes(process: int) -> int:
    """Memory of a process."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(process: int) -> int:
    """The largest memory that a process has had."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def check(*loads: Load) -> None:
    """End the script where a request was not answered by 200."""
    for load in loads:
        if set(load.statuses) != {200}:
            sys.exit(f"statuses {dict(load.statuses)}; expected 200 alone")


def percentiles(load: Load) -> tuple[str, str]:
    """Median and 99th percentile as text."""
    return f"{load.percentile_ms(50):.2f}", f"{load.percentile_ms(99):.2f}"


if __name__ == "__main__":
    main()
