"""A receiver of OTLP metrics that decodes what it gets with the published messages.

    python3 receiver.py

Says its port on the first line of stdout. `POST /v1/metrics` is refused once with 503 and taken from then on; `GET /told`
answers what was decoded: one JSON document with the last point of each metric and scenario.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

told = {"requests": 0, "refused": 0, "headers": [], "service": "", "metrics": {}}


def take(body):
    request = ExportMetricsServiceRequest()
    request.ParseFromString(body)
    for resource in request.resource_metrics:
        told["service"] = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                for point in data.data_points:
                    scenario = {a.key: a.value.string_value for a in point.attributes}.get("scenario", "")
                    entry = {"kind": kind, "unit": metric.unit, "time": point.time_unix_nano,
                             "start": point.start_time_unix_nano}
                    if kind == "histogram":
                        entry.update(count=point.count, sum=point.sum, buckets=list(point.bucket_counts),
                                     bounds=list(point.explicit_bounds), temporality=data.aggregation_temporality)
                    else:
                        entry.update(value=point.as_double)
                    if kind == "sum":
                        entry.update(temporality=data.aggregation_temporality, monotonic=data.is_monotonic)
                    told["metrics"][f"{metric.name}/{scenario}"] = entry


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, json.dumps(told).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told["headers"] = sorted(name.lower() for name in self.headers.keys())
        if self.path != "/v1/metrics":
            self.answer(404)
        elif told["refused"] == 0:
            told["refused"] = 1
            self.answer(503)
        else:
            told["requests"] += 1
            take(body)
            self.answer(200)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
sys.stdout.close()
server.serve_forever()
