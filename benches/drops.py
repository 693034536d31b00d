#!/usr/bin/env python3
"""Iterations that are dropped at 5,000 arrivals per second with 500 VUs, against a server that takes 20 ms: 100 of them
would do. connect-bench beside k6, which is looked for where `benches/compare` puts it.

Usage: benches/drops.py [ROUNDS [SECONDS]]
needs `cargo build --release --bins --example truth_server`. Medians over the rounds, which are interleaved; each tool has
CPU 1 for itself where SCHED_RR is permitted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import stage

PORT = 28_404
RATE, VUS, DELAY_US = 5_000, 500, 20_000
K6 = "target/peers/k6/bin/k6"
OURS = """warmUp = "0s"
[scenarios.arrivals]
executor = "constant-arrival-rate"
rate = {rate}
duration = "{seconds}s"
preAllocatedVUs = {vus}
maxVUs = {vus}
gracefulStop = "2s"
"""
THEIRS = """import http from 'k6/http';
import {{ check }} from 'k6';
export const options = {{ scenarios: {{ arrivals: {{ executor: 'constant-arrival-rate', rate: {rate}, timeUnit: '1s',
  duration: '{seconds}s', preAllocatedVUs: {vus}, maxVUs: {vus}, gracefulStop: '2s' }} }} }};
export default function () {{ check(http.get('{url}'), {{ 'status is 200': (r) => r.status === 200 }}); }}
"""


def ours(url, seconds, first):
    with stage.scenario(OURS.format(rate=RATE, vus=VUS, seconds=seconds)) as file:
        document = stage.run(["run", file.name, "--url", url, "--workers", "1"], first=first)
    return document["open_model"]["dropped"], document["cpu_s"]


def theirs(url, seconds, first):
    with tempfile.TemporaryDirectory() as directory:
        script, summary = os.path.join(directory, "arrivals.js"), os.path.join(directory, "summary.json")
        with open(script, "w", encoding="utf-8") as file:
            file.write(THEIRS.format(rate=RATE, vus=VUS, seconds=seconds, url=url))
        command = [K6, "run", "--quiet", "--no-usage-report", "--summary-export", summary, script]
        if first:
            command = ["chrt", "-r", "1", *command]
        if len(os.sched_getaffinity(0)) > 1:
            command = ["taskset", "-c", "1", *command]
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
        if done.returncode:
            sys.exit(f"k6 ended with {done.returncode}: {done.stderr[-500:]}")
        with open(summary, encoding="utf-8") as file:
            metrics = json.load(file)["metrics"]
    time.sleep(stage.PAUSE)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return metrics.get("dropped_iterations", {}).get("count", 0), cpu


def main():
    stage.ready()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    tools = {"connect-bench": ours}
    if os.path.exists(K6):
        tools["k6"] = theirs
    else:
        print(f"{K6} is not there: without k6")
    first = stage.may_be_first()
    found = {name: [] for name in tools}
    for _ in range(rounds):
        for name, once in tools.items():
            with stage.Truth(PORT, DELAY_US, first=first) as server:
                found[name].append(once(server.url, seconds, first))
    print(stage.machine())
    print(f"{rounds} rounds of {seconds} s, {RATE * seconds} arrivals each")
    print("tool           dropped: least / median / most   share    CPU, s")
    for name, results in found.items():
        dropped = sorted(count for count, _cpu in results)
        middle = stage.middle(dropped)
        listed = f"{dropped[0]} / {middle:.0f} / {dropped[-1]}"
        share, cpu = middle / (RATE * seconds), stage.middle([cpu for _count, cpu in results])
        print(f"{name:13} {listed:>32}  {100 * share:5.2f} %  {cpu:6.2f}")


if __name__ == "__main__":
    main()
