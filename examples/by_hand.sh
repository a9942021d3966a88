#!/usr/bin/env bash
# The 4D scheme by hand: what `im4d refine` does, as a loop of single commands to be changed.
#
#     ./by_hand.sh averages.hed 3 by_hand             at most three 3Ds, results in the folder by_hand
#     STARTS=5 SEED=7 ./by_hand.sh averages.hed 10 tens
#     IM4D="mpiexec -n 4 im4d" ./by_hand.sh averages.hed 3 by_hand
#
# Five things in it make the difference between a loop that finds structures and one that stays where its random start left it:
#   --leave-out   every image is compared with 3Ds made without it; else it finds its own noise and never moves
#   --noise       lowered to zero: images may go to a pose that is not the best yet
#   2 K 3Ds       while annealing: a 3D too many can be left out later, one too few cannot be split
#   --even-sizes  no 3D is less noisy, and so wins images, because it has more of them
#   pool          several starts: their 3Ds compete, and one that another start found too may be believed
# `refine` adds to this that every 3D kept is solved again from its images alone, more starts where they do not agree, and a verdict.
set -euo pipefail
images=${1:?IMAGES K FOLDER} K=${2:?IMAGES K FOLDER} dir=${3:?IMAGES K FOLDER}
STARTS=${STARTS:-3} SEED=${SEED:-1} IM4D=${IM4D:-im4d}
# noise by iteration, standard deviations of an image's scores; limits of the local refinement, fractions of Nyquist
NOISE=(${NOISE:-0.5 0.41 0.34 0.28 0.23 0.19 0.16 0.13 0.11 0.09 0.07 0.06 0.05 0.04 0.03 0 0 0})
POLISH=(${POLISH:-0.4 0.5 0.6 0.65 0.65 0.65})

read -r N box < <(im4d info "$images" | awk '$1 == "content" { print $2, $NF }')
px() { awk -v p="$1" -v box="$box" 'BEGIN { f = 2 * p / box; print f < 1 ? f : 1 }'; }      # Fourier pixels -> fraction of Nyquist
least=$((N / (25 * K) > 4 ? N / (25 * K) : 4))
same="--mask-radius 0.85 --overwrite"
score() { $IM4D angrec "$1" a.hed --anchors lo.hed --mode each-to-best --max-shift 0.3 $same "${@:2}"; }
build() { $IM4D recon "$1" v.hed --images-out i.hed --folds 4 --leave-out lo.hed --wiener --hamming 1 $same "${@:2}"; }

mkdir -p "$dir"
$IM4D prepare "$images" "$dir/p.hed" --max-shift 0.3 --overwrite
cd "$dir"
for start in $(seq "$STARTS"); do
    build p.hed --membership random --volumes $((K > 1 ? 2 * K : 1)) --euler random --max-frequency "$(px 6)" --seed "$SEED$start"
    step=0
    for noise in "${NOISE[@]}"; do
        step=$((step + 1)) p=$((5 + 6 * step / ${#NOISE[@]}))        # 5 to 11 Fourier pixels
        score i.hed --increment 15 --no-refine --noise $noise --spread "$(awk "BEGIN { print 3 * $noise }")" \
            --max-frequency "$(px $p)" --seed "$SEED$start$step"
        build a.hed --even-sizes --min-images $least --max-frequency "$(px $((p + 1)))" --seed "$SEED$start$step"
    done
    im4d copy i.hed "start$start.hed" --overwrite
done
$IM4D pool start[0-9]*.hed kept.hed --volumes "$K" --prepared p.hed --images-out pooled.hed $same
build pooled.hed --max-frequency "$(px 13)" --seed "$SEED"
for f in "${POLISH[@]}"; do
    im4d copy i.hed before.hed --overwrite
    # once, all shifts with all directions: an image caught at a wrong shift finds no direction there
    if [ $f = 0.5 ]; then wide="--shift-search full --shift-range 5"; else wide=""; fi
    score i.hed --increment 10 --max-frequency "$(px 11)" --refine-frequency $f $wide --seed "$SEED"
    build a.hed --min-images $least --seed "$SEED"
done
im4d moves before.hed i.hed
$IM4D recon i.hed volumes.hed --folds 4 --wiener --halves halves.hed --reprojections reprojections.hed --seed "$SEED" $same
im4d fsc halves_a.hed halves_b.hed --output fsc.png --overwrite
cd - >/dev/null
im4d header takeover "$images" "$dir/i.hed" "$dir/images.hed" --overwrite
