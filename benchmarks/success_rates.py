#!/usr/bin/env python3
"""Success rates of im4d refine on simulated data with known truth.

    python benchmarks/success_rates.py --out rates.json --cases base,pop --seeds 1000-1019 --jobs 2
    python benchmarks/success_rates.py --out rates.json --table

Each case and seed makes its own family of analytic structures and its own images, runs `im4d refine` from random angles
and random membership, and scores the result with the jobs behind `im4d compare`. Success: adjusted Rand index >= 0.95,
median pose error <= 3 degrees after global alignment (either hand), every true 3D found with FSC 0.5 to at least 0.6 of
Nyquist against truth. For pure noise success is that nothing is claimed. With --no-leave-fold-out images are scored
against 3Ds that they helped to make.
Results are appended to the JSON file one by one, so a stopped run goes on where it was.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

#: Case -> (true 3Ds, 3Ds asked for, arguments of simulate).
CASES = {
    "base": (3, 3, {"images": 1000, "snr": 1.0}),
    "pop": (3, 3, {"images": 1000, "snr": 1.0, "populations": "70,20,10"}),
    "k6": (6, 6, {"images": 1500, "snr": 1.0}),
    "low": (3, 3, {"images": 2000, "snr": 0.2}),
    "over": (3, 5, {"images": 1000, "snr": 1.0}),
    "pref": (3, 3, {"images": 1000, "snr": 1.0, "preferred": "0.5,20"}),
    "noise": (3, 3, {"images": 1000, "snr": 1.0, "noise_only": True}),
    # the data of the comparison with RELION: SNR 1.5, smaller shifts
    "speed": (3, 3, {"images": 1000, "snr": 1.5}),
}
TITLES = {
    "base": "K=3, 1,000 images, SNR 1", "pop": "K=3, populations 70/20/10", "k6": "K=6, 1,500 images",
    "low": "K=3, SNR 0.2, 2,000 images",
    "over": "K=3 asked for as 5",
    "pref": "half of the views within 20 degrees",
    "noise": "pure noise",
    "speed": "K=3, SNR 1.5",
}  # fmt: skip


def one(case: str, seed: int, leave_out: bool, keep: str | None) -> dict:
    """Make data, refine, score."""
    from imagic4d_core.jobs.scheme.refine import refine
    from imagic4d_core.jobs.truth.compare import compare
    from imagic4d_core.jobs.truth.modelling import threed_test
    from imagic4d_core.jobs.truth.simulate import simulate

    true, asked, how = CASES[case]
    folder = Path(tempfile.mkdtemp(prefix=f"im4d_{case}_{seed}_"))
    try:
        threed_test(folder / "truth.hed", number=true, size=64, pixel_size=4.0, seed=seed)
        sigma = 1.0 if case == "speed" else 2.0
        made = {"shift_sigma": sigma, "seed": seed + 1, "truth": folder / "known.hed", "threads": 1}
        simulate(folder / "truth.blobs.json", folder / "sim.hed", **made, **how)
        begin, cpu = time.time(), time.process_time()
        settings = {"volumes": asked, "seed": seed + 2, "leave_out": leave_out, "report": False, "threads": 1}
        run = refine(str(folder / "sim.hed"), str(folder / "run"), **settings).document
        out = {
            "case": case, "seed": seed, "leave_out": leave_out, "cpu": round(time.process_time() - cpu, 1),
            "wall": round(time.time() - begin, 1), "found": len(run["volumes"]), "iterations": run["iterations"],
            "converged": run["converged"], "membership_above_chance": run["membership_above_chance"],
            "fsc_above_chance": run["fsc_above_chance"], "effect": run["null"]["effect"],
            "agreement": run["null"]["agreement"],
        }  # fmt: skip
        if how.get("noise_only"):
            out["success"] = not (run["membership_above_chance"] or run["fsc_above_chance"])
        else:
            volumes = {"volumes": folder / "run/volumes.hed", "truth_volumes": folder / "truth.blobs.json"}
            c = compare(folder / "run/images.hed", folder / "known.hed", **volumes).as_dict()
            fsc = [v["fsc05"] for v in c["volumes"]]
            out |= {
                "ari": c["ari"],
                "accuracy": c["accuracy"],
                "pose": c["pose_error"]["median"],
                "fsc": [round(f, 3) for f in fsc],
            }
            out |= {"table": c["table"]}
            complete = len(fsc) == true and min(fsc) >= 0.6
            out["success"] = bool(c["ari"] >= 0.95 and c["pose_error"]["median"] <= 3.0 and complete)
        if keep and not out["success"]:
            from imagic4d_core.jobs.report.reporting import report

            truth = {"truth": str(folder / "known.hed"), "truth_volumes": str(folder / "truth.hed")}
            given = {} if how.get("noise_only") else truth
            report(folder / "run", overwrite=True, **given)
            name = f"{case}-{seed}{'' if leave_out else '-all'}.png"
            Path(keep).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "run/report.png", Path(keep) / name)
        return out
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(results: list[dict]) -> list[str]:
    """Markdown rows: case, successes, medians."""
    head = "| data | leave-fold-out | success | ARI, median (least) | pose error, median (worst) | CPU s, median |"
    rows = [head, "|---|---|---|---|---|---|"]
    for case in CASES:
        for leave in (True, False):
            mine = [r for r in results if r["case"] == case and r["leave_out"] == leave]
            if not mine:
                continue
            cpu = sorted(r["cpu"] for r in mine)[len(mine) // 2]
            scored = [r for r in mine if "ari" in r]
            middle = "| | "
            if scored:
                ari, pose = sorted(r["ari"] for r in scored), sorted(r["pose"] for r in scored)
                middle = f"| {ari[len(ari) // 2]:.3f} ({ari[0]:.3f}) | {pose[len(pose) // 2]:.2f} ({pose[-1]:.1f}) "
            good = sum(r["success"] for r in mine)
            rows.append(f"| {TITLES[case]} | {'on' if leave else 'off'} | {good} of {len(mine)} {middle}| {cpu:.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="success_rates.json")
    parser.add_argument("--cases", default=",".join(c for c in CASES if c != "speed"))
    parser.add_argument("--seeds", default="1000-1019")
    parser.add_argument("--no-leave-fold-out", dest="leave", action="store_false")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--pictures", help="folder for pictures of failures")
    parser.add_argument("--table", action="store_true", help="print the table of what is there and stop")
    parser.add_argument("--one", nargs=3, metavar=("CASE", "SEED", "LEAVE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one[0], int(args.one[1]), args.one[2] == "True", args.pictures)))
        return
    path = Path(args.out)
    results = json.loads(path.read_text()) if path.exists() else []
    if args.table:
        print("\n".join(table(results)))
        return
    first, _, last = args.seeds.partition("-")
    done = {(r["case"], r["seed"], r["leave_out"]) for r in results}
    seeds = range(int(first), int(last or first) + 1)
    todo = [(c, s, args.leave) for s in seeds for c in args.cases.split(",") if (c, s, args.leave) not in done]
    running: list[subprocess.Popen] = []
    while todo or running:
        while todo and len(running) < args.jobs:
            case, seed, leave = todo.pop(0)
            extra = ["--pictures", args.pictures] if args.pictures else []
            command = [sys.executable, __file__, "--one", case, str(seed), str(leave), *extra]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for process in [p for p in running if p.poll() is not None]:
            running.remove(process)
            text = process.stdout.read() if process.stdout else ""
            if process.returncode == 0:
                results = json.loads(path.read_text()) if path.exists() else []
                results.append(json.loads(text.splitlines()[-1]))
                path.write_text(json.dumps(results, indent=1))
                r = results[-1]
                print({k: v for k, v in r.items() if k not in ("table",)}, flush=True)
            else:
                print("failed:", process.args, file=sys.stderr)
        time.sleep(0.2)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
