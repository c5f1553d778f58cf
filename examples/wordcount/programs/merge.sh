#!/bin/sh
# merge.sh COUNTS...   adds up the counts of count.sh and prints them, the most frequent word first
set -eu
export LC_ALL=C
cat "$@" | awk -F '\t' '{ count[$2] += $1 } END { for (word in count) print count[word] "\t" word }' |
    sort -k 1,1nr -k 2,2
