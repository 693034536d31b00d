#!/usr/bin/env python3
"""CPU per request of our two HTTP/1.1 engines beside wrk, on loopback nginx, interleaved, medians and ratios.

Usage: benches/engines.py [ROUNDS [SECONDS]]   needs nginx, wrk and a release build of connect-bench.
The figure is user + system time of the client process, start and end included, per million requests that it made. On a
machine that others use, rates are noise and CPU times nearly so: compare ratios of the same table only.
"""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PORT = 28_391
BINARY = "target/release/connect-bench"
CONFIG = """worker_processes 1; pid {d}/pid; error_log {d}/error.log; daemon off;
events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {d}/b; proxy_temp_path {d}/p;
fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
server {{ listen 127.0.0.1:{port}; default_type application/json; location / {{ return 200 '{body}'; }} }} }}
"""


def measured(command):
    """Output and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, cpu


def wrk(connections, seconds, url):
    out, cpu = measured(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url])
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return requests, cpu


def ours(engine, *more):
    def run(connections, seconds, url):
        with tempfile.TemporaryDirectory() as runs:
            command = [BINARY, "load", "--url", url, "-u", str(connections), "-d", f"{seconds}s", "--warmup", "1s"]
            command += ["--workers", "1", "--http1-engine", engine, "--json", "-q", "--runs-dir", runs, *more]
            out, cpu = measured(command)
        document = json.loads(out)
        assert document["requests"]["failed"] == 0, document["errors"]
        return document["requests"]["completed"], cpu

    return run


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    tools = {
        "wrk": wrk,
        "own": ours("own"),
        "own, no stamps": ours("own", "--no-kernel-timestamps"),
        "hyper": ours("hyper"),
    }
    url = f"http://127.0.0.1:{PORT}/"
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        config = os.path.join(directory, "nginx.conf")
        body = json.dumps({"ticker": "AAPL", "prices": list(range(100, 160))})
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(d=directory, port=PORT, body=body))
        nginx = subprocess.Popen(["nginx", "-c", config, "-p", directory])
        try:
            for _ in range(50):
                try:
                    urllib.request.urlopen(url).read()
                    break
                except OSError:
                    time.sleep(0.1)
            for connections in (50, 400):
                found = {name: [] for name in tools}
                for turn in range(rounds):
                    order = list(tools.items())
                    order = order[turn % len(order) :] + order[: turn % len(order)]
                    for name, tool in order:
                        requests, cpu = tool(connections, seconds, url)
                        found[name].append(cpu / requests * 1e6)
                base = statistics.median(found["wrk"])
                for name, values in found.items():
                    cpus = sorted(values)
                    middle = statistics.median(cpus)
                    print(
                        f"{connections:4} connections  {name:15} {cpus[0]:6.2f} / {middle:6.2f} / {cpus[-1]:6.2f}"
                        f" CPU-s per million   {middle / base:5.2f} x wrk",
                        flush=True,
                    )
        finally:
            nginx.terminate()
            nginx.wait()


if __name__ == "__main__":
    main()
