"""Every third-party header has one includer, and the folders include in one direction only.

usage: includes.py ROOT
"""

import re
import sys

import tree

# header (as in #include <...>) -> its one includer. Where there are more, each is named and the reason given.
THIRD_PARTY = [
    (r"yaml\.h", ["common/base/config_yaml.c"]),
    (r"isa-l/.*|isa-l\.h", ["common/base/crc.c"]),
    # keys lie below the link, and libzmq makes them
    (r"zmq\.h", ["common/net/link_state.h", "common/net/curve.c"]),
    (r"protobuf-c/.*|hwm\.pb-c\.h", ["common/net/wire_codec.h"]),
    (r"mujoco/.*|mujoco\.h", ["common/env/mj.h"]),
    (r"cblas\.h", ["common/nn/gemm.c"]),
    (r"zstd\.h", ["common/net/packed.c"]),
    (r"lmdb\.h", ["server/store_lmdb.h"]),
    (r"gif_lib\.h", ["deploy/cli/film.c"]),
    (r"microhttpd\.h", ["server/http.c"]),
    (r"cairo\.h|cairo-svg\.h", ["deploy/cli/figure.c"]),
    (r"jansson\.h", ["common/base/json.c"]),
]
# in these folders the library itself may be the subject
FREE = ["tests/", "deploy/plugin-example/"]  # a plug-in sees HWM from outside

# folder -> what it may include from. common's libraries: those above, never those below.
COMMON = ["base", "record", "net", "env", "nn", "plastic", "model", "experiment"]
ARROWS = {f"common/{name}": [f"common/{n}" for n in COMMON[: i + 1]] + ["proto"] for i, name in enumerate(COMMON)}
for program in ("worker", "server", "learner"):
    ARROWS[program] = [program, "proto"] + [f"common/{n}" for n in COMMON]
ARROWS["deploy/cli"] = ["deploy/cli", "proto", "worker", "server", "learner"] + [f"common/{n}" for n in COMMON]

# the C library, POSIX and what the compiler brings
SYSTEM = re.compile(
    r"(assert|complex|ctype|errno|fcntl|fenv|float|getopt|glob|inttypes|immintrin|limits|langinfo|locale|math|poll|pthread|sched|semaphore|setjmp|"
    r"signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|termios|threads|time|unistd|wchar|dlfcn|"
    r"dirent|ftw|getopt|grp|pwd|libgen|netdb|malloc|cpuid|endian|fnmatch|langinfo|"
    r"(sys|netinet|arpa|net|linux|sanitizer)/\w+)\.h$"
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def folder_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] in ("common", "deploy", "tests") else parts[0]


def owner_of(included):
    """The folder that a quoted include names: "base/log.h" is common/base, "server/replay.h" is server."""
    first = included.split("/")[0]
    return f"common/{first}" if first in COMMON else first


def main(root):
    complaints = []
    users = {pattern: set() for pattern, _ in THIRD_PARTY}
    sources = tree.files(root, ".c", ".h")
    for path in sources:
        folder = folder_of(path)
        for kind, included in INCLUDE.findall(tree.read(root, path)):
            row = next(((p, allowed) for p, allowed in THIRD_PARTY if re.fullmatch(p, included)), None)
            if row:
                if not path.startswith(tuple(FREE)):
                    users[row[0]].add(path)
                    if path not in row[1]:
                        complaints.append(f"{path}: includes {included}, which belongs to {' or '.join(row[1])}")
            elif kind == "<":
                if not SYSTEM.match(included) and not path.startswith(tuple(FREE)):
                    complaints.append(f"{path}: includes <{included}>, a header that nobody owns: name its includer in tests/checks/includes.py")
            elif "/" in included and folder in ARROWS and owner_of(included) not in ARROWS[folder]:
                complaints.append(f"{path}: includes {included}, but {folder} must not use {owner_of(included)}")
    for pattern, allowed in THIRD_PARTY:
        for path in allowed:
            if path not in users[pattern]:
                complaints.append(f"tests/checks/includes.py: {path} does not include {pattern} any more")
    tree.finish(complaints, len(sources))


if __name__ == "__main__":
    main(sys.argv[1])
