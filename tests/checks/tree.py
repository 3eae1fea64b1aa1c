"""What the checks share: the files of the project and the end of a check."""

import os
import sys

FOLDERS = ["proto", "common", "worker", "server", "learner", "deploy", "tests"]


def files(root, *endings):
    """Paths relative to root of the project's files with one of these endings, sorted."""
    found = []
    for folder in FOLDERS:
        for directory, folders, names in os.walk(os.path.join(root, folder)):
            folders[:] = [f for f in folders if not f.startswith((".", "__"))]
            found += [os.path.relpath(os.path.join(directory, n), root) for n in names if n.endswith(endings)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def finish(complaints, checked):
    for complaint in complaints:
        print(complaint)
    print(f"{checked} files checked, {len(complaints)} complaints")
    if checked == 0:
        sys.exit("nothing was checked: is this the root of the project?")
    sys.exit(1 if complaints else 0)
