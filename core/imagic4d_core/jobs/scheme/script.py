"""The 4D scheme as a bash script of single commands."""

import shlex
from dataclasses import replace

from imagic4d_core.jobs.runfolder import Step
from imagic4d_core.jobs.scheme.plan import Settings, commands, finish, finish_start, plan, prepared, start_plan
from imagic4d_core.jobs.scheme.rounds import IMPOSED

_HEAD = """#!/usr/bin/env bash
# made by im4d refine --script: run it in an empty folder
set -euo pipefail
export SOURCE_DATE_EPOCH={epoch}
mkdir -p work"""


def script(s: Settings) -> str:
    """A bash script of single commands that makes the same volumes and images in the folder it is started in.

    How many starts there are depends on their results: starts and pool are one command (``refine --stop-after pool``); the
    script of one start is that of ``refine --stop-after anneal``.
    """
    lines = [_HEAD.format(epoch=s.epoch)]
    if s.stop_after == "anneal":
        s = replace(s, symmetry="C1")
        first = [] if s.as_prepared else [prepared(s).command()]
        return "\n".join([*lines, *first, *commands(start_plan(s)), *_last(finish_start(s))]) + "\n"
    if s.start == "random":
        imposed = [] if s.symmetry == "C1" else [f'symmetry="$(cat starts/{IMPOSED})"']
        lines += [
            "# starts and pool", _starts(s), "cp starts/work/i000a.hed work/i000a.hed",
            "ln -f starts/work/i000a.img work/i000a.img", *imposed,
        ]  # fmt: skip
        s = replace(s, symmetry='"$symmetry"') if imposed else s
    if s.stop_after:
        return "\n".join(lines) + "\n"
    return "\n".join([*lines, *commands(plan(s)), *_last(finish(s, "LAST"))]) + "\n"


def _last(steps: list[Step]) -> list[str]:
    return ["# finish", *(step.command().replace("work/LAST.hed", '"work/$last.hed"') for step in steps)]


def _starts(s: Settings) -> str:
    words = ["im4d", "refine", s.images, "starts", "--stop-after", "pool", "--volumes", str(s.volumes or "auto")]
    words += ["--starts", str(s.starts or "auto"), "--iterations", str(s.iterations), "--over", str(s.over)]
    words += ["--symmetry", s.symmetry, "--mask-radius", str(s.mask_radius), "--max-shift", str(s.max_shift)]
    words += ["--min-images", str(s.min_images), "--seed", str(s.seed)]
    switches = {"invert": s.invert, "centre": s.centre, "leave-fold-out": s.leave_out, "as-prepared": s.as_prepared}
    for flag, value in switches.items():
        words.append(f"--{flag}" if value else f"--no-{flag}")
    words += ["--where", s.where] if s.where else []
    words += ["--weigh-ctf", "--amplitude-contrast", str(s.amplitude_contrast)] if s.weigh_ctf else []
    return shlex.join([*words, "--overwrite"])
