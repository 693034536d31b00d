#!/usr/bin/env python3
"""Ramps against sandboxes whose answer is known, and holds what `ramp` says against it.

    benches/ramp_on_curves.py [--quick] [--jobs N] [--program target/release/connect-bench] [NAME ...]
    benches/ramp_on_curves.py --random 10 [--seed 1] ...      curves that nobody chose, of at most 200 requests per second

The publish loop runs beside each. `again` counts stages in which this machine was the limit: they are measured again.

One row per system: N_sat and plateau of the curve, what the ramp found, and the throughput of the curve at the number
of VUs that it found against the throughput that the load test there measured. Exit status 1 where a row misses
plateau 3 %, N_sat 25 % or throughput 3 %.
"""
import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

# name -> (flags, (X_max per s, R0 s, p, kappa s, nodes) or None where the profile says it)
N_STAR_FACTOR = lambda p: ((0.98) ** (-p) - 1) ** (-1 / p)
CALIBRATED = lambda vus, rps: (rps / 0.98, vus / (rps / 0.98) / N_STAR_FACTOR(8.0), 8.0, 0.0)
SYSTEMS = {
    "small": (["--sandbox=small"], (400.0, 0.05, 6.0, 0.0, 1)),
    "aws-single-server-robust": (["--sandbox=aws-single-server-robust"], (*CALIBRATED(250, 1270), 1)),
    "azure-load-balanced": (["--sandbox=azure-load-balanced"], (*CALIBRATED(200, 1358), 2)),
    "sharp": (["--sandbox-curve", "600,80,12,0"], (600.0, 0.080, 12.0, 0.0, 1)),
    "soft": (["--sandbox-curve", "500,60,2.5,0"], (500.0, 0.060, 2.5, 0.0, 1)),
    "slow": (["--sandbox-curve", "60,400,8,0"], (60.0, 0.400, 8.0, 0.0, 1)),
    "thrashing": (["--sandbox-curve", "800,50,6,1e-6"], (800.0, 0.050, 6.0, 1e-6, 1)),
    "three-nodes": (["--sandbox-curve", "300,100,8,0,3"], (300.0, 0.100, 8.0, 0.0, 3)),
}


def drawn(seed):
    """A curve of few and long requests: several fit beside each other into one machine, also into a busy one."""
    draw = random.Random(seed)
    between = lambda low, high: math.exp(draw.uniform(math.log(low), math.log(high)))
    r0, n_star, p = between(0.25, 0.8), between(5, 50), between(2, 12)
    return round(n_star / r0, 1), round(r0, 4), round(p, 2), 0.0, 1


def throughput(curve, vus):
    """X(N) of the whole system, VUs spread evenly over the nodes."""
    x_max, r0, p, kappa, nodes = curve
    n = vus / nodes
    return nodes * n / ((r0**p + (n / x_max) ** p) ** (1 / p) + kappa * n * (n - 1)) if n > 0 else 0.0


def truth(curve):
    peak = max(throughput(curve, n) for n in range(1, 4097)) if curve[3] > 0 else curve[0] * curve[4]
    n_sat = next(n for n in range(1, 65536) if throughput(curve, n) >= 0.98 * peak)
    return n_sat, peak


def run(name, args):
    flags, _ = SYSTEMS[name]
    with tempfile.TemporaryDirectory() as runs:
        command = [args.program, "ramp", *flags, "--json", "-q", "--runs-dir", runs, "--then-load", "30s"]
        if args.quick:
            command.append("--quick")
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    try:
        return name, done.returncode, json.loads(done.stdout), done.stderr
    except ValueError:
        return name, done.returncode, None, done.stderr


def row(name, code, document, errors):
    curve = SYSTEMS[name][1]
    n_sat, peak = truth(curve)
    if document is None or document["saturation"]["vus"] is None:
        what = document["result"] + " " + str(document.get("reason")) if document else errors.strip()
        return False, f"{name:26} {n_sat:5} {peak:8.1f}   exit {code}: {what}"
    found = document["saturation"]
    vus, plateau = found["vus"], found["requests_per_second"]
    load = document["load"]
    measured = load["requests_per_second"]["fetch"] if load else float("nan")
    at = throughput(curve, vus)
    off = [plateau / peak - 1, vus / n_sat - 1, measured / at - 1]
    good = abs(off[0]) <= 0.03 and abs(off[1]) <= 0.25 and abs(off[2]) <= 0.03 and document["result"] == "saturated"
    low, high = found["vus_ci"]
    again = sum("measured again" in step["decision"] for step in document["steps"])
    return good and code == 0, (
        f"{name:26} {n_sat:5} {peak:8.1f} {vus:6} ({low}..{high}) {plateau:8.1f} {off[1]:+7.1%} {off[0]:+7.1%} "
        f"{at:8.1f} {measured:8.1f} {off[2]:+7.1%} {document['elapsed_s']:6.0f} {again:6}  {code}"
        f"{'' if load and load['generator']['valid'] else '  load not valid'}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SYSTEMS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--program", default="target/release/connect-bench")
    parser.add_argument("--random", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in SYSTEMS]:
        parser.error(f"no system is called {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    args.names = args.names or list(SYSTEMS)
    if args.random:
        args.names = []
        for seed in range(args.seed, args.seed + args.random):
            x_max, r0, p, kappa, nodes = curve = drawn(seed)
            name = f"{x_max}/s {1000 * r0:.0f} ms p={p}"
            SYSTEMS[name] = (["--sandbox-curve", f"{x_max},{1000 * r0:.1f},{p},0"], curve)
            args.names.append(name)
    print("system                     N_sat  plateau  found (90 %)   plateau   off N   off X   X(found) measured     off      s  again  exit")
    all_good = True
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda name: run(name, args), args.names):
            good, text = row(*result)
            all_good &= good
            print(("  " if good else "! ") + text, flush=True)
    sys.exit(0 if all_good else 1)


if __name__ == "__main__":
    main()
