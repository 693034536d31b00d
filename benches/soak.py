#!/usr/bin/env python3
"""A soak with faults: a load test at full rate against a sandbox that fails, stalls, restarts its nodes and dies.

    cargo build && benches/soak.py [--minutes 30] [--vus 40] [--program target/debug/connect-bench]

The sandbox answers one content request in fifty with 500 or 503, one node stalls for a second each minute, a node goes away
for five seconds every two minutes, and at a third of the time the whole sandbox is killed and started anew on the same data.
At the end it is asked and printed:

- memory: the slope of anonymous resident memory by least squares over the last three quarters, in MB per hour, and its peak;
- open files: the least and the most;
- counts: scheduled = completed + failed + dropped + interrupted, and the seconds add up to the whole; and what was sent
  against what both sandboxes counted. Where a node goes away with a connection that was kept, a request is sent again, and
  the sandbox may have counted it once or twice. The first sandbox is asked immediately before it is killed, so that what
  came in between is not known: beyond that at most what failed because a connection broke may differ, a request of each
  VU, and a tenth of a second. (Without faults the two are equal; so says every short run of `tests/cli`.)
- the incidents; and that the report is complete.

Exit code 1 where memory grows by more than 5 MB an hour (beyond its error), files by more than 64, counts do not add up, or
the report is not complete.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request


def counted(server, key):
    """Requests that the sandbox at this address has taken."""
    asked = urllib.request.Request(f"{server}/__sandbox__/stats", headers={"Authorization": f"Key {key}"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)["requests"]["total"]


def slope(points):
    """Least squares: slope and its standard error, per unit of x."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    sxx = sum((x - mx) ** 2 for x, _ in points)
    b = sum((x - mx) * (y - my) for x, y in points) / sxx
    rest = sum((y - my - b * (x - mx)) ** 2 for x, y in points)
    return b, (rest / (n - 2) / sxx) ** 0.5


def resident(pid):
    """Anonymous resident memory of a process, MB."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1e3
    raise SystemExit("the kernel does not tell anonymous memory")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--vus", type=int, default=40)
    parser.add_argument("--curve", default="400,60,8,0,2")
    parser.add_argument("--program", default="target/debug/connect-bench")
    args = parser.parse_args()
    program, seconds = os.path.abspath(args.program), int(args.minutes * 60)
    place = tempfile.mkdtemp(prefix="soak-")
    data = os.path.join(place, "data")
    restarts = [f"--fault-restart={1 + n % 2}@{60 + 120 * n}s,5s" for n in range(seconds // 120 + 1)]

    def sandbox(listen):
        child = subprocess.Popen(
            [program, "sandbox", "--curve", args.curve, "--data-dir", data, "--listen", listen, "--fault-error-rate", "0.02",
             "--fault-stall", "60s,1s", *restarts, "--deploy-time", "1s", "--exit-with-parent"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return child, *(child.stdout.readline().strip().split("=", 1)[1] for _ in range(2))

    child, server, key = sandbox("127.0.0.1:0")
    environment = {**os.environ, "CONNECT_SERVER": server, "CONNECT_API_KEY": key, "HOME": place}
    try:
        with open(os.path.join(place, "out"), "w") as out, open(os.path.join(place, "err"), "w") as err:
            load = subprocess.Popen([program, "load", "-u", str(args.vus), "-d", f"{seconds}s", "--warmup", "5s", "--json",
                                     "--html", "--keep-going", "--timeout", "10s"],
                                    cwd=place, env=environment, stdout=out, stderr=err)
            began, restarted, memory, files, taken = time.monotonic(), False, [], [], 0
            while load.poll() is None:
                time.sleep(5)
                passed = time.monotonic() - began
                if 20 < passed < seconds:
                    # Pages of the program itself, which a build without optimisations has many of, are not what grows.
                    memory.append((passed / 3600, resident(load.pid)))
                    files.append(len(os.listdir(f"/proc/{load.pid}/fd")))
                if not restarted and passed > seconds / 3:
                    taken = counted(server, key)
                    child.kill()
                    child.wait()
                    time.sleep(4)
                    child, _, _ = sandbox(server.split("//")[1])
                    restarted = True
                if passed > seconds + 180:
                    load.kill()
                    sys.exit("the run did not end")
        taken += counted(server, key)
        said = open(os.path.join(place, "err")).read()
        if load.returncode not in (0, 121):
            sys.exit(f"exit code {load.returncode}: {said}")
        document = json.load(open(os.path.join(place, "out")))
        run = os.path.join(place, "runs", os.listdir(os.path.join(place, "runs"))[0])
        lines = [json.loads(line) for line in open(os.path.join(run, "windows.ndjson"))]
        rise, error = slope(memory[len(memory) // 4:])
        counts = document["requests"]
        ended = sum(counts[name] for name in ("completed", "failed", "dropped", "interrupted"))
        incidents = document["incidents"]
        faults = []
        if rise - 2 * error > 5:
            faults.append("memory grows")
        if max(files) - min(files) > 64 + 2 * args.vus:
            faults.append("open files grow")
        if counts["scheduled"] != ended:
            faults.append(f"{counts['scheduled']} scheduled, {ended} ended")
        by_second = sum(series["requests"]["completed"] for line in lines for series in line["window"]["series"])
        if by_second != counts["completed"]:
            faults.append(f"{by_second} completed by second, {counts['completed']} in all")
        sent = counts["sent"] + counts["api_sent"]
        broken = sum(error["count"] for error in document["errors"] if "status" not in str(error["kind"]))
        slack = broken + args.vus + int(document["requests_per_second"]["all"] / 10)
        if not sent - slack <= taken <= sent + counts["retried"] + slack:
            faults.append(f"{sent} sent, the sandboxes counted {taken}")
        if document["state"] != "finished" or not os.path.exists(os.path.join(run, "report.html")):
            faults.append("the report is not complete")
        if document["left_behind"]:
            faults.append(f"left behind: {document['left_behind']}")
        print(f"{len(lines)} s, {counts['completed']} completed, {counts['failed']} failed, "
              f"{document['requests_per_second']['all']:.0f} per second")
        print(f"{sent} sent, {counts['retried']} more once again, the sandboxes counted {taken}; {broken} failed without an answer, "
              f"at most {slack} may differ")
        every = max(1, len(memory) // 12)
        print("anonymous memory, MB: " + ", ".join(f"{mb:.1f}" for _, mb in memory[::every]))
        print(f"memory: {rise:+.2f} ± {2 * error:.2f} MB per hour, "
              f"{memory[len(memory) // 4][1]:.1f} MB at a quarter, {memory[-1][1]:.1f} at the end, "
              f"{document['generator']['peak_memory_bytes'] / 1e6:.1f} at most")
        print(f"open files: {min(files)} to {max(files)}; report.html {os.path.getsize(os.path.join(run, 'report.html')) / 1e3:.0f} kB")
        print(f"incidents: {len(incidents)}, of them recovered {sum(i['recovered_s'] is not None for i in incidents)}: "
              f"{sorted({i['trouble'] + ' (' + i['blame'] + ')' for i in incidents})}")
        if faults:
            sys.exit("; ".join(faults))
    finally:
        if child.poll() is None:
            child.stdin.close()
            child.wait(timeout=20)
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
