#!/bin/bash
# healthcheck [HOST:PORT [PAGE]]: exit code 0 if the broker or gateway whose metrics are at HOST:PORT is ready, else 1 with
# its reason. HOST:PORT is $BACKPLANE_HEALTH or 127.0.0.1:9570 by default; PAGE is readyz, or healthz. Needs nothing but bash.
address=${1:-${BACKPLANE_HEALTH:-127.0.0.1:9570}}
page=${2:-readyz}

exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || exit 1
printf 'GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$page" "$address" >&3
IFS=' ' read -r -t 4 _ status _ <&3 || exit 1
if [ "$status" != 200 ]; then
  timeout 1 cat <&3 | tail -n 1
  exit 1
fi
