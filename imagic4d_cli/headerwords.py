"""Header words that commands read and write, for their pages, where the docstring does not say so itself."""

_STATISTICS = "18, 19, 22, 23 (mean, standard deviation, maximum, minimum)"
_POSE = "51 (3D membership), 65 to 67 (Euler angles), 80 and 81 (shifts still to be applied)"
_NONE = "None are changed"

WORDS: dict[str, str] = {
    "refine": f"Read: {_POSE} with --start header, 58 (active), 123 (pixel size). Written into images.hed: {_POSE}, 50 CCC3D, "
    "57 REF3DOLD, 82 to 90 (confidence, margin, second 3D, error, folds, half set, score), 105 and 106 (errors), 58; into "
    "volumes.hed: 51, 91 (number of images), 106.",
    "prepare": "Read: 58 (active); the pose with --keep-poses. Written: 80 and 81 (shift that centres the image), 58 (-1 for "
    f"constant images), {_STATISTICS}.",
    "regroup": f"Read: {_POSE}, 58 (active). Written: 51 (new membership), 57 (the old one).",
    "pool": f"Read: {_POSE}, 58 (active). Written into --images-out: {_POSE}, 50 CCC3D, 84 (second 3D); into OUT: 51, 91 "
    "(number of images).",
    "moves": f"Read: {_POSE}. {_NONE}.",
    "chance": f"Read: {_POSE}, 50, 82, 83, 88 (scores). {_NONE}.",
    "recon": f"Read: {_POSE}, 57, 58 (active), 86, 89, 90 (folds), 123 (pixel size). Written into volumes: 51, 91 (number of "
    "images), 86 (fold left out), 123; into --images-out: 51, 57, 105, 106 (errors), 65 to 67 with --euler random.",
    "forward": f"Read: 123 (pixel size), 60 (point group); of --angles-from {_POSE}. Written: {_POSE}, 123.",
    "msa run": "Read: 58 (active), 123. Written: 110, 119, 121, 122, 129, 130 and 131 to 199 (coordinates); 150 (eigenvalue) of "
    "eigenimages.",
    "msa classify": "Read: 131 to 199 (coordinates), 58. Written: 108 (class number), 58 (-1 for those in no class).",
    "msa projections": f"Read: {_POSE}, 58 (active), 25 to 27, 101, 102 and 93 with --weigh-ctf, 123 (pixel size). Written into "
    "--images-out: 131 on (coordinates), 108 (state), 51 with --as-membership.",
    "msa states": f"Read: {_POSE}, 51 (3D), 58 (active), 25 to 27, 101, 102 and 93 with --weigh-ctf, 108 with --known. Written: "
    "108 (state).",
    "msa volumes": f"Read: 131 on (coordinates), 123 (pixel size); of --from-images {_POSE}, 58 (active), 25 to 27, 101, 102 and "
    f"93 with --weigh-ctf. Written: {_STATISTICS}.",
    "threed-symmetry": f"Read: 123 (pixel size). Written into OUT: {_STATISTICS}.",
    "msa plot": "Read: 131 to 199 (coordinates), 108 (class), 150 (eigenvalue of an eigenimage). None are changed.",
    "classify2d": "Written into averages: 108 (class number), 114 and 59 (members), 115 (quality); into aligned images 100, 108, "
    "112, 113, 116 to 118 (moves made).",
    "info": f"Read: all that tell shape and type, {_POSE}, 123 (pixel size), 30 (title). {_NONE}.",
    "copy": "Read and written: all travel along; 1, 2, 11, 61, 62 (numbers, counts, sizes) are those of the output.",
    "threed-copy": "Read and written: all travel along; 1, 2, 11, 61, 62 (numbers, counts, sizes) are those of the output.",
    "append": "Read and written: all travel along; 1, 2, 61, 62 (numbers and counts) are set right in all records.",
    "threed-append": "Read and written: all travel along; 1, 2, 61, 62 (numbers and counts) are set right in all records.",
    "arithmetic": f"Written: {_STATISTICS}; mirror: 53 to 56, 65 to 67, 92, 112 to 118.",
    "threed-arithmetic": f"Written: {_STATISTICS}; mirror: 53 to 56, 65 to 67, 92, 112 to 118.",
    "two-images": f"Written: {_STATISTICS}; comparisons: 104 (correlation) or 20 (phase residual).",
    "threed-two-volumes": f"Written: {_STATISTICS}; comparisons: 104 (correlation) or 20 (phase residual).",
    "norm-variance": f"Written: {_STATISTICS}; 58 (-1 for constant images).",
    "threed-norm-variance": f"Written: {_STATISTICS}; 58 (-1 for constant volumes).",
    "incore": f"Written: {_STATISTICS}; correlations: 104 (maximum); spectra by frequency: 28, 29 (end and step).",
    "threed-menu": f"Written: {_STATISTICS}; correlations: 104 (maximum); spectra by frequency: 28, 29 (end and step).",
    "filter": f"Read: 123 (pixel size). Written: {_STATISTICS}; all others travel along.",
    "auto-mask": f"Read: 123 (pixel size). Written: {_STATISTICS}, of the mask; all others travel along.",
    "excopy": "Read: those of --where and --by. Written: 109 (location in the input); all others travel along.",
    "header show": f"Read: those that are asked for. {_NONE}.",
    "header get": f"Read: those that are asked for. {_NONE}.",
    "header set": "Read and written: those that are named.",
    "header wipe": "Written: those that are named.",
    "header plt-out": f"Read: those that are named. {_NONE}.",
    "header plt-in": "Written: those that are named.",
    "header takeover": "Read: of POSES 65 to 67, 51, 57, 80, 81, 58 and scores (50, 82 to 88, 105); 108 (class), 92 and 116 to "
    "118 with --from class-sums. Written: the pose words; 92 and 116 to 118 are cleared where moves were composed with the pose.",
    "validate": f"Read: all. {_NONE}.",
    "simulate": f"Read: 123 (pixel size). Written: {_POSE}, 25 to 27, 101, 102 with --ctf, 123.",
    "compare": f"Read: {_POSE}, 58 (active). {_NONE}.",
    "fsc": f"Read: 123 (pixel size). Written into an IMAGIC --output: 28, 29 (start and step of the curve). {_NONE} in "
    "the inputs.",
    "test-image": "Written: all of a new file, 123 (pixel size).",
    "threed-test": "Written: all of a new file, 51 (number of the volume), 123 (pixel size), 30 (name of the model).",
    "show": f"Read: those of the captions, 30, 51, 114, 123. {_NONE}.",
    "plot": f"Read: {_POSE}, 108 (class), 123. {_NONE}.",
    "report": f"Read: {_POSE}, 50, 82 to 91, 106. {_NONE}.",
    "warmup": "None: no file is read or written.",
}
