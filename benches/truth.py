#!/usr/bin/env python3
"""How true latencies are: what connect-bench reports beside what the server itself recorded, request by request.

Usage: benches/truth.py [ROUNDS [SECONDS [stamps]]]      stamps: only with the kernel's times
needs `cargo build --release --bins --example truth_server`. The server answers after 20 ms, by its own clock. Cases:

unloaded     100 VUs that fetch; the worker is first on its core where that is permitted
saturated    400 VUs that parse 64 kB of JSON in each response: more work than one core can do
pre-empted   100 VUs that fetch, while two endless loops share the worker's core
... no stamps  the same without the kernel's times of receipt: the event loop's lag is what is left to judge by

`recorded` is k6's http_req_duration; `corrected` is without the time that responses waited in this machine before they
were read. The error is the difference of the 99th percentiles to the server's.
"""

import subprocess
import sys
import time

import stage

PORT = 28_402
DELAY_US = 20_000
WARM_UP = 1
FETCH = """warmUp = "{warm_up}s"
[scenarios.fetch]
executor = "constant-vus"
vus = {vus}
duration = "{seconds}s"
gracefulStop = "2s"
"""
PARSE = """
exec = "parse"
[[steps.parse]]
name = "parse"
get = "/"
checks = [{ name = "there are prices", json = "$.prices[*]" }]
"""


def hogs(_pid, seconds):
    """Two endless loops on the generator's core that end by themselves."""
    command = ["taskset", "-c", "1", "timeout", str(seconds), "sh", "-c", "while :; do :; done"]
    return [subprocess.Popen(command) for _ in range(2)]


def once(name, seconds):
    saturated, disturbed = name.startswith("saturated"), name.startswith("pre-empted")
    text = FETCH.format(warm_up=WARM_UP, vus=400 if saturated else 100, seconds=seconds + WARM_UP) + (PARSE if saturated else "")
    first = stage.may_be_first()
    with stage.Truth(PORT, DELAY_US, 65_536 if saturated else 300, first) as server, stage.scenario(text) as file:
        arguments = ["run", file.name, "--url", server.url, "--workers", "1", "--http1-engine", "own"]
        if name.endswith("no stamps"):
            arguments.append("--no-kernel-timestamps")
        started = []

        def beside(pid):
            # Both count what comes after the warm-up: 400 connections that are opened at once keep the server busy, too.
            stage.after(pid, WARM_UP, server.told)
            if disturbed:
                started.extend(hogs(pid, seconds + 2))

        # Who shares his core with others is not first.
        document = stage.run(arguments, first=first and not disturbed, beside=beside)
        for process in started:
            process.wait()
        time.sleep(0.1)
        return server.told(), document


def main():
    stage.ready()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    endings = [""] if sys.argv[3:] == ["stamps"] else ["", ", no stamps"]
    cases = [case + more for case in ("unloaded", "saturated", "pre-empted") for more in endings]
    found = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            found[case].append(once(case, seconds))
    print(stage.machine())
    print(f"{rounds} rounds of {seconds} s, one worker thread; p50 / p99 in ms, medians of the rounds")
    print(f"{'case':22} {'the server':>15} {'recorded':>16} {'corrected':>16} {'error':>8} {'corrected':>9}  not valid  why")
    for case, results in found.items():
        truths = [{q: truth[q] / 1000 for q in ("p50", "p99")} for truth, _ in results]
        recorded = [document["fetch_latency_ms"] for _, document in results]
        corrected = [document["fetch_latency_corrected_ms"] or {} for _, document in results]

        def both(values):
            return " / ".join(f"{stage.middle([v.get(q) for v in values]):.2f}" for q in ("p50", "p99"))

        def error(values):
            pairs = [(v.get("p99"), t["p99"]) for v, t in zip(values, truths)]
            return f"{stage.middle([measured - true for measured, true in pairs if measured is not None]):+.2f}"

        generators = [document["generator"] for _, document in results]
        invalid = sum(not generator["valid"] for generator in generators)
        why = sorted({reason.split(": ", 1)[-1] for generator in generators for reason in generator["reasons"]})
        print(
            f"{case:22} {both(truths):>15} {both(recorded):>16} {both(corrected):>16} {error(recorded):>8}"
            f" {error(corrected):>9}  {invalid}/{len(results)}        {why[0] if why else ''}"
        )


if __name__ == "__main__":
    main()
