"""Share of lines that the tests ran, per file and in all, from what gcov counted.

usage: coverage.py ROOT BUILD PERCENT FOLDER...     fails when a FOLDER has less than PERCENT
"""

import concurrent.futures
import gzip
import json
import os
import subprocess
import sys


def counters(build):
    for directory, _, names in os.walk(build):
        for name in names:
            if name.endswith(".gcda"):
                yield os.path.join(directory, name)


def lines_of(path):
    """[(source, line, count)] of one object file."""
    result = subprocess.run(["gcov", "--json-format", "--stdout", path], capture_output=True, cwd=os.path.dirname(path), timeout=120)
    text = gzip.decompress(result.stdout) if result.stdout[:2] == b"\x1f\x8b" else result.stdout
    report = json.loads(text)
    where = report.get("current_working_directory", "")
    return [(os.path.join(where, f["file"]), line["line_number"], line["count"]) for f in report["files"] for line in f["lines"]]


def main(root, build, percent, *folders):
    root, build = os.path.realpath(root), os.path.realpath(build)
    hits = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for found in pool.map(lines_of, sorted(counters(build))):
            for source, number, count in found:
                path = os.path.relpath(os.path.realpath(source), root)
                if path.startswith(tuple(f + "/" for f in folders)):
                    lines = hits.setdefault(path, {})
                    # a file that is compiled twice (in float and in double) counts as run where either was
                    lines[number] = lines.get(number, 0) + count
    if not hits:
        sys.exit(f"{build}: nothing was counted")
    share = {p: (sum(c > 0 for c in lines.values()), len(lines)) for p, lines in hits.items()}
    for path, (ran, total) in sorted(share.items(), key=lambda s: s[1][0] / s[1][1]):
        print(f"{100 * ran / total:6.1f} %  {ran:5d} of {total:5d} lines  {path}")
    low = False
    for folder in folders:
        ran = sum(r for p, (r, _) in share.items() if p.startswith(folder + "/"))
        total = sum(t for p, (_, t) in share.items() if p.startswith(folder + "/"))
        print(f"{100 * ran / total:6.1f} %  {ran:5d} of {total:5d} lines  {folder}/ in all, at least {percent} % wanted")
        low = low or 100 * ran < float(percent) * total
    sys.exit(1 if low else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
