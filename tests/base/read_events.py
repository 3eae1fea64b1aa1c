"""Read back what write_events wrote, with nothing of ours: by hand from the published format, or with TensorBoard's own reader.

usage: read_events.py WRITE_EVENTS plain|tensorboard
"""

import glob
import math
import struct
import subprocess
import sys
import tempfile


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(data[at : at + 8]), "crc of a length"
        body = data[at + 12 : at + 12 + length]
        assert len(body) == length, "a record is cut off"
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body), "crc of a record"
        yield body
        at += 16 + length


def fields(body):
    """protobuf: {field number: [values]}"""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(body):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", body, at)[0], at + 8
        elif key & 7 == 5:
            value, at = struct.unpack_from("<f", body, at)[0], at + 4
        else:
            size = varint()
            value, at = body[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def doubles(data):
    return struct.unpack(f"<{len(data) // 8}d", data)


def check_histogram(low, high, count, total, squares, limits, buckets):
    values = [i / 500 - 1 for i in range(1000)]
    assert (low, count) == (-1.0, 1000) and math.isclose(high, 0.998, rel_tol=1e-6)
    assert math.isclose(total, sum(values), abs_tol=1e-3) and math.isclose(squares, sum(v * v for v in values), rel_tol=1e-5)
    assert sum(buckets) == 1000 and len(limits) == len(buckets) == 30 and list(limits) == sorted(limits)
    for i, limit in enumerate(limits):
        assert abs(sum(buckets[: i + 1]) - sum(v <= limit for v in values)) <= 1


def read_plain(path):
    all_records = list(records(path))
    first, second = fields(all_records[0]), fields(all_records[1])
    assert first[3] == [b"brain.Event:2"]
    assert second[2] == [100] and fields(second[7][0])[1] == [1], "a resumed run begins with a session log"
    scalars, histograms, last = [], [], 0
    for record in all_records[2:]:
        event = fields(record)
        assert event[1][0] > 1.6e9 and event[2][0] >= last
        last = event[2][0]
        value = fields(fields(event[5][0])[1][0])
        if 2 in value:
            scalars.append((event[2][0], value[1][0].decode(), value[2][0]))
        else:
            h = fields(value[5][0])
            histograms.append((event[2][0], value[1][0].decode(), [h[i][0] for i in range(1, 6)] + [doubles(h[6][0]), doubles(h[7][0])]))
    assert [s for s in scalars if s[1] == "train/return"] == [(100 + i, "train/return", i * 0.5) for i in range(3000)]
    assert scalars[-1][:2] == (1 << 40, "train/nan") and math.isnan(scalars[-1][2])
    assert [h[:2] for h in histograms] == [(100, "rule/eta"), (1100, "rule/eta"), (2100, "rule/eta"), (3100, "rule/equal")]
    for h in histograms[:3]:
        check_histogram(*h[2])
    assert histograms[3][2][:3] == [2.5, 2.5, 2] and sum(histograms[3][2][6]) == 2
    print(f"{len(all_records)} records")


def read_tensorboard(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(directory, size_guidance={"scalars": 0, "histograms": 0})
    reader.Reload()
    assert [(s.step, s.value) for s in reader.Scalars("train/return")] == [(100 + i, i * 0.5) for i in range(3000)]
    (nan,) = reader.Scalars("train/nan")
    assert nan.step == 1 << 40 and math.isnan(nan.value)
    histograms = reader.Histograms("rule/eta")
    assert [h.step for h in histograms] == [100, 1100, 2100]
    for h in histograms:
        v = h.histogram_value
        check_histogram(v.min, v.max, v.num, v.sum, v.sum_squares, list(v.bucket_limit), list(v.bucket))
    assert sum(reader.Histograms("rule/equal")[0].histogram_value.bucket) == 2
    print("TensorBoard read every value back")


with tempfile.TemporaryDirectory() as directory:
    subprocess.run([sys.argv[1], directory], check=True, timeout=60)
    if sys.argv[2] == "plain":
        (path,) = glob.glob(directory + "/*tfevents*")
        read_plain(path)
    else:
        read_tensorboard(directory)
