#!/bin/bash
# A plate over a Slurm array: each task does its share of the images; slurm-merge.sh then makes the tables and pictures.
#
#   export TARGET=Plate:3 RECIPE=nuclei.toml RUNS=$HOME/pixclf-runs
#   array=$(sbatch --parsable --export=ALL deploy/slurm-array.sh)
#   sbatch --dependency=afterany:"$array" --export=ALL deploy/slurm-merge.sh
#
# Needs on every node: omero-pixclf on PATH; the session that `omero login` made, in a folder that all nodes share
# (OMERO_USERDIR); RUNS on a shared file system. An OMERO.server with default settings serves two to four readers well:
# %4 bounds how many tasks run at once. What a task has done is not done again when the array is submitted once more.
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
# --json: its first line names the run, which slurm-merge.sh needs.
exec omero-pixclf run "$TARGET" --recipe "$RECIPE" --json \
    --shard "${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}" \
    --threads "${SLURM_CPUS_PER_TASK}" --memory 6G >"$job/share-${SLURM_ARRAY_TASK_ID}.jsonl"
