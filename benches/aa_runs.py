#!/usr/bin/env python3
"""Real A/A runs against the sandbox: does the gate cry wolf, and does it see a sandbox that is a tenth slower?

    benches/aa_runs.py [--runs 30] [--seconds 30] [--vus 12] [--curve 120,150,6,0] [--program target/release/connect-bench]

Starts a sandbox of its own for each run, accepts the first three, judges every later one with --retries 2 --record, and
then one against a sandbox whose curve is a tenth slower in every respect. Prints the verdicts; exit status 1 on a false
alarm, where the slower one passes, or where the machine was too busy: a run in which it was the limit is made up for by
another, up to three times as many.
`--runs 5 --seconds 12` is the short form.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager


def slower(curve, share):
    x_max, r0_ms, *rest = curve.split(",")
    return ",".join([str(float(x_max) * (1 - share)), str(float(r0_ms) / (1 - share)), *rest])


@contextmanager
def sandbox(args, curve, seed):
    """The environment that aims at a sandbox of this curve, while it lives."""
    command = [args.program, "sandbox", "--curve", curve, "--seed", str(seed), "--exit-with-parent"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        values = dict(child.stdout.readline().strip().split("=", 1) for _ in range(2))
        yield {**os.environ, **values}
    finally:
        child.stdin.close()
        child.wait(timeout=30)


def call(args, env, folder, *line):
    done = subprocess.run([args.program, *line], cwd=folder, env=env, capture_output=True, text=True, timeout=900)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        sys.exit(f"{' '.join(line)}: exit {done.returncode}\n{done.stderr}")


def load(args, env, folder, seed):
    """One run: its document."""
    line = ["load", "-u", str(args.vus), "-d", f"{args.seconds}s", "--warmup", "5s", "--seed", str(seed)]
    return call(args, env, folder, *line, "--json", "-q")[1]


def accept(args, folder):
    """Makes three valid runs of the first level, and accepts them together."""
    level, seed = [], 0
    while len(level) < 3:
        seed += 1
        if seed > 12:
            sys.exit("this machine is too busy: three valid runs of twelve were not to be had")
        with sandbox(args, args.curve, seed) as env:
            document = load(args, env, folder, seed)
        valid = document["generator"]["valid"]
        print(f"to accept   {document['requests_per_second']['all']:8.1f}/s  {'valid' if valid else 'not valid'}", flush=True)
        if valid:
            level.append(document["run_dir"])
    code, _ = call(args, os.environ, folder, "baselines", "accept", *level, "--profile", "aa", "--json")
    if code != 0:
        sys.exit(f"the runs were not accepted: exit {code}")
    return seed


def judged(args, folder, curve, seed):
    """One run against what was accepted: the gate's document."""
    with sandbox(args, curve, seed) as env:
        directory = load(args, env, folder, seed)["run_dir"]
        return call(args, env, folder, "gate", directory, "--retries", "2", "--record", "--json", "-q")[1]


def show(name, gate):
    print(f"{name:<11} {gate['runs'][0]['requests_per_second']:8.1f}/s  {gate['verdict']}: {gate['headline']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--vus", type=int, default=12)
    parser.add_argument("--curve", default="120,150,6,0")
    parser.add_argument("--program", default="target/release/connect-bench")
    args = parser.parse_args()
    args.program = os.path.abspath(args.program)
    verdicts = Counter()
    with tempfile.TemporaryDirectory() as folder:
        seed = accept(args, folder)
        judged_runs = 0
        for n in range(1, 3 * args.runs + 1):
            if judged_runs == args.runs:
                break
            gate = judged(args, folder, args.curve, seed + n)
            verdicts[gate["verdict"]] += 1
            # A run in which this machine was the limit shows nothing, and is made up for.
            judged_runs += gate["verdict"] != "not_comparable"
            show(f"A/A {n}", gate)
        for attempt in range(8):
            gate = judged(args, folder, slower(args.curve, 0.10), seed + 1000 + attempt)
            show("10 % slower", gate)
            # Where the machine was busy nothing was judged.
            if gate["verdict"] not in ("not_comparable", "inconclusive"):
                break
    print(f"{judged_runs} A/A runs judged of {args.runs}: {dict(verdicts)}; 10 % slower: {gate['verdict']}")
    sys.exit(verdicts["regressed"] > 0 or gate["verdict"] != "regressed" or judged_runs < args.runs)


if __name__ == "__main__":
    main()
