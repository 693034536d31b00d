#!/usr/bin/env python3
"""Kills runs with SIGKILL at random moments, and looks whether anything is left that `cleanup` cannot remove.

    cargo build && benches/kill9.py [--runs 50] [--seed 1] [--program target/debug/connect-bench]

Each run is a load test against one sandbox, which people use besides (an item of somebody's own is on it). It is killed after
0 to 6 seconds: before, while and after it makes things, while it publishes, while it cleans up. Then:

- its directory, where it has a plan, is reported with exit code 0;
- some other command says what remains, where something remains;
- every item on the server is in the journal or has our name, description and owner;
- `cleanup` removes all of it, exits 0, and leaves somebody's own item alone; half of the time without the journals, as from
  another machine.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default="target/debug/connect-bench")
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    chance = random.Random(args.seed)
    place = tempfile.mkdtemp(prefix="kill9-")
    sandbox = subprocess.Popen(
        [program, "sandbox", "--deploy-time", "700ms", "--spawn-delay", "100ms", "--exit-with-parent"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    server, key = (sandbox.stdout.readline().strip().split("=", 1)[1] for _ in range(2))
    environment = {**os.environ, "CONNECT_SERVER": server, "CONNECT_API_KEY": key, "HOME": place}

    def api(method, path, body=None):
        request = urllib.request.Request(server + path, method=method, data=json.dumps(body).encode() if body else None,
                                         headers={"Authorization": f"Key {key}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def items():
        return sorted(item["name"] for item in api("GET", "/__api__/v1/content"))

    def run(*arguments):
        done = subprocess.run([program, *arguments], cwd=place, env=environment, capture_output=True, text=True, timeout=120)
        assert "panicked" not in done.stderr, done
        return done

    try:
        api("POST", "/__api__/v1/content", {"name": "connect-bench-notes", "description": "somebody's own"})
        kinds = [["load", "-u", "4", "-d", "3s", "--warmup", "0s"],
                 ["load", "-u", "4", "-d", "3s", "--warmup", "0s", "--publish-new-content"],
                 ["ramp", "--quick", "--max-vus", "8"]]
        left_runs, left_items, reported, elsewhere = 0, 0, 0, 0
        for number in range(args.runs):
            child = subprocess.Popen([program, *chance.choice(kinds), "-q"], cwd=place, env=environment,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            after = chance.uniform(0, 6)
            try:
                child.wait(timeout=after)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
            time.sleep(0.3)  # A request that was under way may still make something.
            ours = [name for name in items() if name != "connect-bench-notes"]
            runs = os.path.join(place, "runs")
            for name in sorted(os.listdir(runs)) if os.path.isdir(runs) else []:
                if os.path.exists(os.path.join(runs, name, "plan.json")):
                    shown = run("report", os.path.join("runs", name))
                    assert shown.returncode == 0, shown
                    reported += 1
            if ours:
                left_runs += 1
                left_items += len(ours)
                said = run("runs", "list")
                assert "connect-bench cleanup" in said.stderr, (ours, said)
                if chance.random() < 0.5:
                    shutil.rmtree(runs, ignore_errors=True)
                    elsewhere += 1
                dry = run("cleanup", "--dry-run")
                assert dry.returncode == 0 and all(name in dry.stdout for name in ours), (ours, dry)
                assert len(items()) == len(ours) + 1
            done = run("cleanup")
            assert done.returncode == 0, done
            assert items() == ["connect-bench-notes"], (items(), done)
            shutil.rmtree(runs, ignore_errors=True)
            print(f"{number + 1}: killed after {after:.2f} s, {len(ours)} items were left, none is", flush=True)
        print(f"{args.runs} runs killed: {left_runs} left {left_items} items on the server, cleanup removed all of them "
              f"({elsewhere} times without the journals); {reported} directories reported")
    finally:
        sandbox.stdin.close()
        sandbox.wait(timeout=20)
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
