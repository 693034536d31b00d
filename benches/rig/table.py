"""The main table: what a request costs each tool, at several numbers of connections."""

import random
import statistics
import subprocess
import tempfile
import time

from . import peers, system

# The load is on for so long before the measurement begins, and after it ends.
LEAD, TAIL = 0.7, 0.3
PAUSE = 0.4


class Measured:
    """What was seen of one run of a tool."""

    def __init__(self, rate, cpu_us, peak_mb):
        self.rate, self.cpu_us, self.peak_mb = rate, cpu_us, peak_mb


def once(nginx, tool, url, connections, window):
    """Runs a tool; requests as the server counts them and CPU time as the scheduler does, over the window in the middle."""
    command, failed = tool
    # Some of the tools begin their time before their handshakes.
    seconds = int(LEAD + window + TAIL + 0.999) + url.startswith("https:")
    with tempfile.TemporaryDirectory() as directory:
        before = nginx.requests()
        process = system.start(command(url, connections, seconds, directory), text=True)
        try:
            while nginx.requests() < before + 20:
                if process.poll() is not None:
                    raise RuntimeError(process.stdout.read())
                time.sleep(0.02)
            time.sleep(LEAD)
            first = _sample(nginx, process.pid)
            time.sleep(window)
            last = _sample(nginx, process.pid)
            peak = system.memory_kb(process.pid, "VmHWM") / 1024
            output = process.communicate(timeout=60)[0]
        finally:
            system.stop(process)
    if wrong := failed(output):
        raise RuntimeError(f"{wrong} requests failed\n{output}")
    requests = last[1] - first[1]
    if requests <= 0:
        raise RuntimeError("no request in the window")
    return Measured(requests / (last[0] - first[0]), (last[2] - first[2]) / requests * 1e6, peak)


def _sample(nginx, pid):
    # CPU on both sides of the count, because a busy server takes some milliseconds to tell it.
    at, cpu = time.monotonic(), system.cpu_seconds(pid)
    requests = nginx.requests()
    after = system.cpu_seconds(pid)
    return (at + time.monotonic()) / 2, requests, (cpu + after) / 2


def measure(nginx, tools, url, connections, rounds, window, say):
    """All tools, by name, in an order that changes, round by round."""
    found = {tool: [] for tool in tools}
    for turn in range(rounds):
        order = list(tools)
        random.shuffle(order)
        for tool in order:
            for attempt in (1, 2):
                try:
                    found[tool].append(once(nginx, tools[tool], url, connections, window))
                    break
                except (KeyError, OSError, RuntimeError, subprocess.TimeoutExpired, ValueError) as fault:
                    say(f"{connections} connections, {tool}: attempt {attempt} failed: {fault!r:.300}")
            time.sleep(PAUSE)
        say(f"{connections} connections: round {turn + 1} of {rounds}")
    return {tool: values for tool, values in found.items() if values}


def _middle(values, of):
    return statistics.median(of(value) for value in values)


def cpu(values):
    return _middle(values, lambda v: v.cpu_us)


def rows(connections, found):
    """Lines of a table."""
    base = {peer: cpu(found[peer]) for peer in ("wrk", "oha", "k6") if peer in found}
    for tool, values in found.items():
        spread = sorted(v.cpu_us for v in values)
        ratios = [f"{cpu(values) / base[peer]:.2f}" if peer in base else "-" for peer in ("wrk", "oha")]
        ratios.append(f"1/{base['k6'] / cpu(values):.1f}" if "k6" in base else "-")
        yield (
            f"| {connections} | {tool} | {_middle(values, lambda v: v.rate):,.0f} | {spread[0]:.2f} / "
            f"**{cpu(values):.2f}** / {spread[-1]:.2f} | {_middle(values, lambda v: v.peak_mb):.0f} | "
            f"{' | '.join(ratios)} | {len(values)} |"
        )


HEADER = (
    "| connections | tool | requests/s | CPU-s per million: least / **median** / most | peak MB | x wrk | x oha | of k6 | n |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
