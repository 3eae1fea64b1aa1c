"""Every C file is as clang-format 14 would leave it.

usage: format.py ROOT
"""

import os
import re
import shutil
import subprocess
import sys

import tree


def main(root):
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not program:
        sys.exit("clang-format-14 is missing: apt-get install clang-format-14")
    sources = tree.files(root, ".c", ".h")
    result = subprocess.run(
        [program, "--style=file", "--dry-run", *sources], cwd=root, capture_output=True, text=True, timeout=110
    )
    wrong = sorted({line.split(":")[0] for line in result.stderr.splitlines() if re.search(r"clang-format-violations", line)})
    if result.returncode != 0 and not wrong:
        sys.exit(result.stderr)
    tree.finish([f"{os.path.join(path)}: run clang-format-14 -i on it" for path in wrong], len(sources))


if __name__ == "__main__":
    main(sys.argv[1])
