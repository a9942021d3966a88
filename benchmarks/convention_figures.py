"""Figures of docs/conventions.md: axes and centre, rows of MRC, Euler angles, hand, axes of point groups.

    python benchmarks/convention_figures.py docs/pictures

Projections in them are made by the code that `im4d forward` uses, so that the figures cannot say anything else than the program.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from imagic4d_core.geometry.euler import euler_from_matrix, matrix_from_euler
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.models import project, random_family

INK, BLUE, ORANGE, GREEN, GREY = "#222222", "#3b75af", "#c8742b", "#4a8f4a", "#999999"
BOX = 64


def arrow(ax, start, end, text, colour, offset=(0, 0)) -> None:
    """An arrow with a name at its end."""
    ax.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
    ax.text(end[0] + offset[0], end[1] + offset[1], text, color=colour, ha="center", va="center", fontsize=11)


def letter(lines: int) -> np.ndarray:
    """An F, which has no symmetry."""
    image = np.zeros((lines, lines))
    image[1 : lines - 1, 2] = 1
    image[1, 2 : lines - 2] = 1
    image[lines // 2 - 1, 2 : lines - 3] = 0.7
    return image


def cells(ax, image: np.ndarray, title: str, first_row_on_top: bool = True, centre: bool = True) -> None:
    """An image as numbered cells, with the pixel N // 2 marked."""
    n = len(image)
    ax.imshow(image, cmap="Greys", vmax=1.6, origin="upper" if first_row_on_top else "lower")
    for k in range(n + 1):
        ax.axhline(k - 0.5, color="#dddddd", lw=0.6)
        ax.axvline(k - 0.5, color="#dddddd", lw=0.6)
    if centre:
        ax.add_patch(Rectangle((n // 2 - 0.5, n // 2 - 0.5), 1, 1, fill=False, ec=ORANGE, lw=2.2))
    ax.set_xticks(range(n))
    ax.set_yticks(range(n))
    ax.tick_params(length=0, labelsize=8)
    ax.set_title(title, fontsize=10)


def axes_figure(path: Path) -> None:
    """Axes of image and volume, centre of even and odd boxes."""
    figure, (image, odd, volume) = plt.subplots(1, 3, figsize=(11, 3.7), width_ratios=(1, 1, 1.15))
    for ax, n in ((image, 8), (odd, 7)):
        cells(ax, letter(n), f"{n} lines: centre at index {n} // 2 = {n // 2}")
        ax.xaxis.tick_top()
        ax.set_xlim(-0.5, n + 0.9)
        ax.set_ylim(n + 0.9, -0.5)
        arrow(ax, (n // 2, n // 2), (n // 2, n + 0.2), "x: lines", BLUE, (0, 0.5))
        arrow(ax, (n // 2, n // 2), (n + 0.2, n // 2), "y", GREEN, (0.4, 0))
        for side in ax.spines.values():
            side.set_visible(False)
    volume.axis("off")
    volume.set_xlim(-1.6, 1.9)
    volume.set_ylim(-2.1, 1.6)
    volume.set_aspect("equal")
    volume.set_title("volume: sections are stacked towards the viewer", fontsize=10)
    for k, shade in zip(range(4), ("#f4f4f4", "#e6e6e6", "#d8d8d8", "#c9c9c9"), strict=True):
        at = -1.2 + 0.28 * k, -0.6 - 0.22 * k
        volume.add_patch(Rectangle(at, 1.7, 1.7, fc=shade, ec=GREY, alpha=0.9))
        if k in (0, 3):
            volume.text(at[0] + 0.08, at[1] + 1.6, "section 1 (farthest)" if k == 0 else "last section", fontsize=8, va="top")
    middle = (0.08, -0.2)
    arrow(volume, middle, (0.08, -1.75), "x", BLUE, (0.18, 0))
    arrow(volume, middle, (1.65, -0.2), "y", GREEN, (0.14, 0.0))
    arrow(volume, middle, (0.93, -0.87), "z, to the viewer", ORANGE, (0.5, -0.15))
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def rows_figure(path: Path) -> None:
    """The same image in IMAGIC's and in MRC's order of rows."""
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.9))
    image = letter(8)
    flipped = image[::-1]
    rolled = np.roll(flipped, 1, axis=0)
    cells(panels[0], image, "IMAGIC: line 0 on top")
    panels[0].set_ylabel("line in the file")
    cells(panels[1], flipped, "flipped only, as MRC shows it (row 0 below)", first_row_on_top=False)
    panels[1].set_xlabel("what was the centre is now one row too low")
    cells(panels[2], rolled, "flipped and rolled by one: im4d", first_row_on_top=False)
    panels[2].set_xlabel("row 4 of 8 holds what line 4 held")
    panels[1].set_ylabel("row in the file")
    panels[2].set_ylabel("row in the file")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def seen(matrix: np.ndarray) -> np.ndarray:
    """The projection of the example at a pose."""
    return project(random_family(11, 2, BOX)[0], matrix[None], None, BOX)[0]


def euler_figure(path: Path) -> None:
    """The direction of view on the sphere, and what each angle does to the projection."""
    figure = plt.figure(figsize=(11, 5.2))
    grid = figure.add_gridspec(2, 6)
    ball = figure.add_subplot(grid[:, :2], projection="3d")
    t = np.linspace(0, 2 * np.pi, 200)
    for curve in ((np.cos(t), np.sin(t), 0 * t), (np.cos(t), 0 * t, np.sin(t)), (0 * t, np.cos(t), np.sin(t))):
        ball.plot(*curve, color="#cccccc", lw=0.8)
    for axis, name, colour in ((0, "x", BLUE), (1, "y", GREEN), (2, "z", ORANGE)):
        end = np.eye(3)[axis] * 1.25
        ball.quiver(0, 0, 0, *end, color=colour, arrow_length_ratio=0.08, lw=1.6)
        ball.text(*(end * 1.1), name, color=colour, fontsize=12)
    beta, gamma = np.radians(60), np.radians(50)
    view = np.array([np.sin(beta) * np.cos(gamma), np.sin(beta) * np.sin(gamma), np.cos(beta)])
    assert np.allclose(matrix_from_euler(0, 60, 50)[2], view)
    ball.quiver(0, 0, 0, *view, color=INK, arrow_length_ratio=0.1, lw=2)
    ball.text(*(view * 1.12), "direction of view", fontsize=9)
    b = np.linspace(0, beta, 40)
    ball.plot(0.5 * np.sin(b) * np.cos(gamma), 0.5 * np.sin(b) * np.sin(gamma), 0.5 * np.cos(b), color=INK, lw=1.2)
    ball.text(
        *(0.62 * np.array([np.sin(beta / 2) * np.cos(gamma), np.sin(beta / 2) * np.sin(gamma), np.cos(beta / 2)])),
        "BETA",
        fontsize=9,
    )
    g = np.linspace(0, gamma, 40)
    ball.plot(0.6 * np.cos(g), 0.6 * np.sin(g), 0 * g, color=INK, lw=1.2)
    ball.text(0.75 * np.cos(gamma / 2), 0.75 * np.sin(gamma / 2), -0.05, "GAMMA", fontsize=9)
    ball.plot([0, view[0]], [0, view[1]], [0, 0], color=GREY, lw=1, ls=":")
    ball.plot([view[0]] * 2, [view[1]] * 2, [0, view[2]], color=GREY, lw=1, ls=":")
    ball.set_axis_off()
    ball.set_box_aspect((1, 1, 1))
    ball.view_init(22, 20)
    ball.set_title("the frame of the object", fontsize=10)
    poses = ((0, 0, 0), (30, 0, 0), (60, 0, 0), (90, 0, 0), (0, 0, 0), (0, 30, 0), (0, 60, 0), (0, 90, 0))
    for k, pose in enumerate(poses):
        ax = figure.add_subplot(grid[k // 4, 2 + k % 4])
        ax.imshow(seen(matrix_from_euler(*pose)), cmap="gray")
        ax.set_title("ALPHA {}, BETA {}, GAMMA {}".format(*pose), fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.text(0.66, 0.965, "ALPHA turns the image clockwise in its plane", ha="center", fontsize=10)
    figure.text(0.66, 0.475, "BETA tips the object: another view", ha="center", fontsize=10)
    figure.subplots_adjust(left=0.0, right=0.99, top=0.9, bottom=0.02, wspace=0.08, hspace=0.25)
    figure.savefig(path, dpi=90)


def hand_figure(path: Path) -> None:
    """A structure and its mirror image have the same projections."""
    flip = np.diag([1.0, 1.0, -1.0])
    model = random_family(11, 2, BOX)[0]
    mirror = model.mirrored()
    figure, panels = plt.subplots(2, 4, figsize=(11, 5.6))
    rng = np.random.default_rng(3)
    for k in range(4):
        pose = np.round(rng.uniform(0, (360, 180, 360)))
        matrix = matrix_from_euler(*pose)
        other = flip @ matrix @ flip
        first = project(model, matrix[None], None, BOX)[0]
        second = project(mirror, other[None], None, BOX)[0]
        assert np.abs(first - second).max() < 1e-3 * first.max()
        for ax, image, angles in ((panels[0, k], first, pose), (panels[1, k], second, euler_from_matrix(other))):
            ax.imshow(image, cmap="gray")
            ax.set_title("{:.0f}, {:.0f}, {:.0f}".format(*angles), fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
    panels[0, 0].set_ylabel("the structure, pose M", fontsize=10)
    panels[1, 0].set_ylabel("its mirror, pose J M J", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def symmetry_figure(path: Path) -> None:
    """The axes of every setting, seen from the viewer in standard axes."""
    standard = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    names = ("D3", "D3Y", "T", "TZ3", "T222", "O", "I", "I1", "I3", "I4")
    figure, panels = plt.subplots(2, 5, figsize=(11, 5.0))
    colours, marks = {2: GREY, 3: BLUE, 4: GREEN, 5: ORANGE}, {2: "d", 3: "^", 4: "s", 5: "p"}
    for ax, name in zip(panels.flat, names, strict=True):
        ops = standard @ rotations(name) @ standard.T
        ax.add_patch(plt.Circle((0, 0), 1, fill=False, ec=INK, lw=0.8))
        for g in ops[1:]:
            axis = np.linalg.eigh((g + g.T) / 2)[1][:, -1]
            fold = int((np.abs(ops @ axis - axis).max(1) < 1e-6).sum())
            for way in (axis, -axis):
                if way[2] > -1e-6:
                    ax.plot(*way[:2], marks.get(fold, "o"), color=colours[fold], ms=5 + fold, zorder=fold)
        ax.set_title(name, fontsize=10)
        ax.set_xlim(-1.25, 1.25)
        ax.set_ylim(-1.25, 1.25)
        ax.set_aspect("equal")
        ax.axis("off")
        ax.annotate("", xy=(1.25, 0), xytext=(1.02, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1})
        ax.annotate("", xy=(0, 1.25), xytext=(0, 1.02), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1})
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Write the figures into a folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    for name, draw in (("axes", axes_figure), ("rows", rows_figure), ("euler", euler_figure), ("two-hands", hand_figure),
                       ("symmetry", symmetry_figure)):  # fmt: skip
        draw(folder / f"conventions-{name}.png")
        plt.close("all")


if __name__ == "__main__":
    main()
