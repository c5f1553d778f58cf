#!/bin/sh
# split.sh PARTS FOLDER FILE...   deals the lines of the FILEs out to FOLDER/part-1.txt .. part-N.txt
set -eu
export LC_ALL=C
parts=$1
folder=$2
shift 2
mkdir -p "$folder"
# Every part must exist, also when there are more parts than lines.
part=1
while [ "$part" -le "$parts" ]; do
    : >"$folder/part-$part.txt"
    part=$((part + 1))
done
cat "$@" | awk -v parts="$parts" -v folder="$folder" \
    '{ print >> (folder "/part-" (NR - 1) % parts + 1 ".txt") }'
