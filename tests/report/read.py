"""Reads our exports with the libraries of others: one JSON document on stdout.

    python3 read.py FILE.hlog FILE.xml FILE.txt
"""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from junitparser import Failure, JUnitXml, Skipped
from prometheus_client.openmetrics.parser import text_string_to_metric_families

log, xml, text = sys.argv[1:]

whole = HdrHistogram(1, 3_600_000_000, 3)
reader = HistogramLogReader(log, whole)
lines = 0
counts = {}
while True:
    histogram = reader.get_next_interval_histogram()
    if histogram is None:
        break
    tag = histogram.get_tag()
    counts[tag] = counts.get(tag, 0) + histogram.get_total_count()
    lines += tag in ("fetch", "failed")
    if histogram.get_tag() == "fetch":
        whole.add(histogram)

suites = JUnitXml.fromfile(xml)
cases = [{"name": case.name, "class": case.classname,
          "result": ["failed" if isinstance(r, Failure) else "skipped" for r in case.result if isinstance(r, (Failure, Skipped))]}
         for suite in suites for case in suite]

with open(text, encoding="utf-8") as file:
    families = {family.name: family for family in text_string_to_metric_families(file.read())}
requests = {s.labels["end"]: s.value for s in families["connect_bench_requests"].samples}
quantiles = {s.labels.get("quantile"): s.value for s in families["connect_bench_fetch_duration_seconds"].samples}

json.dump({"lines": lines, "counts": counts, "count": whole.get_total_count(), "p50_us": whole.get_value_at_percentile(50),
           "p99_us": whole.get_value_at_percentile(99), "start": reader.range_start_time_sec if hasattr(reader, "range_start_time_sec") else 0,
           "suite": {"tests": suites.tests, "failures": suites.failures}, "cases": cases,
           "requests": requests, "p95_s": quantiles["0.95"],
           "rate": families["connect_bench_requests_per_second"].samples[0].value}, sys.stdout)
