#!/usr/bin/env python3
"""What a run must live through: ten thousand VUs, half of all requests failing, a server that goes and comes back.

Usage: benches/endure.py [SECONDS]        of the run with failures; 600 for the ten minutes that were promised
needs `cargo build --release --bins --example truth_server`, and 10,100 files (`ulimit -n`) on both sides. In each case the
requests that the server answered are held against those that we counted.
"""

import os
import sys
import threading
import time

import stage

PORT = 28_403
CLOSED = """warmUp = "3s"
[scenarios.fetch]
executor = "constant-vus"
vus = {vus}
duration = "{seconds}s"
gracefulStop = "5s"
"""


def arguments(file, url):
    return ["run", file.name, "--url", url, "--workers", "1", "--http1-engine", "own"]


def report(name, document, answered, more=""):
    requests, generator = document["requests"], document["generator"]
    ended = sum(requests[end] for end in ("completed", "failed", "dropped", "interrupted"))
    assert requests["scheduled"] == ended, requests
    before, after = (bytes / 1e6 for bytes in generator["memory_bytes"])
    errors = ", ".join(f"{error['count']} x {error['kind']}" for error in document["errors"]) or "no errors"
    print(
        f"{name}: {requests['completed']} completed, {requests['failed']} failed ({errors}), {requests['interrupted']} cut off;"
        f" sent {requests['sent']} and {requests['retried']} again, the server answered {answered};"
        f" memory {before:.1f} MB at first, {after:.1f} MB at last, {generator['peak_memory_bytes'] / 1e6:.1f} MB at most{more}",
        flush=True,
    )


def ten_thousand():
    with stage.Truth(PORT, 1_000_000) as server, stage.scenario(CLOSED.format(vus=10_000, seconds=10)) as file:
        document = stage.run(arguments(file, server.url))
        # One request is the preflight's.
        report("10,000 VUs, 1 s each", document, server.told()["requests"] - 1)


def resident(pid, minutes):
    """Resident memory of a process, MB, minute by minute."""
    while True:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return
        # Of one that has ended and was not waited for nothing is left.
        if pages == 0:
            return
        minutes.append(pages * os.sysconf("SC_PAGESIZE") / 1e6)
        time.sleep(60)


def half_fail(seconds):
    minutes = []

    def watch(pid):
        time.sleep(10)
        threading.Thread(target=resident, args=(pid, minutes), daemon=True).start()

    with stage.Truth(PORT, 0, fail_every=2, first=False) as server:
        with stage.scenario(CLOSED.format(vus=50, seconds=seconds + 3)) as file:
            document = stage.run(arguments(file, server.url), first=False, beside=watch)
            per_second = (document["requests"]["completed"] + document["requests"]["failed"]) / (seconds + 3)
            answered = server.told()["requests"]
            report(f"half fail for {seconds} s", document, answered - 1, f"; {per_second:.0f} requests per second")
            print("    resident after 10 s and each further minute, MB: " + " ".join(f"{size:.1f}" for size in minutes))


def gone_and_back():
    answered = []

    def away(server):
        time.sleep(6)
        answered.append(server.told()["requests"])
        server.process.terminate()
        server.process.wait()
        time.sleep(3)
        servers.append(stage.Truth(PORT, 20_000, first=False))

    servers = []
    with stage.Truth(PORT, 20_000, first=False) as server, stage.scenario(CLOSED.format(vus=100, seconds=20)) as file:
        thread = threading.Thread(target=away, args=(server,))
        document = stage.run(arguments(file, server.url), first=False, beside=lambda _pid: thread.start())
        thread.join()
        answered.append(servers[0].told()["requests"])
        servers[0].process.terminate()
        servers[0].process.wait()
        # What it answered between being asked and being gone is not in its count.
        report("gone for 3 s", document, f"{sum(answered) - 1} or some more")


def main():
    stage.ready()
    print(stage.machine())
    ten_thousand()
    half_fail(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    gone_and_back()


if __name__ == "__main__":
    main()
