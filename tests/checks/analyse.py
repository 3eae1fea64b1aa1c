"""clang-tidy and cppcheck find nothing.

usage: analyse.py ROOT BUILD clang-tidy|cppcheck

A file whose preprocessed text was found clean before is not looked at again: stamps lie in BUILD/checks.
"""

import concurrent.futures
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys

import tree

CPPCHECK = [
    "--enable=warning,portability,performance",
    "--inline-suppr",
    "--quiet",
    "--std=c11",
    "--suppress=preprocessorErrorDirective",  # the version guard of generated code
    "--suppress=invalidPointerCast",  # blocks are carved into columns of several types
    "--suppress=uninitvar",  # what a function fills through a pointer; clang-tidy follows it, the sanitizers watch it
    "--suppress=missingIncludeSystem",
    "--suppress=unmatchedSuppression",
    "--error-exitcode=3",
]


def program(*names):
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    sys.exit(f"{names[0]} is missing: apt-get install {names[0]}")


def commands(root, build):
    """One compile command for each source file of the project: {path: arguments without compiler, -c and -o}."""
    found = {}
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        for entry in json.load(f):
            path = os.path.relpath(entry["file"], root)
            if path.split("/")[0] not in tree.FOLDERS or path in found:
                continue
            words = shlex.split(entry["command"])
            if os.path.basename(words[0]) == "ccache":
                words = words[1:]
            at = words.index("-o")
            found[path] = [w for w in words[1:at] if w != "-c"]
    return found


def main(root, build, tool):
    root, build = os.path.abspath(root), os.path.abspath(build)
    if tool == "clang-tidy":
        binary = program("clang-tidy-14", "clang-tidy")
        setup = tree.read(root, ".clang-tidy")
    else:
        binary = program("cppcheck")
        setup = " ".join(CPPCHECK)
    setup += subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60).stdout
    stamps = os.path.join(build, "checks", tool)
    os.makedirs(stamps, exist_ok=True)
    todo = commands(root, build)

    def check(path):
        flags = todo[path]
        text = subprocess.run(["gcc", *flags, "-E", "-C", "-P", os.path.join(root, path)], capture_output=True, timeout=120)
        if text.returncode != 0:
            return [f"{path}: cannot be preprocessed: {text.stderr.decode(errors='replace')[:500]}"]
        key = hashlib.sha256(setup.encode() + " ".join(flags).encode() + text.stdout).hexdigest()
        stamp = os.path.join(stamps, key)
        if os.path.exists(stamp):
            return []
        if tool == "clang-tidy":
            # gcc's instrumentation is none of clang's business
            flags = [f for f in flags if not f.startswith(("-fsanitize", "-fno-sanitize", "--coverage"))]
            command = [binary, "--quiet", os.path.join(root, path), "--", *flags]
        else:
            command = [binary, *CPPCHECK, *(f for f in flags if f.startswith(("-D", "-I"))), os.path.join(root, path)]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
        if result.returncode == 0:
            open(stamp, "w").close()
            return []
        lines = (result.stdout if tool == "clang-tidy" else result.stderr).splitlines()
        said = [line for line in lines if ": error:" in line or ": warning:" in line or ": portability:" in line or ": performance:" in line]
        return [line.replace(root + "/", "") for line in said] or [f"{path}: {tool} failed: {result.stderr[:500]}"]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        complaints = [c for found in pool.map(check, sorted(todo)) for c in found]
    tree.finish(sorted(set(complaints)), len(todo))


if __name__ == "__main__":
    main(*sys.argv[1:4])
