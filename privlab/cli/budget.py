"""``epsilon`` and ``noise``: the accountants from a shell, one number on standard output."""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from privlab.privacy.accounting import ONE, epsilon_of
from privlab.privacy.calibration import scale_for
from privlab.privacy.pair import Adjacency
from privlab.privacy.phases import Phase
from privlab.privacy.prv import AccountantTimeout, AccountantUnavailable, prv_epsilon

#: Seconds that Opacus's PRV accountant may take.
_PRV_SECONDS = 300.0


def add_budget_commands(commands: argparse._SubParsersAction) -> None:
    """Declare both commands."""
    epsilon = commands.add_parser("epsilon", help="ε that steps of a given noise spend; prints the number alone")
    epsilon.add_argument(
        "--noise-multiplier",
        type=float,
        required=True,
        metavar="S",
        help="σ: noise over the clipping bound; 0 for none",
    )
    _shared(epsilon, ("pld", "rdp", "prv"))
    epsilon.set_defaults(act=print_epsilon)

    noise = commands.add_parser("noise", help="smallest noise multiplier for a target ε; prints the number alone")
    noise.add_argument("--epsilon", type=float, required=True, metavar="E", help="ε that may be spent, above 0")
    _shared(noise, ("pld", "rdp"))
    noise.set_defaults(act=print_noise)


def _shared(parser: argparse.ArgumentParser, accountants: tuple[str, ...]) -> None:
    parser.add_argument(
        "--sample-rate", type=float, required=True, metavar="Q", help="chance of each record to join a batch, B/N"
    )
    parser.add_argument("--steps", type=int, required=True, metavar="T", help="number of batches")
    parser.add_argument(
        "--delta", type=float, required=True, metavar="D", help="δ: chance that the bound fails; below 1/N"
    )
    parser.add_argument(
        "--accountant",
        choices=accountants,
        default="pld",
        help="pld: tight, PrivLab's claim (default); rdp: Rényi, looser"
        + ("; prv: Opacus's, in a process of its own" if "prv" in accountants else ""),
    )
    parser.add_argument(
        "--adjacency",
        choices=get_args(Adjacency),
        default=ONE,
        help=f"how neighbouring data sets differ (default: {ONE})",
    )
    parser.add_argument(
        "--group-size", type=int, default=1, metavar="K", help="records of one person, protected together (default: 1)"
    )


def print_epsilon(given: argparse.Namespace) -> int:
    """ε with ten significant digits; ``inf`` without noise."""
    phases = (Phase(given.sample_rate, given.noise_multiplier, given.steps),)
    how = {"adjacency": given.adjacency, "group_size": given.group_size}
    try:
        # The exact accountants check the values; PRV then needs no checks of its own.
        value = epsilon_of(
            phases, given.delta, accountant="rdp" if given.accountant == "prv" else given.accountant, **how
        )
        if given.accountant == "prv" and value < float("inf"):
            if given.adjacency != ONE or given.group_size != 1:
                raise ValueError(
                    f"accountant=prv knows adding or removing one record only, not adjacency={given.adjacency} with "
                    f"group_size={given.group_size}; choose pld or rdp."
                )
            value = prv_epsilon(phases, given.delta, limit_seconds=_PRV_SECONDS)
    except (ValueError, AccountantTimeout, AccountantUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{value:.10g}")
    return 0


def print_noise(given: argparse.Namespace) -> int:
    """σ, rounded up to five significant digits."""
    try:
        value = scale_for(
            given.epsilon,
            (Phase(given.sample_rate, 1.0, given.steps),),
            given.delta,
            accountant=given.accountant,
            adjacency=given.adjacency,
            group_size=given.group_size,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{value:.10g}")
    return 0
