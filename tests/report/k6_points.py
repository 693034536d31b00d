"""Reads k6's line-per-point JSON with a program that was made for it: one JSON document on stdout.

    python3 k6_points.py FILE
"""

import json
import sys

from lysiro_report import parse, stats

run = parse.read(sys.argv[1])
rows = stats.summarize(run)
json.dump({"format": run.source_format, "error_rate": run.error_rate, "p95_ms": stats.overall_percentile(run, 95),
           "transactions": [{"label": row.label, "count": row.count} for row in rows]}, sys.stdout)
