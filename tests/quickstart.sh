#!/bin/sh
# quickstart.sh: show the freshly built tools at work on real data, in a
# temporary directory that goes away again.
set -eu

PATH=${KEVO_BUILD:-$PWD/build}/bin:$PATH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
cd "$dir"

# Package and description of all that apt knows, else of what is installed,
# else the accounts of this machine.
{ apt-cache dumpavail 2>/dev/null || :; } |
    awk '/^Package: / { p = $2 }
	/^Description(-en)?: / && p { sub(/^[^ ]* /, ""); print p "\t" $0; p = "" }' \
	>data.tsv
what='packages known to apt'
if [ ! -s data.tsv ]; then
	what='packages installed here'
	dpkg-query -W -f '${Package}\t${binary:Summary}\n' \
		>data.tsv 2>/dev/null || :
fi
if [ ! -s data.tsv ]; then
	what='accounts of this machine'
	awk -F: '{ print $1 "\t" $5 }' /etc/passwd >data.tsv
fi
lines=$(wc -l <data.tsv)
LC_ALL=C sort -u -t "$(printf '\t')" -k 1,1 data.tsv >sorted.tsv
key=$(sed -n "$(($(wc -l <sorted.tsv) / 2 + 1))p" sorted.tsv | cut -f 1)
prefix=$(printf %.2s "$key")

# Show a command as it would be typed, then run it.
show() {
	printf '\n$ %s\n' "$1"
	sh -c "$1"
}

printf 'Loading %d %s into a database, data.kv:\n' "$lines" "$what"
show "kevo-put -i -f text data.kv <data.tsv"
show "kevo-get data.kv '$key' && echo"
show "kevo-scan -l 3 data.kv '$prefix'"
show "kevo-scan -c data.kv"
show "kevo-put data.kv visits 41 && kevo-incr data.kv visits"
show "kevo-delete data.kv visits"
show 'kevo-get data.kv visits || echo "exit status $?: not there"'
show "kevo-export -f text data.kv | cmp - sorted.tsv && echo 'all came back'"
printf '\nThe tools are in %s; make install puts them in place.\n' \
    "${KEVO_BUILD:-$PWD/build}/bin"
