#!/bin/sh
# Sends a report once a day, however often it is started. It needs a running node, sh and nothing else. For cron:
#
#     */10 * * * *  KITH_HOME=/srv/bot /srv/bot/report.sh bob
#
# The key makes it once: the node knows the key of every message that it sent. A report that waits for Bob's device, or
# for a relay, is on its way (exit code 6), and that is no failure.
set -eu
to=${1:?whom to send the report to}
text="$(uname -n): $(df -P / | awk 'NR == 2 { print $5 }') of the disk in use, up $(uptime | sed 's/.*up *//; s/,.*//')"
code=0
kith send "$to" "$text" --key "report-$(date +%Y-%m-%d)" --timeout 30s || code=$?
[ "$code" -eq 6 ] || exit "$code"
