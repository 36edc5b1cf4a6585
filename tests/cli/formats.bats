#!/usr/bin/env bats
# shellcheck disable=SC1003,SC2016,SC2119,SC2120,SC2154
# Every format through the tools: any bytes out and in again, streams that
# were cut, and what the messages about bad input say.

load common
shopt -s extglob
setup() { common_setup; }
teardown() { common_teardown; }

# fill [N]: a database all.kv of random records, and all.hex that lists them.
fill() {
	echo "KEVO_SEED=$seed"
	random_records "${1:-300}" >all.hex
	kevo-import -q --sync=none -f hex all.kv all.hex
	kevo-export -f hex all.kv | cmp all.hex -
}

# same DB: it holds exactly the records of all.hex.
same() {
	kevo-export -f hex "$1" | cmp all.hex -
}

# bytes HEX COMMAND...: the command writes exactly these bytes.
bytes() {
	local want=$1
	shift
	equal "$*" "$("$@" | hex)" "$want"
}

# bad FORMAT PLACE TEXT [OPTION...]: the input is refused at this place.
bad() {
	local format=$1 place=$2 text=$3
	shift 3
	run -65 --separate-stderr piped "$text" \
		kevo-import -n -f "$format" "$@" bad.kv || {
		printf 'status %s for %s: %q\n' "$status" "$format" "$text"
		return 1
	}
	why=$stderr
	matches "${stderr_lines[0]}" "kevo-import: $place: *"
}

# good FORMAT HEX-LINES TEXT [OPTION...]: the input is read as these records.
good() {
	local format=$1 want=$2 text=$3
	shift 3
	rm -rf good.kv
	ok piped "$text" kevo-import -q -f "$format" "$@" good.kv || return
	is "$want" kevo-export -f hex good.kv
}

@test "formats: any bytes come back, through every format that can" {
	local format
	fill
	for format in tsv hex base64 jsonl jsonl64 cdb db resp ops; do
		kevo-export -f "$format" all.kv >"out.$format"
		kevo-import -q --sync=none -f "$format" "$format.kv" \
			"out.$format"
		same "$format.kv" || { echo "$format"; return 1; }
		kevo-export -f "$format" "$format.kv" | cmp "out.$format" -
	done
	kevo-export -f db --bytevalue all.kv |
		kevo-import -q --sync=none -f db byte.kv
	same byte.kv
	for format in lmdb lmdb\ --bytevalue; do
		rm -rf lmdb.kv
		# shellcheck disable=SC2086 # words
		kevo-export -f $format all.kv |
			kevo-import -q --sync=none -f lmdb lmdb.kv
		same lmdb.kv
	done
	for format in hex base64; do
		kevo-export -f csv --encode=$format all.kv |
			kevo-import -q --sync=none -f csv --encode=$format \
			"csv-$format.kv"
		same "csv-$format.kv"
	done
	# By put, scan and get as well.
	kevo-scan all.kv | kevo-put -i --sync=none put.kv
	same put.kv
	kevo-scan -k -f jsonl all.kv |
		kevo-get -i --input-format=jsonl all.kv |
		cmp - out.tsv
}

@test "formats: text comes back through csv, and nul without NUL" {
	echo "KEVO_SEED=$seed"
	random_text 300 >all.hex
	kevo-import -q --sync=none -f hex all.kv all.hex
	kevo-export -f csv all.kv >out.csv
	kevo-import -q --sync=none -f csv csv.kv out.csv
	same csv.kv
	kevo-export -f csv --crlf all.kv >crlf.csv
	kevo-import -q --sync=none -f csv --crlf crlf.kv crlf.csv
	same crlf.kv
	random_records 300 | grep -Ev '^(..)*00' | awk -F'\t' '{
		for (i = 1; i < length($2); i += 2)
			if (substr($2, i, 2) == "00") next
		print }' >all.hex
	kevo-import -q --sync=none -f hex zero.kv all.hex
	kevo-export -0 zero.kv | kevo-import -q --sync=none -0 nul.kv
	same nul.kv
}

@test "formats: a long key and a long value come back" {
	local format
	head -c 65536 /dev/urandom | hex >key
	head -c 2000000 /dev/urandom | hex >value
	paste key value >all.hex
	kevo-import -q -f hex all.kv all.hex
	for format in tsv base64 jsonl cdb db resp ops; do
		kevo-export -f "$format" all.kv |
			kevo-import -q --sync=none -f "$format" "$format.kv"
		same "$format.kv"
	done
}

@test "formats: memory is not the limit, the record is" {
	# Just what each record says that it has.
	printf '+3,5:abc->12345\n' >in
	run -65 --separate-stderr kevo-import -f cdb a.kv in
	run -65 --separate-stderr piped '+3,99999999999:abc->1' \
		kevo-import -f cdb a.kv
	run -65 --separate-stderr piped '*3\r\n$3\r\nSET\r\n$99999999999\r\nx' \
		kevo-import -f resp a.kv
	run -65 --separate-stderr piped '*999999999\r\n$3\r\nSET\r\n' \
		kevo-import -f resp a.kv
}

@test "formats: a stream that was cut anywhere is never taken for whole" {
	local format n size
	printf '61\t31\n620a\t00ff22\n63\t\n' >all.hex
	kevo-import -q -f hex all.kv all.hex
	for format in cdb db lmdb; do
		kevo-export -f "$format" all.kv >whole
		size=$(wc -c <whole)
		for ((n = 0; n < size; n++)); do
			head -c "$n" whole >part
			if kevo-import -n -f "$format" cut.kv part 2>err; then
				# But for the last line end nothing is missing.
				[ "$format" != cdb ]
				[ "$n" -eq $((size - 1)) ]
				kevo-import -q -f "$format" cut.kv part
				kevo-export -f hex cut.kv | cmp - all.hex
				rm -r cut.kv
			else
				grep -q '^kevo-import: part:' err
			fi
		done
		kevo-import -n -q -f "$format" cut.kv whole
	done
	# Those without an end mark lose whole records or say so.
	for format in jsonl resp csv nul; do
		kevo-export -f hex all.kv | grep -v ff |
			kevo-import -q -f hex few.kv
		kevo-export -f "$format" few.kv >whole
		size=$(wc -c <whole)
		for ((n = 1; n < size; n += 3)); do
			head -c "$n" whole >part
			rm -rf cut.kv
			if kevo-import -q -f "$format" cut.kv part 2>err; then
				[ "$format" != nul ] || continue
				kevo-export -f hex cut.kv |
					comm -23 - <(kevo-export -f hex few.kv) >new
				[ "$format" = csv ] || [ ! -s new ]
			fi
		done
	done
}

@test "tsv: written as the contract says, to the byte" {
	printf '%s\t%s\n' 00 01 09 0a0d 41 5c 7f 1f c3a9 e282ac ed 80 \
		f09f9880 c080 eda080 f4908080 20 2e | kevo-put -i -f hex a.kv
	kevo-export a.kv >out
	cat >want <<-'EOF'
	\x00	\x01
	\t	\n\r
	 	.
	A	\\
	\x7f	\x1f
	EOF
	printf 'é\t€\n\\xed\t\\x80\n\\xed\\xa0\\x80\t\\xf4\\x90\\x80\\x80\n' \
		>>want
	printf '😀\t\\xc0\\x80\n' >>want
	LC_ALL=C sort want >want.sorted
	LC_ALL=C sort out | diff want.sorted -
}

@test "tsv: reads every escape, tabs in values, and no last line end" {
	good tsv $'00010809\t0b0c0d0a5cff' \
		'\\0\\x01\\b\\t\t\\v\\f\\r\\n\\\\\\xFf\n'
	good tsv $'61\t6209630964' 'a\tb\tc\td'
	good tsv $'61\t' 'a\t\n'
	good tsv $'61\t72300d78' 'a\tr0\rx\n'
	bad tsv '(stdin):3' 'a\t1\nb\t2\nc\t\\q\n'
	matches "$why" '*use -f text*'
	bad tsv '(stdin):1' 'a\\\t1\n'
	bad tsv '(stdin):1' 'a\t1\\'
	bad tsv '(stdin):1' 'a\\x4\t1\n'
	bad tsv '(stdin):1' 'a\\xg0\t1\n'
	bad tsv '(stdin):2' 'a\t1\n\nb\t2\n'
	bad tsv '(stdin):1' 'abc\n'
	bad tsv '(stdin):1' '\tv\n'
	bad tsv '(stdin):1' '\n'
	bad tsv '(stdin):2' 'a\t1\nb\t2\r\n'
	matches "$why" '*--crlf*'
	good tsv $'61\t31' 'a\t1\r\n' --crlf
	good tsv $'232031\t32' '# 1\t2\n'
}

@test "text: literal, and what it cannot hold is 65" {
	good text $'5c78\t5c6e09' '\\x\t\\n\t\n'
	good text $'61\tff00' 'a\t\377\000\n'
	bad text '(stdin):1' 'abc\n'
	bad text '(stdin):1' '\tv\n'
	good text $'61\t310d' 'a\t1\r\n'
	kevo-put a.kv 'k\q' 'v	\w'
	is 'k\q	v	\w' kevo-export -f text a.kv
	local record
	for record in '6109\t00' '610a\t00' '61\t0a'; do
		rm -rf b.kv
		# shellcheck disable=SC2059 # escapes are wanted
		printf "$record\n" | kevo-put -i -f hex b.kv
		run -65 --separate-stderr kevo-export -f text b.kv
		matches "$stderr" 'kevo-export: *a*'
		equal output "$output" ''
	done
}

@test "nul: pairs; an odd number, or a NUL inside, is 65" {
	good nul $'61\t310a09\n62\t' 'a\0001\n\t\000b\000\000'
	bad nul '(stdin):*' 'a\0001\000b\000'
	bad nul '(stdin):*' 'a\0001'
	bad nul '(stdin):*' '\0001\000'
	kevo-put a.kv a 1
	bytes 61003100 kevo-export -0 a.kv
	bytes 6100 kevo-scan -k -0 a.kv
	printf '62\t0031\n' | kevo-put -i -f hex a.kv
	run -65 --separate-stderr kevo-export -f nul a.kv
	matches "$stderr" 'kevo-export: *b*'
	# With xargs and find.
	mkdir files
	: >'files/a b' && : >$'files/c\nd'
	find files -type f -print0 | kevo-put -i -k -0 list.kv
	kevo-scan -k -0 list.kv | xargs -0 ls -d | cmp - <(ls -d files/*)
}

@test "hex and base64: both fields encoded, read in either case" {
	printf '00ff\t\n61\t4a4b\n' | kevo-put -i -f hex a.kv
	is $'00ff\t\n61\t4a4b' kevo-export -f hex a.kv
	is $'AP8=\t\nYQ==\tSks=' kevo-export -f base64 a.kv
	good hex $'00ff\t4a4b' '00FF\t4A4b\n'
	good base64 $'00ff\t4a4b\n61\t' 'AP8=\tSks=\nYQ==\t\n'
	bad hex '(stdin):2' '61\t\n6\t61\n'
	bad hex '(stdin):1' 'zz\t61\n'
	bad hex '(stdin):1' '61 \t61\n'
	bad hex '(stdin):1' '\t61\n'
	bad base64 '(stdin):1' 'AP8\tSks=\n'
	bad base64 '(stdin):1' 'AP8=\tS*s=\n'
	bad base64 '(stdin):1' 'A=P8\tSks=\n'
}

@test "jsonl: written as the contract says, to the byte" {
	printf '%s\t%s\n' 610a 22 62 5c2f0708090c0d1f 63 7f 64 c3a9f09f9880 \
		65 ff 00 eda080 66 '' | kevo-put -i -f hex a.kv
	kevo-export -f jsonl a.kv >out
	cat >want <<-'EOF'
	{"key":"\u0000","value_base64":"7aCA"}
	{"key":"a\n","value":"\""}
	{"key":"b","value":"\\/\u0007\b\t\f\r\u001f"}
	{"key":"c","value":"\u007f"}
	{"key":"d","value":"é😀"}
	{"key":"e","value_base64":"/w=="}
	{"key":"f","value":""}
	EOF
	diff want out
	is '{"key_base64":"YQo=","value_base64":"Ig=="}' \
		kevo-scan -f jsonl64 -l 1 a.kv a
	is '{"key":"a\n"}' kevo-scan -k -f jsonl a.kv a
	ok kevo-scan -m -f jsonl a.kv f
	matches "$output" '{"key":"f","value":"","version":+([0-9])}'
}

@test "jsonl: reads any order, blanks, escapes and unknown members" {
	good jsonl $'61\t31' ' { "value" : "1" , "x":[{"key":"no"},null,1e9], "key":"a" } \n'
	good jsonl $'c3a9f09f98800a\t7f2f' \
		'{"key":"\\u00e9\\ud83d\\ude00\\n","value":"\\u007f\\/"}\n'
	good jsonl $'ff\t00' '{"key_base64":"/w==","value_base64":"AA=="}'
	good jsonl $'61\t7b2262223a5b312c20322e35305d7d' \
		'{"key":"a","value":{"b":[1, 2.50]}}\n' -j
	good jsonl $'61\t6e756c6c\n62\t227822' \
		'{"key":"a","value":null}\n{"key":"b","value":"x"}\n' -j
	bad jsonl '(stdin):2' '{"key":"a","value":"1"}\n{"key":"b"}\n'
	bad jsonl '(stdin):1' '{"value":"1"}\n'
	bad jsonl '(stdin):1' '{"key":"a","key":"b","value":"1"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"1","value":"1"}\n'
	bad jsonl '(stdin):1' '{"key":"a","key_base64":"YQ==","value":"1"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"1","value_base64":""}\n'
	bad jsonl '(stdin):1' '{"key":"","value":"1"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":1}\n'
	bad jsonl '(stdin):1' '{"key":1,"value":"1"}\n' -j
	bad jsonl '(stdin):1' '{"key":"a","value":"1"\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"1"} x\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"\\ud800"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"\\q"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"\001"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":"\377"}\n'
	bad jsonl '(stdin):1' '{"key":"a","value":01}\n' -j
	bad jsonl '(stdin):1' '{"key":"a","value":[1,]}\n' -j
	bad jsonl '(stdin):1' '{"key_base64":"YQ=","value":"1"}\n'
	bad jsonl '(stdin):1' '["key","a"]\n'
	bad jsonl '(stdin):2' '{"key":"a","value":"1"}\n\n'
}

@test "jsonl -j: a value that is no JSON stays a string, others are embedded" {
	printf '%s\t%s\n' a '{"n": 1}' b 'plain' c '"s"' d '1 2' e 'true' f '' \
		g '[1' h '1e5' | kevo-put -i -f text a.kv
	is '{"key":"a","value":{"n": 1}}' kevo-get -j -f jsonl a.kv a
	is '{"key":"c","value":"s"}' kevo-get -j -f jsonl a.kv c
	is '{"key":"e","value":true}' kevo-get -j -f jsonl a.kv e
	is '{"key":"h","value":1e5}' kevo-get -j -f jsonl a.kv h
	fails 64 '*-j*' kevo-scan -j a.kv
	need jq
	kevo-export -j -f jsonl a.kv | jq -e . >/dev/null
}

@test "csv: RFC 4180, with its header" {
	good csv $'61\t312c220a32\n62\t' 'key,value\na,"1,""\n2"\nb,\n'
	good csv $'61\t31' 'key,value\n"a","1"'
	good csv $'61\t31' 'key,value\r\na,1\r\n' --crlf
	good csv $'ff\t00' 'key_hex,value_hex\nff,00\n' --encode=hex
	good csv $'ff\t00' 'key_base64,value_base64\n/w==,AA==\n' --encode=base64
	bad csv '(stdin):1' 'a,1\n'
	bad csv '(stdin):3' 'key,value\na,1\nb\n'
	bad csv '(stdin):2' 'key,value\na,1,2\n'
	bad csv '(stdin):2' 'key,value\na,"1\n'
	bad csv '(stdin):2' 'key,value\na,"1"x\n'
	bad csv '(stdin):2' 'key,value\n,1\n'
	bad csv '(stdin):*' 'key,value\r\na,1\r\n'
	bad csv '(stdin):2' 'key_hex,value_hex\nzz,00\n' --encode=hex
	bad csv '(stdin):1' ''
	printf '%s\t%s\n' 61 31 622c 22 63 0d0a64 20 20 | kevo-put -i -f hex a.kv
	kevo-export -f csv a.kv >out
	printf 'key,value\n" "," "\na,1\n"b,",""""\nc,"\r\nd"\n' >quoted
	printf 'key,value\n , \na,1\n"b,",""""\nc,"\r\nd"\n' >bare
	cmp bare out || cmp quoted out
	kevo-export -f csv --crlf -P a a.kv | cmp - <(printf 'key,value\r\na,1\r\n')
	is $'key_hex,value_hex\n61,31' kevo-export -f csv --encode hex -P a a.kv
	local value
	for value in ff 00; do
		rm -rf b.kv
		printf '7a\t%s\n' "$value" | kevo-put -i -f hex b.kv
		run -65 --separate-stderr kevo-export -f csv b.kv
		matches "$stderr" 'kevo-export: *z*'
	done
	fails 64 '*--encode*' kevo-export --encode=hex a.kv
	fails 64 '*--crlf*csv*' kevo-export --crlf a.kv
	fails 64 '*--crlf*csv*' kevo-scan --crlf -f hex a.kv
	fails 64 '*--crlf*-i*' kevo-get --crlf a.kv a
	fails 64 '*--encode*rot13*' kevo-export -f csv --encode=rot13 a.kv
}

@test "cdb: lengths, arrow and an empty line at the end" {
	printf '61\t2c3a0a\n6200\t\n' | kevo-put -i -f hex a.kv
	kevo-export -f cdb a.kv | cmp - <(printf '+1,3:a->,:\n\n+2,0:b\0->\n\n')
	kevo-init -q empty.kv
	bytes 0a kevo-export -f cdb empty.kv
	good cdb '' '\n'
	good cdb $'61\t31' '+1,1:a->1\n\n'
	bad cdb '(stdin):*' ''
	bad cdb '(stdin):*' '+1,1:a->1\n'
	bad cdb '(stdin):*' '+1,1:a->12\n\n'
	bad cdb '(stdin):*' '+1,1:a-1\n\n'
	bad cdb '(stdin):*' '+0,1:->1\n\n'
	bad cdb '(stdin):*' '+x,1:a->1\n\n'
	bad cdb '(stdin):*' '1,1:a->1\n\n'
	bad cdb '(stdin):*' '+1,1:a->1\n\n+1,1:b->1\n'
}

@test "db: header, escapes in lower case, and the end line" {
	printf '61\t5c00ff41\n62\t\n' | kevo-put -i -f hex a.kv
	kevo-export -f db a.kv >out
	cat >want <<-'EOF'
	VERSION=3
	format=print
	type=btree
	HEADER=END
	 a
	 \5c\00\ffA
	 b
	 
	DATA=END
	EOF
	diff want out
	kevo-export -f db --bytevalue a.kv >out
	grep -qx 'format=bytevalue' out
	grep -qx ' 5c00ff41' out
	local head='VERSION=3\nformat=print\ntype=btree\nHEADER=END\n'
	good db $'61\t5c31ff' "$head a\n \\\\\\\\1\\\\FF\nDATA=END\n"
	good db $'61\t31ff' 'VERSION=3\nformat=bytevalue\nHEADER=END\n 61\n 31Ff\nDATA=END\n'
	good db $'61\t31' \
		"VERSION=3\nformat=print\ntype=hash\nxyzzy=1\ndb_pagesize=4096\nHEADER=END\n a\n 1\nDATA=END\n"
	rm -rf dup.kv
	run -0 --separate-stderr piped \
		"VERSION=3\nformat=print\nduplicates=1\nHEADER=END\n a\n 1\n a\n 2\nDATA=END\n" \
		kevo-import -q -f db dup.kv
	matches "$stderr" 'kevo-import: *duplicates*'
	is 2 kevo-get dup.kv a
	# What a header has besides is told to who asks.
	run -0 --separate-stderr piped \
		"VERSION=3\nformat=print\nxyzzy=1\nHEADER=END\n a\n 1\nDATA=END\n" \
		kevo-import -v -f db dup.kv
	matches "${stderr_lines[0]}" 'kevo-import: (stdin):3: *xyzzy=1*'
	bad db '(stdin):*' 'format=print\n a\n 1\nDATA=END\n'
	bad db '(stdin):*' "$head a\n 1\n"
	bad db '(stdin):*' "$head a\nDATA=END\n"
	bad db '(stdin):*' "${head}a\n1\nDATA=END\n"
	bad db '(stdin):*' "$head a\\\\4\n 1\nDATA=END\n"
	bad db '(stdin):*' "$head a\\\\zz\n 1\nDATA=END\n"
	bad db '(stdin):*' "$head \n 1\nDATA=END\n"
	bad db '(stdin):*' 'VERSION=2\nformat=print\nHEADER=END\nDATA=END\n'
}

@test "lmdb: mapsize, and keys of at most 511 bytes" {
	kevo-put a.kv k v
	kevo-export -f lmdb a.kv >out
	grep -qx 'mapsize=16777216' out
	kevo-export -f lmdb --mapsize=64M a.kv >out
	grep -qx 'mapsize=67108864' out
	head -c 20000000 /dev/zero | kevo-put -i --sync=none a.kv big
	kevo-export -f lmdb a.kv | grep -a -m 1 '^mapsize' >size
	size=$(cut -d= -f2 size)
	equal mapsize "$size" $(( (2 * (20000000 + 5) + 128 + 1048575) / 1048576 * 1048576 ))
	head -c 511 /dev/zero | tr '\0' k >key
	kevo-put b.kv "$(cat key)" v
	ok kevo-export -f lmdb b.kv
	kevo-put b.kv "$(cat key)k" v
	run -65 --separate-stderr kevo-export -f lmdb b.kv
	matches "$stderr" 'kevo-export: *511*'
	fails 64 '*--mapsize*' kevo-export --mapsize=1M a.kv
}

@test "resp: SET with expiry, DEL; nothing else is taken" {
	kevo-put a.kv a 1
	kevo-export -f resp a.kv |
		cmp - <(printf '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n')
	kevo-put -t 1h a.kv a 1
	kevo-export -f resp a.kv | tr -d '\r' >out
	equal words "$(tr '\n' ' ' <out | sed 's/[0-9]\{13\}/MS/')" \
		'*5 $3 SET $1 a $1 1 $4 PXAT $13 MS '
	kevo-export -f resp a.kv | kevo-import -q -f resp b.kv
	ok kevo-get -m -f jsonl b.kv a
	matches "$output" '*"expires":*'
	good resp $'61\t31' '*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n1\r\n' ||
		bad resp '(stdin):*' '*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\n1\r\n'
	rm -rf good.kv
	kevo-put good.kv z v
	ok piped '*2\r\n$3\r\nDEL\r\n$1\r\nz\r\n' kevo-import -q -f resp good.kv
	is 0 kevo-scan -c good.kv
	bad resp '(stdin):*' '*2\r\n$3\r\nGET\r\n$1\r\na\r\n'
	bad resp '(stdin):*' '*1\r\n$8\r\nFLUSHALL\r\n'
	bad resp '(stdin):*' '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1'
	bad resp '(stdin):*' '*3\r\n$3\r\nSET\r\n$0\r\n\r\n$1\r\n1\r\n'
	bad resp '(stdin):*' '*3\r\n$3\r\nSET\r\n$-1\r\n$1\r\n1\r\n'
	bad resp '(stdin):*' 'SET a 1\r\n'
}

@test "ops: put and delete lines" {
	kevo-put a.kv $'a\t' '1\'
	is $'put\ta\\t\t1\\\\' kevo-export -f ops a.kv
	kevo-put b.kv z v
	ok piped 'put\ta\t1\ndelete\tz\nput\tb\tx\\ty\n' kevo-import -q -f ops b.kv
	is $'a\t1\nb\tx\\ty' kevo-export b.kv
	bad ops '(stdin):2' 'put\ta\t1\nput\tb\n'
	bad ops '(stdin):1' 'remove\ta\n'
	bad ops '(stdin):1' 'put\t\t1\n'
	bad ops '(stdin):1' 'put\ta\t\\q\n'
}

@test "sql: is written only, with a name for its table" {
	printf '61\t00\n' | kevo-put -i -f hex a.kv
	kevo-export -f sql a.kv >out
	grep -q 'CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;' out
	grep -q "INSERT OR REPLACE INTO kv VALUES(X'61',X'00');" out
	grep -q 'BEGIN;' out
	equal end "$(tail -n 1 out)" 'COMMIT;'
	kevo-export -f sql --table=t2 a.kv | grep -q 'INTO "\?t2"\? VALUES'
	fails 64 '*--table*' kevo-export --table=x a.kv
	local name
	for name in '' 'x;y' 'x"y' "x'y" 'x y'; do
		run --separate-stderr kevo-export -f sql --table="$name" a.kv
		[ "$status" -eq 64 ] || grep -q '"' <<<"$output"
	done
}

@test "formats: key lists take the first field, and all of a scan" {
	printf '%s\t%s\n' a 1 b 2 | kevo-put -i a.kv
	is $'a\t1\nb\t2' piped 'a\tignored\tthis\nb\n' kevo-get -i a.kv
	fails 65 '(stdin):1: *' piped '\tv\n' kevo-get -i a.kv
	fails 65 '(stdin):1: *--crlf*' piped 'a\r\n' kevo-get -i a.kv
	ok piped 'a\r\n' kevo-get -i --crlf a.kv
	local format
	for format in hex base64 jsonl; do
		kevo-scan -f "$format" a.kv |
			kevo-get -i --input-format="$format" a.kv |
			cmp - <(kevo-scan a.kv)
		kevo-scan -k -f "$format" a.kv |
			kevo-get -i --input-format="$format" a.kv |
			cmp - <(kevo-scan a.kv)
	done
}

@test "formats: the locale is never looked at" {
	local locale
	kevo-put a.kv ä 1
	kevo-put a.kv z 2
	for locale in C POSIX de_DE.UTF-8 tr_TR.ISO-8859-9 nonsense; do
		LC_ALL=$locale is $'z\t2\nä\t1' kevo-scan a.kv
		LC_ALL=$locale is 3 kevo-incr a.kv "n$locale" 3
		kevo-delete a.kv "n$locale"
	done
}
