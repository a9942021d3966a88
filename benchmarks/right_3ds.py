#!/usr/bin/env python3
"""Does im4d refine find right 3Ds, and does it know? New structures for every seed, and the verdict beside what is true.

    python benchmarks/right_3ds.py --list
    python benchmarks/right_3ds.py --out right.jsonl --cases k3n200,avg-k3 --seeds 7000-7019
    python benchmarks/right_3ds.py --out right.jsonl --cases complexes --seeds 7000-7019 --maps FOLDER_OF_MRC_MAPS
    python benchmarks/right_3ds.py --out right.jsonl --cases mixture --seeds 7000-7009 --averages mixture_2D.mrcs --volumes 4
    python benchmarks/right_3ds.py --out before.jsonl --cases base --seeds 7000-7019 --im4d OTHER/bin/im4d --label before
    python benchmarks/right_3ds.py --out right.jsonl --cases avg-k3 --seeds 7000-7004 --label s8 -- --starts 8
    python benchmarks/right_3ds.py --out right.jsonl --summary

Each case and seed makes its data (exact projections of structures of its own, or of the maps given), runs `im4d refine` as a
user would, with its defaults and what stands behind ``--``, and appends one line to the results: adjusted Rand index of the good
images, for every 3D found what it is (structure, purity, pose error, FSC 0.5 against truth after alignment with either hand)
beside what it is called, and CPU seconds. Lines that are there already (case, seed, label) are not made again, so a stopped
benchmark goes on.

A 3D is right when nine tenths of its images are of one structure (of averages: of the good ones, and three quarters of all, as no
3D is the place of a mixed one), the median pose error is at most 3 degrees (averages 5), and FSC 0.5 reaches 0.6 of Nyquist
(averages, the complexes, and states of few images: what reconstruction from true poses and memberships reaches, minus 2 shells).
Success of a case is in right_3ds_cases.py under `rule`; at most 2 % of the good images may be left without a 3D, and the Rand
index is of the others. 3Ds of runs from before there were verdicts count as called right where the run says that 3Ds and
memberships are above chance.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from right_3ds_cases import CASES, Case, make  # noqa: E402
from right_3ds_score import called_right, score  # noqa: E402

from imagic4d_core.scores import adjusted_rand_index  # noqa: E402


def children_cpu() -> float:
    """CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one(name: str, case: Case, seed: int, args: argparse.Namespace) -> dict | None:
    """Make data, refine, score; None, with a line that says why, where the data cannot be made."""
    folder = Path(tempfile.mkdtemp(prefix=f"im4d_{name}_{seed}_"))
    try:
        data = make(case, seed, folder, args.box, args.maps, args.averages)
        if isinstance(data, str):
            print(f"{name}: skipped, {data}", flush=True)
            return None
        given = ["--volumes", args.volumes or case.volumes, "--seed", str(seed + 2), "--threads", str(args.threads)]
        if case.symmetry != "C1":
            given += ["--symmetry", case.symmetry]
        begin, cpu = time.time(), children_cpu()
        command = [*args.im4d.split(), "refine", str(data.images), str(folder / "run"), *given, *args.extra, "-q"]
        done = subprocess.run(command, text=True, capture_output=True)
        line = {"case": name, "seed": seed, "label": args.label, "cpu": round(children_cpu() - cpu, 1),
                "wall": round(time.time() - begin, 1), "extra": args.extra}  # fmt: skip
        if done.returncode and not (folder / "run" / "summary.json").is_file():
            return line | {"success": False, "failed": done.stderr.strip()[-400:], "code": done.returncode}
        line |= score(case, data, folder / "run", folder)
        if args.pictures and line["success"] is not True:
            picture(folder, data, args.pictures / f"{name}-{seed}{args.label and '-' + args.label}.png")
        return line
    finally:
        if args.keep:
            print(folder, flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def picture(folder: Path, data: object, path: Path) -> None:
    """Keep the run's report, with the truth beside it where there is one."""
    known, volumes = getattr(data, "known", None), getattr(data, "volumes", None)
    truth = [] if known is None else ["--truth", str(known), "--truth-volumes", str(volumes)]
    command = [sys.executable, "-m", "imagic4d_cli.main", "report", str(folder / "run"), *truth, "--overwrite", "-q"]
    subprocess.run(command, capture_output=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if (folder / "run" / "report.png").is_file():
        shutil.copy(folder / "run" / "report.png", path)


def read_lines(path: Path) -> list[dict]:
    """Results so far; a last line cut off by a kill is left out."""
    out = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            out.append(json.loads(text))
        except ValueError:
            continue
    return out


def table(lines: list[dict]) -> list[str]:
    """Markdown rows by case and label, and the counts of verdicts over all of them."""
    rows = [
        "| data | wanted | success | ARI, median (least) | right 3Ds called right | called right but not | of these copies "
        "| CPU s, median (most) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    total = {"right": 0, "named": 0, "called": 0, "false": 0, "copies": 0}
    for label in sorted({r["label"] for r in lines}):
        for name, case in CASES.items():
            mine = [r for r in lines if r["case"] == name and r["label"] == label]
            if not mine:
                continue
            count = verdicts(mine)
            total = {k: total[k] + count[k] for k in total}
            ari, cpu = sorted(r["ari"] for r in mine if "ari" in r), sorted(r["cpu"] for r in mine)
            middle = f"{ari[len(ari) // 2]:.3f} ({ari[0]:.3f})" if ari else ""
            good = f"{sum(r['success'] is True for r in mine)} of {len(mine)}" if case.rule != "file" else agreement(mine)
            failed = sum("failed" in r for r in mine)
            good += f" ({failed} ended with an error)" if failed else ""
            rows.append(
                f"| {case.title}{' [' + label + ']' if label else ''} | {case.wanted} | {good} | {middle} "
                f"| {count['named']} of {count['right']} | {count['false']} of {count['called']} | {count['copies']} "
                f"| {cpu[len(cpu) // 2]:.0f} ({cpu[-1]:.0f}) |"
            )
    wrong = f"{total['false']} are not ({total['copies']} of these are copies of a right one)"
    rows += ["", f"3Ds called right: {total['called']}, of which {wrong}."]
    rows.append(f"Right 3Ds: {total['right']}, of which {total['named']} are called so.")
    return rows


def verdicts(lines: list[dict]) -> dict[str, int]:
    """Counts over 3Ds: right, right and called so, called right, called right but not, and copies among these."""
    count = {"right": 0, "named": 0, "called": 0, "false": 0, "copies": 0}
    for line in lines:
        if "three_ds" not in line:  # noise: nothing is right
            count["called"] += line.get("called_right", 0) if CASES[line["case"]].rule == "noise" else 0
            count["false"] += line.get("called_right", 0) if CASES[line["case"]].rule == "noise" else 0
            continue
        for f in line["three_ds"]:
            right, called = f["right"] and not f["copy"], called_right(f["word"])
            count["right"] += right
            count["named"] += right and called
            count["called"] += called
            count["false"] += called and not right
            count["copies"] += called and f["right"] and f["copy"]
    return count


def agreement(lines: list[dict]) -> str:
    """How well the memberships of all pairs of seeds agree."""
    kept = [r["membership"] for r in lines if "membership" in r]
    found = sorted(adjusted_rand_index(a, b) for a, b in combinations(kept, 2))
    return f"ARI between seeds {found[len(found) // 2]:.3f} ({found[0]:.3f})" if found else "one seed"


def seeds_of(text: str) -> list[int]:
    """Numbers of ``7000-7019,7030``."""
    out = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def main() -> None:
    own, extra = sys.argv[1:], []
    if "--" in own:
        own, extra = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("right_3ds.jsonl"), help="results, one JSON line each")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--seeds", default="7000-7019", help="of structures; images get the next number, the run the one after")
    parser.add_argument("--label", default="", help="name of this way of running, kept beside each line")
    parser.add_argument("--im4d", default=f"{sys.executable} -m imagic4d_cli.main", help="the command to run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--volumes", help="in place of what the case asks for")
    parser.add_argument("--maps", type=Path, help="folder with the maps of the eight complexes")
    parser.add_argument("--averages", type=Path, help="file of real averages of a mixture")
    parser.add_argument("--pictures", type=Path, help="folder for reports of runs that did not succeed")
    parser.add_argument("--box", type=int, default=64, help="box of made structures; the rows are of 64")
    parser.add_argument("--images", type=int, help="number of images in place of the case's (trial)")
    parser.add_argument("--keep", action="store_true", help="leave data and run where they are, and say where")
    parser.add_argument("--summary", action="store_true", help="print the table of what is there and stop")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    args = parser.parse_args(own)
    args.extra = extra
    names = args.cases.split(",")
    if unknown := [n for n in names if n not in CASES]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    if args.list:
        print("\n".join(f"{name:16} {case.title}; wanted: {case.wanted}" for name, case in CASES.items()))
        return
    if args.summary:
        print("\n".join(table(read_lines(args.out))))
        return
    done = {(r["case"], r["seed"], r["label"]) for r in read_lines(args.out)}
    for seed in seeds_of(args.seeds):
        for name in names:
            if (name, seed, args.label) in done:
                continue
            case = CASES[name]
            if args.images:
                case = CASES[name].with_images(args.images)
            line = one(name, case, seed, args)
            if line is not None:
                with open(args.out, "a") as handle:
                    handle.write(json.dumps(line) + "\n")
                print({k: v for k, v in line.items() if k not in ("table", "three_ds", "membership", "extra")}, flush=True)


if __name__ == "__main__":
    main()
