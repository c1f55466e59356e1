#!/bin/bash
# Started by BIOMERO: passes its folders and parameters to omero-pixclf predict.
#   run.sh --infolder IN --outfolder OUT [--gtfolder GT] --project FILE.ilp [--export_source NAME] [--local] [-nmc]
# BIOMERO's options for ground truth and metrics are ignored; any other option is an error.
set -euo pipefail

infolder='' outfolder='' project=''
options=()
while (($#)); do
    case $1 in
        --*=*) name=${1%%=*} value=${1#*=}; shift ;;
        --local | -nmc | -nmc=*) shift; continue ;;
        --*)
            (($# > 1)) || { echo "$1 needs a value" >&2; exit 2; }
            name=$1 value=$2; shift 2 ;;
        *) echo "unexpected argument: $1" >&2; exit 2 ;;
    esac
    case $name in
        --infolder) infolder=$value ;;
        --outfolder) outfolder=$value ;;
        --project) project=$value ;;
        --gtfolder) ;;
        --export_source | --channels | --memory) [ -z "$value" ] || options+=("$name" "$value") ;;
        *) echo "unexpected option: $name" >&2; exit 2 ;;
    esac
done
for given in "$infolder" "$outfolder" "$project"; do
    [ -n "$given" ] || { echo "--infolder, --outfolder and --project are required" >&2; exit 2; }
done

shopt -s nullglob
images=("$infolder"/*.tif "$infolder"/*.tiff "$infolder"/*.zarr "$infolder"/*.h5)
((${#images[@]})) || { echo "$infolder: contains no .tif, .tiff, .zarr or .h5" >&2; exit 2; }
# BIOMERO's files contain their axes, which may differ from those of the training image.
exec omero-pixclf predict --project "$project" --ignore_training_axistags --output_format "multipage tiff" \
    --output_filename_format "$outfolder/{nickname}_{result_type}" \
    --threads "${SLURM_CPUS_PER_TASK:-1}" "${options[@]}" "${images[@]}"
