#!/bin/bash
# Merge the shards of slurm-array.sh: write the tables and the contact sheet of the whole plate.
# JOB: id of the array job; by default the one in RUNS that was started last.
#SBATCH --job-name=omero_pixclf_merge
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

export OMERO_PIXCLF_STATE="$RUNS/state"
if [ -z "${JOB:-}" ]; then
    newest=$(find "$RUNS" -mindepth 2 -maxdepth 2 -name 'share-*.jsonl' -printf '%T@ %h\n' | sort -n | tail -n 1)
    JOB=$(basename "${newest#* }")
fi
mapfile -t shares < <(sed -n 's/^{"event": "planned", "run": "\([^"]*\)".*/\1/p' "$RUNS/$JOB"/share-*.jsonl)
((${#shares[@]})) || { echo "$RUNS/$JOB: no shard has a plan yet" >&2; exit 1; }
exec omero-pixclf runs merge "${shares[@]}"
