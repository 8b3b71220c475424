#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The story of one message, unattended, with the real programs: bob is away,
# alice writes, the server is killed, bob reads, the server has forgotten.
# Any step that fails ends it with an error. "make demo" runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly bin=$PWD/bin
dir=$(mktemp -d "${TMPDIR:-/tmp}/sotto-demo.XXXXXX")
readonly dir data=$dir/data
export SOTTO_HOME=$dir/people
server='' alice=''

finish() {
	local code=$?
	trap - EXIT
	for p in $alice $server; do
		kill -9 "$p" || true
		wait "$p" || true
	done 2>/dev/null
	if [ $code -ne 0 ]; then
		echo "DEMO FAILED. The server's last words:"
		tail -5 "$dir/server.log" || true
	fi
	rm -rf "$dir"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

now() {
	local t=${EPOCHREALTIME:-$(date +%s).000}
	t=${t/,/.}
	printf '%s.%s' "$(date +%H:%M:%S)" "$(printf '%s000' "${t#*.}" | cut -c1-3)"
}
say() { printf '%s  %s\n' "$(now)" "$*"; }
fail() {
	say "$*" >&2
	exit 1
}

# wait_for SECONDS WHAT COMMAND... asks until the command succeeds.
wait_for() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "not in time: $what"
		sleep 0.1
	done
}

sottod() { "$bin/sottod" --config "$dir/sottod.toml" "$@"; }
waiting() { [ "$(sottod status 2>/dev/null | awk '/^waiting messages/ {print $3}')" = "$1" ]; }
erased() { [ -z "$(keys)" ]; }
start() {
	"$bin/sottod" --config "$dir/sottod.toml" dev >"$dir/server.out" 2>>"$dir/server.log" &
	server=$!
	wait_for 10 "the server listens" listens # before status, which would open the folder itself
	wait_for 10 "the accounts are there" test -s "$data/dev/bob.password"
	wait_for 10 "the server answers" waiting "$1"
}
listens() {
	kill -0 "$server" || fail "the server has ended: $(cat "$dir/server.log")"
	(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

free_port() {
	local p
	while p=$((20000 + RANDOM)); (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do :; done
	echo $p
}

# hex_of shows bytes as one line of hex digits.
hex_of() { od -An -v -tx1 | tr -d ' \n'; }

# keys lists the key slots that are in use: file, slot, 32 bytes in hex.
keys() {
	local f n line
	for f in "$data"/store/keys-*; do
		n=0
		while read -r line; do
			[[ $line =~ ^0*$ ]] || echo "$(basename "$f") $n $line"
			n=$((n + 1))
		done < <(hex_of <"$f" | fold -w 64; echo)
	done
}

# look takes all bytes of the data folder and of the server's log.
look() {
	find "$data" "$dir/server.log" -type f | while read -r f; do
		printf '%s %s\n' "${f#"$dir"/}" "$(hex_of <"$f")"
	done >"$dir/bytes"
}

# search HEX prints each file in which these bytes stood at the last look.
search() { grep -F "$1" "$dir/bytes" | cut -d' ' -f1; }

# evidence lists what must not be found, from what alice's client put on the
# wire: a word for people, and the bytes in hex.
evidence() {
	local stanza=$1 word
	printf 'the text %s\n' "$(printf %s "$text" | hex_of)"
	printf 'the sender %s\n' "$(printf %s alice@localhost | hex_of)"
	printf 'the message id %s\n' "$(grep -o '<origin-id[^>]*>' <<<"$stanza" | grep -o "[ ]id=['\"][^'\"]*" | cut -c6- | tr -d '\n' | hex_of)"
	for word in payload key; do
		grep -oE "<$word( [^>]*)?>[^<]+" <<<"$stanza" | sed 's/.*>//' | while read -r b; do
			printf 'the %s as sent %s\n' "$word" "$(printf %s "$b" | hex_of)"
			printf 'the %s in bytes %s\n' "$word" "$(printf %s "$b" | base64 -d | hex_of)"
		done
	done
}

# absent searches for all evidence and for the keys; nothing may be found.
absent() {
	local n=0 hex what found
	look
	while read -r what; do
		hex=${what##* }
		what=${what% *}
		[ ${#hex} -ge 16 ] || fail "no bytes to search for: $what"
		found=$(search "$hex" || true)
		[ -z "$found" ] || fail "$what is in $found"
		n=$((n + 1))
	done <"$1"
	[ $n -ge "$2" ] || fail "only $n things to search for"
	say "searched $(wc -l <"$dir/bytes" | tr -d ' ') files for $n things: none found"
}

port=$(free_port)
cat >"$dir/sottod.toml" <<END
data = "$data"
listen = ["127.0.0.1:$port"]
listen_tls = []
END
readonly text="the heron lands at $RANDOM$RANDOM past nine"

say "a fresh server in $data, port $port"
start 0
login=(login --server "127.0.0.1:$port" --ca "$data/tls/ca.pem" --key-file)
say "bob logs in once, so that his keys are known, and leaves"
"$bin/sotto" -as bob "${login[@]}" <"$data/dev/bob.password" | head -2
say "alice logs in"
"$bin/sotto" -as alice "${login[@]}" <"$data/dev/alice.password" | head -2
waiting 0 || fail "mail waits already"
erased || fail "there are keys already"

say "alice writes; her program stays until bob has read it"
: >"$dir/alice.out"
"$bin/sotto" -as alice --wire "$dir/alice.wire" send bob "$text" --wait read --timeout 180s >"$dir/alice.out" 2>"$dir/alice.err" &
alice=$!
wait_for 20 "sent tick" grep -q '  sent  ' "$dir/alice.out"
sed 's/^/    alice: /' "$dir/alice.out"
wait_for 10 "one message waits" waiting 1

keys >"$dir/keys.before"
[ "$(wc -l <"$dir/keys.before")" -eq 1 ] || fail "one message waits, and not one key: $(cat "$dir/keys.before")"
read -r file slot key <"$dir/keys.before"
say "one message waits; its key is in $file, slot $slot"
look
[ "$(search "$key")" = "data/store/$file" ] || fail "the search does not find the key where it is"

stanza=$(grep '^> <message' "$dir/alice.wire" | grep -F '<payload>' | head -1)
evidence "$stanza" >"$dir/evidence"
say "what alice's client sent was kept: $(wc -l <"$dir/evidence" | tr -d ' ') things to look for"
{
	printf '%s %s %s\n' "$stanza" "$text" alice@localhost
	grep -oE '<(payload|key)( [^>]*)?>[^<]+' <<<"$stanza" | sed 's/.*>//' | while read -r b; do printf %s "$b" | base64 -d; done
} >"$data/store/planted"
look
while read -r what; do
	[ "$(search "${what##* }")" = "data/store/planted" ] || fail "the search does not find ${what% *} in a planted file"
done <"$dir/evidence"
rm "$data/store/planted"
say "the search works: it finds all of them in a file that was planted, and the key where it lies"
absent "$dir/evidence" 6
say "(what waits is sealed under its key, so nothing of it is readable even now)"

say "the server is killed with -9"
kill -9 "$server"
wait "$server" 2>/dev/null && fail "the server lives"
absent "$dir/evidence" 6
sottod check | sed 's/^/    check: /'
start 1
say "it is up again; the message still waits"

say "bob comes"
"$bin/sotto" -as bob listen --count 1 --seen --timeout 60s >"$dir/bob.out" 2>"$dir/bob.err" || fail "bob: $(cat "$dir/bob.err")"
sed 's/^/    bob: /' "$dir/bob.out"
grep -qF "alice@localhost: $text" "$dir/bob.out" || fail "bob has read something else"
wait "$alice" || fail "alice: $(cat "$dir/alice.out" "$dir/alice.err")"
alice=''
sed 's/^/    alice: /' "$dir/alice.err" "$dir/alice.out"
[ "$(awk '{print $2}' "$dir/alice.out" | tr '\n' ' ')" = "queued sent delivered read " ] || fail "alice saw other hops"

say "alice takes what is still for her: the answer to her keys may have come behind the ticks"
"$bin/sotto" -as alice listen --timeout 2s 2>/dev/null || fail "alice cannot listen"
wait_for 70 "nothing waits any more" waiting 0
wait_for 70 "all keys are erased" erased
say "nothing waits; every key slot is zeros"
echo "the key that the message lay under $key" >>"$dir/evidence"
absent "$dir/evidence" 7

say "the server is stopped and its folder verified"
kill "$server"
wait "$server" || fail "the server did not stop well"
server=''
sottod check | sed 's/^/    check: /'
erased || fail "there are keys"
absent "$dir/evidence" 7
say "done: it was carried, read, and is gone"
