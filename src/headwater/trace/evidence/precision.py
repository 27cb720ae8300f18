"""How finely the numbers are kept: bits a number in the files, and whether they lie on few values, as after 4 bits.

Says who may be the quantised form of whom once the two are known to be kin; nothing of kinship itself.
"""

from __future__ import annotations

from headwater.trace.compared import Compared, bits_per_number
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judgement import Evidence
from headwater.trace.said import said


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
    says = said("A keeps %(bits_a)s bits a number, B %(bits_b)s; on few values lie %(share_a)s of A's blocks and "
                "%(share_b)s of B's.", bits_a=f"{bits[0]:.1f}", bits_b=f"{bits[1]:.1f}", share_a=f"{shares[0]:.0%}",
                share_b=f"{shares[1]:.0%}")
    return Evidence("precision", "context", says, figures)


EVIDENCE = look
