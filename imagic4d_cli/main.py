"""The `im4d` group and its entry point."""

import atexit
import gc
import os
import signal
import sys

# Parallel work is ours (threads over fixed blocks, MPI): BLAS threads on top would fight over the cores and make
# results depend on their number. Set before anything imports numpy, and whatever a batch system has set (Slurm does).
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import click  # noqa: E402

from imagic4d_cli import options as opt  # noqa: E402
from imagic4d_cli.lazygroup import LazyGroup  # noqa: E402
from imagic4d_cli.run import Run  # noqa: E402


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from imagic4d_core import __version__

        click.echo(f"im4d {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    name="im4d",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "IM4D", "max_content_width": 100},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version.")
@click.option("--config", type=click.Path(), expose_value=True, help="Settings; default: im4d.toml in this folder or above.")
@opt.verbose
@opt.quiet
@opt.debug
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Single-particle electron microscopy the IMAGIC-4D way: stacks of images and of volumes, several 3Ds at once.

    im4d COMMAND --help tells more. IMAGIC's command names work too.
    """
    ctx.ensure_object(Run)


def catch_signals() -> None:
    """End as Ctrl-C does, with temporary files removed: on a cluster's time limit, `timeout`, a lost terminal, a CPU limit."""
    for name in ("SIGTERM", "SIGHUP", "SIGXCPU"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup has asked for none
            signal.signal(number, signal.default_int_handler)


def open_standard_streams() -> None:
    """Give closed standard streams (``>&-``) to the null device: files opened later must not get their numbers."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", encoding="utf-8", closefd=False))


def main() -> None:
    """Entry point of the script `im4d`."""
    # modules are some hundred thousand objects that stay: looking for garbage among them every 700 objects while they load, and
    # once more at the end, takes a tenth of the time of a short command
    gc.set_threshold(10_000, 10, 10)
    atexit.register(gc.freeze)
    catch_signals()
    open_standard_streams()
    cli.main(prog_name="im4d")


if __name__ == "__main__":
    main()
