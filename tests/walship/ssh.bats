#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154
# A replica over ssh, with a key of its own that can do one thing, and an sshd
# of its own on the loopback.

load stream

setup() {
	common_setup
	command -v ssh >/dev/null || skip 'no ssh here'
	sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) ||
		skip 'no sshd here'
	records 100 | kevo-put -i -b 7 p.kv
	replica p.kv r.kv
	kevo-walship slot p.kv create r1
	server
}

teardown() {
	common_teardown
	[ -z "${made-}" ] || rmdir "$made" 2>/dev/null
	return 0
}

# server: an sshd that lets in one key, for one command: that of contrib/ssh.
server() {
	local tries
	ssh-keygen -q -t ed25519 -N '' -f host
	ssh-keygen -q -t ed25519 -N '' -f key
	sed "s|kevo-walship send /srv/data.kv|env PATH='$PATH' LC_ALL=C \
$KEVO_BUILD/bin/kevo-walship send $PWD/p.kv|;s|ssh-ed25519 AAAA... r1|\
$(cat key.pub)|" "$root/contrib/ssh/authorized_keys" >authorized
	if [ "$(id -u)" -eq 0 ] && [ ! -d /run/sshd ]; then
		mkdir /run/sshd && made=/run/sshd
	fi
	for tries in 1 2 3 4 5 6 7 8; do
		port=$((20000 + RANDOM % 20000))
		cat >sshd.conf <<-CONF
			Port $port
			ListenAddress 127.0.0.1
			HostKey $PWD/host
			AuthorizedKeysFile $PWD/authorized
			PidFile none
			StrictModes no
			PasswordAuthentication no
			KbdInteractiveAuthentication no
			UsePAM no
		CONF
		background "$sshd" -D -e -f "$PWD/sshd.conf" 2>sshd.log
		wait_for grep -Eq 'listening on|Cannot bind|fatal|error:' \
			sshd.log
		if grep -q 'listening on' sshd.log; then
			server=$child
			break
		fi
		wait "$child" || true
	done
	[ -n "${server-}" ] || skip "sshd does not start: $(tail -n 1 sshd.log)"
	echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 host.pub)" >known
	ssh="exec ssh -T -F none -p $port -i $PWD/key -o IdentitiesOnly=yes \
-o UserKnownHostsFile=$PWD/known -o BatchMode=yes 127.0.0.1"
}

@test "ssh: a replica follows, with a key that can do nothing else" {
	background kevo-walship recv --via "$ssh" --apply r.kv --follow \
		2>recv.log
	kevo-put p.kv over ssh
	wait_for kevo-get r.kv over || { cat recv.log sshd.log; false; }
	records 500 x | kevo-put -i -b 3 p.kv
	wait_for eval '[ "$(link r.kv seq)" = "$(version p.kv)" ]'
	wait_for eval '[ "$(kevo-walship slot p.kv list | cut -f3)" = \
		"$(position p.kv)" ]'
	ends_after_term
	same p.kv r.kv
	# Whatever is asked for, the log comes.
	${ssh#exec } cat /etc/hostname </dev/null 2>/dev/null | head -c 8 >got &
	wait_for test -s got
	equal 'what comes' "$(cat got)" KEVOSHIP
	wait $! || true
}

@test "ssh: a connection that dies is tried again, and one refused named" {
	background kevo-walship recv --via "$ssh" --apply r.kv --follow \
		2>recv.log
	receiver=$child
	kevo-put p.kv a b
	wait_for kevo-get r.kv a || { cat recv.log sshd.log; false; }
	kill -KILL "$(child_of "$receiver")"
	kevo-put p.kv c d
	wait_for kevo-get r.kv c
	grep -q 'exit 137; next: retried in 1 s' recv.log ||
		{ cat recv.log; false; }
	kill -TERM "$receiver"
	child=$receiver
	ends 143
	kill -TERM "$server"
	wait "$server" || true
	run -75 --separate-stderr kevo-walship recv --via "$ssh" \
		--apply r.kv
	matches "$stderr" '*kevo-walship: remote: "exec ssh *": exit 255; *again'
}
