#!/bin/sh
# An echo bot: answers every text with the same text. It needs a running node, sh and nothing else.
#
#     ./echo.sh            # or KITH_HOME=/srv/bot ./echo.sh
#
# What kith rpc says is turned into the next requests by --jq, and a pipe leads them back to it. Nothing is answered
# twice and nothing is left out, whenever the bot or the node is killed: the node keeps the cursor of "echo-bot", it is
# moved on after each answer, and an answer is keyed by the message that it answers. The bot ends when the node does:
# let whatever starts it start it again.
set -eu
dir=$(mktemp -d)
mkfifo "$dir/requests"
exec 3<>"$dir/requests"
rm -r "$dir" # it is open: it needs no name any more

echo '{"jsonrpc":"2.0","id":0,"method":"subscribe","params":{"consumer":"echo-bot"}}' >&3
exec kith rpc --jq '
  def request($id; $method; $params): {jsonrpc: "2.0", id: $id, method: $method, params: $params};
  def answer: select(.mine | not) | select(.text | . != "" and (startswith("echo: ") | not))
    | request("send"; "send"; {to: .with, text: ("echo: " + .text)[0:800], key: ("echo-" + .id)});

  if .method == "event" then .params.event
    | (select(.type == "message") | .message | answer),
      request("done"; "consumer_set"; {consumer: "echo-bot", cursor: .cursor})
  elif .method == "subscription_end" or (.id == 0 and .error) then request("end"; "end"; {})
  elif .error then .error | error(.message)
  else empty end | tojson' <&3 >&3
