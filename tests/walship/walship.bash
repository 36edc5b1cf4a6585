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

# number FILE OFFSET: eight bytes of it, as 16 hex digits.
number() {
	printf %016x "$(od -An -tu8 -j "$2" -N 8 "$1" | tr -d ' ')"
}

# An empty archive of a database, as kevo-archive(5) describes it.
make_archive() {
	local id nonce sum
	id=$(sed -n 's/^id //p' "$1/FORMAT")
	id=${id:0:8}-${id:8:4}-${id:12:4}-${id:16:4}-${id:20}
	nonce=$(sed -n 's/^nonce //p' "$1/FORMAT")
	mkdir -p "$2/epochs" "$2/wal" "$2/state"
	{
		printf 'kevo-epoch 1\ndb %s\nepoch 1\nnonce %s\n' "$id" "$nonce"
		printf 'parent 0 0000000000000000\nstart 0\nchain %s\n' \
			"$(number "$1/wal/0000000000000001.seg" 56)"
		printf 'time 1970-01-01T00:00:00.000000000Z\nhost -\n'
		printf 'reason created\n'
	} >"$2/epochs/00000001.epoch"
	sum=$(xxhsum -H2 <"$2/epochs/00000001.epoch")
	printf 'xxh128 %s\n' "${sum%% *}" >>"$2/epochs/00000001.epoch"
	printf 'kevo-archive 1\ndb %s\n' "$id" >"$2/text"
	sum=$(xxhsum -H2 <"$2/text")
	{ cat "$2/text"; printf 'xxh128 %s\n' "${sum%% *}"; } \
		>"$2/KEVO-ARCHIVE"
	rm "$2/text"
}

# replica FROM TO: a copy of a database that nobody has open, as a replica.
replica() {
	cp -a "$1" "$2"
	rm -rf "$2/shm"
	printf 'replica\nprimary db1\n' >"$2/role"
}

# database NAME: one whose log stays, so that it can be compared.
database() {
	kevo-init -q --set wal_keep=64M --set compaction=manual "$1"
}

# commits DB FIRST LAST: one commit for each number.
commits() {
	seq "$2" "$3" | sed 's/.*/k&\tvalue &/' | kevo-put -i -b 1 --sync=batch "$1"
	kevo-put "$1" synced "$3"
}

# ship DB ARCHIVE: complete the log, and send it.
ship() {
	ok kevo-walship send "$1" --to "$2" --seal-after 0
}

# same_log DB ARCHIVE: each segment there is, byte for byte, one of the log.
same_log() {
	local seg sum
	for seg in "$2"/wal/*/*.seg; do
		sum=$(cksum <"$seg")
		for log in "$1"/wal/*.seg "$1"/slots/*/*.seg; do
			[ -e "$log" ] && [ "$(cksum <"$log")" = "$sum" ] &&
				continue 2
		done
		echo "$seg is not in the log of $1"
		return 1
	done
}

# same_place WHAT WHAT: the same position.
same_place() {
	equal "$1 and $2" "$(kevo-walship pos "$1")" \
		"$(kevo-walship pos "$2")"
}

# files DIR: those below it, with sizes and contents.
files() {
	(cd "$1" && find . -type f ! -path ./state/lock ! -path ./state/source \
		-exec cksum {} + | sort -k3)
}
