"""How finely the numbers are kept: bits a number in the files, and whether they lie on few values, as after 4 bits.

Says who may be the quantised form of whom once the two are known to be kin; nothing of kinship itself.
"""

from __future__ import annotations

from headwater.trace.compared import Compared, bits_per_number
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judgement import Evidence


def lattice_share(print_: Fingerprint) -> float:
    """Mean share of quantised-looking blocks over the MLP matrices of all layers; 0.0 if none was looked at."""
    roles = ("gate", "up", "down")
    shares = [share for layer in print_.layers for role, share in layer.lattice.items() if role in roles]
    return sum(shares) / len(shares) if shares else 0.0


def look(pair: Compared) -> Evidence:
    bits = [bits_per_number(print_) for print_ in (pair.a, pair.b)]
    shares = [lattice_share(print_) for print_ in (pair.a, pair.b)]
    figures = {"bits_a": round(bits[0], 1), "bits_b": round(bits[1], 1),
               "lattice_a": round(shares[0], 3), "lattice_b": round(shares[1], 3)}
    says = f"A keeps {bits[0]:.1f} bits a number, B {bits[1]:.1f}; on few values lie {shares[0]:.0%} of A's blocks " \
           f"and {shares[1]:.0%} of B's."
    return Evidence("precision", "context", says, figures)


EVIDENCE = look
