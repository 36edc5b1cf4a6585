#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154
# kevo's shell: in scripts, and on a terminal.

load common
shopt -s extglob
setup() {
	common_setup
	export XDG_STATE_HOME=$PWD/state HOME=$PWD PAGER=cat
	unset KEVO_HISTFILE KEVO_HISTSIZE
}
teardown() { common_teardown; }

# script STATUS TEXT [ARG...]: run TEXT's lines on a.kv; output and stderr.
script() {
	local status=$1 text=$2
	shift 2
	run "-$status" --separate-stderr kevo-shell "$@" a.kv <<<"$text"
}

# typed COMMAND...: run it on a terminal.  Standard input says what is typed
# and what must be seen before it goes on, one a line:
#   > TEXT   type TEXT, and Enter      + TEXT   type TEXT, with its escapes
#   < TEXT   wait until TEXT is shown  ! TEXT   run TEXT in sh
#   size R C                           eof: Ctrl-D
#   end STATUS
# Lines are not typed before there is a prompt for them.
# All that was shown is in the file seen.
typed() {
	need python3
	need_terminal
	cat >typed.in
	cat >typed.py <<-'EOF'
		import fcntl, os, pty, re, select, struct, subprocess, sys
		import termios, time

		seen = b''
		at = 0
		pid, fd = pty.fork()
		if pid == 0:
		    os.execvp(sys.argv[1], sys.argv[1:])

		def size(rows, cols):
		    fcntl.ioctl(fd, termios.TIOCSWINSZ,
		                struct.pack('HHHH', rows, cols, 0, 0))

		def more(wait):
		    global seen
		    if not select.select([fd], [], [], wait)[0]:
		        return False
		    try:
		        data = os.read(fd, 65536)
		    except OSError:
		        data = b''
		    seen += data
		    return data != b''

		def fail(why):
		    print('%s\nseen so far: %r' % (why, seen))
		    os.kill(pid, 9)
		    sys.exit(1)

		def await_text(text):
		    global at
		    end = time.time() + 20
		    while seen.find(text, at) < 0:
		        if time.time() > end or not more(1) and time.time() > end:
		            fail('not shown: %r' % text)
		    at = seen.find(text, at) + len(text)

		def await_prompt():
		    end = time.time() + 20
		    while not seen.endswith(b'> '):
		        more(1)
		        if time.time() > end:
		            fail('no prompt')

		def escapes(s):
		    return s.encode().decode('unicode_escape').encode('latin1')

		size(24, 80)
		status = None
		for line in open('typed.in', encoding='utf8'):
		    line = line.rstrip('\n')
		    what, _, text = line.partition(' ')
		    if what == '>':
		        await_prompt()
		        os.write(fd, text.encode() + b'\r')
		    elif what == '+':
		        os.write(fd, escapes(text))
		    elif what == 'eof':
		        await_prompt()
		        os.write(fd, b'\x04')
		    elif what == '<':
		        await_text(text.encode())
		    elif what == '!':
		        if subprocess.call(['sh', '-c', text]) != 0:
		            fail('failed: ' + text)
		    elif what == 'size':
		        size(*map(int, text.split()))
		    elif what == 'end':
		        end = time.time() + 20
		        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG |
		                        os.WNOWAIT) is None:
		            more(0.1)
		            if time.time() > end:
		                fail('it does not end')
		        while more(0.1):
		            pass
		        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
		        if status != int(text):
		            fail('exit status %d' % status)
		if status is None:
		    fail('no end')
		with open('seen', 'wb') as f:
		    f.write(seen.replace(b'\r', b''))
	EOF
	timeout 60 python3 typed.py "$@" 3>&-
}

# ---- scripts ---------------------------------------------------------------

@test "shell: the session of the contract, as a script" {
	script 0 'PUT user:1 {"name":"John","email":"john@example.com"}
GET user:1
BEGIN TRANSACTION
PUT user:2 {"name":"Jane","email":"jane@example.com"}
COMMIT
SCAN user:
SCAN VALUE @example.com'
	equal 'standard error' "$stderr" ''
	equal session "$(sed 's/([0-9.]* ms)/(T ms)/' <<<"$output")" \
'Value stored
{"name":"John","email":"john@example.com"}
Started read-write transaction
Value stored in transaction (will be visible after commit)
Transaction committed (T ms)
user:1: {"name":"John","email":"john@example.com"}
user:2: {"name":"Jane","email":"jane@example.com"}
2 entries found
user:1: {"name":"John","email":"john@example.com"}
user:2: {"name":"Jane","email":"jane@example.com"}
2 entries found'
}

@test "shell: kevo runs it for a database, and for nothing" {
	is 'Value stored' kevo -c 'PUT get 1' ./get
	is 1 kevo -c 'GET get' get
	is 1 kevo ./get <<<'GET get'
	is 1 kevo "$PWD/get" <<<'GET get'
	mv get data.kv
	is 1 kevo data.kv <<<'GET get'
	KEVO_DB=data.kv is 1 kevo @ <<<'GET get'
	is $'Database opened: data.kv\n1' kevo <<<$'.open data.kv\nGET get'
	run -64 --separate-stderr kevo nothing.kv
	matches "$stderr" 'kevo: nothing.kv: *'
	fails 66 '*no database is open' kevo-shell --command='GET a'
	mkdir help
	run -64 --separate-stderr kevo data.kv 'GET get'
	run -64 --separate-stderr kevo -c
}

@test "shell: verbs in any case, keys as C strings, values to the line's end" {
	script 0 $'put k  two  blanks \npuT "a b\\t\\"\\x00\\101" \x01 v\nPut e \nget k\nScan'
	# The NUL is lost in bash, not in the shell.
	equal out "$(tail -n +4 <<<"$output")" \
		$' two  blanks \na b\t"A: \x01 v\ne: \nk:  two  blanks \n3 entries found'
	is 'a b\t"\x00A' kevo-scan -k -l 1 a.kv
	is '20' bash -c 'kevo-get a.kv k | od -An -tx1 | tr -d " \n" | cut -c1-2'
}

@test "shell: -E takes the escapes of tsv" {
	script 1 $'PUT -E k\\x20\\n a\\x00\\tb\nGET "k \\n"\nDELETE -E k\\x20\\n\nGET -E k\\x20\\n'
	equal out "$(hex < <(kevo-shell a.kv <<<$'PUT -E k\\x20 a\\tb\nGET -E k\\x20'))" \
		"$(printf 'Value stored\na\tb\n' | hex)"
	script 64 'PUT -E k \q'
	matches "$stderr" '*\(stdin\):1: bad escape*'
	script 0 'PUT "-E" v'
	is v kevo-get a.kv -E
}

@test "shell: DELETE, INCR, and what is not there" {
	script 1 $'PUT a 1\nINCR a\nINCR a -10\nINCR new 5\nDELETE a\nDELETE a\nGET a'
	equal out "$output" \
		$'Value stored\n2\n-8\n5\nKey deleted\nKey deleted\nKey not found'
	script 65 $'PUT a x\nINCR a\nPUT b 1'
	matches "$stderr" 'kevo-shell: \(stdin\):2: *number*'
	script 65 $'PUT a 9223372036854775807\nINCR a'
	script 64 'INCR a 1x'
	# A no is an answer: the script goes on.
	script 0 $'GET nothing\nPUT a 1'
}

@test "shell: SCAN by prefix, suffix, range and value" {
	local i
	for i in a:1 a:2 b:1 value x:1; do
		kevo-put a.kv "$i" "v-$i w"
	done
	script 0 $'SCAN a:\nSCAN SUFFIX :1\nscan range a:2 x\nSCAN VALUE b:1 w\nSCAN VALUE\nSCAN "value"\nSCAN none'
	equal out "$output" $'a:1: v-a:1 w\na:2: v-a:2 w\n2 entries found
a:1: v-a:1 w\nb:1: v-b:1 w\nx:1: v-x:1 w\n3 entries found
a:2: v-a:2 w\nb:1: v-b:1 w\nvalue: v-value w\n3 entries found
b:1: v-b:1 w\n1 entry found
0 entries found
value: v-value w\n1 entry found
0 entries found'
	script 0 $'SCAN RANGE b a\nSCAN RANGE a a\nSCAN RANGE "" "a:2"\nSCAN "\\xff"'
	equal out "$output" $'0 entries found\n0 entries found\na:1: v-a:1 w\n1 entry found\n0 entries found'
	script 64 'SCAN a b'
	script 64 'SCAN RANGE a'
	script 64 'SCAN RANGE a b c'
	script 64 'SCAN RANGE a ""'
	kevo-put -E a.kv '\xff\xff' last
	script 0 $'SCAN "\\xff"'
	matches "$output" '*last*1 entry found'
}

@test "shell: a transaction sees itself; readers outside wait for the commit" {
	script 0 $'PUT a 1\nBEGIN\nPUT b 2\nDELETE a\nSCAN\nGET a\nINCR b\n.shell kevo-scan a.kv\n.shell ! kevo-put -w 0 a.kv c 3 2>busy\nCOMMIT\nSCAN'
	equal out "$(sed 's/([0-9.]* ms)/(T ms)/' <<<"$output")" \
'Value stored
Started read-write transaction
Value stored in transaction (will be visible after commit)
Key deleted in transaction (will be applied after commit)
b: 2
1 entry found
Key not found
3
a	1
Transaction committed (T ms)
b: 3
1 entry found'
	matches "$(cat busy)" '*busy*kevo-shell*'
	script 0 $'BEGIN\nPUT z 1\nROLLBACK\nGET b'
	equal rollback "$(tail -n 2 <<<"$output")" $'Transaction rolled back\n3'
	is b kevo-scan -k a.kv
}

@test "shell: BEGIN READONLY stays where it is and refuses writes" {
	kevo-put a.kv a 1
	script 0 $'BEGIN READONLY\n.shell kevo-put a.kv a 2\nGET a\nSCAN\nCOMMIT\nGET a'
	equal out "$(sed 's/([0-9.]* ms)/(T ms)/' <<<"$output")" \
'Started read-only transaction
1
a: 1
1 entry found
Transaction committed (T ms)
2'
	script 77 $'BEGIN READONLY\nPUT a 3'
	matches "$stderr" '*:2: the transaction is read-only'
	script 77 $'begin readonly\nINCR a'
	script 64 $'BEGIN\nBEGIN'
	script 64 'COMMIT'
	script 64 'ROLLBACK'
	script 64 'BEGIN LATER'
	is 2 kevo-get a.kv a
}

@test "shell: a script stops at the first error, with its status and place" {
	script 64 $'PUT a 1\nGTE a\nPUT b 1'
	equal out "$output" 'Value stored'
	equal err "$stderr" $'kevo-shell: (stdin):2: GTE: no such command\nkevo-shell: hint: did you mean GET?'
	is a kevo-scan -k a.kv
	script 64 $'GTE a\nPUT c 1\nPUT' --keep-going
	equal out "$output" 'Value stored'
	is $'a\nc' kevo-scan -k a.kv
	run -64 --separate-stderr kevo --keep-going -c $'x\nPUT d 1' a.kv
	matches "$stderr" 'kevo-shell: -c:1: x: *'
	is d kevo-scan -k a.kv d
	for line in PUT 'PUT k' 'GET' 'GET a b' 'GET ""' 'PUT "" v' 'GET "a' \
		'GET "a"b' 'GET "\q"' 'DELETE a b' 'COMMIT x' '.compact x' \
		'.backup' '.check x' '.watch a b' '.exit now' '.limit x' \
		'.mode xml' '.timer maybe' '.open' '.read' 'ä'; do
		script 64 "$line"
		matches "$stderr" 'kevo-shell: *'
	done
	script 66 '.read nothing'
	script 66 '.open no/such/a.kv' -C
	script 7 $'.shell exit 7\nPUT never 1'
	no kevo-get a.kv never
}

@test "shell: a transaction that a script leaves open is rolled back, 65" {
	script 65 $'BEGIN\nPUT a 1'
	matches "$stderr" '*rolled back'
	script 65 $'BEGIN\nPUT a 1\n.exit'
	is 0 kevo-scan -c a.kv
}

@test "shell: reading creates nothing, writing does, -C does not" {
	script 66 'GET a'
	matches "$stderr" '*no such database*'
	script 66 'SCAN'
	script 66 'PUT a 1' -C
	[ ! -e a.kv ]
	script 0 'PUT a 1'
	listing a.kv >before
	script 0 $'GET a\nSCAN\nBEGIN READONLY\nCOMMIT\n.stats\n.flush'
	diff before <(listing a.kv)
	mkdir other
	: >other/file
	run -65 kevo ./other <<<'GET a'
}

@test "shell: dot commands" {
	kevo-put a.kv a $'x\ty'
	kevo-put a.kv b 2
	script 0 $'.mode tsv\nSCAN\nGET b\n.mode jsonl\nSCAN b\n.mode csv\nSCAN b\n.mode\n.mode rows\n.limit 1\nSCAN\n.limit\n.version'
	equal out "$output" $'a\tx\\ty\nb\t2\nb\t2\n{"key":"b","value":"2"}\nkey,value\nb,2\ncsv\na: x\ty\n1 entry found\n1\n'"$(kevo -V)"
	script 0 $'.output out.txt\nGET b\n.output\nGET a\n.close\n.open a.kv\nGET b\n.help\n.help put\n.stats\n.flush\n.timer on\nGET b\n.timer'
	equal file "$(cat out.txt)" 2
	matches "$output" $'x\ty\nDatabase closed\nDatabase opened: a.kv\n2\n*PUT*.exit*visible  *Flushed*2\nTime: +([0-9.]) ms\non\nTime: *'
	script 73 '.output no/such/file'
	printf 'GET b\n.read two\nGET b\n' >one
	printf 'GET a\n.read three\n' >two
	script 66 '.read one'
	equal read "$output" $'2\nx\ty'
	matches "$stderr" 'kevo-shell: two:2: three: *'
	echo '.read self' >self
	script 64 '.read self'
	script 74 '.read .'
	script 66 $'.close\nGET a'
	script 0 $'.exit\nPUT never 1'
	no kevo-get a.kv never
	# A record that the format cannot hold ends the command.
	kevo-put a.kv n $'1\n2'
	script 65 $'.mode text\nSCAN\nPUT never 1'
	script 65 $'.mode text\nSCAN\nPUT z 1' --keep-going
	is 1 kevo-get a.kv z
}

@test "shell: .check and .backup run the tools, on what everybody sees" {
	kevo-put a.kv a 1
	script 0 $'.check fast\n.check\nBEGIN\nPUT b 2\n.backup copy.tar\nROLLBACK'
	matches "$output" '*sound: *sound: *'
	kevo-restore -q copy.kv copy.tar
	is $'a\t1' kevo-scan copy.kv
	script 73 $'.backup no/such/copy.tar\nPUT never 1'
	no kevo-get a.kv never
	script 66 $'.close\n.check'
	# What it says goes where answers go.
	script 0 $'.output report\n.check'
	matches "$(cat report)" '*sound: *'
	printf x | dd of=a.kv/wal/0000000000000001.seg bs=1 seek=150 \
		conv=notrunc status=none
	run -0 --separate-stderr kevo-shell a.kv <<<$'.check\n.version'
	matches "$output" 'damage: *kevo *'
}

@test "shell: a busy lock is 75, and names the holder" {
	kevo-init a.kv
	hold a.kv somebody
	script 75 'PUT a 1' -w 0
	matches "$stderr" '*busy*somebody*'
	KEVO_WAIT=0 script 75 'BEGIN'
	release
}

@test "shell: output that cannot be written ends it" {
	kevo-put a.kv a 1
	run -74 --separate-stderr bash -c 'kevo -c "GET a" a.kv >/dev/full'
	matches "$stderr" 'kevo-shell: (stdout): *'
	seq 20000 | awk '{ print $0 "\t" $0 }' | kevo-put -i a.kv
	run -0 bash -c 'kevo -c SCAN a.kv | head -n 1; [ "${PIPESTATUS[0]}" -eq 141 ]'
	script 74 $'.output /dev/full\nSCAN'
}

@test "shell: lines of any bytes and of any length" {
	head -c 3000000 /dev/zero | tr '\0' x >long
	{ printf 'PUT long '; cat long; printf '\nPUT nul a\0b\nGET nul\n'; } |
		kevo-shell a.kv >out
	equal nul "$(tail -n 1 out | hex)" 6100620a
	cmp <(kevo-get a.kv long) long
	printf 'PUT last 1' | kevo-shell a.kv
	is 1 kevo-get a.kv last
}

@test "shell: ten thousand lines in a transaction" {
	{
		echo BEGIN
		seq 10000 | sed 's/.*/PUT k& &/'
		echo COMMIT
	} | kevo-shell a.kv >out
	is 10000 kevo-scan -c a.kv
	equal lines "$(wc -l <out)" 10002
}

# ---- on a terminal ---------------------------------------------------------

@test "terminal: the session of the contract" {
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> PUT user:1 {"name":"John","email":"john@example.com"}
		< Value stored
		< kevo:./a.kv> 
		> GET user:1
		< {"name":"John","email":"john@example.com"}
		< kevo:./a.kv> 
		> BEGIN TRANSACTION
		< Started read-write transaction
		< kevo:./a.kv[RW]> 
		> PUT user:2 {"name":"Jane","email":"jane@example.com"}
		< Value stored in transaction (will be visible after commit)
		< kevo:./a.kv[RW]> 
		> COMMIT
		< Transaction committed (
		<  ms)
		< kevo:./a.kv> 
		> SCAN user:
		< user:1: {"name":"John","email":"john@example.com"}
		< user:2: {"name":"Jane","email":"jane@example.com"}
		< 2 entries found
		< kevo:./a.kv> 
		> .exit
		< Goodbye!
		end 0
	EOF
}

@test "terminal: without a database; .open, .close, errors go on" {
	kevo-put b.kv k v
	typed kevo <<-'EOF'
		< kevo> 
		> GET k
		< no database is open
		< kevo> 
		> .open b.kv
		< Database opened: b.kv
		< kevo:b.kv> 
		> GTE k
		< did you mean GET?
		< kevo:b.kv> 
		> BEGIN READONLY
		< kevo:b.kv[RO]> 
		> PUT k w
		< read-only
		< kevo:b.kv[RO]> 
		> .close
		< COMMIT or ROLLBACK first
		< kevo:b.kv[RO]> 
		> ROLLBACK
		< Transaction rolled back
		< kevo:b.kv> 
		> .close
		< Database closed
		< kevo> 
		> .promote
		< .promote: no such command
		< kevo> 
		eof
		< Goodbye!
		end 0
	EOF
	is v kevo-get b.kv k
}

@test "terminal: Ctrl-C drops the line, Ctrl-D rolls back and says so" {
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> BEGIN
		< [RW]> 
		> PUT a 1
		< Value stored
		< [RW]> 
		+ PUT b 2
		< PUT b 2
		+ \x03
		< [RW]> 
		> GET b
		< Key not found
		< [RW]> 
		eof
		< Transaction rolled back
		< Goodbye!
		end 0
	EOF
	is 0 kevo-scan -c a.kv
}

@test "terminal: a busy lock is told, and the shell goes on" {
	kevo-put a.kv a 1
	hold a.kv somebody
	KEVO_WAIT=0 typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> PUT a 2
		< somebody
		< kevo:./a.kv> 
		> BEGIN
		< somebody
		< kevo:./a.kv> 
		> GET a
		< 1
		< kevo:./a.kv> 
		> .exit
		end 0
	EOF
	release
}

# libedit: whether this build has it.
libedit() {
	readelf -d "$KEVO_BUILD/bin/kevo-shell" | grep -q libedit ||
		skip 'built without libedit'
}

@test "terminal: Tab completes verbs, keys, files" {
	libedit
	kevo-put a.kv user:anna 1
	kevo-put a.kv user:ben 2
	kevo-put a.kv 'with blank' 3
	kevo-put -E a.kv 'ctl\x01' 4
	echo .version >script.one
	TERM=xterm typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		+ ge\tus\t\t
		< user:anna  user:ben
		+ b\t\r
		< 2
		< kevo:./a.kv> 
		+ GET "wi\t\r
		< 3
		< kevo:./a.kv> 
		+ GET c\t\r
		< 4
		< kevo:./a.kv> 
		+ .rea\tscr\t\r
		< kevo 0.
		< kevo:./a.kv> 
		+ scan range user:a\tuser:b\t\r
		< user:anna: 1
		< 1 entry found
		< kevo:./a.kv> 
		eof
		end 0
	EOF
}

@test "terminal: Tab shows a hundred keys at most, and what all begin with" {
	libedit
	seq -f 'key%05.0f' 1 5000 | kevo-put -k -i a.kv
	TERM=xterm typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		+ GET k\t
		< ey0
		+ \t
		< key00100
		< ...
		+ \x03
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	run ! grep -q key00101 seen
}

@test "terminal: history is kept, for the owner only, without secret lines" {
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> PUT a first
		< Value stored
		< kevo:./a.kv> 
		>  PUT secret hidden
		< Value stored
		< kevo:./a.kv> 
		> .history
		< PUT a first
		< .history
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	equal file "$(cat state/kevo/history)" $'PUT a first\n.history'
	equal mode "$(stat -c %a state/kevo/history)" 600
	KEVO_HISTFILE=own KEVO_HISTSIZE=2 typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> GET a
		< first
		> GET a
		< first
		> GET b
		< Key not found
		> .history
		< GET b
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	equal own "$(cat own)" $'GET a\nGET b\n.history'
	[ "$(grep -c '^GET a' seen)" -eq 0 ]
	KEVO_HISTSIZE=0 KEVO_HISTFILE=none typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> GET a
		< first
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	[ ! -e none ]
	unset XDG_STATE_HOME
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> GET a
		< first
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	equal home "$(cat .local/state/kevo/history)" 'GET a'
}

@test "terminal: the line before comes back, in the next session too" {
	libedit
	printf 'GET nothing\nPUT up 1\n' >own
	KEVO_HISTFILE=own TERM=xterm typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		+ \x1b[A\r
		< Value stored
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	is 1 kevo-get a.kv up
	equal mode "$(stat -c %a own)" 600
}

@test "terminal: control characters are never raw" {
	kevo-put -E a.kv 'k\x1b[31m\x07' 'v\x1b]0;x\x07\xc2\x9b'
	mkdir $'p\033q'
	kevo-put $'p\033q/b.kv' k v
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> SCAN
		< 1 entry found
		> GET "k\x1b[31m\x07"
		< v\x1b
		> .mode tsv
		> SCAN
		< v\x1b
		> nothing
		< no such command
		> .open "p\x1bq/b.kv"
		< kevo:p\x1bq/b.kv> 
		eof
		end 0
	EOF
	# What the line editor sends itself is known, and in C1 there is nothing.
	tr -d '\n' <seen | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' >rest
	run ! grep -q $'\033' rest
	run ! grep -q $'\007' rest
	run ! grep -q $'\xc2\x9b' rest
}

@test "terminal: long answers go through the pager, short ones do not" {
	seq -f 'key%05.0f' 1 3000 | kevo-put -k -i a.kv
	export PAGER='cat >paged'
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> SCAN key0000
		< 9 entries found
		< kevo:./a.kv> 
		> SCAN
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	equal paged "$(wc -l <paged)" 3001
	equal last "$(tail -n 1 paged)" '3000 entries found'
	# One that is left early ends the scan.
	export PAGER='head -n 1'
	seq -f 'more%06.0f' 1 50000 | kevo-put -k -i a.kv
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> SCAN
		< key00001
		< kevo:./a.kv> 
		> GET key00001
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	run ! grep -q key00002 seen
}

@test "terminal: SIGTERM rolls back and is what it died of" {
	typed sh -c 'echo $$ >pid; exec kevo ./a.kv' <<-'EOF'
		< kevo:./a.kv> 
		> BEGIN
		< [RW]> 
		> PUT a 1
		< [RW]> 
		! kill "$(cat pid)"
		end -15
	EOF
	kevo-put -w 0 a.kv b 1
	is b kevo-scan -k a.kv
}

@test "terminal: .watch shows changes until Ctrl-C" {
	kevo-put a.kv a 1
	# When it begins to watch is not known.
	echo 'for i in $(seq 400); do
		[ ! -e seen.it ] || exit 0
		kevo-put a.kv user:1 x; sleep 0.05; done' >writer
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> .watch u
		! sh writer >/dev/null 2>&1 &
		< user:1
		! : >seen.it
		+ \x03
		< kevo:./a.kv> 
		> GET user:1
		< x
		< kevo:./a.kv> 
		eof
		end 0
	EOF
	run ! grep -q 'put.a.1' seen
}

@test "terminal: several processes keep their shells" {
	kevo-put a.kv a 1
	typed kevo ./a.kv <<-'EOF'
		< kevo:./a.kv> 
		> GET a
		< 1
		! kevo-put a.kv a 2
		> GET a
		< 2
		> PUT b 3
		< Value stored
		! [ "$(kevo-get a.kv b)" = 3 ]
		! kevo-put a.kv b 4
		> GET b
		< 4
		< kevo:./a.kv> 
		eof
		end 0
	EOF
}
