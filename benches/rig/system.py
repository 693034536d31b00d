"""This machine: who runs where and with which priority, and what a process used.

Server and client share one core under SCHED_RR where that is permitted: nobody sleeps, nothing wakes another core, and
what a client costs per request can be compared. CPU time is taken of every thread while the load is on (start and end are
not in it), memory is the kernel's VmHWM of the process itself: ru_maxrss of a child starts with its parent's.
"""

import contextlib
import os
import platform
import signal
import subprocess
import time

CORE = max(os.sched_getaffinity(0))
OTHER = min(os.sched_getaffinity(0))
PRIORITY = 10


def _try_realtime(priority):
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
        return True
    except (PermissionError, OSError):
        return False


def realtime_permitted():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _try_realtime(PRIORITY) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


REALTIME = realtime_permitted()


@contextlib.contextmanager
def watching_from_aside():
    """Meanwhile this process measures: on the other core, and before anyone there."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {OTHER})
    if REALTIME:
        _try_realtime(PRIORITY + 10)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cores)


def start(command, core=CORE, realtime=True, **more):
    """Starts a process on a core, with real-time priority or without."""

    def prepare():
        os.sched_setaffinity(0, {core} if core is not None else {CORE, OTHER})
        if REALTIME and realtime:
            _try_realtime(PRIORITY)
        else:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.STDOUT)
    return subprocess.Popen(command, preexec_fn=prepare, **more)


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    """CPU time of all living threads of a process, from the scheduler's own nanoseconds."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def memory_kb(pid, key="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise KeyError(key)


def describe():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(next(line for line in file if line.startswith("MemTotal")).split()[1]) / 2**20
    kernel = platform.release().split("-")[0]
    scheduling = "SCHED_RR" if REALTIME else "ordinary scheduling (SCHED_RR is not permitted)"
    return f"{os.cpu_count()} vCPU {model}, {memory:.0f} GiB, Linux {kernel}; {scheduling}."


def moment():
    """When this was measured, and how much else was going on."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; load average {load}, others' work included."
