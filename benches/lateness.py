#!/usr/bin/env python3
"""How late arrivals begin: from when an iteration was due to when its VU began it, at rates up to 50,000 per second.

Usage: benches/lateness.py [ROUNDS [SECONDS [first]]]      first: not under ordinary scheduling, unless there is no other
needs `cargo build --release --bins --example truth_server`. Prints a table of medians over the rounds, which are
interleaved: p50, p99 and the maximum of the lateness in µs, iterations dropped in all rounds, and the CPU of the worker.
"""

import sys

import stage

PORT = 28_401
# Arrivals per second, VUs, and how long the server takes, µs.
ROWS = [(1_000, 500, 0), (5_000, 500, 20_000), (10_000, 500, 0), (50_000, 1_000, 0)]


def arrivals(rate, vus, seconds):
    return f"""warmUp = "1s"
[scenarios.arrivals]
executor = "constant-arrival-rate"
rate = {rate}
duration = "{seconds + 1}s"
preAllocatedVUs = {vus}
maxVUs = {vus}
gracefulStop = "2s"
"""


def once(rate, vus, delay_us, seconds, first):
    with stage.Truth(PORT, delay_us, first=first) as server, stage.scenario(arrivals(rate, vus, seconds)) as file:
        arguments = ["run", file.name, "--url", server.url, "--workers", "1", "--http1-engine", "own"]
        return stage.run(arguments, first=first)


def main():
    stage.ready()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    kinds = [("SCHED_RR", True)] if stage.may_be_first() else []
    if not kinds or sys.argv[3:] != ["first"]:
        kinds.append(("ordinary", False))
    found = {}
    for _ in range(rounds):
        for kind, first in kinds:
            for row in ROWS:
                found.setdefault((kind, row), []).append(once(*row, seconds, first))
    print(stage.machine())
    print(f"{rounds} rounds of {seconds} s, one worker thread; lateness in µs, medians of the rounds")
    print("scheduling  per second   VUs  server     p50     p99      max  dropped  achieved/s  worker CPU  not valid")
    for (kind, (rate, vus, delay_us)), documents in found.items():
        opens = [document["open_model"] for document in documents]
        late = {q: stage.middle([1000 * o["arrival_lateness_ms"][q] for o in opens]) for q in ("p50", "p99", "max")}
        dropped = sum(o["dropped"] for o in opens)
        achieved = stage.middle([o["achieved_per_second"] for o in opens])
        cpu = stage.middle([d["generator"]["busiest_worker_share"] for d in documents])
        invalid = sum(not d["generator"]["valid"] for d in documents)
        print(
            f"{kind:10}  {rate:10}  {vus:4}  {delay_us / 1000:3.0f} ms  {late['p50']:6.0f}  {late['p99']:6.0f}  {late['max']:7.0f}"
            f"  {dropped:7}  {achieved:10.0f}  {100 * cpu:8.0f} %  {invalid}/{len(documents)}"
        )


if __name__ == "__main__":
    main()
