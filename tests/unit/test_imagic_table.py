"""docs/imagic-commands.md: no command of IMAGIC is missing, and every command named there exists."""

import re
from pathlib import Path

import pytest

from imagic4d_cli.registry import ALIASES, FAMILIES, TABLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "imagic-commands.md"
#: What the project set out to cover, and every program and mode that public scripts of IMAGIC call.
SEEDS = re.findall(
    r"\S+",
    """
COPY-IMAGE COPYIM THREED-COPY DENS_COPY APPEND-IMAGE THREED-APPEND EXCLUSIVE-COPY EXCOPY EXTRACT EXCLUDE SELECT SORT REVERSE
RANDEX 2D_IMAGES/SECTIONS CUT-IMAGE SUBFILE APERIODIC THREED-CUT THREED-SUBFILE PAD HEADERS READ PLT_OUT WRITE WIPE TAKEOVER
CLASS_SUM_ANGREC EULER SHIFT MSA/CLASSIFICATION THREED INDEX/LABEL ARITHMETIC-WITH-IMAGE CIRC_MASK SOFT MIRROR THREED-ARITHMETIC
TWO-IMAGE-OPERATIONS TWOIMAG THREED-TWO-VOLUMES-OPERATIONS TWO3DIM INCORE-MENU INC2DMENU THREED-MENU INC3DMENU HIGHPASS INCBAND
INCORE-PREPARE INCPREP NORM-VARIANCE THREED-NORM-VARIANCE PRETREAT BLOW-UP ZOOM COARSE THREED-BLOWUP CENTER-IMAGE ALIMASS TOTSUM
MASS THREED-CENTER ROTATE-IMAGE EQ-ROT EQUIV_ROTATION THREED-ROTATE TEST-IMAGE-CREATION THREED-TEST THREED-FILTER FFT3D
smooth_3d block3d AUTOMATIC-MASK AUTOMASK3D DO_IT_ALL REFINE_THRESHOLD M-R-A MULTI-REFERENCE-ALIGN MRALIGN OWN_REF3D_REFERENCES
ALIGN-REFS ALIREFS ALIGN-DIRECT ALIDIR ALI-SELECT ALISELCT SUM SUMMER ALIGN-PARALLEL ALIPARA MSA-RUN MSA-CLASSIFY MSA-SUM
CLASSUM CLASS-SORT CLASSORT ANGULAR-RECONSTITUTION SINGLE_ANCHOR_SET OWN_ANCHOR_SET EACH_TO_BEST_ANCHOR_SET NEW ADD C1_STARTUP
SINO SINE THREED-RECONSTRUCTION TRUE_3D ALL_IN_ONE HEADER_3D_MEMBERSHIP SPLIT_3D_MEMBERSHIP SEQUENTIAL_ASSIGNMENT
RANDOM_3D_MEMBERSHIP MULTIPLE_RAND_ASSIGN THREED-FORWARD FOURIER-SHELL-CORRELATION F-S-C FOURIER-RING-CORRELATION F-R-C EM2EM
""",
)


def rows() -> list[list[str]]:
    """IMAGIC, im4d, different: of every row below the first section."""
    text = PAGE.read_text(encoding="utf-8").split("## Copying", 1)[1]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in cells if row[0] != "IMAGIC" and not set(row[0]) <= {"-"}]


@pytest.mark.parametrize("word", SEEDS)
def test_nothing_is_missing(word):
    assert any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", row[0]) for row in rows())


def test_every_command_named_exists():
    named = set(re.findall(r"`im4d ([a-z0-9-]+(?: [a-z-]+)?)", PAGE.read_text(encoding="utf-8").replace("\n", " ")))
    for name in named:
        first = name.split()[0]
        assert name in TABLE or first in TABLE or first in ALIASES or (first in FAMILIES and name in TABLE), name
    for row in rows():
        assert len(row) == 3, row
        assert row[1] == "not yet" or re.fullmatch(r"`im4d [a-z0-9 -]+`", row[1]), row
        if row[1] != "not yet":
            assert row[1].strip("`").removeprefix("im4d ") in TABLE, row


def test_every_command_of_ours_is_named():
    text = PAGE.read_text(encoding="utf-8").replace("\n", " ")
    missing = [name for name in TABLE if f"im4d {name}`" not in text]
    assert missing == []


def test_imagic_names_are_aliases():
    """A command that has one counterpart answers to IMAGIC's own name."""
    for row in rows():
        ours = row[1].strip("`").removeprefix("im4d ")
        first = row[0].split(":")[0].split("(")[0].split(",")[0].strip().lower()
        if " " in first or row[1] == "not yet":
            continue
        known = ALIASES.get(first, first if first in TABLE else None)
        assert known is None or known == ours, row
    for name in (
        "copy-image", "exclusive-copy", "automatic-mask", "two-image-operations", "threed-reconstruction", "em2em", "f-r-c",
        "copyim", "true-3d",
    ):  # fmt: skip
        assert name in ALIASES


def test_names_with_underscores(im4d):
    assert "Usage: im4d recon " in im4d("TRUE_3D", "--help").stdout
