// Package api is the local control interface of a running node: HTTP/1.1 and JSON on a Unix socket, for the person's own
// programs and commands.
//
//	POST /v1/METHOD                  one request, one object
//	GET  /v1/events?since=CURSOR     events as lines of JSON, from the one after CURSOR, without end
//	GET  /v1/health                  whether the node answers
//
// One table (Methods) drives the server, the `kith api` command and docs/api.md.
//
// What it guarantees: every object has "v" and "type"; an error says what happened, its class and the next command; an
// event is on disk before it is shown, and shown in order, at least once, however often a reader comes back; a request
// is bounded in size and time before anything is allocated for it; reading never marks a message as read.
//
// What it does not: it does not authenticate. Whoever may open the socket (mode 0600 in a folder of mode 0700) is the
// person. There is no TCP.
package api
