#!/usr/bin/env bash
# The main job on data made here: three related structures, 1,000 images of unknown orientation and membership, three 3Ds out.
set -euo pipefail
cd "${1:-demo}" 2>/dev/null || { mkdir -p "${1:-demo}"; cd "${1:-demo}"; }
rm -rf truth* images* known* run

echo "== three related asymmetric structures, analytic, box 64"
im4d threed-test truth.hed --number 3 --size 64 --pixel-size 4 --pattern blobs --seed 42
echo "== 1,000 images: SNR 1, random orientations, shifts of 2 pixels sigma; the truth goes into a file of its own"
im4d simulate truth.blobs.json images.hed --images 1000 --snr 1 --shift-sigma 2 --seed 43 --truth known.hed
echo "== the 4D scheme from random angles and random membership"
im4d refine images.hed run --volumes 3 --seed 44 --no-report
echo "== against the truth"
im4d compare run/images.hed known.hed --found-volumes run/volumes.hed --truth-volumes truth.blobs.json
im4d report run --truth known.hed --truth-volumes truth.hed --overwrite
echo "Look at $PWD/run/report.png, and open $PWD/run/report.html"
