"""What our own binary needs of memory: idle VUs with open connections, millions of requests, large uploads."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from . import peers, system
from .nginx import Nginx

IDLE = """[scenarios.idle]
executor = "constant-vus"
exec = "one"
vus = {vus}
duration = "600s"
gracefulStop = "0s"

[[steps.one]]
name = "get"
get = "/"
think = "3600s"
"""
UPLOAD = """[scenarios.upload]
executor = "constant-vus"
exec = "up"
vus = {vus}
duration = "{seconds}s"

[[steps.up]]
name = "bundle"
post = "/upload"
file = "bundle.tar.gz"
"""


def _start(arguments, directory, core=None, realtime=False):
    command = [peers.BINARY, *arguments, "--json", "-q", "--runs-dir", os.path.join(directory, "runs"), "--insecure"]
    return system.start(command, core, realtime, text=True)


def _end(process):
    """Asks it to stop, and not to wait for anyone."""
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=60)[0]
    finally:
        system.stop(process)


def idle(vus, engine, tls=False):
    """RSS of a process whose VUs have made one request each, and wait with their connections open; in kB."""
    with Nginx(core=None, realtime=False) as nginx, tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "idle.toml")
        with open(file, "w", encoding="utf-8") as out:
            out.write(IDLE.format(vus=vus))
        url = nginx.tls_url if tls else nginx.url
        process = _start(["run", file, "--url", url, "--http1-engine", engine], directory)
        try:
            end, before = time.monotonic() + 90, nginx.requests()
            # The preflight's request is one of them.
            while nginx.requests() - before < vus and time.monotonic() < end and process.poll() is None:
                time.sleep(0.2)
            time.sleep(3)
            if process.poll() is not None or not _open_sockets(process.pid) >= vus:
                raise RuntimeError(f"{vus} VUs are not idle: {process.communicate(timeout=10)[0]}")
            return system.memory_kb(process.pid), system.memory_kb(process.pid, "VmHWM")
        finally:
            _end(process)


def _open_sockets(pid):
    place = f"/proc/{pid}/fd"
    return sum(os.readlink(f"{place}/{fd}").startswith("socket:") for fd in os.listdir(place))


def growth(millions, engine, connections, say):
    """RSS in MB each time that another million requests has been made."""
    sizes = []
    with Nginx() as nginx, tempfile.TemporaryDirectory() as directory:
        load = ["load", "--url", nginx.url, "-u", str(connections), "-d", "3600s", "--warmup", "5s"]
        process = _start([*load, "--workers", "1", "--http1-engine", engine], directory, system.CORE, True)
        started = time.monotonic()
        try:
            before, last = nginx.requests(), -1
            while len(sizes) <= millions and process.poll() is None:
                done = (nginx.requests() - before) / 1e6
                if done >= len(sizes) and (sizes or done > 0.05):
                    sizes.append(system.memory_kb(process.pid) / 1024)
                    say(f"{engine}: {done:.2f} million requests: {sizes[-1]:.1f} MB")
                time.sleep(0.1)
            seconds = time.monotonic() - started
        finally:
            _end(process)
    return sizes, seconds


def uploads(vus, megabytes, engine, seconds=8):
    """Uploads made, and the peak in MB, of VUs that send the same file again and again."""
    with tempfile.TemporaryDirectory() as directory:
        sink = [sys.executable, os.path.join(os.path.dirname(__file__), "sink.py")]
        sink = system.start(sink, None, realtime=False, text=True, stderr=subprocess.DEVNULL)
        try:
            port = int(sink.stdout.readline())
            with open(os.path.join(directory, "bundle.tar.gz"), "wb") as bundle:
                bundle.write(os.urandom(1 << 20) * megabytes)
            file = os.path.join(directory, "upload.toml")
            with open(file, "w", encoding="utf-8") as out:
                out.write(UPLOAD.format(vus=vus, seconds=seconds))
            process = _start(["run", file, "--url", f"http://127.0.0.1:{port}/", "--http1-engine", engine], directory)
            try:
                peak = 0
                while process.poll() is None:
                    try:
                        peak = max(peak, system.memory_kb(process.pid, "VmHWM"))
                    except (KeyError, FileNotFoundError, ProcessLookupError):
                        pass
                    time.sleep(0.05)
                output = process.communicate(timeout=60)[0]
            finally:
                system.stop(process)
        finally:
            system.stop(sink)
    done = re.search(r'"completed":\s*(\d+)', output)
    if not done or int(done.group(1)) == 0:
        raise RuntimeError(f"no upload was completed: {output[-2000:]}")
    return int(done.group(1)), peak / 1024
