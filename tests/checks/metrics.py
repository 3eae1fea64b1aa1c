"""Every metric has a name of the form hwm_<component>_<what>_<unit> and help, and README's glossaries list them all: those of
the registry, those that the server derives from its statistics, and the keys of metrics.jsonl.

usage: metrics.py ROOT [--into-readme]
"""

import os
import re
import sys

import tree

CALL = re.compile(r"\bhwm_(counter|gauge|histogram)\s*\(")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
NAME = re.compile(r"hwm_[a-z0-9]+(_[a-z0-9]+)+_[a-z0-9]+$")
# the last word of a gauge or histogram; of a counter, the word before _total may be one of these or what is counted
UNITS = {"seconds", "bytes", "ratio", "steps", "chunks", "items", "updates", "episodes", "workers", "streams", "clients", "tasks", "pages", "requests", "number", "version", "slots", "readers", "versions", "commits"}  # fmt: skip
# rows of server/report.c: their tables, and the labels that each table's series carry
DERIVED = {"of_server": [], "of_table": ["table"], "of_worker": ["rank", "host", "pid"], "of_learner": ["rank", "host", "pid"], "of_table_refusal": ["table", "reason"], "of_store": [], "of_store_histogram": [], "kinds": ["kind"], "refusals": ["reason"], "clients": ["role"], "version": ["set"]}  # fmt: skip
SERIES = re.compile(r"static const series (\w+)(?:\[\])? = \{(.*?)\};", re.DOTALL)
SERIES_ROW = re.compile(r'"[^"]*",\s*"([^"]*)",\s*"(counter|gauge|histogram)",\s*((?:"[^"]*"\s*)+)')
ROW = re.compile(r'\{"(\w+)",\s*"(\w+)",\s*(true|false),\s*((?:"[^"]*"\s*)+)\}')


def arguments(text, at):
    """The arguments of the call whose parenthesis opens just before at, split at commas of its own level."""
    found, depth, start, i = [], 0, at, at
    while True:
        c = text[i]
        if c == '"':
            i = STRING.match(text, i).end()
            continue
        if c in "([{":
            depth += 1
        elif c in ")]}":
            if depth == 0:
                return found + [text[start:i].strip()]
            depth -= 1
        elif c == "," and depth == 0:
            found.append(text[start:i].strip())
            start = i + 1
        i += 1


def literal(argument):
    """The value of adjacent string literals, or None for anything else."""
    if not re.fullmatch(r'(\s*"(?:[^"\\]|\\.)*")+\s*', argument):
        return None
    return "".join(STRING.findall(argument)).replace('\\"', '"')


def judge(metrics, complaints, kind, name, help_text, labels, where):
    """Take a metric into metrics; what is wrong with it into complaints."""
    last = name.removesuffix("_total").split("_")[-1]
    if not NAME.match(name):
        complaints.append(f"{where}: {name}: not of the form hwm_<component>_<what>_<unit>")
    if (kind == "counter") != name.endswith("_total"):
        complaints.append(f"{where}: {name}: counters, and only they, end in _total")
    if kind != "counter" and last not in UNITS and not name.endswith("_per_second"):
        complaints.append(f"{where}: {name}: '{last}' is no unit (known: {', '.join(sorted(UNITS))})")
    if len(help_text.split()) < 2:
        complaints.append(f"{where}: {name}: help {help_text!r} does not say what it is")
    known = metrics.setdefault(name, [kind, help_text, set(), where])
    if known[:2] != [kind, help_text]:
        complaints.append(f"{where}: {name}: kind or help differ from {known[3]}")
    known[2].update(labels)


def collect_derived(root, metrics, complaints):
    path = "server/report.c"
    for table, body in SERIES.findall(tree.read(root, path)):
        if table not in DERIVED:
            complaints.append(f"{path}: {table}: its labels are not named in tests/checks/metrics.py")
        rows = SERIES_ROW.findall(body)
        if len(rows) != body.count("hwm_"):
            complaints.append(f"{path}: {table}: a row is not of the form path, name, kind, help")
        for name, kind, help_text in rows:
            judge(metrics, complaints, kind, name, literal(help_text), DERIVED.get(table, []), path)


def collect_lines(root, complaints):
    """(key, TensorBoard tag, help) of the numbers in metrics.jsonl."""
    path = "learner/report.c"
    table = tree.read(root, path).split("static const row_spec rows[ROWS] = {", 1)[1].split("};", 1)[0]
    rows = [(key, f"{group}/{key}", literal(help_text)) for key, group, _, help_text in ROW.findall(table)]
    if len(rows) < 40 or len(rows) != len({key for key, _, _ in rows}) or len(rows) != table.count(", false,") + table.count(", true,"):
        complaints.append(f"{path}: {len(rows)} rows of metrics.jsonl could be read, or a key stands twice")
    complaints += [f"{path}: {key}: help {text!r} does not say what it is" for key, _, text in rows if len(text.split()) < 2]
    return rows


def collect(root):
    metrics, complaints = {}, []
    sources = [f for f in tree.files(root, ".c") if not f.startswith(("tests/", "common/base/metrics."))]
    for path in sources:
        text = tree.read(root, path)
        for match in CALL.finditer(text):
            kind = match.group(1)
            where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            given = arguments(text, match.end())
            name, help_text = literal(given[0]), literal(given[-1])
            if name is None or help_text is None:
                complaints.append(f"{where}: name and help of a metric are written out where it is registered")
                continue
            judge(metrics, complaints, kind, name, help_text, re.findall(r"(\w+)=", literal(given[1]) or ""), where)
    collect_derived(root, metrics, complaints)
    return metrics, complaints, len(sources)


def glossary(metrics):
    lines = ["| metric | kind | what it says |\n|---|---|---|\n"]
    for name, (kind, help_text, labels, _) in sorted(metrics.items()):
        shown = name + ("{" + ", ".join(sorted(labels)) + "}" if labels else "")
        text = help_text[:1].upper() + help_text[1:].rstrip(".")
        lines.append(f"| `{shown}` | {kind} | {text} |\n".replace("\\%", "%"))
    return "".join(lines)


def glossary_of_lines(rows):
    lines = ["| key | TensorBoard | what it says |\n|---|---|---|\n"]
    lines += [f"| `{key}` | `{tag}` | {text[:1].upper() + text[1:].replace('|', chr(92) + '|')} |\n" for key, tag, text in rows]
    return "".join(lines)


def main(root, *options):
    metrics, complaints, checked = collect(root)
    rows = collect_lines(root, complaints)
    readme = tree.read(root, "README.md")
    for what, text in (("metrics", glossary(metrics)), ("metrics.jsonl", glossary_of_lines(rows))):
        begin, end = f"<!-- generated by `ninja generated`: {what} -->\n", f"<!-- end of {what} -->"
        if begin not in readme or end not in readme:
            complaints.append(f"README.md: has no marks for the glossary of {what}")
            continue
        before, rest = readme.split(begin, 1)
        listed, after = rest.split(end, 1)
        if listed != text and "--into-readme" not in options:
            complaints.append(f"README.md: the glossary of {what} is not what the sources say: run `ninja -C build generated`")
        readme = before + begin + text + end + after
    if "--into-readme" in options:
        with open(os.path.join(root, "README.md"), "w", encoding="utf-8") as f:
            f.write(readme)
    tree.finish(complaints, checked)


if __name__ == "__main__":
    main(*sys.argv[1:])
