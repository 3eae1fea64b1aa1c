"""One generation of an evolution strategy against NumPy: perturbations from their seeds (Philox from its paper, normals from the
exact inverse distribution function), individuals, ranks, gradient.

usage: test_evolution.py PROGRAM      (evolution_numbers)
"""

import json
import statistics
import subprocess
import sys

import numpy as np

PERTURBATION = 12  # hwm_purpose
MAGIC = 0x48574D31
GENERATION, SEED = 7, 42


def philox(counter, key):
    """Philox4x32-10, Salmon et al. 2011."""
    c, k = [int(x) for x in counter], [int(x) for x in key]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def words(seed, env, episode, step, n):
    key = philox([PERTURBATION, 0, 0, MAGIC], [seed & 0xFFFFFFFF, seed >> 32])[:2]
    out = []
    while len(out) < n:
        out += philox([len(out) // 4, step, episode, env], key)
    return out[:n]


def normal(word):
    tail = ((word >> 1) + 0.5) / 2**31  # P(|N| > |z|)
    z = -statistics.NormalDist().inv_cdf(tail / 2)
    return -z if word & 1 else z


def perturbation(seed, tensors):
    parts = []
    for k, (_, count, learned) in enumerate(tensors):
        parts.append(np.array([normal(w) for w in words(seed, k, 0, 0, count)]) if learned else np.zeros(count))
    return np.concatenate(parts)


def ranks(fitness):
    """Mean places of equal values, centred, divided by their std."""
    place = np.array([(np.sum(fitness < f) + np.sum(fitness <= f) - 1) / 2 for f in fitness])
    place -= place.mean()
    return place / place.std()


def main(program):
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    have = json.loads(done.stdout)
    tensors, sigma = have["tensors"], have["sigma"]
    assert any(not learned for _, _, learned in tensors), "a tensor that is not learned belongs into this test"

    for k, (seed, sign) in enumerate(have["individuals"]):
        high, low = words(SEED, GENERATION >> 32, GENERATION, k // 2 + 1, 2)
        assert (seed, sign) == (high << 32 | low, -1 if k % 2 else 1), f"individual {k}"

    want = ranks(np.array(have["fitness"]))
    assert len(set(have["fitness"])) < len(have["fitness"])
    np.testing.assert_allclose(have["ranks"], want, rtol=1e-12)

    gradient = sum(r * sign * perturbation(seed, tensors) for r, (seed, sign) in zip(want, have["individuals"])) / (len(want) * sigma)
    np.testing.assert_allclose(-np.array(have["gradient"]), gradient, rtol=2e-6, atol=2e-6)

    seed, sign = have["individuals"][3]
    third = np.array(have["phi"]) + sign * sigma * perturbation(seed, tensors)
    np.testing.assert_allclose(have["third"], third, rtol=1e-6, atol=1e-6)
    learned = np.concatenate([np.full(count, bool(l)) for _, count, l in tensors])
    np.testing.assert_allclose(have["square"], np.mean(third[learned] ** 2), rtol=1e-6)
    print(f"{len(want)} individuals of {len(gradient)} numbers: as NumPy has them")


main(sys.argv[1])
