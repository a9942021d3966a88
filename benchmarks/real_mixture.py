#!/usr/bin/env python3
"""How far random starts agree on real class averages of unknown composition.

    python benchmarks/real_mixture.py mixture_2D.mrcs --volumes 4,5 --seeds 1-10 --out mixture.json --pictures out

Runs `im4d refine` once for each seed and number of 3Ds, and prints the sizes of the 3Ds and the adjusted Rand index of the
memberships of every two runs. No truth is needed; agreement of independent starts is what can be measured.
"""

import argparse
import itertools
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--volumes", default="4,5")
    parser.add_argument("--seeds", default="1-10")
    parser.add_argument("--iterations", type=int, default=26)
    parser.add_argument("--out", default="mixture.json")
    parser.add_argument("--pictures", help="folder for report.png of each run")
    args = parser.parse_args()
    from imagic4d_core.geometry.poses import Poses
    from imagic4d_core.io.stack import open_stack
    from imagic4d_core.jobs.scheme.refine import refine
    from imagic4d_core.scores import adjusted_rand_index

    path = Path(args.out)
    runs = json.loads(path.read_text()) if path.exists() else []
    done = {(r["volumes"], r["seed"]) for r in runs}
    first, _, last = args.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        for k in map(int, args.volumes.split(",")):
            if (k, seed) in done:
                continue
            folder = Path(tempfile.mkdtemp(prefix="im4d_real_"))
            begin = time.process_time()
            settings = {"volumes": k, "seed": seed, "iterations": args.iterations, "threads": 1}
            refine(args.images, str(folder / "run"), report=bool(args.pictures), **settings)
            with open_stack(folder / "run/images.hed") as stack:
                member = Poses.from_headers(stack.headers()).ref3d
            runs.append({"volumes": k, "seed": seed, "cpu": round(time.process_time() - begin, 1), "member": member.tolist()})
            path.write_text(json.dumps(runs))
            if args.pictures:
                Path(args.pictures).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / "run/report.png", Path(args.pictures) / f"k{k}-seed{seed}.png")
            shutil.rmtree(folder)
    for r in runs:
        sizes = sorted((r["member"].count(m) for m in set(r["member"])), reverse=True)
        print(f"--volumes {r['volumes']} --seed {r['seed']}: sizes {sizes}, {r['cpu']} CPU s")
    agree = sorted(adjusted_rand_index(a["member"], b["member"]) for a, b in itertools.combinations(runs, 2))
    if agree:
        print(f"adjusted Rand index of two runs: median {agree[len(agree) // 2]:.2f}, least {agree[0]:.2f}, most {agree[-1]:.2f}")


if __name__ == "__main__":
    main()
