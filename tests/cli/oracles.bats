#!/usr/bin/env bats
# shellcheck disable=SC2094,SC2154
# The other programs that read and write our formats, with random bytes.

load common
shopt -s extglob
setup() {
	common_setup
	echo "KEVO_SEED=$seed"
}
teardown() {
	if [ -n "${redis-}" ]; then
		kill "$redis" 2>/dev/null
		wait "$redis" 2>/dev/null
	fi
	common_teardown
}

# fill [N [KEY-BYTES]]: a database all.kv, and all.hex that lists it.
fill() {
	random_records "${1:-300}" "${2:-60}" >all.hex
	kevo-import -q --sync=none -f hex all.kv all.hex
}

same() {
	kevo-export -f hex "$1" | cmp all.hex -
}

@test "LMDB: mdb_load takes an export, mdb_dump gives it back" {
	need mdb_load mdb_dump
	local bytevalue
	fill
	for bytevalue in '' --bytevalue; do
		rm -rf out.lmdb lmdb.kv
		mkdir out.lmdb
		kevo-export -f lmdb ${bytevalue:+"$bytevalue"} all.kv |
			mdb_load out.lmdb
		mdb_dump out.lmdb >dump
		# mdb_dump writes bytevalue: hex, a blank in front.
		sed -n 's/^ //p' dump | paste - - | cmp all.hex -
		kevo-import -q --sync=none -f lmdb lmdb.kv dump
		same lmdb.kv
		rm -rf lmdb.kv
		kevo-import -q --sync=none -f db lmdb.kv dump
		same lmdb.kv
	done
}

@test "LMDB: mapsize holds what comes, also of small and large records" {
	need mdb_load
	seq 50000 | sed 's/$/\t/' | kevo-put -i --sync=none small.kv
	mkdir small.lmdb large.lmdb
	kevo-export -f lmdb small.kv | mdb_load small.lmdb
	for n in 1 2; do
		head -c 9000000 /dev/zero | tr '\0' v |
			kevo-put -i --sync=none large.kv $n
	done
	kevo-export -f lmdb large.kv | mdb_load large.lmdb
	mdb_stat large.lmdb | grep -q 'Entries: 2'
	mdb_stat small.lmdb | grep -q 'Entries: 50000'
}

@test "Berkeley DB: db_load takes an export, db_dump gives it back" {
	local load dump option
	load=$(command -v db5.3_load || command -v db_load) || skip 'no db_load'
	dump=$(command -v db5.3_dump || command -v db_dump) || skip 'no db_dump'
	fill
	for option in '' --bytevalue; do
		rm -f out.bdb
		kevo-export -f db ${option:+"$option"} all.kv | "$load" out.bdb
		"$dump" out.bdb >dump
		sed -n 's/^ //p' dump | paste - - | cmp all.hex -
		rm -rf bdb.kv
		kevo-import -q --sync=none -f db bdb.kv dump
		same bdb.kv
		"$dump" -p out.bdb >dump.print
		rm -rf bdb.kv
		kevo-import -q --sync=none -f db bdb.kv dump.print
		same bdb.kv
	done
	# Their print form of the same records is our own, line for line.
	kevo-export -f db all.kv | sed -n 's/^ //p' >ours
	sed -n 's/^ //p' dump.print | sed 's/\\\\/\\5c/g' | cmp ours -
}

@test "cdb: takes an export, and its dump comes back" {
	need cdb
	fill
	kevo-export -f cdb all.kv | cdb -c out.cdb -
	cdb -d out.cdb >dump
	kevo-export -f cdb all.kv | cmp - dump
	kevo-import -q --sync=none -f cdb cdb.kv dump
	same cdb.kv
}

@test "SQLite: takes an export with the same bytes" {
	need sqlite3
	fill
	kevo-export -f sql all.kv | sqlite3 out.sqlite
	sqlite3 -separator $'\t' out.sqlite \
		'SELECT lower(hex(k)), lower(hex(v)) FROM kv ORDER BY k' |
		cmp all.hex -
	# A second load replaces.
	kevo-put all.kv new record
	kevo-export -f sql all.kv | sqlite3 out.sqlite
	equal count "$(sqlite3 out.sqlite 'SELECT count(*) FROM kv')" \
		"$(kevo-scan -c all.kv)"
	kevo-export -f sql --table='my table' all.kv | sqlite3 out.sqlite
	equal count "$(sqlite3 out.sqlite 'SELECT count(*) FROM "my table"')" \
		"$(kevo-scan -c all.kv)"
	# And back, by way of hex.
	sqlite3 -separator $'\t' out.sqlite 'SELECT hex(k), hex(v) FROM kv' |
		kevo-import -q --sync=none -f hex sqlite.kv
	kevo-scan -f hex all.kv | cmp - <(kevo-scan -f hex sqlite.kv)
}

@test "Redis: redis-cli --pipe takes an export, with expiry" {
	need redis-server redis-cli
	fill 200
	redis-server --port 0 --unixsocket "$PWD/redis.sock" --save '' \
		--appendonly no --daemonize no --dir "$PWD" \
		>redis.log 2>&1 3>&- &
	redis=$!
	wait_for redis-cli -s redis.sock ping
	kevo-export -f resp all.kv | redis-cli -s redis.sock --pipe >piped
	grep -q 'errors: 0' piped
	equal count "$(redis-cli -s redis.sock dbsize)" "$(wc -l <all.hex)"
	# Every value, by a script in the server that writes hex.
	# shellcheck disable=SC2016 # Lua's
	redis-cli -s redis.sock eval 'local out = {}
		local function hex(s) return (s:gsub(".", function (c)
			return string.format("%02x", c:byte()) end)) end
		for _, k in ipairs(redis.call("KEYS", "*")) do
			out[#out + 1] = hex(k) .. "\t" .. hex(redis.call("GET", k))
		end
		return out' 0 | LC_ALL=C sort >redis.hex
	cmp all.hex redis.hex
	kevo-put -t 1h all.kv expires v
	kevo-export -f resp -P expires all.kv |
		redis-cli -s redis.sock --pipe >/dev/null
	ttl=$(redis-cli -s redis.sock pttl expires)
	[ "$ttl" -gt 3500000 ]
	[ "$ttl" -le 3600000 ]
}

@test "jq: reads what we write, and writes what we read" {
	need jq base64
	fill
	# Text as text, the rest by base64.
	kevo-export -f jsonl all.kv |
		jq -r '[(.key_base64 // (.key | @base64)),
			(.value_base64 // (.value | @base64))] | @tsv' >jq.b64
	kevo-export -f base64 all.kv | cmp - jq.b64
	kevo-export -f jsonl64 all.kv |
		jq -r '[.key_base64, .value_base64] | @tsv' | cmp - jq.b64
	kevo-export -f jsonl all.kv | jq -c . |
		kevo-import -q --sync=none -f jsonl jq.kv
	same jq.kv
	rm -rf jq.kv
	kevo-export -f jsonl all.kv | jq -ac . |
		kevo-import -q --sync=none -f jsonl jq.kv
	same jq.kv
	# jq's @tsv is read by tsv.
	random_text 200 >all.hex
	rm -rf text.kv jq.kv
	kevo-import -q --sync=none -f hex text.kv all.hex
	kevo-export -f jsonl text.kv | jq -r '[.key, .value] | @tsv' |
		kevo-import -q --sync=none jq.kv
	same jq.kv
}

@test "base64 and od: agree about the encodings" {
	need base64
	fill 25
	while IFS=$'\t' read -r key value; do
		printf '%s' "$key" | unhex | base64 -w 0
		printf '\t'
		printf '%s' "$value" | unhex | base64 -w 0
		echo
	done <all.hex >want
	LC_ALL=C sort want >want.sorted
	kevo-export -f base64 all.kv | LC_ALL=C sort | cmp want.sorted -
	head -n 5 all.hex | while IFS=$'\t' read -r key value; do
		printf '%s' "$value" | unhex >want
		echo "$key" | kevo-get -i --input-format=hex -f hex all.kv |
			cut -f2 | unhex | cmp want -
	done
}

@test "printf %b: decodes tsv" {
	printf '%s\t%s\n' 6b 090a0d5c07 6c c3a9ff80 6d 20217e | kevo-put -i -f hex a.kv
	kevo-scan --values a.kv | while IFS= read -r line; do
		printf '%b' "$line" | hex
		echo
	done >out
	equal values "$(tr '\n' ' ' <out)" '090a0d5c07 c3a9ff80 20217e '
}

@test "csv: python reads and writes the same records" {
	need python3
	random_text 200 >all.hex
	kevo-import -q --sync=none -f hex all.kv all.hex
	kevo-export -f csv all.kv >out.csv
	python3 -c 'import csv
rows = list(csv.reader(open("out.csv", newline="", encoding="utf-8"), strict=True))
assert rows[0] == ["key", "value"]
for k, v in rows[1:]:
    print(k.encode().hex() + "\t" + v.encode().hex())
w = csv.writer(open("back.csv", "w", newline="", encoding="utf-8"), lineterminator="\n",
    quoting=csv.QUOTE_ALL)
w.writerows(rows)' >py.hex
	cmp all.hex py.hex
	kevo-import -q --sync=none -f csv csv.kv back.csv
	same csv.kv
}
