"""The 4D scheme as a bash script of single commands."""

from dataclasses import replace

from imagic4d_core.jobs.scheme import starts
from imagic4d_core.jobs.scheme.plan import Settings, commands, finish, finish_start, plan, prepared, start_plan

_HEAD = """#!/usr/bin/env bash
# made by im4d refine --script: run it in an empty folder
set -euo pipefail
"""
_ROUND = """# round {number}: starts, the 3Ds kept so far solved again, and the pool of all
if [ "$agreed" = no ]; then
{again}{runs}
  {pool}
  cp work/pool{number}.hed work/i000a.hed; ln -f work/pool{number}.img work/i000a.img
  before=work/pool{number}.hed
fi
"""


def script(s: Settings) -> str:
    """A bash script of single commands that makes the same volumes and images in the folder it is started in."""
    lines = [_HEAD + f"export SOURCE_DATE_EPOCH={s.epoch}\nmkdir -p work"]
    if s.stop_after:
        return "\n".join([*lines, prepared(s).command(), *commands(start_plan(s)), *_last(s, True)]) + "\n"
    if s.start == "random":
        lines += [prepared(s).command(), "agreed=no", *_rounds(s)]
    return "\n".join([*lines, *commands(plan(s)), *_last(s, False)]) + "\n"


def _last(s: Settings, start: bool) -> list[str]:
    steps = finish_start(s) if start else finish(s, "LAST")
    return ["# finish", *(step.command().replace("work/LAST.hed", '"work/$last.hed"') for step in steps)]


def _rounds(s: Settings) -> list[str]:
    out: list[str] = []
    most = s.starts or starts.MOST
    common = f"--symmetry {s.symmetry} --mask-radius {s.mask_radius} --max-shift {s.max_shift}"
    if s.weigh_ctf:
        common += f" --weigh-ctf --amplitude-contrast {s.amplitude_contrast}"
    for number in range(1, -(-most // starts.EACH) + 1):
        runs = [_start(s, "work/prepared.hed", t, common) for t in starts.start_tasks(s, number)]
        again = ""
        if number > 1:
            task = starts.Task(f"{number}-again$k", replace(s, volumes=starts.PARTS))
            seed = (s.seed * 7919 + 1000 * number) % (1 << 31)
            call = _start(s, '"$before"', task, common, f"$(({seed} + k - 1))", 'REF3D == $k')
            again = (
                "  for k in $(im4d header get \"$before\" REF3D | tail -n +2 | awk '{print $NF}' | sort -n | uniq -c | "
                f"awk '$1 >= {2 * starts.FEWEST * starts.PARTS} && $2 > 0 {{print $2}}'); do\n  {call}\n  done\n"
            )
        pool = f"im4d pool starts/*/ work/volumes{number}.hed --images work/prepared.hed --images-out work/pool{number}.hed"
        pool += f" --volumes {s.volumes or 'auto'} {common} --overwrite"
        if not s.starts:
            least = f" --least {s.volumes}" if number == 1 and s.volumes else ""
            pool = f"if {pool} --check{least}; then agreed=yes; else [ $? = 1 ]; fi"
        out.append(_ROUND.format(number=number, again=again, runs="\n".join(runs), pool=pool))
    return out


def _start(s: Settings, images: str, task: starts.Task, common: str, seed: str | None = None, where: str | None = None) -> str:
    t = task.settings
    words = [f"  im4d refine {images} \"starts/{task.name}\" --as-prepared --stop-after anneal"]
    words.append(f"--volumes {t.volumes or 'auto'}")
    words.append(f"--iterations {s.iterations} --over {s.over} {common} --seed {seed or t.seed}")
    if where:
        words.append(f'--where "{where}"')
    if s.min_images:
        words.append(f"--min-images {s.min_images}")
    if not s.leave_out:
        words.append("--no-leave-fold-out")
    return " ".join(words) + " --overwrite"
