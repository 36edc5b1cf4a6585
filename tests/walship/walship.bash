# shellcheck shell=bash disable=SC2154
# Helpers of the tests of kevo-walship; they load ../cli/common, too.

load ../cli/common

# The segments of a database, oldest first.
segments() {
	printf '%s\n' "$1"/wal/*.seg
}

# flip FILE OFFSET: one bit of a byte.
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059 # an escape is wanted
	printf "\\x$(printf %02x $((byte ^ 16)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
