"""Malicious code for a child: what an attacker would run if a policy file could ever make the child run anything.

A test's own fork server imports this and calls `enrol`, which replaces the role "evaluate" by `serve`; the content of
the "policy file" is then the name of an attack. An attack that succeeds continues to drive honestly, so that nothing
is raised and the test fails; one that is refused raises, which ends the child.
"""

import ctypes
import gc
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np

from deeptraffic.competition.sandbox import child, messages

FACTS = {"kind": "policy", "label": "evil", "sensor": [1, 6, 2], "rules": 2018, "other_agents": 0}
FACTS |= {"layers": ["dense"], "temporal_window": 0, "parameters": 1}
FACTS |= {"operations": 1, "activations": 1, "state_values": 1, "epsilon": 0.0, "network": "0" * 64}
libc = ctypes.CDLL(None, use_errno=True)
first_targets: dict = {}


def enrol() -> None:
    child.ROLES["evaluate"] = child.Role(serve)


def serve(channel) -> None:
    first_targets.update(json.loads(channel.receive().content))
    name = first_targets["attack"]
    if name in FACTS_LIES:
        channel.answer(FACTS_LIES[name])
        drive(channel)
        return
    channel.report(FACTS)
    if name in ANSWERS:
        drive(channel, ANSWERS[name])
        return
    honest(channel)
    ATTACKS.get(name, honest)(channel)
    drive(channel)


def honest(channel) -> None:
    """Answer until the first decision is asked for."""
    while True:
        request = channel.receive()
        if request.kind == messages.ACT:
            channel.answer(bytes([1] * request.rows))
            return
        channel.answer(b"")


def drive(channel, answer=None) -> None:
    while True:
        request = channel.receive()
        if request.kind != messages.ACT:
            channel.answer(b"")
        elif answer:
            answer(channel, request.rows)
        else:
            channel.answer(bytes([1] * request.rows))


def checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno())


# --- processes ----------------------------------------------------------------------------------------------------


def fork(channel) -> None:
    if os.fork() == 0:
        os._exit(0)


def fork_bomb(channel) -> None:
    started = 0
    for _ in range(200):
        try:
            if os.fork() == 0:
                time.sleep(3)
                os._exit(0)
            started += 1
        except OSError:
            continue
    if not started:
        raise OSError("refused")


def threads(channel) -> None:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(3,), daemon=True).start()


def raw_clone(channel) -> None:
    checked(libc.syscall(56, signal.SIGCHLD, 0, 0, 0, 0))


def execute(channel) -> None:
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(9)"])


def shell(channel) -> None:
    subprocess.run("id", shell=True, check=True)


def daemonise(channel) -> None:
    os.setsid()
    fork(channel)


def kill_worker(channel) -> None:
    os.kill(first_targets["worker"], signal.SIGTERM)


def kill_fork_server(channel) -> None:
    os.kill(os.getppid() or first_targets["fork_server"], signal.SIGKILL)


def kill_group_of_worker(channel) -> None:
    os.killpg(first_targets["group"], signal.SIGTERM)


def trace_worker(channel) -> None:
    checked(libc.ptrace(16, first_targets["worker"], 0, 0))


def read_worker_memory(channel) -> None:
    buffer = ctypes.create_string_buffer(64)
    local = struct.pack("PN", ctypes.addressof(buffer), 64)
    remote = struct.pack("PN", first_targets["address"], 64)
    checked(libc.process_vm_readv(first_targets["worker"], local, 1, remote, 1, 0))


def stop_watchdog_signal(channel) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    spin(channel)


# --- resources ----------------------------------------------------------------------------------------------------


def balloon(channel) -> None:
    bytearray(8 << 30)


def balloon_slowly(channel) -> None:
    held = []
    while True:
        held.append(np.ones(1 << 20))


def balloon_in_maps(channel) -> None:
    held = [mmap.mmap(-1, 64 << 20) for _ in range(200)]
    del held


def spin(channel) -> None:
    while True:
        pass


def sleep(channel) -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def raise_limits(channel) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def be_root(channel) -> None:
    os.setuid(0)
    if os.getuid() != 0:
        raise PermissionError("not root")


def executable_memory(channel) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


# --- files and network --------------------------------------------------------------------------------------------


def write_here(channel) -> None:
    with open("made", "wb") as file:
        file.write(b"x")


def write_temporary(channel) -> None:
    with open("/tmp/deeptraffic-evil", "wb") as file:
        file.write(b"x")


def fill_disk(channel) -> None:
    handle = os.memfd_create("evil")
    while True:
        os.write(handle, b"\0" * (1 << 20))


def tcp(channel) -> None:
    socket.socket().connect(("127.0.0.1", first_targets["port"]))


def udp(channel) -> None:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", first_targets["port"]))


def name_lookup(channel) -> None:
    socket.getaddrinfo("localhost", 80)


def unix_socket(channel) -> None:
    socket.socket(socket.AF_UNIX).connect(first_targets["abstract"])


def io_uring(channel) -> None:
    checked(libc.syscall(425, 8, ctypes.create_string_buffer(256)))


ATTACKS = {
    f.__name__: f
    for f in (
        *(
            fork,
            fork_bomb,
            threads,
            raw_clone,
            execute,
            shell,
            daemonise,
            kill_worker,
            kill_fork_server,
            kill_group_of_worker,
        ),
        *(
            trace_worker,
            read_worker_memory,
            stop_watchdog_signal,
            balloon,
            balloon_slowly,
            balloon_in_maps,
            spin,
            sleep,
        ),
        *(raise_limits, be_root, executable_memory, write_here, write_temporary, fill_disk, tcp, udp, name_lookup),
        *(unix_socket, io_uring),
    )
}


# --- answers ------------------------------------------------------------------------------------------------------


def raw(channel, content: bytes) -> None:
    messages.write_all(channel.sink, content)


def wrong_nonce(channel, rows) -> None:
    raw(channel, messages.ANSWER.pack(channel.nonce ^ 1, rows) + b"\1" * rows)


def early(channel, rows) -> None:
    channel.answer(b"\1" * rows)
    channel.answer(b"\1" * rows)  # to the next question, before it is asked


def partial(channel, rows) -> None:
    raw(channel, messages.ANSWER.pack(channel.nonce, rows)[:7])


def flood(channel, rows) -> None:
    while True:
        raw(channel, b"\xff" * 65536)


def close_pipes(channel, rows) -> None:
    os.close(channel.sink)
    os.close(channel.source)
    sleep(channel)


def kill_itself(channel, rows) -> None:
    ctypes.string_at(0)  # a segmentation fault


def print_score(channel, rows) -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__):
        stream.write('{"score": 99.9}\n')
        stream.flush()
    os.write(1, b'{"score": 99.9}\n')
    channel.answer(b"\1" * rows)


ANSWERS = {
    "action 5": lambda channel, rows: channel.answer(b"\5" * rows),
    "action 255": lambda channel, rows: channel.answer(b"\xff" * rows),
    "no action": lambda channel, rows: channel.answer(b""),
    "two actions": lambda channel, rows: channel.answer(b"\1" * (rows + 1)),
    "text": lambda channel, rows: raw(channel, b"score: 99.9 mph\n" * 4),
    "huge length": lambda channel, rows: raw(channel, messages.ANSWER.pack(channel.nonce, 1 << 60)),
    "negative length": lambda channel, rows: raw(channel, messages.ANSWER.pack(channel.nonce, -1)),
    "wrong nonce": wrong_nonce,
    "early": early,
    "partial": partial,
    "flood": flood,
    "close pipes": close_pipes,
    "exit": lambda channel, rows: os._exit(0),
    "exit as if out of memory": lambda channel, rows: os._exit(messages.EXIT_MEMORY),
    "segmentation fault": kill_itself,
    "print a score": print_score,
}
FACTS_LIES = {
    "facts: no JSON": b"\xff\xfe",
    "facts: 60,000 deep": b"[" * 60_000,
    "facts: a list": b"[]",
    "facts: no label": json.dumps(FACTS | {"label": None}).encode(),
    "facts: endless road": json.dumps(FACTS | {"sensor": [9, 10**9, 10**9]}).encode(),
    "facts: negative sensor": json.dumps(FACTS | {"sensor": [-1, -5, -5]}).encode(),
    "facts: a third contest": json.dumps(FACTS | {"rules": 2016}).encode(),
    "facts: no cost": json.dumps(FACTS | {"operations": -5}).encode(),
    "facts: no layers": json.dumps(FACTS | {"layers": [["dense"]]}).encode(),
    "facts: no digest": json.dumps(FACTS | {"network": "../" * 20}).encode(),
    "facts: no kind": json.dumps(FACTS | {"kind": ["policy"]}).encode(),
    "facts: a false error": json.dumps({"error": ["platform", "not me"]}).encode(),
    "facts: too long": json.dumps(FACTS | {"label": "x" * messages.MAX_REPORT}).encode(),
}


# --- looking for secrets ------------------------------------------------------------------------------------------


def read_all(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 20)


def own_memory() -> bytes:
    """Everything that this process inherited and Python can reach."""
    gc.unfreeze()
    texts = set()
    for held in gc.get_objects():
        inside = [*held, *held.values()] if isinstance(held, dict) else held
        if isinstance(inside, list | tuple | set | frozenset):
            texts.update(str(x) for x in inside if isinstance(x, str | bytes) and len(x) < 10_000)
    return "\n".join(texts).encode("utf-8", "replace")


def open_handles() -> bytes:
    found = []
    for handle in range(1024):
        for attempt in (lambda handle=handle: os.read(handle, 0), lambda handle=handle: os.write(handle, b"")):
            with suppress(OSError):
                attempt()
                found.append(str(handle))
    return " ".join(sorted(set(found))).encode()


def search(channel) -> None:
    t, worker = first_targets, first_targets["worker"]
    ways = {
        **{f"open {path}": lambda path=path: read_all(path) for path in t["paths"]},
        **{f"open ..{path}": lambda path=path: read_all("../" * 30 + path) for path in t["paths"]},
        "environment": lambda: repr(dict(os.environ)).encode(),
        "own environment of old": lambda: read_all("/proc/self/environ"),
        "worker's environment": lambda: read_all(f"/proc/{worker}/environ"),
        "worker's command line": lambda: read_all(f"/proc/{worker}/cmdline"),
        "worker's files": lambda: repr(os.listdir(f"/proc/{worker}/fd")).encode(),
        "worker's memory": lambda: read_all(f"/proc/{worker}/mem"),
        "names": lambda: repr(os.listdir("/")).encode(),
        "names in /tmp": lambda: repr(os.listdir("/tmp")).encode(),
        "arguments": lambda: repr(sys.argv).encode(),
        "own memory": own_memory,
        "handles": open_handles,
    }
    found = {}
    for name, way in ways.items():
        try:
            found[name] = way().decode("utf-8", "replace")
        except Exception as error:
            found[name] = f"refused: {type(error).__name__}"
    words = t["words"]  # it was told what to look for, backwards, so that the question is no find
    hits = {name: [word for word in words if word[::-1] in text] for name, text in found.items()}
    short = {name: text if len(text) < 300 else text[:20] for name, text in found.items()}
    channel.receive()
    short["own memory"] = f"knows its program: {'site-packages' in found['own memory']}"
    channel.report({"hits": {name: hit for name, hit in hits.items() if hit}, "found": short})


ATTACKS["search"] = search
