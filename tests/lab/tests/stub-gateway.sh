#!/bin/sh
# Stands in for dyngate in the laboratory's own tests: keeps to the contract's command line, serves nothing.
[ "$1 $2 $4" = "serve --config --ready-file" ] || exit 64
cat "$3"
date +%Y
grep -q broken "$3" && exit 64
grep -q stubborn "$3" && trap '' TERM || trap 'exit 0' TERM
trap 'echo reloaded' HUP
echo '{"http": "'"$STUB_HTTP"'", "https": null, "admin": "'"$STUB_HTTP"'"}' >"$5.new"
mv "$5.new" "$5"
while :; do sleep 0.02; done
