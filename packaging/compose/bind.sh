#!/bin/sh
# Starts BIND with a zone that it may write: named keeps a zone's journal beside its file.
set -eu
zone=/var/lib/bind/dyn.example.zone
[ -s "$zone" ] || cp /compose/example.zone "$zone"
exec named -g -c /compose/named.conf
