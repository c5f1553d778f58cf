#!/bin/sh
# count.sh TEXT   prints how often each word is in TEXT: count, tab, word
set -eu
export LC_ALL=C
tr 'A-Z' 'a-z' <"$1" | tr -cs "a-z'" '\n' | sed "s/^'*//; s/'*\$//" | grep . | sort | uniq -c |
    awk '{ print $1 "\t" $2 }'
