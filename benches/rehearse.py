#!/usr/bin/env python3
"""Rehearses the test of an architecture: `sandbox up` with real content, a ramp through its balancer, and the load held.

    benches/rehearse.py [--program target/release/connect-bench] [--hold 60s] [--max-vus 64] [--rsconnect PROGRAM]
                        [--documents DIR] [NAME ...]

Generator, balancer, nodes, database and content share one machine. The generator needs little of it, but at once: it is put
before the others (nice -n -10, where that is permitted). With --rsconnect both fixtures are deployed with rsconnect-python
first, as a publisher would. One row per architecture; with --documents the JSON of each ramp and its load is kept there.
Exit status 1 where something failed or the generator was the limit.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["azure-load-balanced", "aws-single-server-robust"]
FIXTURES = [("flask-stocks", ["deploy", "flask"]), ("plumber-stocks", ["deploy", "manifest"])]


def first():
    """This process before others, where it may be."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        # Of another session's group the scheduler compares groups, not processes.
        pathlib.Path("/proc/self/autogroup").write_text("-10")
    except OSError as error:
        print(f"not put before others: {error}", file=sys.stderr)


def variables(up):
    """What `sandbox up` prints once all is healthy."""
    said = {}
    for line in up.stdout:
        name, _, value = line.strip().partition("=")
        said[name] = value
        if name == "CONNECT_BENCH_CLUSTER":
            return said
    raise SystemExit("sandbox up ended before it was healthy")


def deploy(rsconnect, environment, place):
    for fixture, command in FIXTURES:
        # A copy: it notes beside what it deployed where that went.
        folder = pathlib.Path(shutil.copytree(HERE.parent / "fixtures" / fixture, place / fixture, dirs_exist_ok=True))
        what = folder / "manifest.json" if command[1] == "manifest" else folder
        server = ["--server", environment["CONNECT_SERVER"], "--api-key", environment["CONNECT_API_KEY"],
                  "--cacert", environment["CONNECT_CA_CERTIFICATE"], "--new"]
        subprocess.run([rsconnect, *command, *server, str(what)], check=True, stdout=subprocess.DEVNULL)
        print(f"rsconnect-python deployed {fixture}", file=sys.stderr)


def rehearse(name, args, place):
    up = subprocess.Popen(
        [args.program, "sandbox", "up", name, "--content", "processes", "--exit-with-parent",
         "--state", f"{place}/{name}", "--environments", f"{place}/environments"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        environment = {**os.environ, **variables(up)}
        if args.rsconnect:
            deploy(args.rsconnect, environment, pathlib.Path(place))
        done = subprocess.run(
            [args.program, "ramp", "--quick", "--max-vus", str(args.max_vus), "--then-load", args.hold, "--json",
             "--runs-dir", f"{place}/runs-{name}"],
            env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=first)
        return done.returncode, json.loads(done.stdout)
    finally:
        up.stdin.close()
        up.wait(timeout=60)


def row(name, code, document):
    """A line of the table; figures of the load that was held."""
    found, load = document["saturation"], document.get("load")
    if not load:
        return f"| {name} | {document['result']}, exit {code}: {document.get('reason')} |"
    per_s, latency, publish = load["requests_per_second"], load["fetch_latency_ms"], load["publish"]
    shares = ", ".join(f"{100 * node['share']:.0f} %" for node in load["nodes"] or [])
    low, high = found["vus_ci"] or ("?", "?")
    whole_s = publish["phases_ms"]["total"]["mean"] / 1e3
    return (f"| {name} | {found['vus']} ({low}..{high}) | {found['requests_per_second']:.0f} | {per_s['fetch']:.0f} | "
            f"{latency['mean']:.1f}, {latency['p95']:.1f} | {load['requests']['failed']} of {load['requests']['scheduled']} | "
            f"{publish['completed']} of {publish['completed'] + publish['failed']}, {whole_s:.2f} s | {shares or '-'} | "
            f"{load['generator']['valid']} | {code} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--program", default=str(HERE.parent / "target/release/connect-bench"))
    parser.add_argument("--hold", default="60s")
    parser.add_argument("--max-vus", type=int, default=64)
    parser.add_argument("--rsconnect")
    parser.add_argument("--documents", type=pathlib.Path)
    args = parser.parse_args()
    worst = 0
    print("| architecture | VUs | plateau | fetches per s | mean, p95 ms | failed | published | nodes | valid | exit |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        for name in args.names or NAMES:
            code, document = rehearse(name, args, place)
            if args.documents:
                (args.documents / f"rehearse-{name}.json").write_text(json.dumps(document, indent=1) + "\n")
            print(row(name, code, document), flush=True)
            worst = max(worst, int(code != 0))
    sys.exit(worst)


if __name__ == "__main__":
    main()
