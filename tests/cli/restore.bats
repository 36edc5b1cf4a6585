#!/usr/bin/env bats
# shellcheck disable=SC2154
# kevo-restore: what comes out of archives, and that nothing does of those that
# are cut, damaged or hostile.  backup.bats makes them.

load backup
setup() {
	common_setup
	need_archives
}
teardown() { common_teardown; }

# Nothing but what is named is here.
only() {
	is "$(printf '%s\n' "$@" | LC_ALL=C sort)" \
		sh -c 'ls -A | grep -v ^separate-stderr- | LC_ALL=C sort'
}

nothing_is_left() {
	[ ! -e new.kv ] && [ ! -e .new.kv.restore ]
}

# refused STATUS GLOB COMMAND...: with one message, and nothing is left.
refused() {
	fails "$@" && nothing_is_left
}

@test "restore: the same records, versions, settings and permissions" {
	umask 027
	make data.kv
	kevo-config data.kv set memtables=3
	kevo-backup -z gzip -o data.tgz data.kv
	run -0 --separate-stderr kevo-restore new.kv data.tgz
	equal output "$output" ''
	matches "$stderr" 'kevo-restore: new.kv: restored: commit * of 20*Z, * records'
	ok kevo-check new.kv
	equal lines "${#lines[@]}" 1
	same_data data.kv new.kv
	cmp data.kv/kevo.conf new.kv/kevo.conf
	cmp data.kv/FORMAT new.kv/FORMAT
	for file in FORMAT LOCK PINS wal table; do
		equal "$file" "$(stat -c %a new.kv/$file)" \
			"$(stat -c %a data.kv/$file)"
	done
	ok kevo-put new.kv new 1
	ok kevo-compact --full new.kv
	ok kevo-check -q new.kv
}

@test "restore: from standard input, into an empty directory, as @" {
	make_small data.kv
	kevo-backup data.kv >data.tar
	mkdir new.kv
	ok kevo-restore -q new.kv <data.tar
	same_data data.kv new.kv
	KEVO_DB=$PWD/other.kv ok kevo-restore -q @ - <data.tar
	same_data data.kv other.kv
	only data.kv data.tar new.kv other.kv
}

@test "restore: --test lists, proves and keeps nothing; -n reads and writes nothing" {
	make_small data.kv
	kevo-backup -o data.tar data.kv
	ok kevo-restore --test drill.kv data.tar
	matches "${lines[0]}" '*  KEVO-BASE'
	matches "${lines[-1]}" 'drill.kv: sound: commit * of *, * records'
	is '' kevo-restore -q --test drill.kv data.tar
	ok kevo-restore -n drill.kv data.tar
	matches "$output" 'drill.kv: would be restored, up to commit *'
	only data.kv data.tar
}

@test "restore: options and operands that are wrong" {
	make_small data.kv
	kevo-backup -o data.tar data.kv
	refused 64 '*' kevo-restore
	refused 64 '--until: yesterday: *' kevo-restore --until=yesterday new.kv data.tar
	refused 64 '--until: 2026-02-30*' kevo-restore --until=2026-02-30T00:00:00Z new.kv data.tar
	refused 64 '--until: *' kevo-restore --until=0 new.kv data.tar
	refused 64 '*' kevo-restore --test -n new.kv data.tar
	refused 66 'gone.tar: cannot open: *' kevo-restore new.kv gone.tar
	refused 73 'nodir/new.kv: *' kevo-restore nodir/new.kv data.tar
	refused 73 '*: no name of a new directory' kevo-restore . data.tar
	refused 65 'data.kv/FORMAT: not an archive*' kevo-restore new.kv data.kv/FORMAT ||
		refused 75 'data.kv/FORMAT: *' kevo-restore new.kv data.kv/FORMAT
	head -c 4096 /dev/urandom >random
	refused 65 'random: not an archive*' kevo-restore new.kv random
	tar -cf other.tar data.kv
	refused 65 'other.tar: *' kevo-restore new.kv other.tar
	refused 75 '(stdin): *' kevo-restore new.kv </dev/null
}

@test "restore: what is there is not touched, but for --force and a database" {
	make_small data.kv
	kevo-backup -o data.tar data.kv
	kevo-init -q new.kv
	kevo-put new.kv mine 1
	fails 73 './new.kv: not empty' kevo-restore new.kv data.tar
	is 1 kevo-get new.kv mine
	ok kevo-restore -q --force new.kv data.tar
	same_data data.kv new.kv
	mkdir dir && touch dir/file
	fails 73 './dir: not empty, and no kevo database*' kevo-restore \
		--force dir data.tar
	fails 73 './data.tar: it is there, and is no directory' kevo-restore \
		--force data.tar data.tar
	ln -s dir link
	fails 73 './link: *' kevo-restore --force link data.tar
	hold new.kv
	fails 75 './new.kv: a process has it open for writing' kevo-restore \
		--force new.kv data.tar
	release
	only data.kv data.tar new.kv dir link hold.in hold.out
	is file ls dir
}

@test "restore: as of every version and time there was" {
	kevo-init -q --set wal_keep=100M --set memtable_bytes=64K \
		--set compaction=manual data.kv
	commit() {
		local n
		n=$(kevo-put --print-version data.kv "key$((RANDOM % 9))" \
			"$1 $(printf %06000d "$1")")
		[ $((RANDOM % 4)) -gt 0 ] ||
			n=$(kevo-delete data.kv "key$((RANDOM % 9))" &&
				kevo-stats -f json data.kv |
				grep -o '"visible":[0-9]*' | head -n 1 |
				cut -d: -f2)
		[ -n "$n" ] || n=$(kevo-put --print-version data.kv x "$1")
		kevo-scan -m data.kv >"model.$n"
		date -u +%Y-%m-%dT%H:%M:%S.%NZ >"time.$n"
		last=$n
	}
	for i in $(seq 1 8); do commit "$i"; done
	kevo-backup -o 0.tar data.kv
	for i in $(seq 9 16); do commit "$i"; done
	kevo-compact --full data.kv
	kevo-backup -z zstd --base=0.tar -o 1.tar data.kv
	for i in $(seq 17 21); do commit "$i"; done
	kevo-backup -o 2.tar --base=1.tar data.kv
	commit 99
	n=0
	for model in model.*; do
		v=${model#model.}
		[ "$v" -le "$((last - 1))" ] || continue
		rm -rf new.kv newer.kv
		run kevo-restore -q --until="$v" new.kv 0.tar 1.tar 2.tar
		if [ "$status" -ne 0 ]; then
			equal "status at $v" "$status" 65
			continue
		fi
		kevo-scan -m new.kv | cmp - "$model"
		ok kevo-check -q new.kv
		ok kevo-restore -q --until="$(cat "time.$v")" newer.kv \
			0.tar 1.tar 2.tar
		kevo-scan -m newer.kv | cmp - "$model"
		n=$((n + 1))
	done
	[ "$n" -ge 12 ]
	rm -rf new.kv
	refused 65 'commit 9999: not in these backups*' kevo-restore \
		--until=9999 new.kv 0.tar 1.tar 2.tar
	# Before the first commit there was nothing; tables hide the past.
	run -0 --separate-stderr kevo-restore \
		--until=2001-01-01T00:00:00Z empty.kv 0.tar
	matches "$stderr" '*no commit is as old as that: *is empty*'
	is 0 kevo-scan -c empty.kv
	kevo-backup -o tables.tar data.kv
	refused 65 'that time: not in these backups*' kevo-restore \
		--until=2001-01-01T00:00:00Z new.kv tables.tar
	run -0 --separate-stderr kevo-restore --until=2100-01-01T00:00:00+01:00 \
		new.kv 0.tar 1.tar
	matches "$stderr" '*the backups end with commit*'
}

@test "restore: each restored one is told from all others by its first commit" {
	kevo-init -q data.kv
	kevo-put data.kv n 1
	kevo-backup -o 0.tar data.kv
	kevo-put data.kv n original
	for name in a b; do
		ok kevo-restore -q $name.kv 0.tar
		kevo-put $name.kv n $name
		matches "$(kevo-walship pos $name.kv)" '2.*:2:*'
		ok kevo-check -q $name.kv
	done
	matches "$(kevo-walship pos data.kv)" '1.*:2:*'
	[ "$(kevo-walship pos a.kv | cut -d: -f1)" != \
		"$(kevo-walship pos b.kv | cut -d: -f1)" ]
	# It goes on: a backup of it continues the one it is from.
	ok kevo-backup --base=0.tar -o 1.tar a.kv
	ok kevo-restore -q c.kv 0.tar 1.tar
	is a kevo-get c.kv n
	kevo-put c.kv n c
	matches "$(kevo-walship pos c.kv)" '3.*:3:*'
	# Nothing was written yet, and it was unpacked by tar.
	kevo-restore -q d.kv 0.tar
	kevo-backup d.kv | tar -xf -
	kevo-put d n d
	matches "$(kevo-walship pos d)" '2.*:2:*'
	ok kevo-check -q d
	fails 65 'data.kv: at commit 2: *two histories*' kevo-backup \
		--base=1.tar -o x.tar data.kv
}

@test "restore: increments that do not continue each other" {
	make_small data.kv
	kevo-backup -o 0.tar data.kv
	kevo-put data.kv k 1
	kevo-backup -o 1.tar --base=0.tar data.kv
	kevo-put data.kv k 2
	kevo-backup -o 2.tar --base=1.tar data.kv
	refused 65 '1.tar: it is an increment*' kevo-restore new.kv 1.tar
	refused 65 '2.tar: it continues commit *' kevo-restore new.kv 0.tar 2.tar
	refused 65 '1.tar: *order' kevo-restore new.kv 0.tar 1.tar 2.tar 1.tar
	refused 65 '0.tar: a full backup*' kevo-restore new.kv 0.tar 0.tar
	kevo-init -q other.kv
	kevo-put other.kv k 1
	kevo-backup -o other0.tar other.kv
	kevo-backup -o other1.tar --base=other0.tar other.kv
	refused 65 'other1.tar: of another database*' kevo-restore new.kv \
		0.tar other1.tar
	# The same database on two ways.
	tar -xf 0.tar
	kevo-put data k other
	kevo-backup -o fork.tar --base=0.tar data
	kevo-put data k other2
	kevo-backup -o fork2.tar --base=fork.tar data
	refused 65 'fork2.tar: *another history*' kevo-restore new.kv \
		0.tar 1.tar fork2.tar
	refused 65 'fork.tar: wal/*two histories' \
		kevo-restore new.kv 0.tar 1.tar fork.tar
}

@test "restore: cut anywhere, an archive is never enough" {
	kevo-init -q data.kv
	kevo-put data.kv k v
	kevo-put data.kv k w
	for how in none gzip zstd; do
		kevo-backup -z $how -o whole data.kv
		size=$(stat -c %s whole)
		step=$((size / 9 + 1))
		[ -z "${KEVO_LONG-}" ] || step=1
		for ((i = 0; i < size; i += step)); do
			head -c "$i" whole >cut.tar
			status=0
			kevo-restore -q new.kv cut.tar 2>err || status=$?
			# tests/unit/base_test.c does so at every byte.  Behind
			# END there are zeros, or a sum of no use.
			if [ "$status" -eq 0 ]; then
				[ "$i" -gt $((size - 1100)) ]
				[ "$(kevo-get new.kv k)" = w ]
				rm -r new.kv
				continue
			fi
			equal "$how at $i" "$status" 75
			[ "$(wc -l <err)" -eq 1 ]
			nothing_is_left
		done
	done
}

@test "restore: with any byte changed it is refused, or nothing is changed" {
	make_small data.kv
	for how in none zstd; do
		kevo-backup -z $how -o whole data.kv
		size=$(stat -c %s whole)
		tries=24
		[ -z "${KEVO_LONG-}" ] || tries=5000
		RANDOM=$seed
		for ((i = 0; i < tries; i++)); do
			at=$(((RANDOM * 32768 + RANDOM) % size))
			[ "$i" -ge 10 ] || at=$((i * 512 / 7))
			cp whole bad
			printf "\\x$(printf %02x $((RANDOM % 255 + 1)))" |
				dd of=bad bs=1 seek=$at conv=notrunc \
					status=none
			status=0
			kevo-restore -q new.kv bad 2>err || status=$?
			case $status in
			0)	same_data data.kv new.kv
				kevo-check -q new.kv
				rm -r new.kv
				;;
			65 | 75)
				[ "$(wc -l <err)" -eq 1 ]
				nothing_is_left
				;;
			*)	echo "seed $seed: byte $at: $status: $(cat err)"
				false
				;;
			esac
		done
	done
}

# edit IN OUT PYTHON: for each member m with data d, PYTHON may change both,
# or call put(name, data, type) or skip().
edit() {
	python3 - "$@" <<'PY'
import io, sys, tarfile
src = tarfile.open(sys.argv[1])
dst = tarfile.open(sys.argv[2], 'w', format=tarfile.PAX_FORMAT)
def put(name, data=b'', type=tarfile.REGTYPE, link=''):
    t = tarfile.TarInfo(name)
    t.size = len(data); t.type = type; t.linkname = link; t.mode = 0o644
    dst.addfile(t, io.BytesIO(data))
for m in src:
    d = src.extractfile(m).read() if m.isfile() else b''
    n = m.name
    keep = [True]
    def skip(): keep[0] = False
    exec(sys.argv[3])
    if keep[0]:
        m.size = len(d) if m.isfile() else 0
        dst.addfile(m, io.BytesIO(d))
exec(sys.argv[4] if len(sys.argv) > 4 else '')
dst.close()
PY
}

@test "restore: a file that is missing is named" {
	need python3
	make_small data.kv
	kevo-backup -o whole.tar data.kv
	edit whole.tar same.tar pass
	ok kevo-restore -q --test new.kv same.tar
	files=$(tar -tf whole.tar | grep -v '/$' | sed 's,^data/,,')
	[ "$(wc -l <<<"$files")" -ge 9 ]
	for file in $files; do
		edit whole.tar bad.tar "skip() if n == 'data/$file' else None"
		case $file in
		END)	refused 75 'bad.tar: it ends without END*' \
				kevo-restore new.kv bad.tar ;;
		KEVO-BASE)
			refused 65 'bad.tar: *does not begin with KEVO-BASE' \
				kevo-restore new.kv bad.tar ;;
		*)	refused 65 "bad.tar: $file: missing" \
				kevo-restore new.kv bad.tar ;;
		esac
	done
	# Directories are for tar alone.
	edit whole.tar bad.tar 'skip() if m.isdir() else None'
	ok kevo-restore -q --test new.kv bad.tar
}

@test "restore: hostile archives write nothing anywhere" {
	need python3
	make_small data.kv
	kevo-backup -o whole.tar data.kv
	mkdir work
	mv whole.tar work
	cd work
	hostile() {
		edit whole.tar bad.tar "$1" "${2-}"
		refused 65 "bad.tar: ${3-}*" kevo-restore new.kv bad.tar ||
			{ echo "with: $1 ${2-}"; return 1; }
	}
	first="put('%s', b'x') if n == 'data/LOCK' else None"
	# shellcheck disable=SC2059 # names
	for name in ../evil /tmp/kevo-evil data/../../evil data/wal/../../evil \
		./data/wal/x data/wal/0000000000000001.seg.x data//LOCK \
		data/wal//0000000000000001.seg data/evil other/LOCK \
		data/wal/000000000000000g.seg data/table/x.sst data/shm/control \
		data/role 'data/slots/a/slot' data/kevo.conf/x \
		data/table/ffffffffffffffff.sst data/version/ffffffffffffffff; do
		hostile "$(printf "$first" "$name")"
	done
	hostile "put('data/FORMAT', type=tarfile.SYMTYPE, link='/etc/passwd') if n == 'data/LOCK' else None" '' 'data/FORMAT: neither*'
	hostile "m.type, m.linkname = (tarfile.SYMTYPE, '../../evil') if n == 'data/wal' else (m.type, m.linkname)"
	hostile "put('data/LOCK', type=tarfile.LNKTYPE, link='data/KEVO-BASE') if n == 'data/PINS' else None"
	hostile "put('data/LOCK', type=tarfile.CHRTYPE) if n == 'data/LOCK' else None"
	hostile "put('data/LOCK', type=tarfile.FIFOTYPE) if n == 'data/LOCK' else None"
	hostile "put('data/LOCK', type=tarfile.BLKTYPE) if n == 'data/LOCK' else None"
	# Twice, and not in its place.
	for name in KEVO-BASE LOCK kevo.conf FORMAT SUMS; do
		hostile "put(n, d) if n == 'data/$name' else None" '' \
			"$name: it comes twice"
	done
	hostile "put(n, d) if n.endswith('.seg') else None" '' 'wal/*twice'
	hostile "put(n, d) if n.endswith('.sst') else None" '' 'table/*twice'
	hostile pass "put('data/LOCK')" 'data/LOCK: it comes behind END'
	hostile pass "put('data/zzz')" 'data/zzz: it comes behind END'

	# Longer or shorter than is said.
	hostile "d = d + b'x' * 100 if n.endswith('.sst') else d" '' 'table/*'
	hostile "d = d + b'x' * 100 if n == 'data/LOCK' else d" '' 'LOCK: longer*'
	hostile "d = d + b'x' * 999999 if n == 'data/FORMAT' else d" '' 'FORMAT: longer*'
	hostile "d = d[:-1] + b'x' if n.endswith('.sst') else d" '' 'table/*'
	hostile "d = d.replace(b'bytes ', b'bytes 9') if n == 'data/KEVO-BASE' else d" '' 'KEVO-BASE: damaged'
	hostile "d = d.replace(b'1', b'2', 1) if n == 'data/KEVO-BASE' else d" '' 'KEVO-BASE: *newer format*'
	cd ..
	only data.kv work
	[ ! -e /tmp/kevo-evil ]
}

# forge IN OUT PYTHON: as edit, with sums and END that fit, and KEVO-BASE's
# own sum too: only what is wrong inside remains.
forge() {
	edit "$1" forged.tar "$3"
	python3 - forged.tar "$2" <<'PY'
import io, re, subprocess, sys, tarfile
def xxh(b):
    r = subprocess.run(['xxhsum', '-H2', '-'], input=b, capture_output=True)
    return r.stdout.split()[0]
src = tarfile.open(sys.argv[1])
dst = tarfile.open(sys.argv[2], 'w', format=tarfile.USTAR_FORMAT)
members = [(m, src.extractfile(m).read() if m.isfile() else b'') for m in src]
real = [(m, d) for m, d in members if m.isfile() and
        m.name not in ('data/SUMS', 'data/END')]
files = len(real)
size = sum(len(d) for m, d in real if m.name != 'data/KEVO-BASE')
sums = b''
for m, d in members:
    if m.name == 'data/KEVO-BASE':
        d = re.sub(rb'files \d+\nbytes \d+\nxxh128 .*\n', b'files %d\nbytes %d\n' % (files, size), d)
        d += b'xxh128 %s\n' % xxh(d)
    elif m.name == 'data/SUMS':
        d = sums
    elif m.name == 'data/END':
        d = b'kevo-end 1\nsums %s\nfiles %d\nbytes %d\n' % (xxh(sums), files, size)
        d += b'xxh128 %s\n' % xxh(d)
    if m.isfile() and m.name not in ('data/SUMS', 'data/END'):
        sums += b'%s  %s\n' % (xxh(d), m.name[5:].encode())
    m.size = len(d)
    dst.addfile(m, io.BytesIO(d))
dst.close()
PY
}

@test "restore: sums that were forged do not help: what is inside is verified" {
	need python3 xxhsum
	make_small data.kv
	kevo-backup -o whole.tar data.kv
	forge whole.tar same.tar pass
	ok kevo-restore -q --test new.kv same.tar
	for at in 40 90 200; do
		forge whole.tar bad.tar "d = d[:$at] + bytes([d[$at] ^ 1]) + d[$at+1:] if n.endswith('.sst') else d"
		refused 65 '*' kevo-restore new.kv bad.tar
		forge whole.tar bad.tar "d = d[:$at] + bytes([d[$at] ^ 1]) + d[$at+1:] if n.endswith('.seg') else d"
		refused 65 '*' kevo-restore new.kv bad.tar
	done
	forge whole.tar bad.tar "d = d[:60] + bytes([d[60] ^ 1]) + d[61:] if '/version/' in n else d"
	refused 65 '*' kevo-restore new.kv bad.tar
	forge whole.tar bad.tar "d = d.replace(b'id ', b'id 0') if n == 'data/FORMAT' else d"
	run kevo-restore new.kv bad.tar
	[ "$status" -ge 65 ]
	only bad.tar data.kv forged.tar same.tar whole.tar
}

@test "restore: an archive that would fill the disk, or never end" {
	need python3 xxhsum gzip
	make_small data.kv
	kevo-backup -o whole.tar data.kv
	# It says that it has more bytes than the disk.
	python3 - <<'PY'
import io, re, subprocess, tarfile
src = tarfile.open('whole.tar')
dst = tarfile.open('bad.tar', 'w', format=tarfile.USTAR_FORMAT)
for m in src:
    d = src.extractfile(m).read() if m.isfile() else b''
    if m.name == 'data/KEVO-BASE':
        d = re.sub(rb'bytes \d+\nxxh128 .*\n', b'bytes 1000000000000000\n', d)
        s = subprocess.run(['xxhsum', '-H2', '-'], input=d, capture_output=True).stdout.split()[0]
        d += b'xxh128 %s\n' % s
        m.size = len(d)
    dst.addfile(m, io.BytesIO(d))
dst.close()
PY
	refused 74 'bad.tar: it has 1000000000000000 bytes, and * are free; nothing was written' \
		kevo-restore new.kv bad.tar
	# A stream of zeros behind a sound beginning.
	{ head -c 3000 whole.tar; head -c 600M /dev/zero; } | gzip -1 >zeros.gz
	run kevo-restore -n new.kv zeros.gz
	[ "$status" -eq 65 ] || [ "$status" -eq 75 ]
	gzip <zeros.gz >twice.gz
	refused 65 'twice.gz: *' kevo-restore new.kv twice.gz
}

@test "restore: killed, it leaves nothing that the next one minds" {
	make data.kv
	kevo-backup -o data.tar data.kv
	mkfifo pipe
	background kevo-restore -q new.kv pipe
	exec 9>pipe
	head -c 60000 data.tar >&9
	wait_for test -e .new.kv.restore/wal
	fails 75 './new.kv: somebody else is restoring it' kevo-restore new.kv data.tar
	kill -KILL "$child"
	wait "$child" || true
	exec 9>&-
	[ -e .new.kv.restore ]
	ok kevo-restore -q new.kv data.tar
	same_data data.kv new.kv
	only data.kv data.tar new.kv pipe
}

@test "restore: what another user has prepared in its way is not taken" {
	[ "$(id -u)" -eq 0 ] || skip 'only root can make such a thing'
	make_small data.kv
	kevo-backup -o data.tar data.kv
	mkdir .new.kv.restore
	chown 65534 .new.kv.restore
	fails 73 './.new.kv.restore: *another user' kevo-restore new.kv data.tar
	ln -s /etc link
	rmdir .new.kv.restore
	mv link .new.kv.restore
	run -74 --separate-stderr kevo-restore new.kv data.tar
	[ ! -e new.kv ]
	[ -L .new.kv.restore ]
}

@test "restore: ended by a signal it removes what it has begun" {
	make data.kv
	kevo-backup -o data.tar data.kv
	mkfifo pipe
	for signal in TERM HUP; do
		background kevo-restore -q new.kv pipe
		exec 9>pipe
		head -c 60000 data.tar >&9
		wait_for test -e .new.kv.restore/wal
		kill -$signal "$child"
		status=0
		wait "$child" || status=$?
		exec 9>&-
		equal status "$status" "$((128 + $(kill -l $signal)))"
		nothing_is_left
	done
}

@test "restore: story 12, without kevo: unpack, and it is there" {
	need bsdtar
	make data.kv
	kevo-backup -z zstd data.kv >"data-2026-11-22.tar.zst"
	is "$(printf '%s\n' END FORMAT KEVO-BASE LOCK PINS SUMS epochs \
		kevo.conf table version wal)" bash -c \
		'bsdtar -xf data-2026-11-22.tar.zst && ls data'
	same_data data.kv data
}

@test "restore: story 13, to a point in time before a bad deploy" {
	kevo-init -q --set wal_keep=1G data.kv
	kevo-put data.kv svc/web/port 80
	kevo-backup -z zstd -o full.tar.zst data.kv
	kevo-put data.kv svc/web/port 8080
	kevo-put data.kv svc/web/rev 2
	time=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
	kevo-delete data.kv svc/web/port
	kevo-put data.kv svc/web/rev 3
	kevo-backup -z zstd --base=full.tar.zst -o incr-1.tar.zst data.kv
	kevo-put data.kv svc/web/rev 4
	kevo-backup -z zstd --base=incr-1.tar.zst -o incr-2.tar.zst data.kv
	run -0 kevo-restore -q --until="$time" before.kv full.tar.zst \
		incr-*.tar.zst
	is "$(printf 'svc/web/port\t8080\nsvc/web/rev\t2')" \
		kevo-scan before.kv svc/
}

@test "restore: story 11, through an object store and back" {
	need rclone
	make data.kv
	mkdir store
	export RCLONE_CONFIG=$PWD/rclone.conf
	printf '[remote]\ntype = alias\nremote = %s/store\n' "$PWD" \
		>rclone.conf
	kevo-backup -z zstd data.kv |
		rclone rcat "remote:backups/data-$(date -u +%F).tar.zst"
	run -0 bash -c 'rclone cat "remote:backups/data-$(date -u +%F).tar.zst" |
		kevo-restore --test drill.kv && echo "backup is sound"'
	matches "$output" '*backup is sound'
	[ ! -e drill.kv ]
}
