"""What the benchmarks of timing share: the server that knows the truth on one core, connect-bench on the other.

On a machine that others use, lateness is theirs unless we are first: where it is permitted, the server's thread and the
worker threads of connect-bench run under SCHED_RR, in bursts of a few seconds with pauses. Everything else of
connect-bench, such as putting windows together and writing them, stays under the ordinary scheduler.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY = "target/release/connect-bench"
SERVER = "target/release/examples/truth_server"
# The clock of a run begins so long after its workers, in seconds; threads are found within that.
CLOCK_BEGINS = 0.1
WORKER = "worker-"
PAUSE = 1.0


def ready():
    """Ends with what to do where something is missing."""
    for file in (BINARY, SERVER):
        if not os.path.exists(file):
            sys.exit(f"{file} is missing: cargo build --release --bins --example truth_server")


def may_be_first():
    """Whether this user may use SCHED_RR."""
    return subprocess.run(["chrt", "-r", "1", "true"], capture_output=True, check=False).returncode == 0


def machine():
    """One line on where this ran."""
    cpus = [line for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    name = cpus[0].split(":", 1)[1].strip() if cpus else "unknown"
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{len(cpus)} x {name}, Linux {os.uname().release}, load average {load}"


class Truth:
    """The server, pinned to CPU 0."""

    def __init__(self, port, delay_us, body=300, first=True, fail_every=0):
        command = [SERVER, str(port), str(delay_us), str(body), str(fail_every)]
        if first:
            command = ["chrt", "-r", "2", *command]
        if len(os.sched_getaffinity(0)) > 1:
            command = ["taskset", "-c", "0", *command]
        self.url = f"http://127.0.0.1:{port}/"
        self.process = subprocess.Popen(command)
        for _ in range(100):
            try:
                self.told()
                return
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        sys.exit("the server does not answer")

    def told(self):
        """What it recorded since it was last asked, µs."""
        with urllib.request.urlopen(self.url + "truth", timeout=10) as answer:
            return json.load(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def worker(pid, until):
    """The worker thread of a process, as soon as it is there; `None` where it does not come in time."""
    while time.monotonic() < until:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
            try:
                name = (task / "comm").read_text(encoding="utf-8")
            except OSError:
                continue
            if name.startswith(WORKER):
                return task.name
        time.sleep(0.005)
    return None


def promote(pid, until):
    """Puts the worker thread of a process first, as soon as it is there."""
    if thread := worker(pid, until):
        subprocess.run(["chrt", "-r", "-p", "1", thread], capture_output=True, check=False)


def after(pid, seconds, act):
    """Does something so many seconds after the clock of a run has begun, without being waited for."""

    def wait():
        if worker(pid, time.monotonic() + 5):
            time.sleep(CLOCK_BEGINS + seconds)
            act()
        else:
            print("no worker thread was found: what was to be done in the midst of the run was not", file=sys.stderr)

    threading.Thread(target=wait, daemon=True).start()


def run(arguments, first=True, cpu=1, beside=None):
    """Runs connect-bench and returns its document. `beside` is called with its pid once it runs."""
    with tempfile.TemporaryDirectory() as runs:
        command = [BINARY, *arguments, "--json", "-q", "--runs-dir", runs]
        if len(os.sched_getaffinity(0)) > 1:
            command = ["taskset", "-c", str(cpu), *command]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if first:
            promote(process.pid, time.monotonic() + 5)
        if beside:
            beside(process.pid)
        out, err = process.communicate()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in (0, 121):
        sys.exit(f"connect-bench ended with {process.returncode}: {err}")
    document = json.loads(out)
    document["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    time.sleep(PAUSE)
    return document


def scenario(text):
    """A scenario file of that text, for as long as it is held."""
    file = tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8")
    file.write(text)
    file.flush()
    return file


def middle(values):
    """The median; `-` without values."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else float("nan")
