#!/bin/sh
# Make the completions of bash, zsh and fish from the tools' own option
# tables, so that they cannot say anything else than the tools do.
#
#   generate.sh BINDIR OUTDIR
#
# BINDIR holds the tools; OUTDIR gets kevo.bash, _kevo and kevo.fish, each
# for all of kevo-TOOL and for `kevo TOOL`.  A shell that loads completions
# by the command's name finds them under copies or links so named.
set -eu
LC_ALL=C
export LC_ALL

if [ $# -ne 2 ]; then
	echo "usage: generate.sh BINDIR OUTDIR" >&2
	exit 64
fi
bindir=$1
outdir=$2
here=$(dirname "$0")
mkdir -p "$outdir"
table=$outdir/options.tsv
trap 'rm -f "$table"' EXIT

# The tables one after the other: lines of tool, usage and option.
for tool in "$bindir"/kevo-*; do
	if [ -f "$tool" ] && [ -x "$tool" ]; then
		"$tool" --dump-options
	fi
done > "$table"
if [ ! -s "$table" ]; then
	echo "generate.sh: $bindir: no tools there" >&2
	exit 66
fi

for shell in bash zsh fish; do
	case $shell in
	zsh) name=_kevo ;;
	*) name=kevo.$shell ;;
	esac
	{
		awk -f "$here/common.awk" -f "$here/$shell.awk" "$table"
		[ "$shell" != bash ] || cat "$here/tail.bash"
	} > "$outdir/$name.new"
	mv "$outdir/$name.new" "$outdir/$name"
done
