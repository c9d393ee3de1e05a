"""``verify``: check a bundle without store and network."""

from __future__ import annotations

import argparse
import sys

from privlab.config import ConfigError


def verify_bundle(given: argparse.Namespace) -> int:
    """Print ε by every accountant and what is wrong; 0 when all is well, 1 otherwise."""
    from privlab.reports.verify import verify

    try:
        content = given.bundle.read_bytes()
    except OSError as error:
        raise ConfigError.at("bundle", f"{given.bundle} cannot be read: {error.strerror}.") from None
    found = verify(content, prv_seconds=given.prv_seconds)
    if found.run:
        print(f"Run {found.run}: claims {'no ε' if found.claimed is None else f'ε = {found.claimed:.6g}'}")
    if opinions := found.opinions:
        rows = {"PLD (PrivLab)": opinions.pld, "PLD (dp-accounting)": opinions.pld_library, "RDP": opinions.rdp}
        if opinions.prv is not None:
            rows["PRV (Opacus, upper bound)"] = opinions.prv
        for name, value in rows.items():
            print(f"  {name:<26} ε = {value:.6f}")
        if opinions.reason_prv:
            print(f"  {opinions.reason_prv}")
    for sentence in found.wrong:
        print(sentence, file=sys.stderr)
    print("Not verified." if found.wrong else "Verified: hashes, plan and ε agree.")
    return 1 if found.wrong else 0
