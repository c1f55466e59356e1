#!/bin/bash
# Process a plate with a Slurm array: each task processes a shard of the images; slurm-merge.sh then writes the tables and
# the contact sheet.
#
#   export TARGET=Plate:3 RECIPE=nuclei.toml RUNS=$HOME/pixclf-runs
#   array=$(sbatch --parsable --export=ALL deploy/slurm-array.sh)
#   sbatch --dependency=afterany:"$array" --export=ALL deploy/slurm-merge.sh
#
# Every node needs: omero-pixclf on PATH; the session of `omero login` in a folder that all nodes share (OMERO_USERDIR);
# RUNS on a shared file system. An OMERO.server with default settings serves two to four readers well, so %4 limits the
# number of tasks that run at the same time. If the array is submitted again, completed images are not reprocessed.
#SBATCH --job-name=omero_pixclf
#SBATCH --array=1-8%4
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=%x-%A_%a.log
set -euo pipefail

export OMERO_PIXCLF_STATE="$RUNS/state"
job="$RUNS/${SLURM_ARRAY_JOB_ID}"
mkdir -p "$job"
# --json: slurm-merge.sh reads the id of the run from the first line.
exec omero-pixclf run "$TARGET" --recipe "$RECIPE" --json \
    --shard "${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}" \
    --threads "${SLURM_CPUS_PER_TASK}" --memory 6G >"$job/share-${SLURM_ARRAY_TASK_ID}.jsonl"
