#!/bin/sh
# User instructions per request of both HTTP/1.1 engines, by callgrind: noise-free, unlike times.
# Usage: benches/instructions.sh HOST:PORT PATH [CONNECTIONS]   (a server that is there already, on this machine)
set -eu
address=$1 path=$2 connections=${3:-50} few=2000 many=12000
bench=$(cargo bench --bench exchange --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json,sys
for line in sys.stdin:
    m = json.loads(line)
    if m.get("reason") == "compiler-artifact" and m["target"]["name"] == "exchange": print(m["executable"])')
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$address" "$path" "$1" "$connections" "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}
for engine in own hyper; do
    a=$(count "$engine" $few) b=$(count "$engine" $many)
    echo "$engine: $(((b - a) / (many - few))) user instructions per request at $connections connections"
done
