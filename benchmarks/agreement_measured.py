"""hwcost against measured chips and simulators, next to rivals on the same folds.

Every figure is of layers that the fit has not seen. Rivals are a line through MACs, the roofline, the same fit without
stairs, and gradient boosting (which needs scikit-learn: ``pip install hwcost[bench]``). They get the same folds; all
but boosting are fitted by the same lines of hwcost with the same loss.

The figures do not show two things. The forms of the model were chosen by looking at cross-validation on these same
rows; no untouched data are left. Figures by fold seed are of the same rows split in other ways, not of new data.

A data set that is missing is left out, and the command prints which.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the work is spread over processes

from common import agreement_tables
from common.fit_tables import (
    chosen_sizes,
    estimates_table,
    fitted_table,
    goal_figures,
    larger_table,
    rtl_table,
    session_table,
    stairs_table,
)
from common.fits import (
    AUTO_MODELS,
    BOOSTED,
    BOOSTING,
    FEW,
    FEW_SEEDS,
    FURTHER_SEEDS,
    HWCOST,
    PARTS,
    SEEDS,
    Job,
    Key,
    edge_jobs,
    edge_models,
    gemmini_jobs,
    gemmini_models,
    rtl_jobs,
    run,
    stairs_jobs,
)
from common.measured_data import AUTO, BEST, DATA, FILES, missing
from common.progress import tell
from common.side_by_side import RESULTS, report
from common.simulated import scalesim, scalesim_on_rtl, uboost

Tables = dict[str, list[dict[str, Any]]]


# ---------------------------------------------------------------- the run


def all_tables(
    folder: Path, workers: int, *, with_boosting: bool
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Every table, and for each data set that is left out why."""
    left_out = {name: why for name in FILES if (why := missing(folder, name))}
    for why in left_out.values():
        print(f"left out: {why}")
    jobs: dict[Key, Job] = {}
    for name, make in (("gemmini", gemmini_jobs), ("edge", edge_jobs), ("rtl", rtl_jobs)):
        jobs |= {} if name in left_out else make(folder)
    jobs |= stairs_jobs(folder, left_out)
    found = run({key: job for key, job in jobs.items() if with_boosting or key[1] != BOOSTED}, workers)
    tables: Tables = {}
    if "gemmini" not in left_out:
        for table, form in (("best", BEST), ("auto", AUTO), ("few", BEST), ("network", BEST)):
            models = gemmini_models(form) | (AUTO_MODELS if table == "auto" else {})
            tables[table] = fitted_table(found, table, models)
        tables["further"] = fitted_table(found, "further", {HWCOST: BEST})
    if "edge" not in left_out:
        tables["edge"] = fitted_table(found, "edge", edge_models())
        tables["edge sizes"] = [result for key, result in found.items() if key[0] == "edge sizes"]
        tables["edge chosen"] = chosen_sizes(found)
        tables["edge session 2"] = session_table(folder, found)
    if "rtl" not in left_out:
        tables["rtl"] = rtl_table(found, scalesim_on_rtl(folder))
        tables["rtl by build"] = rtl_table(found, {}, " by build")
    tables["stairs"] = stairs_table(found)
    tables["larger"] = larger_table(found)
    tables["estimates"] = estimates_table(found)
    if "uboost" not in left_out:
        tables["uboost"] = uboost(folder)
    if "scalesim" not in left_out:
        tables["scalesim"] = scalesim(folder)
    return tables, left_out


def has_boosting() -> bool:
    try:
        import sklearn.ensemble  # noqa: F401
    except ImportError:
        print("left out: gradient boosting, which needs scikit-learn (pip install hwcost[bench])")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown as well")
    args = parser.parse_args()
    start = time.perf_counter()
    tables, left_out = all_tables(args.data, args.jobs, with_boosting=has_boosting())
    figures, goals = goal_figures(tables)
    settings = {
        "folds": PARTS,
        "fold seeds": list(SEEDS),
        "further fold seeds": list(FURTHER_SEEDS),
        f"seeds of the {FEW} layers": list(FEW_SEEDS),
        "seed of the starting points": 0,
        "gradient boosting": BOOSTING,
        "left out": left_out,
    }
    met = report(
        "agreement_measured", settings, figures, goals, more={"tables": tables}, packages=("scipy", "scikit-learn")
    )
    agreement_tables.write(RESULTS)
    if args.markdown:
        print((RESULTS / "agreement_measured.md").read_text())
    tell(f"{math.ceil(time.perf_counter() - start)} seconds")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
