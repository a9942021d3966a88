#!/usr/bin/env bash
# First steps: the image operations of im4d, one after the other, on data that the script makes itself.
#
#     bash examples/first_steps.sh [FOLDER]
#
# Needs 50 MB in FOLDER (default: first_steps). Look at the commands while they run, and at FOLDER/steps.png at the end. Every
# command has a page: im4d COMMAND --help.
set -euo pipefail

folder=${1:-first_steps}
mkdir -p "$folder"
cd "$folder"
rm -f ./*.hed ./*.img ./*.json ./*.plt ./*.png

echo "== data: two 3Ds, and 40 noisy images of them, off centre and seen from anywhere"
im4d threed-test object.hed --number 2 --size 64 --pixel-size 4 --seed 1
im4d simulate object.hed images.hed --images 40 --snr 0.3 --shift-sigma 3 --seed 1

echo "== what is in a file, and in its headers"
im4d info images.hed
im4d header show images.hed --loc 1
im4d header show images.hed --word "REF3D;ALPHA;BETA;GAMMA" --loc 1-5

echo "== pixels: grey scale, filters, masks, formulas; the originals stay as they are"
im4d norm-variance images.hed normal.hed --sigma 10
im4d filter normal.hed filtered.hed --low-pass 16A --high-pass 0.02
im4d center filtered.hed centred.hed --max-shift 0.4
im4d rotate centred.hed turned.hed --angle 45
im4d arithmetic turned.hed round.hed --operation soft-mask --mask-radius 0.8 --falloff 0.15
im4d arithmetic round.hed clipped.hed --expr "clip(a, -1.5 * sigma, 2.5 * sigma)"
im4d incore normal.hed spectra.hed --mode power
im4d incore centred.hed average.hed --mode average

echo "== other boxes, other pixel sizes"
im4d cut centred.hed small.hed --box 40
im4d cut small.hed padded.hed --box 64 --fill mean
im4d blow-up small.hed large.hed --factor 1.6

echo "== two files: projections of the 3Ds as the images are seen, and how well they fit"
im4d forward object.hed projections.hed --angles-from images.hed
im4d two-images normal.hed projections.hed fitted.hed --operation correlation --max-frequency 0.3
im4d two-images normal.hed projections.hed rest.hed --operation subtract --fit

echo "== choose images by their headers: the best ten, those of one 3D, every other one"
im4d excopy fitted.hed best.hed --operation sort --by CCC --down --keep 10
im4d excopy fitted.hed second.hed --operation select --where "ref3d == 2 and ccc > 0.1"
im4d excopy images.hed half.hed --operation extract --parity odd
im4d header plt-out best.hed best.plt --option index --word "CCC;LOCOLD"
im4d header set best.hed checked.hed "ACTIVE=1 if ccc > 0.3 else -1" NAME="the best ten"

echo "== volumes: the same commands, called threed-"
im4d threed-test noise.hed --number 2 --size 64 --pattern noise --pixel-size 4 --seed 2
im4d threed-arithmetic noise.hed level.hed --operation multiply --value 0.02
im4d threed-two-volumes object.hed level.hed noisy.hed --operation add
im4d filter noisy.hed smooth.hed --low-pass 20A
im4d auto-mask noisy.hed masks.hed --masked masked.hed --modulation modulation.hed
im4d threed-rotate object.hed upside_down.hed --angles 0,180,0
im4d excopy average.hed upside_down.hed,33 --operation extract --loc 1

echo "== one picture of it all: image 7 in every step, then sections of the first volume"
im4d excopy images.hed,7 steps.hed --operation extract
im4d append normal.hed,7 filtered.hed,7 centred.hed,7 turned.hed,7 round.hed,7 clipped.hed,7 spectra.hed,7 padded.hed,7 steps.hed
im4d append projections.hed,7 rest.hed,7 average.hed steps.hed
im4d excopy noisy.hed steps_3d.hed --operation extract --what images --loc 33
im4d excopy smooth.hed smooth_3d.hed --operation extract --what images --loc 33
im4d excopy modulation.hed modulation_3d.hed --operation extract --what images --loc 33
im4d excopy masked.hed masked_3d.hed --operation extract --what images --loc 33
im4d append steps_3d.hed smooth_3d.hed modulation_3d.hed masked_3d.hed steps.hed
im4d norm-variance steps.hed tiles.hed
im4d show tiles.hed --columns 8 --output steps.png
echo "look at $folder/steps.png"
