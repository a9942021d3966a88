#!/usr/bin/env bash
# From raw single images to several final 3Ds in nine steps, each a command of im4d. Nothing is known of the images at the start:
# neither orientations, nor which 3D they belong to, nor references.
#
#     nine_steps.sh                                      on simulated images that the script makes, with truth to compare
#     IMAGES=particles.star K=3 nine_steps.sh            on your own (with their CTF in the STAR file or in the headers)
#     IM4D="mpiexec -n 8 im4d" IMAGES=... nine_steps.sh  in parallel: the same bytes come out
#
# A step that is complete is not done again: start the script anew after an interruption. The Makefile beside it does the same.
set -euo pipefail

IMAGES=${IMAGES:-}          # single images; none: simulate them
K=${K:-3}                   # 3Ds wanted
CLASSES=${CLASSES:-100}     # class averages
CYCLES=${CYCLES:-8}         # classifications at most
DIR=${DIR:-nine}            # folder of everything
SEED=${SEED:-1}
IM4D=${IM4D:-im4d}          # what starts a command that can use MPI
SHIFT=${SHIFT:-0.3}         # largest shift, of half the box
REACH=${REACH:-0.45}        # largest shift in 3D: the averages, and so the 3D, need not lie in the centre
CTF=${CTF:-yes}             # no: the CTF of the images is not known
STARTS=${STARTS:-auto}      # random starts of step 5; auto: two, and more as long as they do not agree
START=${START:-1}           # 3Ds in step 5: one consensus, or K where averages are pure enough to tell the 3Ds apart
FINAL=${FINAL:-deal}        # step 8 starts from the poses found and memberships dealt at random; header: from those found
NUMBER=${NUMBER:-5000}      # simulated images, their size and their signal-to-noise ratio
SIZE=${SIZE:-64}
SNR=${SNR:-0.1}

mkdir -p "$DIR"
done_() { [ -e "$DIR/$1.done" ]; }
step() {  # step NAME COMMAND...: run it once; its CPU seconds (user, system) go to cpu.txt
    local name=$1
    shift
    if done_ "$name"; then return; fi
    echo "== $name: $*"
    TIMEFORMAT="$name %U %S"
    { time "$@" 2>&3; } 3>&2 2>>"$DIR/cpu.txt"
    touch "$DIR/$name.done"
}

# 1. single images
if [ -z "$IMAGES" ]; then
    step 1a_structures im4d threed-test "$DIR/truth.hed" --number "$K" --size "$SIZE" --pixel-size 4 --seed "$SEED" --overwrite
    step 1b_images im4d simulate "$DIR/truth.blobs.json" "$DIR/particles.hed" --images "$NUMBER" --snr "$SNR" --shift-sigma 3 \
        --ctf --seed "$SEED" --truth "$DIR/known.hed" --overwrite
    IMAGES=$DIR/particles.hed
fi

# 2. phases flipped; classify2d normalises grey levels and centres
ORIGINALS=$IMAGES
WEIGH=()
if [ "$CTF" = yes ]; then
    WEIGH=(--weigh-ctf) # in the 3D part: amplitudes come back
    step 2_ctf $IM4D ctf "$IMAGES" "$DIR/flipped.hed" --overwrite
    ORIGINALS=$DIR/flipped.hed
fi

# 3, 4. alignment by classification: MSA, classes, averages, and the averages as references of a multi-reference alignment, by
# turns until the classes are stable
if ! done_ 4_classes; then
    resume=()
    if [ -e "$DIR/classes/run.json" ]; then resume=(--resume); fi
    step 4_classes $IM4D classify2d "$ORIGINALS" "$DIR/classes" --classes "$CLASSES" --iterations "$CYCLES" --max-shift "$SHIFT" \
        --seed "$SEED" "${resume[@]}"
fi

# 5. the 4D scheme on the class averages, from random angles: several starts, whose 3Ds compete, and a verdict for each 3D
if ! done_ 5_averages; then
    resume=()
    if [ -e "$DIR/consensus/run.json" ]; then resume=(--resume); fi
    step 5_averages $IM4D refine "$DIR/classes/averages.hed" "$DIR/consensus" --volumes "$START" --starts "$STARTS" \
        --max-shift "$REACH" --seed "$SEED" "${resume[@]}"
fi

# 6. Euler angles and 3D membership from the averages to their members (CLASS_SUM_ANGREC), as poses of the images that were not
# moved yet
step 6_takeover im4d header takeover "$ORIGINALS" "$DIR/consensus/images.hed" "$DIR/members.hed" --from class-sums \
    --moves-from "$DIR/classes/images.hed" --overwrite

# 7. every image aligned to the re-projection in its own direction, and what that says about the pose of the image as it was
step 7a_recon $IM4D recon "$DIR/members.hed" "$DIR/members_3d.hed" --wiener --folds 4 --mask-radius 0.85 --seed "$SEED" \
    --reprojections "$DIR/reprojections.hed" "${WEIGH[@]}" --overwrite
step 7b_parallel $IM4D align-parallel "$DIR/members.hed" "$DIR/reprojections.hed" "$DIR/parallel.hed" --max-shift "$REACH" \
    --run-shift 4 --run-range=-20,20 --overwrite
step 7c_undo im4d header takeover "$ORIGINALS" "$DIR/parallel.hed" "$DIR/posed.hed" --originals --overwrite

# 8. all single images compete for the 3Ds, from the poses found; final 3Ds
POSED=$DIR/posed.hed
if [ "$FINAL" = deal ]; then
    step 8a_deal $IM4D recon "$POSED" "$DIR/dealt_3d.hed" --membership random --volumes "$K" --euler header --seed "$SEED" \
        --images-out "$DIR/dealt.hed" --overwrite
    POSED=$DIR/dealt.hed
fi
if ! done_ 8_final; then
    resume=()
    if [ -e "$DIR/final/run.json" ]; then resume=(--resume); fi
    step 8_final $IM4D refine "$POSED" "$DIR/final" --volumes "$K" --start header --max-shift "$REACH" --seed "$SEED" \
        "${WEIGH[@]}" "${resume[@]}"
fi

# 9. resolution, report, and truth where it is known
step 9a_fsc im4d fsc "$DIR/final/halves_a.hed" "$DIR/final/halves_b.hed" --output "$DIR/fsc.png" --overwrite
if [ -e "$DIR/known.hed" ]; then
    step 9b_compare im4d compare "$DIR/final/images.hed" "$DIR/known.hed" --found-volumes "$DIR/final/volumes.hed" \
        --truth-volumes "$DIR/truth.blobs.json"
fi
step 9c_picture im4d show "$DIR/final/volumes.hed" --output "$DIR/volumes.png" --overwrite
echo "reports: $DIR/final/report.html; class averages: $DIR/classes/report.html, $DIR/consensus/report.html; 3Ds: $DIR/final/volumes.hed"
