"""nginx on free loopback ports: 300 bytes of JSON, over http and https, HTTP/1.1 and 2, and how many requests it has seen."""

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time

from . import system

BODY = '{"ticker": "AAPL", "prices": [' + "1234, " * 40 + "1]}"
BODY += " " * (300 - len(BODY))
CONFIG = """worker_processes 1; pid {d}/pid; error_log {d}/error.log; daemon off; worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; reset_timedout_connection on;
client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
server {{ listen 127.0.0.1:{port} backlog=16384; listen 127.0.0.1:{tls} ssl backlog=16384; default_type application/json;
listen 127.0.0.1:{h2} ssl http2 backlog=16384;
ssl_certificate {d}/cert.pem; ssl_certificate_key {d}/key.pem;
location = /status {{ stub_status; }} location / {{ return 200 '{body}'; }} }} }}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Nginx:
    """Runs while it is entered."""

    def __init__(self, core=system.CORE, realtime=True):
        self.core, self.realtime = core, realtime
        self.ports = {name: free_port() for name in ("port", "tls", "h2")}
        self.port = self.ports["port"]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.tls_url = f"https://127.0.0.1:{self.ports['tls']}/"
        self.h2_url = f"https://127.0.0.1:{self.ports['h2']}/"

    def __enter__(self):
        self.directory = tempfile.mkdtemp()
        os.chmod(self.directory, 0o755)
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        request += ["-subj", "/CN=localhost", "-keyout", f"{self.directory}/key.pem", "-out", f"{self.directory}/cert.pem"]
        subprocess.run(request, check=True, capture_output=True)
        values = {"d": self.directory, "body": BODY, **self.ports}
        values |= {"files": 20_000, "connections": 19_000}
        config = os.path.join(self.directory, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(**values))
        command = ["nginx", "-c", config, "-p", self.directory, "-e", f"{self.directory}/error.log"]
        self.process = system.start(command, self.core, self.realtime, stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.requests()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("nginx does not answer: " + open(f"{self.directory}/error.log", encoding="utf-8").read())

    def __exit__(self, *_):
        system.stop(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def requests(self):
        """Requests that it has seen, this one not among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/status")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return int(text.splitlines()[2].split()[2]) - 1
