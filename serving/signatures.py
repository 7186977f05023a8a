"""Reprints: which document says again what an earlier one of the archive said, in other dress.

A body is folded (punctuation and white space dropped, the model's normal form, lower case) and cut into overlapping runs
of ``SHINGLE`` characters. MinHash (Broder 1997, "On the resemblance and containment of documents") estimates how many two
bodies share; bands of it (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4) say whom to compare. What
decides is the containment of the smaller body in the larger: an editor's note or a cut leaves it near 1, while notices of
one template differ throughout. Measured by benchmarks/duplicates.py, which also says what share of each band is reprints.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from rensa import RMinHash

from serving.document import Document
from serving.windows import normalise

MIN_CHARACTERS = 16  # letters and digits: a sentence; what is shorter and equal is a greeting or boiler-plate
MIN_SHINGLES = 20  # below that only equal texts are reprints
SHINGLE = 5  # characters
PERMUTATIONS, SEED = 256, 1997  # standard error of an estimate: 0.03 at most
BANDS, ROWS = 20, 2  # find 99.7 % of the pairs of Jaccard similarity 0.5, and 97 % at 0.4
MIN_CONTAINMENT = 0.9
MIN_CONTAINMENT_SHORT, SHORT = 0.93, 100  # shingles: two short notices may differ in one figure
MIN_JACCARD = 0.35  # what is less than about a third of another text is an excerpt, or one story of a round-up

_DIGEST = 8
SIGNATURE = np.dtype([("digest", f"V{_DIGEST}"), ("shingles", "<u4"), ("minima", "<u2", PERMUTATIONS)])
VERSION = 1000 + RMinHash.ALGORITHM_VERSION  # signatures of another make must never be compared
# Written as ranges, since what \W means changes with Python's Unicode tables; letters of all scripts stay.
_DROPPED = re.compile(
    "[\x00-/:-@\\[-`{-\u00bf\u2000-\u2bff\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\ufe10-\ufe6f\uff01-\uff0f\uff1a-\uff20"
    "\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff]+"
)


def fold(text: str) -> str:
    """What of a text is compared: letters and digits, compatibility forms unified, simplified, lower case."""
    return normalise(_DROPPED.sub("", text)).lower().replace("著", "着")  # Taiwan's way to write it, which t2s leaves


def signature(document: Document) -> bytes | None:
    """What ``DuplicateIndex`` needs to know of a body: a digest, the number of shingles and their MinHash (524 bytes).

    The digest alone (8 bytes) below ``MIN_SHINGLES``, and None below ``MIN_CHARACTERS``; the title does not count. The same
    on every machine and Python version; other versions of OpenCC, or of the algorithm in rensa, may change it.
    """
    body = fold(document.text)
    if len(body) < MIN_CHARACTERS:
        return None
    digest = hashlib.blake2b(body.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
    hashes = np.sort(_shingle_hashes(body))
    shingles = int(np.count_nonzero(np.diff(hashes))) + 1
    if shingles < MIN_SHINGLES:
        return digest
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, [0, len(hashes)], PERMUTATIONS, SEED)
    # Two bytes of a minimum do: unequal ones look equal once in 65,536.
    minima = (np.array(matrix.to_rows()[0], dtype=np.uint32) & 0xFFFF).astype("<u2")
    return digest + shingles.to_bytes(4, "little") + minima.tobytes()


def _shingle_hashes(body: str) -> np.ndarray:
    """uint64 [characters - SHINGLE + 1]: a polynomial of each run of characters, its bits mixed as by SplitMix64."""
    points = np.frombuffer(body.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    count = len(points) - SHINGLE + 1
    hashes = points[:count].copy()
    for offset in range(1, SHINGLE):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += points[offset : offset + count]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes ^= hashes >> np.uint64(shift)
        hashes *= np.uint64(factor)
    return hashes ^ (hashes >> np.uint64(31))


def similarities(one: bytes, others: Sequence[bytes]) -> np.ndarray:
    """Estimated Jaccard similarity, containment of the smaller in the larger, and shingles of the smaller: [3, others].

    The first two are 1 where the digests are equal, and otherwise 0 where one of the two has no MinHash.
    """
    found = np.zeros((3, len(others)))
    full = [i for i, other in enumerate(others) if len(one) == len(other) == SIGNATURE.itemsize]
    if full:
        mine = np.frombuffer(one, SIGNATURE)
        theirs = np.frombuffer(b"".join(others[i] for i in full), SIGNATURE)
        jaccard = (theirs["minima"] == mine["minima"]).mean(axis=1)
        a, b = theirs["shingles"].astype(np.float64), float(mine["shingles"][0])
        containment = np.minimum(jaccard * (a + b) / (1 + jaccard) / np.minimum(a, b), 1)
        found[:, full] = jaccard, containment, np.minimum(a, b)
    found[:2, [i for i, other in enumerate(others) if one[:_DIGEST] == other[:_DIGEST]]] = 1
    return found


def is_reprint(one: bytes, others: Sequence[bytes]) -> np.ndarray:
    """Whether two texts are as close as a reprint is to its original: bool [others]."""
    jaccard, containment, shingles = similarities(one, others)
    return (jaccard >= MIN_JACCARD) & (containment >= np.where(shingles < SHORT, MIN_CONTAINMENT_SHORT, MIN_CONTAINMENT))


def band_keys(stored: bytes) -> list[int]:
    """Signed 32-bit keys of a signature: one of the digest, and one of each band where there is a MinHash."""
    keys = [int.from_bytes(stored[:4], "little", signed=True)]
    if len(stored) == SIGNATURE.itemsize:
        pairs = np.frombuffer(stored, SIGNATURE)["minima"][0, : BANDS * ROWS].copy().view("<u4")
        keys += (pairs ^ np.arange(BANDS, dtype=np.uint32) * np.uint32(0x9E3779B1)).astype(np.uint32).view(np.int32).tolist()
    return keys
