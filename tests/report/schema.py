"""Says what is wrong with XML files by a schema: a line for each fault, none where they are valid.

    python3 schema.py SCHEMA.xsd FILE...
"""

import sys

import xmlschema

schema = xmlschema.XMLSchema(sys.argv[1])
for file in sys.argv[2:]:
    for fault in schema.iter_errors(file):
        print(f"{file}: {fault.path}: {fault.reason}")
